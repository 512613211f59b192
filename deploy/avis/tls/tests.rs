//! Certificates of an authority made here, shown to clients that look at them.

use std::{net::SocketAddr, process::Command};

use axum::{Router, routing::get};
use connectors::edge::Secured;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, RootCertStore, pki_types::ServerName},
};

use super::*;

/// A folder with an authority, `ca.pem`, and what it signs.
struct Authority(TempDir);

impl Authority {
    fn new() -> Self {
        let authority = Self(tempfile::tempdir().expect("a folder"));
        let extensions = "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n";
        std::fs::write(authority.path("extensions"), extensions).expect("written");
        authority.openssl(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \
             -subj /CN=authority -keyout ca.key -out ca.pem",
        );
        authority
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn openssl(&self, arguments: &str) {
        let ran = Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(self.0.path())
            .output()
            .expect("openssl is installed");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    }

    /// A certificate `<name>.pem` with its key `<name>.key`, over in so many days.
    fn sign(&self, name: &str, days: i32) -> (PathBuf, PathBuf) {
        self.openssl(&format!(
            "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN={name} \
             -keyout {name}.key -out {name}.csr"
        ));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days {days} \
             -extfile extensions -out {name}.pem"
        ));
        (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")))
    }

    /// Puts one certificate in the place of another.
    fn replace(&self, name: &str, by: &str) {
        for end in ["key", "pem"] {
            let (from, to) = (format!("{by}.{end}"), format!("{name}.{end}"));
            std::fs::copy(self.path(&from), self.path(&to)).expect("copied");
        }
    }

    /// Connects as somebody who trusts this authority alone.
    async fn connect(&self, to: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        let trusted = CertificateDer::from_pem_file(self.path("ca.pem")).expect("a certificate");
        roots.add(trusted).expect("an authority");
        let provider = Arc::new(provider::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("protocols")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let socket = TcpStream::connect(to).await?;
        let name = ServerName::try_from("localhost").expect("a name");
        TlsConnector::from(Arc::new(config)).connect(name, socket).await
    }

    /// The subject's certificate that is shown to whoever connects.
    async fn shown(&self, at: SocketAddr) -> Vec<u8> {
        let stream = self.connect(at).await.expect("agreed upon");
        let shown = stream.get_ref().1.peer_certificates().expect("a certificate");
        shown[0].as_ref().to_vec()
    }

    fn der(&self, name: &str) -> Vec<u8> {
        let path = self.path(&format!("{name}.pem"));
        CertificateDer::from_pem_file(path).expect("a certificate").as_ref().to_vec()
    }
}

/// An encrypted door that says `well`.
async fn door(certificate: &Certificate) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let secured = Secured::new(listener, certificate.acceptor(HTTP).expect("a door"));
    let routes = Router::new().route("/", get(|| async { "well" }));
    let secured = secured.expect("an address");
    tokio::spawn(async move { axum::serve(secured, routes).await });
    address
}

const ASKED: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

async fn ask(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin) -> String {
    stream.write_all(ASKED).await.expect("sent");
    let mut answer = Vec::new();
    // Whoever is refused may be cut off.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn whoever_trusts_the_authority_is_answered_and_nobody_else() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (chain, key) = authority.sign("node", 30);
    let address = door(&Certificate::read(&chain, &key).expect("a certificate")).await;
    let answer = ask(authority.connect(address).await.expect("agreed upon")).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("well"), "{answer}");
    let refused = other.connect(address).await.expect_err("an unknown authority").to_string();
    assert!(refused.contains("invalid peer certificate"), "{refused}");
    let plain = ask(TcpStream::connect(address).await.expect("connected")).await;
    assert!(!plain.contains("well") && !plain.starts_with("HTTP"), "{plain:?}");
}

#[tokio::test]
async fn who_dawdles_holds_up_nobody() {
    let authority = Authority::new();
    let (chain, key) = authority.sign("node", 30);
    let address = door(&Certificate::read(&chain, &key).expect("a certificate")).await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(address).await.expect("connected"));
    }
    let asked = async { ask(authority.connect(address).await.expect("agreed upon")).await };
    let answer = tokio::time::timeout(HANDSHAKE_OF_OTHERS, asked).await.expect("at once");
    assert!(answer.ends_with("well"), "{answer}");
}

/// Less than the doors give to whoever says nothing.
const HANDSHAKE_OF_OTHERS: Duration = Duration::from_secs(8);

#[tokio::test]
async fn what_is_renewed_is_shown_and_what_does_not_fit_is_not() {
    let authority = Authority::new();
    let (chain, key) = authority.sign("node", 30);
    let first = authority.der("node");
    let certificate = Certificate::read(&chain, &key).expect("a certificate");
    let address = door(&certificate).await;
    assert_eq!(authority.shown(address).await, first);
    // Only one of the two is there yet.
    authority.sign("next", 30);
    std::fs::copy(authority.path("next.pem"), &chain).expect("copied");
    certificate.renew();
    assert_eq!(authority.shown(address).await, first, "the old one goes on");
    authority.replace("node", "next");
    certificate.renew();
    assert_eq!(authority.shown(address).await, authority.der("next"));
    // One that is over is shown, and refused by whoever looks.
    authority.sign("over", -1);
    authority.replace("node", "over");
    certificate.renew();
    let refused = authority.connect(address).await.expect_err("it is over").to_string();
    assert!(refused.contains("xpired"), "{refused}");
    std::fs::remove_file(&key).expect("removed");
    certificate.renew();
    authority.connect(address).await.expect_err("still the one that is over");
}

#[tokio::test]
async fn a_signal_has_the_files_read_again() {
    let authority = Authority::new();
    let (chain, key) = authority.sign("node", 30);
    let certificate = Certificate::read(&chain, &key).expect("a certificate");
    let address = door(&certificate).await;
    let doors = Doors { certificates: vec![certificate], ..Doors::default() };
    let hangup = signal(SignalKind::hangup()).expect("signals");
    let vitals = Vitals::register(&prometheus::Registry::new(), Path::new("/tmp"));
    tokio::spawn(doors.follow(hangup, Arc::new(vitals.expect("metrics"))));
    // The first look is at the start.
    tokio::time::sleep(Duration::from_millis(200)).await;
    authority.sign("next", 30);
    authority.replace("node", "next");
    assert_ne!(authority.shown(address).await, authority.der("next"), "nobody said so yet");
    let id = std::process::id().to_string();
    assert!(Command::new("kill").args(["-HUP", &id]).status().expect("run").success());
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while authority.shown(address).await != authority.der("next") {
        assert!(tokio::time::Instant::now() < deadline, "it is not renewed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn what_does_not_go_together_is_refused_at_the_start() {
    let authority = Authority::new();
    let (chain, key) = authority.sign("node", 30);
    let (_, other) = authority.sign("other", 30);
    let told = |chain: &Path, key: &Path| match Certificate::read(chain, key) {
        Ok(_) => String::new(),
        Err(failure) => format!("{failure}: {:?}", std::error::Error::source(&failure)),
    };
    assert_eq!(told(&chain, &key), "");
    assert!(told(&chain, &other).contains("node.pem"), "{}", told(&chain, &other));
    assert!(told(&chain, &authority.path("none.key")).contains("none.key"));
    assert!(told(&key, &key).contains("node.key"), "a key is no certificate");
}
