//! Who a node is: certificates of the cluster's authority, checked at both ends.
//!
//! A node's certificate carries the name `node-<id>.<cluster>.synod`. The dialling end asks TLS for
//! exactly that name; the listening end asks which known peer the certificate names. Nothing that a
//! message says about its sender is ever looked at, because no message says anything.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::{ParsedCertificate, WebPkiClientVerifier},
};

use super::Error;

/// This node's certificate and key, and the authority that vouches for all nodes of the cluster.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    authority: Vec<CertificateDer<'static>>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("chain", &self.chain.len()).finish_non_exhaustive()
    }
}

impl Identity {
    /// Reads PEM text: the node's chain (leaf first), its private key, the authority's certificate.
    pub fn from_pem(chain: &[u8], key: &[u8], authority: &[u8]) -> Result<Identity, Error> {
        let certificates = |pem: &[u8], what: &str| {
            let list: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem)
                .collect::<Result<_, _>>()
                .map_err(|e| Error::Identity(format!("{what}: {e}")))?;
            if list.is_empty() {
                return Err(Error::Identity(format!("{what}: no certificate in the file")));
            }
            Ok(list)
        };
        Ok(Identity {
            chain: certificates(chain, "certificate")?,
            key: PrivateKeyDer::from_pem_slice(key)
                .map_err(|e| Error::Identity(format!("key: {e}")))?,
            authority: certificates(authority, "authority")?,
        })
    }

    /// The TLS settings of the listening and of the dialling end.
    pub(super) fn tls(&self) -> Result<(Arc<ServerConfig>, Arc<ClientConfig>), Error> {
        let unusable = |e: &dyn std::fmt::Display| Error::Identity(e.to_string());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        for certificate in &self.authority {
            roots.add(certificate.clone()).map_err(|e| unusable(&e))?;
        }
        let roots = Arc::new(roots);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .map_err(|e| unusable(&e))?;
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|e| unusable(&e))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.chain.clone(), self.key.clone_key())
            .map_err(|e| unusable(&e))?;
        server.alpn_protocols = vec![b"h2".to_vec()];
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|e| unusable(&e))?
            .with_root_certificates(roots)
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())
            .map_err(|e| unusable(&e))?;
        client.alpn_protocols = vec![b"h2".to_vec()];
        Ok((Arc::new(server), Arc::new(client)))
    }

    /// Whether this certificate is the one of `node` in `cluster`.
    pub(super) fn is_of(&self, node: u64, cluster: &str) -> bool {
        names(&self.chain, node, cluster)
    }
}

/// The name of a node in its certificate. `None` when the cluster's name is no host name label.
pub(super) fn server_name(node: u64, cluster: &str) -> Option<ServerName<'static>> {
    ServerName::try_from(format!("node-{node}.{cluster}.synod")).ok()
}

/// Whether the leaf of a verified chain names this node of this cluster.
pub(super) fn names(chain: &[CertificateDer<'_>], node: u64, cluster: &str) -> bool {
    let Some(leaf) = chain.first() else {
        return false;
    };
    let Ok(leaf) = ParsedCertificate::try_from(leaf) else {
        return false;
    };
    let Some(name) = server_name(node, cluster) else {
        return false;
    };
    rustls::client::verify_server_name(&leaf, &name).is_ok()
}
