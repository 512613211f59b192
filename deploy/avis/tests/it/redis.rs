//! A real Redis on loopback, with its file in a folder.

use std::{
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::{succeeded, talk::until};

pub fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port()
}

/// One `redis-server`; it is killed when dropped.
pub struct Redis {
    child: Child,
    port: u16,
}

impl Redis {
    pub fn start(folder: &Path) -> Self {
        let port = port();
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--appendonly", "yes"])
            .args(["--save", "", "--maxmemory-policy", "noeviction", "--dir"])
            .arg(folder)
            .stdout(Stdio::null())
            .spawn();
        let redis = Self { child: child.expect("apt-get install redis-server"), port };
        until("redis listens", || TcpStream::connect(("127.0.0.1", port)).ok());
        redis
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// One command; the lines of its answer.
    pub fn ask(&self, words: &[&str]) -> Vec<String> {
        let mut command = Command::new("redis-cli");
        command.args(["-e", "-p", &self.port.to_string()]).args(words);
        let answer = succeeded(&command.output().expect("apt-get install redis-tools"));
        answer.lines().map(str::to_owned).collect()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
