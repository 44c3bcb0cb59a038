//! A tar archive (POSIX ustar) of a few small files. Whoever gets it needs no tool of ours.

/// Everything in it comes in blocks of this size.
const BLOCK: usize = 512;
/// Names in the first field; ours are far shorter.
const NAME_BYTES_MAX: usize = 100;

/// The archive of `files`: path and content.
///
/// # Panics
/// When a path is longer than the format's first field.
pub(super) fn archive(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (path, content) in files {
        archive.extend_from_slice(&header(path, content.len()));
        archive.extend_from_slice(content);
        archive.resize(archive.len().next_multiple_of(BLOCK), 0);
    }
    // Two empty blocks are the end.
    archive.resize(archive.len() + 2 * BLOCK, 0);
    archive
}

fn header(path: &str, bytes: usize) -> [u8; BLOCK] {
    assert!(path.len() < NAME_BYTES_MAX, "{path} is too long for an archive");
    let mut header = [0; BLOCK];
    let mut put =
        |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, path);
    // Mode, owner and group: nobody's, readable by its owner.
    put(100, "0000600");
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{bytes:011o}"));
    put(136, "00000000000");
    // The checksum counts as spaces while it is made.
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_read_by_a_strangers_tar() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.tar");
        let files = [("a/b.txt".to_owned(), b"hello".to_vec()), ("c".to_owned(), vec![7; 1025])];
        std::fs::write(&path, archive(&files)).expect("writable");
        let mut tar = std::process::Command::new("tar");
        match tar.arg("-xf").arg(&path).arg("-C").arg(folder.path()).status() {
            Ok(status) => assert!(status.success()),
            // A machine without tar: the layout alone.
            Err(_) => return assert_eq!(archive(&files).len(), BLOCK * (2 + 4 + 2)),
        }
        for (name, content) in &files {
            assert_eq!(&std::fs::read(folder.path().join(name)).expect("unpacked"), content);
        }
    }
}
