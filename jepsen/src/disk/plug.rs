//! Pulls the plug of a mounted ext4 or XFS: `EXT4_IOC_SHUTDOWN` without flushing the log.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::Path;

/// `EXT4_IOC_SHUTDOWN`, the same number as XFS's: `_IOR('X', 125, __u32)`.
const SHUTDOWN: libc::c_ulong = 0x8004_587d;
/// `EXT4_GOING_FLAGS_NOLOGFLUSH`: not even the file system's own log is written.
const NO_LOG_FLUSH: u32 = 2;

/// From now on nothing reaches the device below `folder`.
#[expect(unsafe_code, reason = "there is no safe call for this request")]
pub(super) fn pull(folder: &Path) -> io::Result<()> {
    let folder = File::open(folder)?;
    let flags = NO_LOG_FLUSH;
    // SAFETY: the request reads one u32 through the pointer, and `flags` outlives the call.
    let result = unsafe { libc::ioctl(folder.as_raw_fd(), SHUTDOWN, &raw const flags) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
