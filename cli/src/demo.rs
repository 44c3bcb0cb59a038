//! `synod demo`: three real nodes, bots that talk through them, faults while they do, and a judge.
//!
//! Everything is real: processes of this executable with their own data folders, TLS, fsync; clients
//! over QUIC and WebSocket; SIGKILL; a partition in which packets just do not arrive. What the bots
//! were told is then compared with what every node has. Whatever happens to the demo, no process and
//! no temporary folder outlives it.

mod board;
mod bots;
mod chaos;
mod cluster;
mod folder;
mod paint;
mod plan;
mod process;
mod readback;
mod record;
mod report;
mod run;
mod screen;
mod script;
mod signals;
mod stalls;
mod timeline;
mod verdict;
mod view;

use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::{
    args::Demo,
    context,
    exit::{Exit, Failure, Outcome},
    seed,
};
pub(crate) use paint::harmless;

use board::{Board, Phase};
use cluster::Cluster;
use folder::Folder;
use report::Report;
use run::Run;
use screen::Manner;
use signals::Signals;
use timeline::Timeline;
use verdict::{Verdict, conclude};

/// The context that a running demo writes.
const CONTEXT: &str = "demo";

/// Runs the demo to its verdict.
pub(crate) async fn demo(args: Demo) -> Outcome {
    let signals = Signals::listen()?;
    let manner = Manner::of_environment(args.json);
    let seed = args.seed.unwrap_or_else(seed::fresh);
    let folder = Folder::open(args.data.as_deref(), args.port_base, args.shards, !args.no_chaos)?;
    let board = Arc::new(Mutex::new(Board::new(seed, !args.no_chaos, args.run_for)));
    let timeline = Timeline::default();
    let cluster = match Cluster::new(&folder, board.clone(), timeline.clone()) {
        Ok(cluster) => Arc::new(cluster),
        Err(failure) => {
            folder.leave();
            return Err(failure);
        }
    };
    let shown = CancellationToken::new();
    let screen = screen::show(board.clone(), timeline.clone(), manner, shown.clone());
    let screen = tokio::spawn(screen);
    let run = Run {
        args: &args,
        seed,
        folder: &folder,
        board: board.clone(),
        timeline: timeline.clone(),
        cluster: cluster.clone(),
        please: signals.please.clone(),
    };
    let ended = tokio::select! {
        biased;
        () = signals.now.cancelled() => None,
        () = too_early(&signals, &timeline) => None,
        ended = Box::pin(run.play()) => Some(ended),
    };
    board.lock().phase = Phase::Stopping;
    cluster.stop().await;
    context::forget(CONTEXT);
    folder.leave();
    shown.cancel();
    // The screen only draws; if it could not, the verdict is still told.
    let _ = screen.await;
    tell(&args, manner, &board.lock(), ended, signals.please.is_cancelled())
}

/// Until somebody asks the demo to end before there is anything to judge.
async fn too_early(signals: &Signals, timeline: &Timeline) {
    signals.please.cancelled().await;
    if timeline.has_begun() {
        std::future::pending().await
    }
}

/// Prints the verdict, and says how the process ends.
fn tell(
    args: &Demo,
    manner: Manner,
    board: &Board,
    ended: Option<Result<verdict::Run, Failure>>,
    asked_to_end: bool,
) -> Outcome {
    let interrupted = ended.is_none();
    let (run, failure) = match ended {
        Some(Ok(run)) => (run, None),
        Some(Err(failure)) => (verdict::Run::default(), Some(failure)),
        None => (verdict::Run::default(), None),
    };
    let verdict = match interrupted {
        true => Verdict::Incomplete("it was ended before it could be judged"),
        false => conclude(&board.findings, run),
    };
    let why = failure.as_ref().map(|failure| failure.message.as_str());
    let report = Report { board, verdict, run, failure: why };
    report.lines(manner.paint()).iter().for_each(|line| manner.print(line));
    if args.json {
        println!("{}", report.json());
    }
    match (failure, verdict) {
        (Some(failure), _) => Ok(failure.exit),
        (None, Verdict::Pass) => Ok(Exit::Ok),
        // Whoever ends a demo early asked for no proof.
        (None, Verdict::Incomplete(_)) if asked_to_end => Ok(Exit::Ok),
        (None, Verdict::Incomplete(_) | Verdict::Fail) => Ok(Exit::VerificationFailed),
    }
}
