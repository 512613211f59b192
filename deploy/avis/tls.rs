//! Encryption of the doors: certificates with their keys, in PEM, read again when they are renewed.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use chrono::{DateTime, Utc};
use ring::digest;
use tokio::{signal::unix::Signal, time::MissedTickBehavior};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        crypto::ring as provider,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
        server::{ClientHello, ResolvesServerCert},
        sign::CertifiedKey,
    },
};

use crate::{
    config::Config,
    failure::Failure,
    vitals::{self, Vitals},
};

/// How often the files are looked at, where nobody says that they are new: whoever renews them in a
/// container has no way to.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(30);
/// What a door is asked for in the handshake: pages and the API.
const HTTP: &[&[u8]] = &[b"h2", b"http/1.1"];
/// Streams of terminals; their clients insist on it.
const GRPC: &[&[u8]] = &[b"h2"];
/// Flight's clients insist on the one, PostgreSQL's, where they begin encrypted, on the other.
const SQL: &[&[u8]] = &[b"h2", b"postgresql"];

/// What takes encrypted connections at each door; none where a door is open to be read along.
#[derive(Clone, Default)]
pub struct Doors {
    /// The API.
    pub http: Option<TlsAcceptor>,
    /// Terminals that stream.
    pub grpc: Option<TlsAcceptor>,
    /// Both doors to SQL.
    pub sql: Option<TlsAcceptor>,
    certificates: Vec<Certificate>,
}

impl Doors {
    /// Reads the certificates that are configured.
    ///
    /// # Errors
    /// Where one is given by half, cannot be read, or does not go with its key.
    pub fn open(config: &Config) -> Result<Self, Failure> {
        let mut doors = Self::default();
        if let Some((certificate, key)) = config.tls.files()? {
            let shared = Certificate::read(certificate, key)?;
            doors.http = Some(shared.acceptor(HTTP)?);
            doors.grpc = Some(shared.acceptor(GRPC)?);
            doors.sql = Some(shared.acceptor(SQL)?);
            doors.certificates.push(shared);
        }
        if let Some((certificate, key)) = config.sql.tls()? {
            let own = Certificate::read(certificate, key)?;
            doors.sql = Some(own.acceptor(SQL)?);
            doors.certificates.push(own);
        }
        Ok(doors)
    }

    /// When the first of the certificates ends.
    fn expires(&self) -> Option<DateTime<Utc>> {
        let expiry =
            |of: &Certificate| vitals::expiry(&std::fs::read_to_string(&of.certificate).ok()?);
        self.certificates.iter().filter_map(expiry).min()
    }

    /// Reads the files again when told to, and now and then; those that connect from then on are
    /// shown the new certificate, and whoever is inside stays.
    pub async fn follow(self, mut hangup: Signal, vitals: Arc<Vitals>) {
        let mut looks = tokio::time::interval(LOOKED_AT_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = looks.tick() => {}
                _ = hangup.recv() => {}
            }
            for certificate in &self.certificates {
                certificate.renew();
            }
            if let Some(expires) = self.expires() {
                vitals.certificate(expires);
            }
        }
    }
}

/// Who is trusted of those that this process asks: whom the authority in a file has signed, and where none is
/// named, nobody.
///
/// # Errors
/// Where the file cannot be read or holds no certificate.
pub fn trusted(authority: &Path) -> Result<Arc<ClientConfig>, Failure> {
    let wrong = |error: &dyn std::fmt::Display| Failure::setting("roles.authority", error);
    let mut roots = RootCertStore::empty();
    if !authority.as_os_str().is_empty() {
        let read = CertificateDer::pem_file_iter(authority).map_err(|error| wrong(&error))?;
        for certificate in read {
            let certificate = certificate.map_err(|error| wrong(&error))?;
            roots.add(certificate).map_err(|error| wrong(&error))?;
        }
    }
    let mut trusted = ClientConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    trusted.alpn_protocols = GRPC.iter().map(|name| name.to_vec()).collect();
    Ok(Arc::new(trusted))
}

/// A certificate, with those it was signed by, and its key.
#[derive(Clone)]
struct Certificate {
    certificate: PathBuf,
    key: PathBuf,
    held: Arc<Held>,
}

/// What is shown to whoever connects.
#[derive(Debug)]
struct Held(RwLock<Loaded>);

#[derive(Debug)]
struct Loaded {
    /// Of both files, by which it is known whether they changed.
    digest: Vec<u8>,
    shown: Arc<CertifiedKey>,
}

impl ResolvesServerCert for Held {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let loaded = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&loaded.shown))
    }
}

impl Certificate {
    fn read(certificate: &Path, key: &Path) -> Result<Self, Failure> {
        let (chain, private) = (bytes(certificate)?, bytes(key)?);
        let loaded = load(&chain, &private)
            .map_err(|source| Failure::Read { path: certificate.to_path_buf(), source })?;
        Ok(Self {
            certificate: certificate.to_path_buf(),
            key: key.to_path_buf(),
            held: Arc::new(Held(RwLock::new(loaded))),
        })
    }

    fn acceptor(&self, protocols: &[&[u8]]) -> Result<TlsAcceptor, Failure> {
        let held: Arc<dyn ResolvesServerCert> = self.held.clone();
        let mut config =
            ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
                .with_safe_default_protocol_versions()
                .map_err(|error| Failure::Output(wrong(&error)))?
                .with_no_client_auth()
                .with_cert_resolver(held);
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Takes the files as they are now. Of two that do not go together, as when only one is written
    /// yet, or that cannot be read, nothing is taken: the doors go on with what they have.
    fn renew(&self) {
        let path = self.certificate.display();
        let read = std::fs::read(&self.certificate)
            .and_then(|chain| std::fs::read(&self.key).map(|private| (chain, private)));
        let taken = read.and_then(|(chain, private)| {
            let held = self.held.0.read().unwrap_or_else(PoisonError::into_inner);
            if held.digest == digest_of(&chain, &private) {
                return Ok(None);
            }
            load(&chain, &private).map(Some)
        });
        match taken {
            Ok(None) => {}
            Ok(Some(loaded)) => {
                *self.held.0.write().unwrap_or_else(PoisonError::into_inner) = loaded;
                tracing::info!("the certificate {path} is renewed");
            }
            Err(error) => tracing::error!(%error, "the certificate {path} stays as it was"),
        }
    }
}

fn bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|source| Failure::Read { path: path.to_path_buf(), source })
}

fn load(chain: &[u8], private: &[u8]) -> io::Result<Loaded> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
    let certificates = certificates.map_err(|error| wrong(&error))?;
    let key = PrivateKeyDer::from_pem_slice(private).map_err(|error| wrong(&error))?;
    let shown = CertifiedKey::from_der(certificates, key, &provider::default_provider())
        .map_err(|error| wrong(&error))?;
    Ok(Loaded { digest: digest_of(chain, private), shown: Arc::new(shown) })
}

fn digest_of(chain: &[u8], private: &[u8]) -> Vec<u8> {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&(chain.len() as u64).to_le_bytes());
    context.update(chain);
    context.update(private);
    context.finish().as_ref().to_vec()
}

fn wrong(error: &dyn std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error.to_string())
}

#[cfg(test)]
mod tests;
