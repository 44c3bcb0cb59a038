//! One node over a fake cluster, and a store in memory.

use bytes::Bytes;
use futures::stream;

use super::*;
use crate::asset::Incoming;
use crate::gateway::fake::{Fake, assets_in, user, world};
use std::sync::Arc;

fn body(bytes: &'static [u8]) -> impl futures::Stream<Item = Result<Bytes, Problem>> + Unpin {
    stream::iter(bytes.chunks(5).map(|piece| Ok(Bytes::from_static(piece))).collect::<Vec<_>>())
}

fn incoming() -> Incoming {
    let media_type = "application/octet-stream".to_owned();
    Incoming { owner: user("anna"), media_type, size: None }
}

fn here() -> (Arc<Fake>, Objects, Assets) {
    let fake = world().0;
    fake.join("anna", 1);
    let objects = Objects::in_memory();
    let assets = assets_in(&fake, Some(objects.clone()));
    (fake, objects, assets)
}

async fn names(objects: &Objects) -> Vec<String> {
    objects.list().map(|listed| listed.expect("listed").name).collect().await
}

#[tokio::test]
async fn an_upload_is_in_the_store_before_its_record_and_no_copy_stays() {
    let (_fake, objects, assets) = here();
    let made = assets.upload(incoming(), body(b"all of the bytes.")).await.expect("taken");
    let record = assets.record(made.id).expect("readable").expect("recorded");
    assert_eq!(record.holders, BTreeSet::from([Holder::STORE]));
    assert_eq!(names(&objects).await, [made.id.to_string()]);
    assert!(assets.ports.local.open(made.id).await.expect("readable").is_none(), "no copy");
    for range in [0..17, 0..0, 3..17, 7..9] {
        let mut pieces = assets.pieces(made.id, &record, range.clone()).await.expect("served");
        let mut read = Vec::new();
        while let Some(piece) = pieces.next().await {
            read.extend_from_slice(&piece.expect("served"));
        }
        let (from, to) = (range.start as usize, range.end as usize);
        assert_eq!(read, b"all of the bytes."[from..to]);
    }
}

#[tokio::test]
async fn a_store_that_is_away_refuses_and_nothing_stays() {
    let fake = world().0;
    fake.join("anna", 1);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("credentials.toml");
    let rights = "aws_access_key_id = \"test\"\naws_secret_access_key = \"test\"\n";
    std::fs::write(&file, rights).expect("written");
    let settings = crate::config::ObjectStore {
        endpoint: Some("http://127.0.0.1:1".to_owned()),
        allow_plain: true,
        credentials: Some(file),
        ..crate::config::ObjectStore::default()
    };
    let objects = Objects::open("s3://bucket", &settings).expect("settings are good");
    let assets = assets_in(&fake, Some(objects));
    let refused = assets.upload(incoming(), body(b"bytes")).await.expect_err("nobody took it");
    assert_eq!(refused.code, ProblemCode::Unavailable);
    assert!(refused.retry_after.is_some(), "{refused:?}");
    assert_eq!(assets.ports.local.ids().await.expect("readable"), []);
}

#[tokio::test]
async fn what_no_record_speaks_of_is_removed_from_the_store_once_it_is_old() {
    let (fake, objects, assets) = here();
    let made = assets.upload(incoming(), body(b"kept")).await.expect("taken");
    let nothing = assets.new_id();
    for name in [nothing.to_string(), "somebody else's".to_owned()] {
        let bytes = stream::iter([Ok(Bytes::from_static(b"left"))]).boxed();
        objects.put(&name, 4, bytes).await.expect("put");
    }
    let mut listed: Vec<Listed> = objects.list().map(|one| one.expect("listed")).collect().await;
    assert_eq!(listed.len(), 3);
    let now = crate::clock::Clock::now(&*fake.clock).0;
    let unsent = u64::try_from(assets.unsent().as_millis()).expect("short");
    for (age, left) in [(unsent - 1, 3), (unsent, 2)] {
        for one in &mut listed {
            one.at_ms = now - age;
            assets.sweep_stored(one).await;
        }
        assert_eq!(names(&objects).await.len(), left, "{age} ms old");
    }
    assert!(names(&objects).await.contains(&made.id.to_string()), "a record speaks of it");
}
