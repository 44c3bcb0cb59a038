//! Micro-benchmarks of the journal. (Being written.)
fn main() {
    divan::main();
}
