//! Bytes that were written once are read for ever, and are still what is written today.
//!
//! Each family has a file in `golden/`, a line for each message: its name, then its bytes in hexadecimal. A line is never
//! changed; a new message gets a new line, which `SYNOD_REWRITE=1 cargo test -p proto --test golden` appends.

mod samples;

use std::collections::BTreeMap;
use std::path::PathBuf;

use samples::{Family, families};

fn path(family: &Family) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden").join(format!("{}.hex", family.name))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "whole bytes");
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal");
    (0..text.len()).step_by(2).map(byte).collect()
}

fn kept(family: &Family) -> BTreeMap<String, Vec<u8>> {
    let text = std::fs::read_to_string(path(family)).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.is_empty());
    let lines = lines.map(|line| {
        let (name, bytes) = line.split_once(' ').expect("a name and bytes");
        (name.to_owned(), unhex(bytes))
    });
    let mut kept = BTreeMap::new();
    for (name, bytes) in lines {
        assert!(kept.insert(name.clone(), bytes).is_none(), "{name} is kept once");
    }
    kept
}

#[test]
fn what_was_written_once_is_still_written_and_read() {
    for family in families() {
        if std::env::var_os("SYNOD_REWRITE").is_some() {
            append_new_lines(&family);
        }
        let mut kept = kept(&family);
        for sample in &family.samples {
            let name = format!("{}/{}", family.name, sample.name);
            let bytes = kept.remove(sample.name);
            let bytes = bytes.unwrap_or_else(|| panic!("{name} is not in golden/: append it"));
            assert_eq!(hex(&sample.bytes), hex(&bytes), "{name} is written otherwise today");
            (sample.read)(&bytes).unwrap_or_else(|error| panic!("{name} is not read: {error}"));
        }
        let left: Vec<&String> = kept.keys().collect();
        assert!(left.is_empty(), "{}: nobody reads {left:?} any more", family.name);
    }
}

/// Appends the lines of messages that have none yet; what is there is never changed.
fn append_new_lines(family: &Family) {
    let kept = kept(family);
    let mut text = std::fs::read_to_string(path(family)).unwrap_or_default();
    for sample in family.samples.iter().filter(|sample| !kept.contains_key(sample.name)) {
        text.push_str(&format!("{} {}\n", sample.name, hex(&sample.bytes)));
    }
    std::fs::write(path(family), text).expect("the folder of golden bytes is writable");
}
