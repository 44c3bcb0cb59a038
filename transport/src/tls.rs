//! TLS for the client plane and for those who dial it: one provider (ring), TLS 1.3 only.
//!
//! The provider is always given explicitly: a default that depends on which crates happen to be in the
//! build is no choice at all. The peer plane has its own rules (both sides show certificates).

use std::sync::Arc;

use parking_lot::RwLock;
use rustls::{
    RootCertStore,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use crate::dial::Endpoints;

/// ALPN of the native protocol over QUIC.
pub const ALPN_SYNOD: &[u8] = b"synod/1";
/// ALPN of HTTP/3, which carries WebTransport.
pub const ALPN_H3: &[u8] = b"h3";
const ALPN_H2: &[u8] = b"h2";
const ALPN_HTTP11: &[u8] = b"http/1.1";

/// Why certificates or keys could not be used. Nothing was sent; correct the files first.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file holds no usable certificate or key.
    #[error("cannot read {what} from PEM: {detail}")]
    Pem {
        /// What was looked for.
        what: &'static str,
        /// What the parser said.
        detail: String,
    },
    /// The certificate and key do not make a usable identity.
    #[error("TLS refuses this identity: {0}")]
    Rustls(#[from] rustls::Error),
}

/// The certificate chain and key that a listener shows. Clones are one: what [`ServerIdentity::replace`] gives to one of them,
/// all show from the next handshake on; connections that stand are not touched.
#[derive(Debug, Clone)]
pub struct ServerIdentity {
    shown: Arc<Shown>,
}

#[derive(Debug)]
struct Shown(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().clone())
    }
}

impl ServerIdentity {
    /// Reads a chain (own certificate first) and its private key (PKCS#8, SEC1 or PKCS#1) from PEM.
    ///
    /// # Errors
    /// [`TlsError::Pem`] when either holds nothing usable, [`TlsError::Rustls`] when they do not belong together.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let shown = Shown(RwLock::new(certified(chain, key)?));
        Ok(Self { shown: Arc::new(shown) })
    }

    /// Shows another chain and key from now on.
    ///
    /// # Errors
    /// As [`ServerIdentity::from_pem`]; what was shown before goes on being shown.
    pub fn replace(&self, chain: &[u8], key: &[u8]) -> Result<(), TlsError> {
        *self.shown.0.write() = certified(chain, key)?;
        Ok(())
    }

    /// What the TCP listener shows: HTTP/2 and HTTP/1.1.
    pub(crate) fn tcp_config(&self) -> Result<Arc<rustls::ServerConfig>, TlsError> {
        Ok(Arc::new(self.config(&[ALPN_H2, ALPN_HTTP11])?))
    }

    /// What the UDP listener shows: the native protocol and HTTP/3. No early data: it can be replayed.
    pub(crate) fn quic_config(&self) -> Result<rustls::ServerConfig, TlsError> {
        self.config(&[ALPN_SYNOD, ALPN_H3])
    }

    fn config(&self, protocols: &[&[u8]]) -> Result<rustls::ServerConfig, TlsError> {
        let mut config = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_cert_resolver(self.shown.clone());
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(config)
    }
}

fn certified(chain: &[u8], key: &[u8]) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = certificates(chain, "a certificate chain")?;
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|error| TlsError::Pem { what: "a private key", detail: error.to_string() })?;
    Ok(Arc::new(CertifiedKey::from_der(chain, key, &provider())?))
}

/// What a client trusts: exactly one set of certificate authorities. Cheap to clone; all clones share
/// their UDP sockets and resumption tickets.
#[derive(Debug, Clone)]
pub struct ClientTls {
    pub(crate) inner: Arc<ClientTlsInner>,
}

#[derive(Debug)]
pub(crate) struct ClientTlsInner {
    /// For TCP: HTTP/1.1.
    pub(crate) tcp: Arc<rustls::ClientConfig>,
    /// For QUIC: the native protocol.
    pub(crate) quic: Arc<rustls::ClientConfig>,
    /// The QUIC endpoints of these clones, made when first dialled.
    pub(crate) endpoints: Endpoints,
}

impl ClientTls {
    /// Trusts the authorities of this PEM file and nobody else.
    ///
    /// # Errors
    /// [`TlsError::Pem`] when the file holds no usable certificate.
    pub fn from_ca_pem(pem: &[u8]) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(pem, "a certificate authority")? {
            roots.add(certificate)?;
        }
        let roots = Arc::new(roots);
        let inner = ClientTlsInner {
            tcp: client_config(&roots, ALPN_HTTP11)?,
            quic: client_config(&roots, ALPN_SYNOD)?,
            endpoints: Endpoints::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }
}

fn client_config(
    roots: &Arc<RootCertStore>,
    alpn: &[u8],
) -> Result<Arc<rustls::ClientConfig>, TlsError> {
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(Arc::clone(roots))
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    Ok(Arc::new(config))
}

/// The one provider of cryptography in this process.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// All certificates of a PEM file; at least one.
pub(crate) fn certificates(
    pem: &[u8],
    what: &'static str,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| TlsError::Pem { what, detail: error.to_string() })?;
    if all.is_empty() {
        return Err(TlsError::Pem { what, detail: "no certificate in it".into() });
    }
    Ok(all)
}
