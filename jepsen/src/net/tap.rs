//! One end of a wire that this process holds: a TAP interface, frames in, frames out.
//!
//! The interface is gone when this is dropped.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;

use rustix::io::{read, write};

use crate::cluster::{Doing as _, Setback};

use super::namespace::Namespace;

/// `TUNSETIFF`, `_IOW('T', 202, int)`.
const SET_INTERFACE: libc::c_ulong = 0x4004_54ca;
/// Ethernet frames, with nothing in front of them: `IFF_TAP | IFF_NO_PI`.
const FRAMES_ONLY: u16 = 0x0002 | 0x1000;
/// Longest name of an interface, its end included.
const NAME_BYTES: usize = 16;
/// Larger than any frame on a wire without offloading.
pub(super) const FRAME_BYTES_MAX: usize = 2048;

/// `struct ifreq` as far as it is used here.
#[repr(C)]
struct Request {
    name: [u8; NAME_BYTES],
    flags: u16,
    rest: [u8; 22],
}

/// A TAP interface that this process reads and writes.
#[derive(Debug)]
pub(super) struct Tap(File);

impl Tap {
    /// Makes the interface in a namespace.
    pub(super) fn open(namespace: &Namespace, name: &str) -> Result<Self, Setback> {
        namespace.inside(|| Self::open_here(name))?
    }

    fn open_here(name: &str) -> Result<Self, Setback> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/net/tun")
            .doing("/dev/net/tun")?;
        let mut request = Request { name: [0; NAME_BYTES], flags: FRAMES_ONLY, rest: [0; 22] };
        if name.len() >= NAME_BYTES {
            return Err(Setback::new(format!("{name} is too long for an interface")));
        }
        request.name[..name.len()].copy_from_slice(name.as_bytes());
        attach(&file, &mut request).doing(format_args!("making the interface {name}"))?;
        Ok(Self(file))
    }

    /// The next frame, if there is one.
    pub(super) fn read(&self, buffer: &mut [u8; FRAME_BYTES_MAX]) -> Option<usize> {
        // An interface that is going down says so by an error; there is no frame then either.
        read(&self.0, &mut buffer[..]).ok().filter(|length| *length > 0)
    }

    /// Puts a frame on the wire; a full wire loses it, as wires do.
    pub(super) fn write(&self, frame: &[u8]) {
        let _ = write(&self.0, frame);
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[expect(unsafe_code, reason = "there is no safe call for this request")]
fn attach(file: &File, request: &mut Request) -> io::Result<()> {
    // SAFETY: the kernel reads and writes a `struct ifreq` of 40 bytes, which `request` is a whole one of.
    let result =
        unsafe { libc::ioctl(file.as_raw_fd(), SET_INTERFACE, std::ptr::from_mut(request)) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

const _: () = assert!(size_of::<Request>() == 40);
