//! Tells the service manager that started this process how it is: sd_notify(3), one datagram for each thing to say.
//! Without `NOTIFY_SOCKET` nothing is said. A manager that cannot be reached changes nothing for the node.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// Whom to tell, and how often.
pub(crate) struct Notify {
    manager: Option<(UnixDatagram, SocketAddr)>,
    /// How often the manager wants to hear that the process lives.
    watchdog: Option<Duration>,
}

impl Notify {
    /// As the environment says.
    pub(crate) fn from_environment() -> Self {
        let set = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
        let notify = Self::to(set("NOTIFY_SOCKET").as_deref(), set("WATCHDOG_USEC").as_deref());
        notify.unwrap_or_else(|error| {
            tracing::warn!(%error, "the service manager cannot be told anything");
            Self { manager: None, watchdog: None }
        })
    }

    fn to(socket: Option<&str>, watchdog_micros: Option<&str>) -> io::Result<Self> {
        let Some(name) = socket else { return Ok(Self { manager: None, watchdog: None }) };
        // `@` stands for the zero byte of a name that is in no file system.
        let address = match name.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(name)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        let micros = watchdog_micros.and_then(|micros| micros.parse().ok());
        let watchdog = micros.filter(|micros| *micros > 0).map(Duration::from_micros);
        Ok(Self { manager: Some((socket, address)), watchdog })
    }

    fn tell(&self, what: &str) {
        let Some((socket, address)) = &self.manager else { return };
        if let Err(error) = socket.send_to_addr(what.as_bytes(), address) {
            tracing::debug!(%error, what, "the service manager was not told");
        }
    }

    /// Tells that the node serves clients at `address`, that it lives, and, once `stop` is cancelled, that it ends. One
    /// of the node's tasks: it is turned by the same threads as links are.
    pub(crate) async fn serving(self, address: std::net::SocketAddr, stop: CancellationToken) {
        self.tell(&format!("READY=1\nSTATUS=serves clients at {address}"));
        // Twice within the time, as the manual asks.
        let pause = self.watchdog.map(|watchdog| watchdog / 2);
        while let Some(pause) = pause {
            if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                break;
            }
            self.tell("WATCHDOG=1");
        }
        stop.cancelled().await;
        self.tell("STOPPING=1\nSTATUS=stops");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(manager: &UnixDatagram) -> String {
        let mut bytes = [0; 256];
        let length = manager.recv(&mut bytes).expect("a datagram in time");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    async fn told(name: &str, manager: UnixDatagram) {
        manager.set_read_timeout(Some(Duration::from_secs(20))).expect("a deadline");
        let (notify, stop) = (Notify::to(Some(name), Some("20000")), CancellationToken::new());
        let address = "127.0.0.1:7400".parse().expect("an address");
        let telling = tokio::spawn(notify.expect("a manager").serving(address, stop.clone()));
        let listening = tokio::task::spawn_blocking(move || {
            let words = [heard(&manager), heard(&manager), heard(&manager)];
            stop.cancel();
            let last = std::iter::repeat_with(|| heard(&manager));
            let last = last.take(1000).find(|word| word != "WATCHDOG=1");
            (words, last)
        });
        let (words, last) = listening.await.expect("it listens");
        assert_eq!(words[0], "READY=1\nSTATUS=serves clients at 127.0.0.1:7400");
        assert_eq!(words[1..], ["WATCHDOG=1", "WATCHDOG=1"]);
        assert_eq!(last.as_deref(), Some("STOPPING=1\nSTATUS=stops"));
        telling.await.expect("it ends with the node");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_manager_hears_that_the_node_serves_lives_and_stops() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).expect("a socket");
        told(path.to_str().expect("a plain path"), manager).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_name_that_is_in_no_file_system_is_understood() {
        let name = format!("synod-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let manager = UnixDatagram::bind_addr(&address).expect("a socket");
        told(&format!("@{name}"), manager).await;
    }

    #[tokio::test]
    async fn nobody_is_told_where_nobody_asked_or_listens() {
        let stop = CancellationToken::new();
        stop.cancel();
        let address = "127.0.0.1:7400".parse().expect("an address");
        for socket in [None, Some("/nowhere/at/all")] {
            let notify = Notify::to(socket, None).expect("nothing is opened");
            notify.serving(address, stop.clone()).await;
        }
    }
}
