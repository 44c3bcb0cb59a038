//! The engine's entry: one binary for all targets, the one that `FUZZ_TARGET` names. Coverage-guided on the stable
//! compiler: the rooms are instrumented by the flags that `cargo xtask fuzz` passes, libFuzzer is linked.
#![no_main]

use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use fuzz::Target;

/// A decoder that takes longer for one input holds everybody else's up.
const SLOW: Duration = Duration::from_millis(100);
/// Measured so often before it is believed: the machine may have been busy.
const TRIES: usize = 5;

static CHOSEN: OnceLock<Target> = OnceLock::new();

/// The target of this process; the first call writes down what the search begins with.
fn chosen() -> Target {
    *CHOSEN.get_or_init(|| {
        let name = std::env::var("FUZZ_TARGET").expect("FUZZ_TARGET names a target");
        let target = fuzz::target(&name).expect("FUZZ_TARGET names a target that exists");
        if let Some(folder) = std::env::var_os("FUZZ_SEEDS") {
            for (number, seed) in fuzz::seeds(&name).into_iter().enumerate() {
                let path = Path::new(&folder).join(format!("seed-{number}"));
                std::fs::write(path, seed).expect("the folder of seeds is writable");
            }
        }
        target
    })
}

#[expect(clippy::disallowed_methods, reason = "this measures what an input costs")]
fn slow(target: Target, data: &[u8]) -> bool {
    let since = Instant::now();
    (target.throw)(data);
    since.elapsed() > SLOW
}

libfuzzer_sys::fuzz_target!(init: { chosen(); }, |data: &[u8]| {
    let target = chosen();
    let is_slow = (0..TRIES).all(|_| slow(target, data));
    assert!(!is_slow, "takes longer than {SLOW:?}");
});
