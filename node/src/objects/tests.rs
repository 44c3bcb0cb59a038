//! What every store must do, tried on one in memory. `cargo xtask s3` tries the same path on a server of S3.

use futures::stream;
use object_store::memory::InMemory;
use object_store::throttle::{ThrottleConfig, ThrottledStore};

use super::*;

/// Bytes in pieces that fit no part.
fn pieces(bytes: &[u8]) -> Source {
    let pieces: Vec<_> = bytes.chunks(3).map(Bytes::copy_from_slice).collect();
    // One that panics when it is asked again after its end, as those of disks do.
    let steps = stream::unfold(pieces.into_iter(), |mut pieces| async move {
        let piece = pieces.next()?;
        Some((Ok(piece), pieces))
    });
    steps.boxed()
}

async fn read(objects: &Objects, name: &str, range: Range<u64>) -> Result<Vec<u8>, Error> {
    let mut pieces = objects.read(name, range).await?;
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.next().await {
        bytes.extend_from_slice(&piece?);
    }
    Ok(bytes)
}

async fn names(objects: &Objects) -> Vec<String> {
    let listed = objects.list().map(|listed| listed.expect("listed").name);
    let mut names: Vec<String> = listed.collect().await;
    names.sort();
    names
}

#[tokio::test]
async fn what_is_put_is_read_whole_and_in_ranges_whatever_its_length() {
    let objects = Objects::in_memory().below("here");
    let all: Vec<u8> = (0..23).collect();
    for length in [0, 1, 3, 4, 5, 8, 9, 23] {
        let bytes = &all[..length];
        objects.put("thing", length as u64, pieces(bytes)).await.expect("put");
        for (from, to) in [(0, length), (length / 3, length), (0, length / 2)] {
            let range = from as u64..to as u64;
            assert_eq!(read(&objects, "thing", range).await.expect("read"), bytes[from..to]);
        }
    }
}

#[tokio::test]
async fn what_ends_early_goes_on_too_long_or_fails_leaves_nothing() {
    let objects = Objects::in_memory();
    for announced in [2, 9] {
        for sent in [announced - 1, announced + 1, announced + 20] {
            let bytes = vec![7; sent];
            let put = objects.put("thing", announced as u64, pieces(&bytes)).await;
            assert!(matches!(put, Err(Error::Source(_))), "{put:?}");
        }
    }
    let failing = pieces(&[1; 6]).chain(stream::iter([Err("the disk".to_owned())])).boxed();
    let put = objects.put("thing", 9, failing).await;
    assert_eq!(put, Err(Error::Source("the disk".to_owned())));
    assert_eq!(names(&objects).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_folder_tells_its_own_names_and_what_is_removed_is_gone() {
    let objects = Objects::in_memory();
    let (one, other) = (objects.clone().below("one"), objects.clone().below("one-other"));
    one.put("a", 1, pieces(&[1])).await.expect("put");
    one.put("b/c", 5, pieces(&[1; 5])).await.expect("put");
    other.put("d", 1, pieces(&[1])).await.expect("put");
    assert_eq!(names(&one).await, ["a", "b/c"]);
    assert_eq!(names(&objects).await, ["one-other/d", "one/a", "one/b/c"]);
    one.remove("a").await.expect("removed");
    one.remove("a").await.expect("removed already");
    assert_eq!(names(&one).await, ["b/c"]);
    assert!(matches!(read(&one, "a", 0..1).await, Err(Error::Missing(_))));
    let longer = read(&one, "b/c", 0..6).await;
    assert!(matches!(longer, Err(Error::Away(_))), "{longer:?}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_keeps_nobody_waiting() {
    let for_ever = Duration::from_secs(1 << 20);
    let config = ThrottleConfig {
        wait_delete_per_call: for_ever,
        wait_get_per_call: for_ever,
        wait_list_per_call: for_ever,
        wait_put_per_call: for_ever,
        ..ThrottleConfig::default()
    };
    let store = Arc::new(ThrottledStore::new(InMemory::new(), config));
    let objects = Objects::of(store, Path::default(), 4);
    for bytes in [&[1; 3][..], &[1; 9]] {
        let put = objects.put("thing", bytes.len() as u64, pieces(bytes)).await;
        assert_eq!(put, Err(not_in_time()));
    }
    assert_eq!(read(&objects, "thing", 0..1).await, Err(not_in_time()));
    assert_eq!(objects.remove("thing").await, Err(not_in_time()));
    assert_eq!(objects.list().next().await, Some(Err(not_in_time())));
}

#[tokio::test]
async fn a_transfer_that_nobody_waits_for_ends_and_leaves_nothing() {
    let objects = Objects::in_memory();
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let mut begun = Some(begun);
    let endless = stream::iter(0..).then(move |_| {
        if let Some(begun) = begun.take() {
            let _ = begun.send(());
        }
        async {
            tokio::task::yield_now().await;
            Ok(Bytes::from_static(b"more"))
        }
    });
    let put = objects.put("thing", u64::MAX, endless.boxed());
    tokio::select! {
        put = put => panic!("it has no end: {put:?}"),
        begun = has_begun => begun.expect("it was begun"),
    }
    let all = u32::try_from(PUTS_MAX).expect("few");
    let free = timeout(Duration::from_secs(20), objects.puts.acquire_many(all)).await;
    assert!(free.is_ok(), "its place is free again");
    assert_eq!(names(&objects).await, Vec::<String>::new());
}
