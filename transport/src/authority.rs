//! The cluster's own certificate authority: creates it, and issues certificates for listeners and nodes.
//!
//! Everything is ECDSA P-256 and PEM. This file holds no state: whoever keeps the authority's key
//! decides who gets a certificate. Revocation is not here: a node that is no longer a member gets no
//! answer, whatever it shows.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType,
};

use crate::tls::{TlsError, certificates};

/// Why a certificate could not be made. Correct the input; nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A name or PEM that cannot be used.
    #[error("cannot make a certificate: {0}")]
    Unusable(#[from] rcgen::Error),
    /// A certificate's PEM cannot be read.
    #[error(transparent)]
    Pem(#[from] TlsError),
    /// The certificate is not the one of this cluster and key.
    #[error("this certificate belongs to another {0}")]
    Mismatch(&'static str),
    /// A public key is not what certificates of this cluster carry.
    #[error("a public key is an uncompressed point of P-256: 65 bytes, the first of them 4")]
    PublicKey,
}

/// A certificate or chain with its private key, both PEM.
#[derive(Clone)]
pub struct Issued {
    /// The certificate, PEM.
    pub certificate_pem: String,
    /// Its private key (PKCS#8), PEM. Secret.
    pub key_pem: String,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued")
            .field("certificate_pem", &self.certificate_pem)
            .finish_non_exhaustive()
    }
}

/// From when until when a certificate is good, milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The first moment.
    pub from_ms: u64,
    /// The last moment.
    pub until_ms: u64,
}

/// Who takes an authority's place.
#[derive(Debug)]
pub struct Successor {
    /// Its certificate, signed by itself, and its key.
    pub issued: Issued,
    /// Its certificate, signed by the authority before it: whoever trusts only that one comes to the new one by this.
    pub cross_pem: String,
}

/// A certificate authority that can sign.
pub struct Authority {
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

/// The name in a node's certificate on the peer plane: `node-<id>.<cluster>.synod`.
#[must_use]
pub fn node_name(cluster: &str, node: u64) -> String {
    format!("node-{node}.{cluster}.synod")
}

impl Authority {
    /// Creates the authority of a new cluster.
    ///
    /// # Errors
    /// When the cluster's name cannot stand in a certificate.
    pub fn create(cluster: &str) -> Result<(Self, Issued), AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let params = authority_params(cluster)?;
        let certificate_pem = params.self_signed(&key)?.pem();
        let issued =
            Issued { certificate_pem: certificate_pem.clone(), key_pem: key.serialize_pem() };
        let issuer = Issuer::new(params, key);
        Ok((Self { certificate_pem, issuer }, issued))
    }

    /// Opens the authority of `cluster` from its certificate and key.
    ///
    /// # Errors
    /// When either PEM cannot be read, or they do not belong to each other or to this cluster.
    pub fn from_pem(
        cluster: &str,
        certificate_pem: &str,
        key_pem: &str,
    ) -> Result<Self, AuthorityError> {
        let key = KeyPair::from_pem(key_pem)?;
        let certificate = certificates(certificate_pem.as_bytes(), "the cluster's authority")?;
        // What a certificate says of its key and its name stands in it literally, as DER.
        if !contains(&certificate[0], &key.subject_public_key_info()) {
            return Err(AuthorityError::Mismatch("key"));
        }
        if !contains(&certificate[0], authority_name(cluster).as_bytes()) {
            return Err(AuthorityError::Mismatch("cluster"));
        }
        let issuer = Issuer::new(authority_params(cluster)?, key);
        Ok(Self { certificate_pem: certificate_pem.to_owned(), issuer })
    }

    /// The authority's own certificate, PEM: what clients and nodes pin.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// A certificate for a client plane: 127.0.0.1, ::1, localhost and the given host names or addresses.
    ///
    /// # Errors
    /// When a name cannot stand in a certificate.
    pub fn issue_client_plane(&self, names: &[String]) -> Result<Issued, AuthorityError> {
        self.issue(client_plane(names)?)
    }

    /// A certificate for one node on the peer plane, for both directions of a connection.
    ///
    /// # Errors
    /// When the cluster's name cannot stand in a certificate.
    pub fn issue_node(&self, cluster: &str, node: u64) -> Result<Issued, AuthorityError> {
        self.issue(peer_plane(cluster, node)?)
    }

    /// Draws an authority for the same cluster that shall take this one's place.
    ///
    /// # Errors
    /// When the cluster's name cannot stand in a certificate.
    pub fn succeed(&self, cluster: &str, validity: Validity) -> Result<Successor, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = authority_params(cluster)?;
        limit(&mut params, validity);
        let certificate_pem = params.self_signed(&key)?.pem();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.use_authority_key_identifier_extension = true;
        let cross_pem = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Successor {
            issued: Issued { certificate_pem, key_pem: key.serialize_pem() },
            cross_pem,
        })
    }

    /// The certificates of a node that holds its key itself: one for the client plane under these names, one for the
    /// peer plane.
    ///
    /// # Errors
    /// When a name cannot stand in a certificate.
    pub fn certify(
        &self,
        cluster: &str,
        node: u64,
        key: &PublicKey,
        names: &[String],
        validity: Validity,
    ) -> Result<Certified, AuthorityError> {
        let client_pem = self.sign(client_plane(names)?, key, Some(validity))?;
        let peer_pem = self.sign(peer_plane(cluster, node)?, key, Some(validity))?;
        Ok(Certified { client_pem, peer_pem })
    }

    fn issue(&self, subject: Subject) -> Result<Issued, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate_pem = self.sign(subject, &key, None)?;
        Ok(Issued { certificate_pem, key_pem: key.serialize_pem() })
    }

    fn sign(
        &self,
        (name, names, uses): Subject,
        key: &impl PublicKeyData,
        validity: Option<Validity>,
    ) -> Result<String, AuthorityError> {
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        if let Some(validity) = validity {
            limit(&mut params, validity);
        }
        params.distinguished_name = named(&name);
        params.subject_alt_names = names;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = uses;
        params.use_authority_key_identifier_extension = true;
        Ok(params.signed_by(key, &self.issuer)?.pem())
    }
}

type Subject = (String, Vec<SanType>, Vec<ExtendedKeyUsagePurpose>);

fn client_plane(names: &[String]) -> Result<Subject, AuthorityError> {
    let mut all = vec![
        SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        SanType::IpAddress(IpAddr::V6(Ipv6Addr::LOCALHOST)),
        SanType::DnsName("localhost".try_into()?),
    ];
    for name in names {
        let name = match name.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(name.as_str().try_into()?),
        };
        if !all.contains(&name) {
            all.push(name);
        }
    }
    Ok(("synod client plane".to_owned(), all, vec![ExtendedKeyUsagePurpose::ServerAuth]))
}

fn peer_plane(cluster: &str, node: u64) -> Result<Subject, AuthorityError> {
    let name = node_name(cluster, node);
    let names = vec![SanType::DnsName(name.as_str().try_into()?)];
    let both = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    Ok((name, names, both))
}

/// The certificates of one node, PEM.
#[derive(Debug, Clone)]
pub struct Certified {
    /// For the client plane.
    pub client_pem: String,
    /// For the peer plane.
    pub peer_pem: String,
}

/// Bytes of an uncompressed point of P-256.
const POINT_BYTES: usize = 65;

/// The public half of a node's key, as it travels to whoever signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey([u8; POINT_BYTES]);

impl PublicKey {
    /// A key from the bytes of an uncompressed point of P-256 (SEC 1, 2.3.3).
    ///
    /// # Errors
    /// When these are not 65 bytes that begin with 4. Whether the point lies on the curve is found by whoever uses it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, AuthorityError> {
        match <[u8; POINT_BYTES]>::try_from(bytes) {
            Ok(point) if point[0] == 4 => Ok(Self(point)),
            _ => Err(AuthorityError::PublicKey),
        }
    }

    /// The bytes of the point.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

/// A node's own key: made where it is used, and never sent.
#[derive(Debug)]
pub struct NodeKey(KeyPair);

impl NodeKey {
    /// Draws a key.
    ///
    /// # Errors
    /// When the system has no entropy.
    pub fn draw() -> Result<Self, AuthorityError> {
        Ok(Self(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?))
    }

    /// Reads a key that [`NodeKey::to_pem`] wrote.
    ///
    /// # Errors
    /// When the text is no such key.
    pub fn from_pem(pem: &str) -> Result<Self, AuthorityError> {
        let key = KeyPair::from_pem(pem)?;
        if !key.is_compatible(&PKCS_ECDSA_P256_SHA256) {
            return Err(AuthorityError::PublicKey);
        }
        Ok(Self(key))
    }

    /// The key as PKCS#8, PEM. Secret.
    #[must_use]
    pub fn to_pem(&self) -> String {
        self.0.serialize_pem()
    }

    /// Its public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey::from_bytes(self.0.der_bytes()).expect("a key of P-256 is such a point")
    }
}

fn authority_name(cluster: &str) -> String {
    format!("synod cluster {cluster}")
}

fn authority_params(cluster: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name = named(&authority_name(cluster));
    // May sign certificates of nodes and listeners, and vouch for the one that takes its place; that is all.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn limit(params: &mut CertificateParams, validity: Validity) {
    let at = |ms| rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_millis(ms);
    (params.not_before, params.not_after) = (at(validity.from_ms), at(validity.until_ms));
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_survives_its_files() {
        let (created, files) = Authority::create("north").unwrap();
        let opened = Authority::from_pem("north", &files.certificate_pem, &files.key_pem).unwrap();
        assert_eq!(opened.certificate_pem(), created.certificate_pem());
        let node = opened.issue_node("north", 3).unwrap();
        assert!(node.certificate_pem.contains("BEGIN CERTIFICATE"));
        assert!(!format!("{node:?}").contains("PRIVATE"));
    }

    #[test]
    fn a_key_of_another_authority_is_noticed() {
        let (_, north) = Authority::create("north").unwrap();
        let (_, south) = Authority::create("south").unwrap();
        let mixed = Authority::from_pem("north", &north.certificate_pem, &south.key_pem);
        assert!(matches!(mixed, Err(AuthorityError::Mismatch("key"))), "{mixed:?}");
        let renamed = Authority::from_pem("south", &north.certificate_pem, &north.key_pem);
        assert!(matches!(renamed, Err(AuthorityError::Mismatch("cluster"))), "{renamed:?}");
    }

    #[test]
    fn names_that_cannot_stand_in_a_certificate_are_refused() {
        let (authority, _) = Authority::create("north").unwrap();
        assert!(authority.issue_client_plane(&["chat.example.org".into(), "::1".into()]).is_ok());
        assert!(authority.issue_client_plane(&["grüße".into()]).is_err());
    }

    #[test]
    fn a_node_that_keeps_its_key_is_certified_by_the_public_half() {
        let (authority, _) = Authority::create("north").unwrap();
        let key = NodeKey::draw().unwrap();
        let again = NodeKey::from_pem(&key.to_pem()).unwrap();
        assert_eq!(again.public(), key.public());
        let names = ["chat.example.org".to_owned()];
        let validity = Validity { from_ms: 0, until_ms: 1_900_000_000_000 };
        let certified = authority.certify("north", 7, &key.public(), &names, validity).unwrap();
        for pem in [&certified.client_pem, &certified.peer_pem] {
            let der = certificates(pem.as_bytes(), "a node").unwrap();
            assert!(contains(&der[0], key.public().as_bytes()), "it carries the node's key");
        }
        assert!(matches!(PublicKey::from_bytes(&[4; 64]), Err(AuthorityError::PublicKey)));
        assert!(matches!(PublicKey::from_bytes(&[2; 65]), Err(AuthorityError::PublicKey)));
    }

    #[test]
    fn certificates_and_successors_are_good_for_as_long_as_they_are_told() {
        let (authority, _) = Authority::create("north").unwrap();
        let validity = Validity { from_ms: 1_600_000_000_000, until_ms: 1_900_000_000_000 };
        let key = NodeKey::draw().unwrap();
        let certified = authority.certify("north", 7, &key.public(), &[], validity).unwrap();
        let next = authority.succeed("north", validity).unwrap();
        let own = &next.issued.certificate_pem;
        for pem in [&certified.client_pem, &certified.peer_pem, own, &next.cross_pem] {
            assert_eq!(crate::expires_at_ms(pem.as_bytes()), Some(validity.until_ms));
        }
        Authority::from_pem("north", own, &next.issued.key_pem).expect("it can sign");
        assert_ne!(own, &next.cross_pem);
    }

    #[test]
    fn a_node_is_named_by_cluster_and_number() {
        assert_eq!(node_name("north", 7), "node-7.north.synod");
    }
}
