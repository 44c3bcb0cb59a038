//! The certificates that the cluster gave this node: which it holds, when it needs others, and how it gets them.
//!
//! Every node has the authority's key, in group 0's state, and signs for itself, always for the same key of its own: a
//! node is its key. Each file is replaced whole, and what lies on disk is good together at every moment: whom to trust is
//! written before what to show. Nodes that are named in files bring their own and are left alone.

use std::fs;
use std::path::Path;
use std::time::Duration;

use cluster_config::{ClusterConfig, Founder, Held, NodeId};
use transport::authority::{Authority, Validity};

use super::{Files, IdentityError, advertised, own_key, write_private};
use crate::config::Config;

/// How long a node's certificate is good: what is stolen with a disk is worth nothing next season.
const LIFE: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// With so much left it gets another: time enough to notice that it did not, and for `SynodCertificateEnds` to be heard.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// A certificate is good since a day ago, so that clocks may differ.
const SKEW: Duration = Duration::from_secs(24 * 60 * 60);
/// How long the authority that takes another's place is good.
const AUTHORITY_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// What a look came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    /// What this node holds now.
    pub(crate) held: Held,
    /// Files were replaced: what is shown and trusted must be read anew.
    pub(crate) changed: bool,
}

/// Makes what lies below the data folder what the cluster wishes, as of `now_ms`. `None` when the certificates are none of the
/// cluster's business: they come from files, or nobody here can sign.
///
/// # Errors
/// When a file cannot be read or written, or the authority cannot be used.
pub(crate) fn keep(
    config: &Config,
    cluster: &ClusterConfig,
    now_ms: u64,
) -> Result<Option<Kept>, IdentityError> {
    let (id, door) = (NodeId(config.node), &cluster.door);
    let Some(node) = cluster.nodes.get(&id).filter(|_| !config.is_formed_by_file()) else {
        return Ok(None);
    };
    let Some(authority) = &door.authority else { return Ok(None) };
    let files = Files::below(&config.data);
    let before = held(&files)?;
    let trusted = door.trusted();
    let trusts: Vec<u32> = trusted.iter().map(|(generation, _)| *generation).collect();
    if before.as_ref().is_none_or(|before| before.trusts != trusts) {
        let all: String = trusted.iter().map(|(_, pem)| format!("{}\n", pem.trim_end())).collect();
        replace(&files.authority, &all)?;
    }
    let asked = door.trust.asked.get(&id).copied();
    let mut now = match &before {
        Some(before) if !is_due(before, door.trust.generation, asked, now_ms) => before.clone(),
        _ => {
            // Not before the wish, whatever this node's clock says.
            let issued_at_ms = now_ms.max(asked.unwrap_or(0));
            let validity = Validity {
                from_ms: now_ms.saturating_sub(millis(SKEW)),
                until_ms: now_ms + millis(LIFE),
            };
            let signer = Authority::from_pem(
                cluster.cluster.as_str(),
                &authority.certificate,
                &authority.key,
            )?;
            let (addresses, zone) = (node.addresses.clone(), node.zone.clone());
            let names = Founder { addresses, zone, weight: node.weight };
            let names = advertised::names(config, &names, None);
            let key = own_key(&files.key)?.public();
            let certified =
                signer.certify(cluster.cluster.as_str(), id.0, &key, &names, validity)?;
            let cross = authority.cross.as_deref().unwrap_or_default();
            replace(&files.peer_certificate, &certified.peer_pem)?;
            replace(&files.client_certificate, &format!("{}{cross}", certified.client_pem))?;
            let (issuer, expires_at_ms) = (door.trust.generation, validity.until_ms);
            Held { issuer, trusts: Vec::new(), issued_at_ms, expires_at_ms }
        }
    };
    now.trusts = trusts;
    let changed = before.as_ref() != Some(&now);
    if changed {
        let text = serde_json::to_string_pretty(&now).expect("plain fields");
        replace(&files.held, &text)?;
    }
    Ok(Some(Kept { held: now, changed }))
}

/// Whether a node that holds this needs another certificate.
fn is_due(held: &Held, generation: u32, asked: Option<u64>, now_ms: u64) -> bool {
    held.issuer != generation
        || asked.is_some_and(|asked| asked > held.issued_at_ms)
        || held.expires_at_ms < now_ms + millis(RENEW_BEFORE)
}

/// For how long the authority that is drawn now shall be good.
pub(crate) fn of_authority(now_ms: u64) -> Validity {
    let from_ms = now_ms.saturating_sub(millis(SKEW));
    Validity { from_ms, until_ms: now_ms + millis(AUTHORITY_LIFE) }
}

/// For how long a node that is let in now is given its first certificates; its own look replaces them.
pub(crate) fn of_newcomer(now_ms: u64) -> Validity {
    Validity { from_ms: now_ms.saturating_sub(millis(SKEW)), until_ms: now_ms + millis(LIFE) }
}

fn held(files: &Files) -> Result<Option<Held>, IdentityError> {
    let path = files.held.clone();
    match fs::read(&path) {
        // What cannot be read is as good as nothing: everything is made anew.
        Ok(text) => Ok(serde_json::from_slice(&text).ok()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(IdentityError::File { path, source }),
    }
}

/// Puts a file in the place of another, whole and durably.
fn replace(path: &Path, text: &str) -> Result<(), IdentityError> {
    let new = path.with_extension("new");
    write_private(&new, text)?;
    let folder = path.parent().expect("it lies in the identity's folder");
    fs::rename(&new, path)
        .and_then(|()| fs::File::open(folder)?.sync_all())
        .map_err(|source| IdentityError::File { path: path.to_owned(), source })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).expect("years fit")
}

#[cfg(test)]
mod tests {
    use cluster_config::{Command, Rotation, apply};

    use super::*;
    use crate::clock::{SeededEntropy, SystemClock};
    use crate::identity::{Founding, found};

    const DAY: u64 = 24 * 60 * 60 * 1000;

    /// A founded node and its cluster.
    fn founded(folder: &Path) -> (Config, ClusterConfig) {
        let config = Config::parse(
            "data = \"data\"\n[listen]\nclient = \"127.0.0.1:7400\"\npeer = \"127.0.0.1:7401\"\n",
            folder,
        )
        .expect("good");
        found(&config, 2, &SystemClock, &SeededEntropy::new(1)).expect("an empty folder");
        let founding = Founding::load(&config).expect("readable").expect("just founded");
        let config = Config { node: 1, ..config };
        let bootstrap = Command::Bootstrap {
            cluster: cluster_config::ClusterId::parse("synod").expect("legal"),
            nodes: [(NodeId(1), founding.node)].into(),
            shards: 1,
            replication: 1,
            token_key: cluster_config::TokenKey {
                id: 1,
                seed: [1; 32],
                created_at_ms: 0,
                retired: false,
            },
            door: founding.door,
        };
        let mut cluster = None;
        apply(&mut cluster, 0, "test", &bootstrap);
        (config, cluster.expect("founded"))
    }

    fn look(config: &Config, cluster: &ClusterConfig, now_ms: u64) -> Kept {
        keep(config, cluster, now_ms).expect("writable").expect("the cluster's own")
    }

    fn read(path: &Path) -> String {
        fs::read_to_string(path).expect("readable")
    }

    #[test]
    fn a_certificate_is_renewed_a_month_before_it_ends_or_when_an_operator_asks() {
        let folder = tempfile::tempdir().expect("a folder");
        let (config, mut cluster) = founded(folder.path());
        let begun = 1_700_000_000_000;
        let first = look(&config, &cluster, begun);
        assert_eq!(first.held.expires_at_ms, begun + 90 * DAY);
        assert!(first.changed && !look(&config, &cluster, begun + 59 * DAY).changed);
        let files = Files::below(&config.data);
        let shown = read(&files.client_certificate);
        let second = look(&config, &cluster, begun + 61 * DAY);
        assert!(second.changed && second.held.expires_at_ms == begun + 151 * DAY);
        assert_ne!(read(&files.client_certificate), shown);
        // The operator's clock is an hour ahead of this node's.
        let asked = begun + 62 * DAY;
        cluster.door.trust.asked.insert(NodeId(1), asked);
        let third = look(&config, &cluster, asked - DAY / 24);
        assert!(third.changed && third.held.issued_at_ms == asked);
        assert!(!look(&config, &cluster, asked).changed, "once is enough");
    }

    #[test]
    fn both_authorities_are_trusted_while_one_takes_the_others_place_and_old_clients_still_find_a_way()
     {
        let folder = tempfile::tempdir().expect("a folder");
        let (config, mut cluster) = founded(folder.path());
        let (files, now) = (Files::below(&config.data), 1_700_000_000_000);
        let first = look(&config, &cluster, now);
        let old = cluster.door.authority.clone().expect("founded with one");
        let signer = Authority::from_pem("synod", &old.certificate, &old.key).expect("its own");
        let next = signer.succeed("synod", of_authority(now)).expect("drawn");
        let next = cluster_config::AuthorityKey {
            certificate: next.issued.certificate_pem,
            key: next.issued.key_pem,
            cross: Some(next.cross_pem),
        };
        cluster.door.trust.held.insert(NodeId(1), first.held);
        let shown = read(&files.peer_certificate);
        let mut world = Some(cluster);
        let mut step = |command: &Command| {
            assert!(apply(&mut world, now, "test", command).event.is_some());
            world.clone().expect("a cluster")
        };
        let spreading = step(&Command::RotateAuthority { next: next.clone() });
        let kept = look(&config, &spreading, now);
        assert_eq!((kept.held.issuer, &kept.held.trusts[..]), (0, &[0, 1][..]));
        let both = read(&files.authority);
        assert!(both.contains(old.certificate.trim()) && both.contains(next.certificate.trim()));
        assert_eq!(
            read(&files.peer_certificate),
            shown,
            "nobody shows what others do not trust yet"
        );
        let issuing = step(&Command::HoldCertificate { node: NodeId(1), held: kept.held });
        assert!(matches!(issuing.door.trust.rotation, Some(Rotation::Issuing { .. })));
        let kept = look(&config, &issuing, now);
        assert_eq!((kept.held.issuer, &kept.held.trusts[..]), (1, &[0, 1][..]));
        assert_ne!(read(&files.peer_certificate), shown);
        let chain = read(&files.client_certificate);
        assert!(
            chain.ends_with(next.cross.as_deref().expect("there")),
            "for clients of the old one"
        );
        let done = step(&Command::HoldCertificate { node: NodeId(1), held: kept.held });
        assert_eq!(look(&config, &done, now).held.trusts, [1]);
        assert!(!read(&files.authority).contains(old.certificate.trim()), "it is dropped");
        assert!(!look(&config, &done, now).changed);
    }
}
