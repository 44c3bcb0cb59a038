//! The calling end of one lane to one peer: the line in which calls wait, and the slots their
//! answers come back to.
//!
//! A call takes its place in the line when it is made, not when its future is first polled. The line
//! itself is the stream that tonic sends, so a call wakes the connection's writer and nothing else.
//! While the link is down nothing waits: calls fail at once.

use std::{
    collections::{BTreeMap, VecDeque},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use futures::Stream;
use parking_lot::Mutex;
use proto::peer::{Batch, Packet, packet::Kind};
use tokio::sync::oneshot;
use tonic::transport::Channel;

use super::{
    PeerError, code,
    disk::SaidDisk,
    limits::{BATCH_BYTES_MAX, CALLS_MAX, PACKET_BYTES_MAX, QUEUED_BYTES_MAX},
    pace::Pace,
};

type Answer = Result<Bytes, PeerError>;

/// One lane to one peer, for as long as the peer is known; links come and go beneath it.
#[derive(Default)]
pub(super) struct Line {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The connection beneath, while the link is up.
    channel: Option<Channel>,
    /// Counts links; a stream of an earlier link finds another number here and ends.
    link: u64,
    waiting: VecDeque<(u64, Bytes)>,
    waiting_bytes: usize,
    last_call: u64,
    /// Calls up to here have left the line: the peer may have them.
    taken: u64,
    slots: BTreeMap<u64, oneshot::Sender<Answer>>,
    writer: Option<Waker>,
}

impl Line {
    /// Takes a place in line for a call, or says at once why it cannot be made.
    pub(super) fn begin(self: &Arc<Self>, request: Bytes) -> Result<Call, PeerError> {
        if request.len() > PACKET_BYTES_MAX {
            return Err(PeerError::refused(code::TOO_LARGE));
        }
        let mut state = self.state.lock();
        if state.channel.is_none() {
            return Err(PeerError::Unreachable);
        }
        if state.slots.len() >= CALLS_MAX || state.waiting_bytes + request.len() > QUEUED_BYTES_MAX
        {
            return Err(PeerError::refused(code::OVERLOADED));
        }
        state.last_call += 1;
        let id = state.last_call;
        let (sender, answer) = oneshot::channel();
        state.slots.insert(id, sender);
        state.waiting_bytes += request.len();
        state.waiting.push_back((id, request));
        let writer = state.writer.take();
        drop(state);
        if let Some(writer) = writer {
            writer.wake();
        }
        Ok(Call { line: self.clone(), id, answer })
    }

    /// Begins a new link and returns its number. Calls fail until [`Line::up`].
    pub(super) fn renew(&self) -> u64 {
        let mut state = self.state.lock();
        debug_assert!(state.channel.is_none(), "the link before this one was taken down");
        state.link += 1;
        state.link
    }

    /// Link number `link` answers: calls may be made. False: it was taken down while it was opened.
    pub(super) fn up(&self, link: u64, channel: Channel) -> bool {
        let mut state = self.state.lock();
        let current = state.link == link;
        if current {
            state.channel = Some(channel);
        }
        current
    }

    pub(super) fn channel(&self) -> Option<Channel> {
        self.state.lock().channel.clone()
    }

    /// The link is gone: ends its stream and answers everybody who waits.
    pub(super) fn down(&self) {
        let mut state = self.state.lock();
        state.channel = None;
        state.link += 1;
        state.waiting.clear();
        state.waiting_bytes = 0;
        let slots = std::mem::take(&mut state.slots);
        let (taken, writer) = (state.taken, state.writer.take());
        drop(state);
        if let Some(writer) = writer {
            writer.wake();
        }
        for (id, slot) in slots {
            // A slot whose caller went away needs no answer.
            let _ =
                slot.send(Err(if id <= taken { PeerError::Lost } else { PeerError::Unreachable }));
        }
    }

    /// Hands the answers of one batch to their callers.
    pub(super) fn answer(&self, batch: Batch) {
        let mut answers = Vec::with_capacity(batch.packets.len());
        let mut state = self.state.lock();
        for packet in batch.packets {
            let answer = match packet.kind {
                Some(Kind::Response(body)) => Ok(body),
                Some(Kind::Failure(code)) => Err(PeerError::Refused(code)),
                Some(Kind::Heartbeat(_) | Kind::Request(_)) | None => continue,
            };
            // No slot: the caller went away or its deadline passed.
            if let Some(slot) = state.slots.remove(&packet.call) {
                answers.push((slot, answer));
            }
        }
        drop(state);
        for (slot, answer) in answers {
            let _ = slot.send(answer);
        }
    }

    /// Frees the slot of a caller that no longer waits; true if the call never left the line.
    fn forget(&self, id: u64) -> bool {
        let mut state = self.state.lock();
        state.slots.remove(&id).is_some() && id > state.taken
    }
}

/// A call in flight. Dropping it frees its slot, and takes it back if it has not left yet.
pub(super) struct Call {
    line: Arc<Line>,
    id: u64,
    answer: oneshot::Receiver<Answer>,
}

impl Call {
    /// Waits for the answer, no longer than `deadline` from now.
    pub(super) async fn answer(mut self, deadline: Duration) -> Answer {
        match tokio::time::timeout(deadline, &mut self.answer).await {
            Ok(Ok(answer)) => answer,
            // The line drops slots only by answering them; a plane that stops drops the line.
            Ok(Err(_)) => Err(PeerError::Lost),
            Err(_) if self.line.forget(self.id) => Err(PeerError::Unreachable),
            Err(_) => self.answer.try_recv().unwrap_or(Err(PeerError::Timeout)),
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.line.forget(self.id);
    }
}

/// What one link sends: the line's calls, and a sign of life when there are none.
pub(super) struct Requests {
    line: Arc<Line>,
    link: u64,
    pace: Option<Pace>,
    disk: Option<Arc<SaidDisk>>,
}

/// What the lane that carries signs of life says besides calls.
pub(super) struct Life {
    pub(super) heartbeat: Duration,
    /// How this node's disk is.
    pub(super) disk: Arc<SaidDisk>,
}

impl Requests {
    /// The stream of link number `link`; `life` on the lane that carries signs of life.
    pub(super) fn new(line: Arc<Line>, link: u64, life: Option<Life>) -> Requests {
        let pace = life.as_ref().map(|life| Pace::new(life.heartbeat));
        Requests { line, link, pace, disk: life.map(|life| life.disk) }
    }

    fn batch(&self, packets: Vec<Packet>) -> Batch {
        let disk = self.disk.as_ref().map(|disk| disk.get()).unwrap_or_default();
        Batch { packets, slow: disk.slow, full: disk.full }
    }

    fn take(&self, cx: &mut Context<'_>) -> Poll<Option<Vec<Packet>>> {
        let mut guard = self.line.state.lock();
        let state = &mut *guard;
        if state.link != self.link {
            return Poll::Ready(None);
        }
        let mut packets = Vec::new();
        let mut bytes = 0;
        while bytes < BATCH_BYTES_MAX
            && let Some((call, request)) = state.waiting.pop_front()
        {
            state.waiting_bytes -= request.len();
            // The caller went away: the call is not made.
            if !state.slots.contains_key(&call) {
                continue;
            }
            bytes += request.len();
            state.taken = call;
            packets.push(Packet { call, kind: Some(Kind::Request(request)) });
        }
        if packets.is_empty() {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Some(packets))
    }
}

impl Stream for Requests {
    type Item = Batch;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Batch>> {
        if let Poll::Ready(taken) = self.take(cx) {
            if let Some(pace) = &mut self.pace {
                pace.touch();
            }
            return Poll::Ready(taken.map(|packets| self.batch(packets)));
        }
        let Some(pace) = &mut self.pace else { return Poll::Pending };
        let beat = std::task::ready!(pace.poll_heartbeat(cx));
        Poll::Ready(Some(self.batch(beat.packets)))
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    fn line() -> (Arc<Line>, Requests) {
        let line = Arc::new(Line::default());
        let link = line.renew();
        let requests = Requests::new(line.clone(), link, None);
        line.up(link, tonic::transport::Endpoint::from_static("http://nobody.test").connect_lazy());
        (line, requests)
    }

    fn call(line: &Arc<Line>) -> Call {
        line.begin(Bytes::from_static(b"hi")).expect("the line is up and empty")
    }

    #[tokio::test]
    async fn a_lost_link_tells_calls_that_left_from_calls_that_did_not() {
        let (line, mut requests) = line();
        let left = call(&line);
        assert_eq!(requests.next().await.expect("a batch").packets.len(), 1);
        let waiting = call(&line);
        line.down();
        assert_eq!(left.answer(LONG).await, Err(PeerError::Lost));
        assert_eq!(waiting.answer(LONG).await, Err(PeerError::Unreachable));
        assert!(requests.next().await.is_none(), "the stream of a lost link ends");
        assert_eq!(line.begin(Bytes::new()).err(), Some(PeerError::Unreachable));
    }

    #[tokio::test]
    async fn a_deadline_that_passes_in_line_takes_the_call_back() {
        let (line, mut requests) = line();
        let waited = call(&line).answer(Duration::from_millis(1)).await;
        assert_eq!(waited, Err(PeerError::Unreachable));
        let next = call(&line);
        let batch = requests.next().await.expect("a batch");
        assert_eq!(batch.packets.len(), 1, "the first call is not sent any more");
        assert_eq!(batch.packets[0].call, 2);
        assert_eq!(next.answer(Duration::from_millis(1)).await, Err(PeerError::Timeout));
    }

    #[tokio::test]
    async fn packets_that_wait_together_travel_together_up_to_the_bound() {
        let (line, mut requests) = line();
        let half = Bytes::from(vec![0; BATCH_BYTES_MAX / 2]);
        let calls: Vec<_> = (0..5).map(|_| line.begin(half.clone()).expect("room")).collect();
        let sizes: Vec<usize> = [
            requests.next().await.expect("a batch").packets.len(),
            requests.next().await.expect("a batch").packets.len(),
            requests.next().await.expect("a batch").packets.len(),
        ]
        .to_vec();
        assert_eq!(sizes, [2, 2, 1]);
        drop(calls);
    }
}
