//! TLS by a client that is not ours: with or without a certificate of its own.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A certificate and its key, PEM.
pub type Shown<'a> = (&'a [u8], &'a [u8]);

/// Connects to `address`, whose certificate `ca_pem` must vouch for, offers one protocol, and shows a certificate if it
/// has one and is asked.
///
/// # Errors
/// When the server is not trusted, or hangs up.
///
/// # Panics
/// When what the test made up is not PEM.
pub async fn connect(
    address: SocketAddr,
    ca_pem: &[u8],
    protocol: &str,
    shown: Option<Shown<'_>>,
) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::from(address.ip());
    connect_as(address, name, ca_pem, protocol, shown).await
}

/// The same, for a server of another name.
///
/// # Errors
/// When the server is not trusted, or hangs up.
///
/// # Panics
/// When what the test made up is not PEM.
pub async fn connect_as(
    address: SocketAddr,
    name: ServerName<'static>,
    ca_pem: &[u8],
    protocol: &str,
    shown: Option<Shown<'_>>,
) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(ca_pem).expect("the cluster's certificate");
    roots.add(certificate).expect("a certificate of an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider knows them")
        .with_root_certificates(roots);
    let mut config = match shown {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = CertificateDer::pem_slice_iter(certificate).collect::<Result<_, _>>();
            let key = PrivateKeyDer::from_pem_slice(key).expect("a key");
            builder.with_client_auth_cert(chain.expect("PEM"), key).expect("key and certificate")
        }
    };
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}
