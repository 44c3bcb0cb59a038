//! Ports that are free now: bound and let go, so that two tests of one machine do not meet.

use std::net::{SocketAddr, TcpListener, UdpSocket};

/// An address on loopback that was free for TCP and UDP a moment ago.
///
/// # Panics
/// When loopback has no free port: the machine cannot run the test.
pub(crate) fn free() -> SocketAddr {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = tcp.local_addr().expect("a bound socket has an address");
        if UdpSocket::bind(address).is_ok() {
            return address;
        }
    }
}
