//! Encryption of the doors: a certificate and its key, in PEM.

use std::{io, path::Path, sync::Arc};

use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

/// What takes encrypted connections.
pub type Acceptor = TlsAcceptor;

/// Reads a certificate, with those it was signed by, and its key.
///
/// # Errors
/// Where a file cannot be read or the two do not go together.
pub fn acceptor(certificate: &Path, key: &Path) -> io::Result<Acceptor> {
    let wrong = |error: &dyn std::fmt::Display| {
        io::Error::new(io::ErrorKind::InvalidInput, error.to_string())
    };
    let chain = CertificateDer::pem_file_iter(certificate).map_err(|error| wrong(&error))?;
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(|error| wrong(&error))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(&error))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(&error))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| wrong(&error))?;
    // What Flight's clients insist on, and PostgreSQL's where they begin encrypted.
    config.alpn_protocols = vec![b"h2".to_vec(), b"postgresql".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
