//! History: pages of a conversation from this node's own replica, as fresh as the caller asks.
//!
//! `linearizable` waits until this node has applied everything that was acknowledged before the request; `at_least`
//! waits until a given message is here; `local` takes what is here. Whether the caller may read, and from where, is
//! judged at the moment of reading: who was removed is refused everything, older history included.

pub(crate) mod contacts;
mod replica;
mod resolve;
mod standing;
mod unread;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chat::{
    CanonicalId, Change, ChangeNumber, ConversationId, Head, Kind, Message, MessageId, Overlay,
    Seq, UserId,
};
use proto::{Problem, ProblemCode};
use store::StoreError;
use tokio::time::Instant;

#[cfg(test)]
pub(crate) use replica::Place;
pub(crate) use replica::{Order as Direction, Replica, Span, changes_visible_from, visible_from};

pub(crate) use resolve::{account, seen};
pub(crate) use standing::Standings;
pub(crate) use unread::unread;

use crate::gateway::problems;
use crate::router::Router;

/// Fewest messages of a page.
pub(crate) const LIMIT_MIN: u32 = 1;
/// Most messages of a page (specification: 1-100).
pub(crate) const LIMIT_MAX: u32 = 100;
/// Messages of a page when the caller does not say.
pub(crate) const LIMIT_DEFAULT: u32 = 50;
/// How long `at_least` waits for a message to arrive here.
const AT_LEAST_PATIENCE: Duration = Duration::from_secs(2);
/// How often it looks.
const AT_LEAST_INTERVAL: Duration = Duration::from_millis(5);

/// How fresh a read must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consistency {
    /// Sees every message acknowledged before the request began.
    Linearizable,
    /// Sees at least this sequence.
    AtLeast(Seq),
    /// Whatever is here.
    Local,
}

/// Whose history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Of {
    /// With this user, or of the group of this name: they share one namespace.
    Name(UserId),
    /// A conversation by its id.
    Conversation(ConversationId),
}

/// A message in a conversation, as a caller may name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mark {
    /// By its place.
    Seq(Seq),
    /// By its canonical id or by the client's own id.
    Named(String),
}

/// From where a page is cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Ascending from just after this message, or from the first.
    After(Option<Mark>),
    /// The page just before this message.
    Before(Mark),
    /// This message with what was said before and after it.
    Around(Mark),
}

/// A question about history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) of: Of,
    pub(crate) cut: Cut,
    pub(crate) limit: u32,
    pub(crate) consistency: Consistency,
    /// Where the answer must fit a frame: the page ends early, after at least one message.
    pub(crate) bytes_max: Option<usize>,
}

/// The answer: messages in ascending order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) conversation: ConversationId,
    /// `None` when nothing was ever said there.
    pub(crate) kind: Option<Arc<Kind>>,
    pub(crate) messages: Vec<Message>,
    /// What lies over them.
    pub(crate) overlays: BTreeMap<Seq, Overlay>,
    /// The conversation's last sequence as this read saw it.
    pub(crate) last_seq: Seq,
    /// The first sequence that the caller may see.
    pub(crate) visible_from: Seq,
    /// Everything up to here has expired.
    pub(crate) expired: Seq,
}

impl Page {
    /// Where the next page begins, if there is more after this one.
    pub(crate) fn next_after(&self) -> Option<CanonicalId> {
        self.messages.last().filter(|last| last.seq < self.last_seq).map(Message::canonical_id)
    }

    /// Where the previous page ends, if there is more before this one.
    pub(crate) fn next_before(&self) -> Option<CanonicalId> {
        self.messages
            .first()
            .filter(|first| first.seq > self.visible_from)
            .map(Message::canonical_id)
    }
}

/// A conversation that a user may read, as one read saw it.
#[derive(Debug, Clone)]
pub(crate) struct Readable {
    pub(crate) id: ConversationId,
    pub(crate) kind: Arc<Kind>,
    pub(crate) last_seq: Seq,
    pub(crate) visible_from: Seq,
    /// What expired: up to the second, and from the first on the user might have seen it.
    pub(crate) expired: (Seq, Seq),
    /// The first change that the user may see.
    pub(crate) changes_from: ChangeNumber,
    pub(crate) last_change: ChangeNumber,
}

impl Readable {
    /// What is said of a message that is here no more, and was the user's to see.
    pub(crate) fn unless_expired(&self, seq: Seq) -> Result<(), Problem> {
        let (from, up_to) = self.expired;
        match (from..=up_to).contains(&seq) {
            true => Err(Problem::of(ProblemCode::MessageExpired)),
            false => Ok(()),
        }
    }
}

/// What lies over these messages, which are of one conversation and ascending or descending. Where nothing was ever
/// changed, nothing is looked up.
pub(crate) fn overlays(
    replica: &dyn Replica,
    id: ConversationId,
    head: &Head,
    messages: &[Message],
) -> Result<BTreeMap<Seq, Overlay>, StoreError> {
    overlays_of(replica, id, head.last_change, messages)
}

fn overlays_of(
    replica: &dyn Replica,
    id: ConversationId,
    last_change: ChangeNumber,
    messages: &[Message],
) -> Result<BTreeMap<Seq, Overlay>, StoreError> {
    let seqs = messages.iter().map(|message| message.seq);
    match (seqs.clone().min(), seqs.max()) {
        (Some(from), Some(to)) if last_change > ChangeNumber(0) => replica.overlays(id, from, to),
        _ => Ok(BTreeMap::new()),
    }
}

/// Reads history for users. Cheap to clone.
#[derive(Clone)]
pub(crate) struct History {
    replica: Arc<dyn Replica>,
    router: Router,
}

impl History {
    /// Reads `replica`, made fresh through `router`.
    pub(crate) fn new(replica: Arc<dyn Replica>, router: Router) -> Self {
        Self { replica, router }
    }

    /// A page for `user`.
    ///
    /// # Errors
    /// A problem for the caller: not a member, nothing of that name, an ambiguous or unknown mark, not available.
    pub(crate) async fn page(&self, user: &UserId, query: &Query) -> Result<Page, Problem> {
        if !(LIMIT_MIN..=LIMIT_MAX).contains(&query.limit) {
            let detail = format!("limit must be {LIMIT_MIN} to {LIMIT_MAX}");
            return Err(Problem::new(ProblemCode::LimitOutOfRange, detail).about("limit"));
        }
        let id = match &query.of {
            Of::Name(name) => self.named(user, name, query.consistency).await?,
            Of::Conversation(id) => *id,
        };
        self.freshen_for(user, id, query.consistency).await?;
        match self.readable(user, id)? {
            Some(readable) => self.cut(&readable, query),
            None if matches!(query.of, Of::Name(_)) => Ok(Page {
                conversation: id,
                kind: None,
                messages: Vec::new(),
                overlays: BTreeMap::new(),
                last_seq: Seq(0),
                visible_from: Seq(1),
                expired: Seq(0),
            }),
            None => Err(Problem::of(ProblemCode::NoSuchConversation)),
        }
    }

    /// The conversation that `user` means by `name`: with that user, or of that group.
    async fn named(
        &self,
        user: &UserId,
        name: &UserId,
        consistency: Consistency,
    ) -> Result<ConversationId, Problem> {
        // Names are never given back, so what is found here holds everywhere.
        if let Some(id) = self.known_name(user, name)? {
            return Ok(id);
        }
        if consistency != Consistency::Local {
            self.router.linearize(name.slot()).await.map_err(|error| problems::of_route(&error))?;
        }
        self.known_name(user, name)?.ok_or_else(|| {
            Problem::new(ProblemCode::NoSuchUser, "neither a user nor a group has this name")
        })
    }

    fn known_name(&self, user: &UserId, name: &UserId) -> Result<Option<ConversationId>, Problem> {
        if self.replica.user(name).map_err(|error| problems::of_store(&error))?.is_some() {
            return Ok(Some(ConversationId::direct(user, name)));
        }
        let group =
            chat::GroupId::parse(name.as_str()).expect("users and groups share one alphabet");
        let id = ConversationId::group(&group);
        let head = self.replica.head(id).map_err(|error| problems::of_store(&error))?;
        Ok(head.map(|_| id))
    }

    /// Waits until the local replica of `id` is as fresh as asked.
    pub(crate) async fn freshen(
        &self,
        id: ConversationId,
        consistency: Consistency,
    ) -> Result<(), Problem> {
        match consistency {
            Consistency::Local => Ok(()),
            Consistency::Linearizable => {
                self.router.linearize(id.slot()).await.map_err(|error| problems::of_route(&error))
            }
            Consistency::AtLeast(seq) => self.wait_for(id, seq).await,
        }
    }

    async fn wait_for(&self, id: ConversationId, seq: Seq) -> Result<(), Problem> {
        let until = Instant::now() + AT_LEAST_PATIENCE;
        loop {
            let head = self.replica.head(id).map_err(|error| problems::of_store(&error))?;
            if head.is_some_and(|head| head.last_seq >= seq) {
                return Ok(());
            }
            if Instant::now() >= until {
                let detail = format!("sequence {seq} has not arrived at this node");
                return Err(Problem::new(ProblemCode::Unavailable, detail).after(AT_LEAST_PATIENCE));
            }
            tokio::time::sleep(AT_LEAST_INTERVAL).await;
        }
    }

    /// The same for a reader whose part in `id` is still to be judged: how far a conversation has got is told to nobody
    /// else, so whoever has no part in it here waits for no sequence, only for the truth about that.
    pub(crate) async fn freshen_for(
        &self,
        user: &UserId,
        id: ConversationId,
        consistency: Consistency,
    ) -> Result<(), Problem> {
        if matches!(consistency, Consistency::AtLeast(_)) && !self.takes_part(user, id)? {
            self.freshen(id, Consistency::Linearizable).await?;
            if !self.takes_part(user, id)? {
                return Ok(());
            }
        }
        self.freshen(id, consistency).await
    }

    fn takes_part(&self, user: &UserId, id: ConversationId) -> Result<bool, Problem> {
        let member = self.replica.member(id, user).map_err(|error| problems::of_store(&error))?;
        Ok(member.is_some())
    }

    /// What `user` may read of `id` now; `None` when the conversation does not exist, or is one of two others.
    ///
    /// # Errors
    /// `not_a_member`, or a fault of the store.
    pub(crate) fn readable(
        &self,
        user: &UserId,
        id: ConversationId,
    ) -> Result<Option<Readable>, Problem> {
        let store = |error| problems::of_store(&error);
        let Some(head) = self.replica.head(id).map_err(store)? else { return Ok(None) };
        let Some(member) = self.replica.member(id, user).map_err(store)? else {
            return match head.kind {
                Kind::Direct { .. } => Ok(None),
                Kind::Group { .. } => Err(Problem::of(ProblemCode::NotAMember)),
            };
        };
        let visible_from = replica::visible_from(&head, &member);
        let expired = (replica::theirs_from(&head.kind, &member), head.expired);
        let changes_from = replica::changes_visible_from(&head.kind, &member);
        let (last_seq, last_change) = (head.last_seq, head.last_change);
        let kind = Arc::new(head.kind);
        Ok(Some(Readable { id, kind, last_seq, visible_from, expired, changes_from, last_change }))
    }

    /// What lies over some messages of `of`.
    pub(crate) fn overlays(
        &self,
        of: &Readable,
        messages: &[Message],
    ) -> Result<BTreeMap<Seq, Overlay>, Problem> {
        let found = overlays_of(&*self.replica, of.id, of.last_change, messages);
        found.map_err(|error| problems::of_store(&error))
    }

    /// The first changes of `of` above `after` that its reader may see, at most `limit`, and where the next page begins.
    pub(crate) fn changes(
        &self,
        of: &Readable,
        after: ChangeNumber,
        limit: usize,
    ) -> Result<(Vec<Change>, Option<ChangeNumber>), Problem> {
        let after = after.max(ChangeNumber(of.changes_from.0.saturating_sub(1)));
        let changes = self.replica.changes(of.id, after, limit);
        let mut changes = changes.map_err(|error| problems::of_store(&error))?;
        let last = changes.last().map(|change| change.number);
        let next = last.filter(|last| *last < of.last_change);
        changes.retain(|change| change.what.seq().is_none_or(|seq| seq >= of.visible_from));
        Ok((changes, next))
    }

    fn cut(&self, of: &Readable, query: &Query) -> Result<Page, Problem> {
        let (after, before, direction) = match &query.cut {
            Cut::After(None) => (Seq(0), None, Direction::OldestFirst),
            Cut::After(Some(mark)) => {
                (self.place(of, mark, "after_id")?, None, Direction::OldestFirst)
            }
            Cut::Around(mark) => {
                let seq = self.place(of, mark, "around_id")?;
                of.unless_expired(seq).map_err(|problem| problem.about("around_id"))?;
                return self.around(of, seq, query);
            }
            Cut::Before(mark) => {
                let seq = self.place(of, mark, "before_id")?;
                if let Mark::Named(_) = mark {
                    of.unless_expired(seq).map_err(|problem| problem.about("before_id"))?;
                }
                (Seq(0), Some(seq), Direction::NewestFirst)
            }
        };
        let after = after.max(Seq(of.visible_from.0.saturating_sub(1)));
        let span = Span { after, before, limit: query.limit as usize, direction };
        let mut messages =
            self.replica.messages(of.id, span).map_err(|error| problems::of_store(&error))?;
        if let Some(bytes_max) = query.bytes_max {
            shorten(&mut messages, bytes_max);
        }
        if direction == Direction::NewestFirst {
            messages.reverse();
        }
        self.page_of(of, messages)
    }

    /// The message at `seq` with half a page before it and half a page after; where one side ends early, the other gets
    /// its room.
    fn around(&self, of: &Readable, seq: Seq, query: &Query) -> Result<Page, Problem> {
        let limit = query.limit as usize;
        let read = |after: Seq, before: Option<Seq>, limit: usize, direction: Direction| {
            let span = Span { after, before, limit, direction };
            self.replica.messages(of.id, span).map_err(|error| problems::of_store(&error))
        };
        let hidden = Seq(of.visible_from.0.saturating_sub(1));
        let from = Seq(seq.0.saturating_sub(1)).max(hidden);
        let mut older = read(hidden, Some(from.next()), limit, Direction::NewestFirst)?;
        let mut newer = read(from, None, limit, Direction::OldestFirst)?;
        if let Some(bytes_max) = query.bytes_max {
            shorten(&mut older, bytes_max / 2);
            shorten(&mut newer, bytes_max / 2);
        }
        let half = limit / 2;
        let kept = older.len().min(half.max(limit.saturating_sub(newer.len())));
        let mut messages: Vec<Message> = older.into_iter().take(kept).collect();
        messages.reverse();
        messages.extend(newer.into_iter().take(limit - kept));
        self.page_of(of, messages)
    }

    fn page_of(&self, of: &Readable, messages: Vec<Message>) -> Result<Page, Problem> {
        // The head was read before the messages: a message that came between them is not counted as missing.
        let last_seq = messages.last().map_or(of.last_seq, |last| last.seq.max(of.last_seq));
        let overlays = self.overlays(of, &messages)?;
        Ok(Page {
            conversation: of.id,
            kind: Some(Arc::clone(&of.kind)),
            messages,
            overlays,
            last_seq,
            visible_from: of.visible_from,
            expired: of.expired.1,
        })
    }

    /// The sequence of the message that `mark` names.
    fn place(&self, of: &Readable, mark: &Mark, field: &str) -> Result<Seq, Problem> {
        let name = match mark {
            Mark::Seq(seq) => return Ok(*seq),
            Mark::Named(name) => name,
        };
        if let Ok(canonical) = name.parse::<CanonicalId>()
            && canonical.conversation == of.id
        {
            return Ok(canonical.seq);
        }
        let invalid =
            |detail: String| Problem::new(ProblemCode::InvalidRequest, detail).about(field);
        let id = MessageId::parse(name).map_err(|error| invalid(format!("{field} {error}")))?;
        let places = self.replica.places(of.id, &id).map_err(|error| problems::of_store(&error))?;
        // What expired has its place still: whoever read up to there goes on after it.
        let mut visible = places.iter().filter(|place| place.seq >= of.expired.0);
        match (visible.next(), visible.next()) {
            (Some(place), None) => Ok(place.seq),
            (Some(_), Some(_)) => {
                let detail = "several devices used this messageId here; use the canonicalId";
                Err(Problem::new(ProblemCode::AmbiguousId, detail).about(field))
            }
            (None, _) => {
                let detail = format!("{field} names no message of this conversation");
                Err(Problem::new(ProblemCode::NotFound, detail).about(field))
            }
        }
    }
}

/// Keeps the first messages that together have at most `bytes_max` bytes, and at least one.
fn shorten(messages: &mut Vec<Message>, bytes_max: usize) {
    let mut bytes = 0;
    let fits = |message: &Message| {
        let uris = message.body.attachment_uris.iter().map(String::len).sum::<usize>();
        bytes += message.body.text.len() + uris;
        bytes <= bytes_max
    };
    let kept = messages.iter().map(fits).take_while(|fits| *fits).count();
    messages.truncate(kept.max(1));
}

#[cfg(test)]
mod tests;
