//! The C library's randomness, replaced by the seed's: hash maps, the engine's election timers and every other generator
//! that asks the operating system for its first bytes become a function of the seed.
//!
//! Law: one seed runs on one fresh thread from its beginning to its end, so that generators which a thread keeps start
//! anew. A thread that was given no seed still asks the kernel.

use std::cell::Cell;

use crate::dice::Dice;

thread_local! {
    static STREAM: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Seeds this thread's randomness.
pub(crate) fn seed(seed: u64) {
    STREAM.set(Some(Dice::new(seed, "chance").number()));
}

/// Fills `bytes` from this thread's stream; `false` when it has none.
fn fill(bytes: &mut [u8]) -> bool {
    let Ok(Some(state)) = STREAM.try_with(Cell::get) else { return false };
    let mut dice = Dice::new(state, "fill");
    for chunk in bytes.chunks_mut(8) {
        let number = dice.number().to_le_bytes();
        chunk.copy_from_slice(&number[..chunk.len()]);
    }
    STREAM.set(Some(dice.number()));
    true
}

/// Takes the place of the C library's function of this name in the simulator's binary.
///
/// # Safety
/// As the C library's: `buffer` points to `bytes` writable bytes.
#[allow(unsafe_code, reason = "the one way to reach generators that ask the operating system")]
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(
    buffer: *mut libc::c_void,
    bytes: libc::size_t,
    flags: libc::c_uint,
) -> libc::ssize_t {
    // SAFETY: the caller promises that the buffer is writable for its length.
    let filled = fill(unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), bytes) });
    if filled {
        return libc::ssize_t::try_from(bytes).unwrap_or(libc::ssize_t::MAX);
    }
    // SAFETY: the same arguments, to the kernel itself.
    let got = unsafe { libc::syscall(libc::SYS_getrandom, buffer, bytes, flags) };
    libc::ssize_t::try_from(got).unwrap_or(-1)
}
