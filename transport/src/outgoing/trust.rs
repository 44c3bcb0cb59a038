//! Whom an outgoing connection believes: the authorities of a file, or those that the system trusts.

use std::path::Path;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

use crate::TlsError;
use crate::tls::{certificates, provider};

/// Where systems keep the bundle of their authorities: Debian and Alpine, Fedora, openSUSE, macOS and the BSDs.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

pub(super) fn client_config(authorities: Option<&[u8]>) -> Result<Arc<ClientConfig>, TlsError> {
    let roots = match authorities {
        Some(pem) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(pem, "authorities for outgoing requests")? {
                roots.add(certificate)?;
            }
            roots
        }
        None => of_system(),
    };
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Without a bundle nobody is trusted, and every request over TLS fails: a machine that pushes nothing needs none.
fn of_system() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let read = |path: &&str| std::fs::read(Path::new(path)).ok();
    let Some(pem) = BUNDLES.iter().find_map(read) else {
        tracing::info!("the system has no bundle of authorities; set push.authorities to push");
        return roots;
    };
    let all = certificates(&pem, "the system's authorities").unwrap_or_default();
    // Old bundles hold certificates that no verifier takes any more.
    let (taken, passed_over) = roots.add_parsable_certificates(all);
    tracing::debug!(taken, passed_over, "the system's authorities");
    roots
}
