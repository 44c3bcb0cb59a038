//! Where devices come in: links, sign-ins and requests over REST, each served on the node's own runtime.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use chat::UserId;
use tokio::sync::mpsc;
use tokio::time::timeout;
use transport::{Link, memory_link};

use super::Up;
use crate::wire::{Heard, Wire};

/// A device that says nothing for as long is gone: what transports find out by their own keep-alives.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// What a device wants at the door.
pub(crate) enum Knock {
    /// A token for this user's device.
    SignIn { device: usize, user: UserId, number: u64 },
    /// A link.
    Connect { device: usize, link: u64, token: String },
    /// A request over REST.
    Ask { device: usize, ask: u64, method: &'static str, path: String, token: String, body: String },
}

impl Up {
    /// Serves whoever knocks; nobody is served before the node is ready.
    pub(super) fn open(&mut self, knock: Knock, node: usize, wire: Wire) {
        let front = self.front.lock().clone();
        let Some(front) = front else {
            let (device, what) = match knock {
                Knock::SignIn { device, .. } => (device, Heard::SignedIn(None)),
                Knock::Connect { device, link, .. } => (device, Heard::Gone { link }),
                Knock::Ask { device, ask, .. } => {
                    (device, Heard::Answer { ask, status: 503, body: Bytes::new() })
                }
            };
            wire.to_device(node, device, what);
            return;
        };
        match knock {
            Knock::SignIn { device, user, number } => {
                let token = front.sign_in(user, number);
                self.runtime.spawn(async move {
                    wire.to_device(node, device, Heard::SignedIn(token.await));
                });
            }
            Knock::Connect { device, link, token } => {
                let (mut near, far) = memory_link();
                near.bearer = Some(token);
                let (port, frames) = mpsc::unbounded_channel();
                self.ports.insert(link, port);
                self.runtime.spawn(front.serve(near));
                self.runtime.spawn(carry(far, frames, wire, (node, device, link)));
            }
            Knock::Ask { device, ask, method, path, token, body } => {
                let answer = front.ask((method, &path), &token, body);
                self.runtime.spawn(async move {
                    let (status, body) = answer.await;
                    wire.to_device(node, device, Heard::Answer { ask, status, body });
                });
            }
        }
    }
}

/// Carries frames between a session and the network until either is gone.
async fn carry(
    far: Link,
    mut frames: mpsc::UnboundedReceiver<Bytes>,
    wire: Wire,
    (node, device, link): (usize, usize, u64),
) {
    let Link { mut reader, mut writer, .. } = far;
    let out = async {
        while let Ok(Some(frame)) = reader.next().await {
            wire.to_device(node, device, Heard::Frame { link, frame });
        }
    };
    let into = async {
        while let Ok(Some(frame)) = timeout(SILENCE_MAX, frames.recv()).await {
            if writer.send(&mut VecDeque::from([frame])).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        biased;
        () = out => {}
        () = into => {}
    }
    super::gone(&wire, node, device, link);
}
