//! The threads of a benchmark: each runs its connections on a single-threaded runtime of its own, so
//! that an answer never hops between threads on its way to the next send.

use std::{rc::Rc, sync::mpsc, thread::JoinHandle};

use tokio::{sync::watch, task::LocalSet};

use super::{
    driver::{self, ConnectError, Load, Seat},
    measure::Window,
};
use crate::exit::Failure;

/// Connections that one thread opens at a time.
const DIALS: usize = 16;

/// What every thread is told when all connections stand.
pub(super) type Go = watch::Receiver<Option<Window>>;

/// What each connection does from then on.
pub(super) trait Work: Send + 'static {
    /// What a thread shares among its connections and gives back at the end.
    type Tally: Send + 'static;

    /// Made on its thread.
    fn load(&self) -> Load;
    fn drive(
        load: Rc<Load>,
        seat: Seat,
        link: transport::Link,
        window: Window,
    ) -> impl Future<Output = ()>;
    fn tally(load: Load) -> Self::Tally;
}

/// Threads whose connections are being opened.
pub(super) struct Crew<T> {
    threads: Vec<JoinHandle<Result<T, ConnectError>>>,
    ready: mpsc::Receiver<()>,
    go: watch::Sender<Option<Window>>,
}

impl<T: Send + 'static> Crew<T> {
    /// Starts a thread for each part of the seats.
    #[expect(clippy::disallowed_methods, reason = "a load of real connections on real threads")]
    pub(super) fn start<W: Work<Tally = T>>(parts: Vec<(W, Vec<Seat>)>) -> Result<Self, Failure> {
        let (go, told) = watch::channel(None);
        let (ready_here, ready) = mpsc::channel();
        let mut threads = Vec::new();
        for (work, seats) in parts {
            let (told, ready) = (told.clone(), ready_here.clone());
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|e| Failure::internal(format!("cannot start a thread: {e}")))?;
            threads.push(std::thread::spawn(move || {
                runtime.block_on(LocalSet::new().run_until(thread(work, seats, told, ready)))
            }));
        }
        Ok(Crew { threads, ready, go })
    }

    /// Waits until every connection stands, or says why one does not. Blocks.
    pub(super) fn connected(self) -> Result<Self, Failure> {
        // A thread that cannot connect ends, and its line with it.
        if self.threads.iter().all(|_| self.ready.recv().is_ok()) {
            return Ok(self);
        }
        let Crew { threads, go, .. } = self;
        drop(go);
        let failed = threads.into_iter().find_map(|thread| join(thread).err());
        Err(failed.unwrap_or_else(|| Failure::internal("a thread ended early")))
    }

    /// Lets every connection begin.
    pub(super) fn go(&self, window: Window) {
        self.go.send_replace(Some(window));
    }

    /// What all threads counted. Blocks until they have ended.
    pub(super) fn finish(self) -> Result<Vec<T>, Failure> {
        self.threads.into_iter().map(join).collect()
    }
}

fn join<T>(thread: JoinHandle<Result<T, ConnectError>>) -> Result<T, Failure> {
    match thread.join() {
        Ok(tally) => tally.map_err(Failure::unavailable),
        Err(_) => Err(Failure::internal("a thread of the benchmark panicked")),
    }
}

async fn thread<W: Work>(
    work: W,
    seats: Vec<Seat>,
    mut told: Go,
    ready: mpsc::Sender<()>,
) -> Result<W::Tally, ConnectError> {
    use futures::{StreamExt as _, TryStreamExt as _};
    let load = Rc::new(work.load());
    let dialled: Result<Vec<_>, ConnectError> = futures::stream::iter(seats)
        .map(|seat| {
            let load = load.clone();
            async move {
                let link = driver::connect(&load, &seat.account, seat.account.node).await?;
                Ok((seat, link))
            }
        })
        .buffered(DIALS)
        .try_collect()
        .await;
    let dialled = dialled?;
    // Whoever started the threads waits for each; if it gave up, there is nobody to work for.
    let _ = ready.send(());
    drop(ready);
    let Ok(window) = told.wait_for(Option::is_some).await.map(|window| *window) else {
        return Ok(W::tally(unshared(load)));
    };
    let window = window.expect("waited for");
    let tasks: Vec<_> = dialled
        .into_iter()
        .map(|(seat, link)| tokio::task::spawn_local(W::drive(load.clone(), seat, link, window)))
        .collect();
    for task in tasks {
        task.await.expect("no connection panics or is aborted");
    }
    Ok(W::tally(unshared(load)))
}

fn unshared(load: Rc<Load>) -> Load {
    Rc::into_inner(load).expect("every task that shared it has ended")
}
