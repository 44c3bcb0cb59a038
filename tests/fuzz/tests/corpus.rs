//! Everything that was ever found, and what searches began with, thrown once more.

use std::path::PathBuf;

use fuzz::{TARGETS, seeds};

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let Ok(files) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = files.map(|file| file.expect("a readable folder").path());
    paths.map(|path| (path.clone(), std::fs::read(path).expect("a readable file"))).collect()
}

#[test]
fn no_kept_input_breaks_a_decoder() {
    for target in TARGETS {
        let seeds = seeds(target.name);
        assert!(!seeds.is_empty(), "{} begins with something real", target.name);
        for seed in &seeds {
            (target.throw)(seed);
            // Cut anywhere it is another input, and the likeliest of all on a network.
            for at in 0..seed.len().min(target.bytes_max) {
                (target.throw)(&seed[..at]);
            }
        }
        for (path, input) in corpus(target.name) {
            println!("{}", path.display());
            (target.throw)(&input);
        }
    }
}

#[test]
fn every_folder_of_the_corpus_belongs_to_a_target() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for entry in std::fs::read_dir(folder).expect("the corpus is there") {
        let entry = entry.expect("a readable folder");
        let name = entry.file_name().to_string_lossy().into_owned();
        if !entry.path().is_dir() {
            continue;
        }
        assert!(TARGETS.iter().any(|target| target.name == name), "{name} is nobody's");
    }
}
