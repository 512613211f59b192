//! What an installation's processes say of themselves.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::Result;

/// Their metrics, in all.
#[derive(Debug, Default)]
pub struct Seen {
    /// Seconds of processors.
    pub processor: f64,
    /// Bytes of memory.
    pub resident: f64,
    /// Records by how long they waited until queries saw them: bounds, and how many waited no longer.
    visible: Vec<(f64, f64)>,
}

impl Seen {
    /// Asks every process.
    pub async fn of(processes: impl Iterator<Item = SocketAddr>) -> Result<Self> {
        let mut seen = Self::default();
        for at in processes {
            let mut stream = TcpStream::connect(at).await?;
            stream
                .write_all(b"GET /metrics HTTP/1.1\r\nhost: avis\r\nconnection: close\r\n\r\n")
                .await?;
            let mut text = String::new();
            stream.read_to_string(&mut text).await?;
            seen.add(&text);
        }
        seen.visible.sort_by(|one, other| one.0.total_cmp(&other.0));
        Ok(seen)
    }

    fn add(&mut self, text: &str) {
        let seen = self;
        for line in text.lines() {
            let Some((name, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse() else { continue };
            match name {
                "avis_process_cpu_seconds_total" => seen.processor += value,
                "avis_process_resident_memory_bytes" => seen.resident += value,
                _ if name.starts_with("avis_pipelines_visible_duration_seconds_bucket") => {
                    let bound = name.split_once("le=\"").and_then(|(_, of)| of.split('"').next());
                    let bound = bound.and_then(|bound| bound.parse().ok()).unwrap_or(f64::INFINITY);
                    match seen.visible.iter_mut().find(|(of, _)| *of == bound) {
                        Some((_, sum)) => *sum += value,
                        None => seen.visible.push((bound, value)),
                    }
                }
                _ => {}
            }
        }
    }

    /// How long ninety-nine of a hundred records waited at most.
    pub fn fresh_since(&self, before: &Self) -> String {
        let count = |of: &Self, bound: f64| {
            of.visible.iter().find(|(at, _)| *at == bound).map_or(0.0, |(_, count)| *count)
        };
        let since = |bound: f64| count(self, bound) - count(before, bound);
        let all = since(f64::INFINITY);
        let bound = self.visible.iter().find(|(bound, _)| since(*bound) >= 0.99 * all);
        match bound {
            Some((bound, _)) if bound.is_finite() => format!("≤ {bound} s"),
            _ => "beyond its buckets".into(),
        }
    }
}
