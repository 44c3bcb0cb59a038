//! What a folder may and may not say about who a node is.

use proptest::prelude::*;

use super::*;
use crate::clock::{ManualClock, SeededEntropy};

fn config(folder: &Path) -> Config {
    let text = "[listen]\nclient = \"127.0.0.1:7400\"\npeer = \"127.0.0.1:7401\"\n";
    let config = format!("data = \"data\"\n{text}");
    Config::parse(&config, folder).expect("a legal file")
}

fn founded(folder: &Path) -> Founded {
    let (clock, entropy) = (ManualClock::at(1), SeededEntropy::new(7));
    found(&config(folder), 2, &clock, &entropy).expect("an empty folder")
}

#[test]
fn a_founded_folder_says_who_it_is_and_is_founded_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let founded = founded(folder.path());
    let mut config = config(folder.path());
    assert_eq!(adopt(&mut config).expect("it is somebody"), []);
    assert_eq!((config.node, config.cluster.id.as_str()), (1, "synod"));
    let again = found(&config, 2, &ManualClock::at(1), &SeededEntropy::new(8));
    assert!(matches!(again, Err(IdentityError::Known { node: 1, .. })), "{again:?}");
    let kept = Founding::load(&config).expect("readable").expect("not founded yet");
    assert_eq!(kept.door.join_tokens[0].secret, founded.join.fingerprint());
    assert_eq!(kept.door.claims[0].secret, print(founded.claim.as_bytes()));
    Founding::forget(&config);
    assert!(Founding::load(&config).expect("readable").is_none(), "the key is in group 0 alone");
}

#[test]
fn only_the_owner_reads_what_is_secret() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("a folder");
    founded(folder.path());
    let files = Files::below(&folder.path().join("data"));
    for path in [&files.key, &files.founding] {
        let mode = fs::metadata(path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}", path.display());
    }
}

#[test]
fn what_somebody_will_paste_is_no_option() {
    for seed in 0..256 {
        let secret = draw_secret(&SeededEntropy::new(seed));
        assert!(secret.starts_with("sc1."), "{secret}");
    }
}

#[test]
fn a_token_is_read_as_it_was_shown_and_shows_itself_to_no_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let token = founded(folder.path()).join;
    let text = token.reveal();
    assert_eq!(JoinToken::parse(&format!(" {text}\n")).expect("pasted with its newline"), token);
    let authority = fs::read_to_string(Files::below(&folder.path().join("data")).authority);
    let lines = |pem: &str| pem.lines().collect::<String>();
    assert_eq!(lines(&token.authority_pem()), lines(&authority.expect("readable")));
    let secret = text.split('.').nth(1).expect("a secret");
    assert!(!format!("{token:?}").contains(secret));
}

#[test]
fn a_node_is_known_by_its_key_as_long_as_it_has_its_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    founded(folder.path());
    let config = config(folder.path());
    let entropy = SeededEntropy::new(1);
    let first = fingerprint(&config, &entropy).expect("it has a key");
    assert_eq!(fingerprint(&config, &entropy).expect("it has a key"), first);
    let other = tempfile::tempdir().expect("a folder");
    founded(other.path());
    assert_ne!(fingerprint(&self::config(other.path()), &entropy).expect("a key"), first);
}

#[test]
fn what_no_version_wrote_is_refused_with_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    founded(folder.path());
    let data = folder.path().join("data");
    let path = Files::below(&data).node;
    let foreign = r#"{"schema":"synod/identity/v9","cluster":"x","node":1,"peers":[]}"#;
    for wrong in ["", "{}", "[]", foreign] {
        fs::write(&path, wrong).expect("writable");
        let refused = Identity::load(&data).expect_err("no identity").to_string();
        assert!(refused.contains("node.json"), "{refused}");
    }
}

#[test]
fn nobody_is_told_how_to_become_somebody() {
    let folder = tempfile::tempdir().expect("a folder");
    let refused = adopt(&mut config(folder.path())).expect_err("nobody");
    assert!(refused.to_string().contains("synod init"), "{refused}");
}

proptest! {
    #[test]
    fn no_text_makes_a_token_panic(text in ".{0,80}", tail in "[A-Za-z0-9_.-]{0,80}") {
        let _ = JoinToken::parse(&text);
        let _ = JoinToken::parse(&format!("sj1.{tail}"));
    }
}
