//! What supervisors are told: `avis health` for containers, the socket of `sd_notify(3)` for systemd.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr as UnixAddress, UnixDatagram},
    },
    time::Duration,
};

use crate::{cli::HealthArguments, config::Config, failure::Failure};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// `avis health`.
///
/// # Errors
/// Where the node does not answer, or is not well.
pub async fn run(arguments: HealthArguments) -> Result<(), Failure> {
    let config = Config::load(arguments.config.as_deref(), std::env::vars())?;
    let address = near(arguments.http.unwrap_or(config.http.address));
    let scheme = if config.tls.files()?.is_some() { "https" } else { "http" };
    let path = if arguments.live { "healthz" } else { "readyz" };
    let url = format!("{scheme}://{address}/{path}");
    let ill = |reason: String| Failure::Health { url: url.clone(), reason };
    // It asks its own machine by address, which no certificate names, and sends nothing.
    let client = reqwest::Client::builder()
        .timeout(PATIENCE)
        .no_proxy()
        .tls_danger_accept_invalid_certs(true)
        .build()
        .map_err(|error| ill(told(&error)))?;
    let answer = client.get(&url).send().await.map_err(|error| ill(told(&error)))?;
    let status = answer.status();
    let text = answer.text().await.map_err(|error| ill(told(&error)))?;
    if !status.is_success() {
        return Err(ill(format!("{}, {}", status.as_u16(), text.trim())));
    }
    println!("{}", text.trim());
    Ok(())
}

/// An address at which a door that is open to everybody is reached from here.
fn near(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// An error with its innermost cause, which says most.
fn told(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}

/// Tells systemd how the node stands (`READY=1`, `STOPPING=1`), where it waits to hear.
pub fn notify(state: &str) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(&socket.to_string_lossy(), state) {
        tracing::warn!(%error, "systemd is not told that the node is at {state}");
    }
}

fn send(socket: &str, state: &str) -> std::io::Result<()> {
    let address = match socket.strip_prefix('@') {
        Some(name) => UnixAddress::from_abstract_name(name)?,
        None => UnixAddress::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_door_open_to_everybody_is_asked_nearby() {
        let asked = |text: &str| near(text.parse().expect("an address")).to_string();
        assert_eq!(asked("0.0.0.0:8080"), "127.0.0.1:8080");
        assert_eq!(asked("[::]:8080"), "[::1]:8080");
        assert_eq!(asked("10.0.0.7:8080"), "10.0.0.7:8080");
    }

    #[test]
    fn systemd_hears_by_a_path_and_by_a_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify").display().to_string();
        let name = format!("avis-notify-{}", std::process::id());
        let by_name = UnixAddress::from_abstract_name(&name).expect("an address");
        for (listener, socket) in [
            (UnixDatagram::bind(&path), path.clone()),
            (UnixDatagram::bind_addr(&by_name), format!("@{name}")),
        ] {
            let listener = listener.expect("a socket");
            send(&socket, "READY=1").expect("sent");
            let mut heard = [0; 64];
            let length = listener.recv(&mut heard).expect("a word");
            assert_eq!(&heard[..length], b"READY=1");
        }
    }
}
