//! Who is away is told: pushes to browsers, devices and servers, about messages that wait.
//!
//! The pusher of a user is the leader of the user's shard. What it goes by is state: for each conversation the last
//! sequence, the user's best cursor, and how far the registration was told. When others have said something that waits
//! for longer than a grace, and the user is connected nowhere, it decides to tell (`Notify`: from then on a number means
//! one thing for ever), sends, and notes what was taken (`MarkPushed`). A crash or a change of leader in between repeats
//! what was sent under the same number: at least once, never a different thing. Nobody writes anything per message.
//!
//! Events of the fan-out are hints that save time; a paced sweep over those who have registrations is the truth.
//! What is pushed is without content: that there is something, not what. No push delays a message.

mod backoff;
mod bearer;
mod hints;
mod letters;
mod outgoing;
mod pending;
mod plan;
mod pusher;
mod sender;
mod services;
mod vapid;
mod visit;
mod web_push;
mod webhook;

use std::sync::Arc;

pub(crate) use hints::{Hints, Overheard};
pub(crate) use letters::{DeadLetters, Letter, Revival};
pub use outgoing::{NoOutgoing, Outgoing};
pub(crate) use pusher::{Ports, Pusher};
pub(crate) use sender::Kinds;
pub(crate) use services::{Apns, Fcm, Services};
pub(crate) use vapid::{ApplicationKey, make_key};
pub(crate) use web_push::is_point;
pub(crate) use webhook::secret_text;

/// Whether this node leads the shard of a slot now. A moment later it may not; that costs a repetition, nothing more.
pub(crate) type Leads = Arc<dyn Fn(u16) -> bool + Send + Sync>;
