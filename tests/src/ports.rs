//! Ports that nobody has: below those that the system gives to outgoing connections, so that no client of another
//! test sits on one by chance between the moment it is chosen and the moment it is used.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};

/// The first port to choose from.
const FIRST: u32 = 10_000;
/// How many there are to choose from; Linux gives out ports from 32768 on.
const COUNT: u32 = 22_000;
/// The distance between two processes that start one after the other: more ports than one of them uses.
const STRIDE: u32 = 211;

/// How many this process has tried.
static TRIED: AtomicU32 = AtomicU32::new(0);

/// An address on loopback that is free for TCP and UDP and that this process has not chosen before.
///
/// # Panics
/// When loopback has no free port: the machine cannot run the test.
pub(crate) fn free() -> SocketAddr {
    for _ in 0..COUNT {
        let tried = TRIED.fetch_add(1, Ordering::Relaxed);
        let offset = (std::process::id().wrapping_mul(STRIDE).wrapping_add(tried)) % COUNT;
        let port = u16::try_from(FIRST + offset).expect("below 32768");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
            return address;
        }
    }
    panic!("loopback has no free port");
}
