//! The laws of the two machines.

use super::*;

fn user(name: &str) -> UserId {
    UserId::parse(name).expect("legal")
}

fn conversation(number: u16) -> ConversationId {
    let mut bytes = [0; 16];
    bytes[14..].copy_from_slice(&number.to_be_bytes());
    ConversationId::from_bytes(&bytes).expect("slot 0")
}

fn create(owner: &str) -> AssetCommand {
    AssetCommand::Create {
        owner: user(owner),
        size: 5,
        sha256: Digest([1; 32]),
        media_type: "image/png".to_owned(),
        holders: BTreeSet::from([Holder(1), Holder(2)]),
    }
}

fn made() -> Option<Asset> {
    let mut asset = None;
    let applied = apply_asset(&mut asset, Timestamp(7), &create("alice"));
    assert!(matches!(applied.outcome, Outcome::Accepted(_)) && applied.changed);
    asset
}

fn grant(by: &str, number: u16) -> AssetCommand {
    AssetCommand::Grant { conversation: conversation(number), by: user(by) }
}

#[test]
fn a_record_is_made_once_and_the_same_creation_is_answered_again() {
    let mut asset = made();
    let repeated = apply_asset(&mut asset, Timestamp(9), &create("alice"));
    assert_eq!(
        repeated.outcome,
        Outcome::Duplicate(Place { at: Timestamp(7), ..Place::default() })
    );
    let other = apply_asset(&mut asset, Timestamp(9), &create("bob"));
    assert!(matches!(other.outcome, Outcome::Conflict(_)));
    assert_eq!(asset, made(), "neither changed anything");
}

#[test]
fn only_the_owner_hands_on_first_and_a_grant_stays() {
    let mut asset = made();
    let early = apply_asset(&mut asset, Timestamp(8), &grant("bob", 1));
    assert_eq!(early.outcome, Outcome::Refused(Refusal::AssetNotAccessible));
    assert!(apply_asset(&mut asset, Timestamp(8), &grant("alice", 1)).changed);
    assert!(apply_asset(&mut asset, Timestamp(8), &grant("bob", 2)).changed);
    let repeated = apply_asset(&mut asset, Timestamp(9), &grant("bob", 2));
    assert!(matches!(repeated.outcome, Outcome::Accepted(_)) && !repeated.changed);
    assert_eq!(asset.expect("there").grants.len(), 2);
}

#[test]
fn grants_are_bounded() {
    let mut asset = made();
    for number in 0..GRANTS_MAX {
        let number = u16::try_from(number).expect("a small limit");
        assert!(apply_asset(&mut asset, Timestamp(8), &grant("alice", number)).changed);
    }
    let beyond = apply_asset(&mut asset, Timestamp(8), &grant("alice", u16::MAX));
    let limit = GRANTS_MAX as u64;
    assert_eq!(beyond.outcome, Outcome::Refused(Refusal::TooManyGrants { limit }));
}

#[test]
fn what_was_sent_or_is_young_is_not_deleted() {
    let delete = |before| AssetCommand::Delete { created_before: Timestamp(before) };
    let mut asset = made();
    let refused = Outcome::Refused(Refusal::NotAllowed);
    assert_eq!(apply_asset(&mut asset, Timestamp(9), &delete(7)).outcome, refused);
    assert!(apply_asset(&mut asset.clone(), Timestamp(9), &delete(8)).changed);
    apply_asset(&mut asset, Timestamp(8), &grant("alice", 1));
    assert_eq!(apply_asset(&mut asset, Timestamp(9), &delete(100)).outcome, refused);
    let mut nothing = None;
    let missing = apply_asset(&mut nothing, Timestamp(9), &delete(100));
    assert_eq!(missing.outcome, Outcome::Refused(Refusal::NoSuchAsset));
}

#[test]
fn a_quota_counts_each_asset_once_and_gives_back_what_it_took() {
    let (mut storage, mut one, mut other) = (Storage::default(), None, None);
    let reserve = |size| StorageCommand::Reserve { size, limit: 10_000 };
    let at = Timestamp(3);
    let mut apply = |kept: &mut Option<Kept>, command: StorageCommand| {
        let outcome = apply_storage(&mut storage, kept, at, &command);
        (outcome, storage)
    };
    let accepted = Outcome::Accepted(Place { at, ..Place::default() });
    let (outcome, after) = apply(&mut one, reserve(6_000));
    assert_eq!((outcome, after), (accepted.clone(), Storage { bytes: 6_000, assets: 1 }));
    let (outcome, after) = apply(&mut one, reserve(6_000));
    assert!(matches!(outcome, Outcome::Duplicate(_)) && after.assets == 1);
    let (outcome, _) = apply(&mut other, reserve(1));
    let limit = 10_000;
    assert_eq!(outcome, Outcome::Refused(Refusal::QuotaExceeded { limit }), "a block at least");
    let (_, after) = apply(&mut other, StorageCommand::Release);
    assert_eq!(after.bytes, 6_000, "what was never reserved is not released");
    let (outcome, after) = apply(&mut one, StorageCommand::Release);
    assert_eq!((outcome, after), (accepted, Storage::default()));
}

#[test]
fn ids_have_one_spelling_and_survive_it() {
    let id = AssetId::new(*b"0123456789abcdef");
    assert_eq!(id.to_string(), "30313233343536373839616263646566");
    assert_eq!(id.to_string().parse(), Ok(id));
    assert_eq!(AssetId::from_bytes(id.as_bytes()), Ok(id));
    for text in ["", "30", "3031323334353637383961626364656G", "30313233343536373839616263646566 "]
    {
        assert_eq!(text.parse::<AssetId>(), Err(IdError::NotHex), "{text}");
    }
}
