//! The certificates of a test cluster, as files.

use std::path::Path;

use transport::authority::Authority;

/// The authority of one test cluster, with its files below a folder.
pub struct Certificates {
    authority: Authority,
    cluster: String,
}

impl Certificates {
    /// Creates an authority for `cluster` and writes its certificate to `folder/ca.pem`.
    ///
    /// # Panics
    /// When the folder cannot be written.
    #[must_use]
    pub fn create(cluster: &str, folder: &Path) -> Self {
        let (authority, _) = Authority::create(cluster).expect("a fresh key signs itself");
        std::fs::write(folder.join("ca.pem"), authority.certificate_pem())
            .expect("writable folder");
        Self { authority, cluster: cluster.to_owned() }
    }

    /// The certificate that clients and nodes pin, PEM.
    #[must_use]
    pub fn ca_pem(&self) -> Vec<u8> {
        self.authority.certificate_pem().as_bytes().to_vec()
    }

    /// Writes what node `node` needs into `folder`.
    ///
    /// # Panics
    /// When the folder cannot be written.
    pub fn issue(&self, node: u64, folder: &Path) {
        let client = self.authority.issue_client_plane(&[]).expect("names are valid");
        let peer = self.authority.issue_node(&self.cluster, node).expect("names are valid");
        for (name, text) in [
            ("client.pem", &client.certificate_pem),
            ("client.key", &client.key_pem),
            ("peer.pem", &peer.certificate_pem),
            ("peer.key", &peer.key_pem),
        ] {
            std::fs::write(folder.join(name), text).expect("writable folder");
        }
    }

    /// A node's certificate and key, PEM: of any cluster and id that this authority can be made to sign.
    ///
    /// # Panics
    /// When the name cannot stand in a certificate.
    #[must_use]
    pub fn issued(&self, cluster: &str, node: u64) -> (Vec<u8>, Vec<u8>) {
        let issued = self.authority.issue_node(cluster, node).expect("names are valid");
        (issued.certificate_pem.into_bytes(), issued.key_pem.into_bytes())
    }
}
