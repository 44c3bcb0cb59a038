//! Puts the board in front of people: redrawn in place on a terminal, line by line anywhere else.

use std::{
    io::{self, Write as _},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::{
    board::Board,
    paint::{self, Paint},
    timeline::Timeline,
    view,
};

/// Fast enough to look alive, slow enough to cost nothing.
const REDRAW: Duration = Duration::from_millis(150);
/// How often the plain output says how it goes.
const SUMMARY: Duration = Duration::from_secs(5);

/// How the demo speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Redraws the terminal.
    Live,
    /// Lines on stdout.
    Lines,
    /// Lines on stderr: stdout is for the verdict.
    Aside,
}

impl Manner {
    pub(crate) fn of_environment(json: bool) -> Manner {
        match (json, paint::live()) {
            (true, _) => Manner::Aside,
            (false, true) => Manner::Live,
            (false, false) => Manner::Lines,
        }
    }

    /// Prints one line where this manner prints.
    pub(crate) fn print(self, line: &str) {
        // A reader that went away does not stop the demo: it must still clean up.
        let _ = match self {
            Manner::Live | Manner::Lines => writeln!(io::stdout(), "{line}"),
            Manner::Aside => writeln!(io::stderr(), "{line}"),
        };
    }

    pub(crate) fn paint(self) -> Paint {
        match self {
            Manner::Live | Manner::Lines => Paint::of_environment(&io::stdout()),
            Manner::Aside => Paint::of_environment(&io::stderr()),
        }
    }
}

/// Shows the board until `stop`, then once more.
pub(crate) async fn show(
    board: Arc<Mutex<Board>>,
    timeline: Timeline,
    manner: Manner,
    stop: CancellationToken,
) {
    match manner {
        Manner::Live => live(board, timeline, manner.paint(), stop).await,
        Manner::Lines | Manner::Aside => lines(board, timeline, manner, stop).await,
    }
}

async fn live(board: Arc<Mutex<Board>>, timeline: Timeline, paint: Paint, stop: CancellationToken) {
    let mut drawn = 0;
    loop {
        let last = stop.is_cancelled();
        drawn = redraw(&view_now(&board, &timeline, paint), drawn);
        if last {
            return;
        }
        stop.run_until_cancelled(tokio::time::sleep(REDRAW)).await;
    }
}

fn view_now(board: &Mutex<Board>, timeline: &Timeline, paint: Paint) -> Vec<String> {
    let size = terminal_size::terminal_size()
        .map_or((80, 24), |(width, height)| (usize::from(width.0), usize::from(height.0)));
    let mut board = board.lock();
    board.take_log();
    view::draw(&board, timeline.now(), size, paint)
}

/// Draws over the `drawn` lines of the last time. Returns how many there are now.
fn redraw(lines: &[String], drawn: usize) -> usize {
    // One write between the marks of a synchronised update, so that nothing flickers.
    let mut out = String::from("\x1b[?2026h\r");
    if drawn > 0 {
        out.push_str(&format!("\x1b[{drawn}A"));
    }
    for line in lines {
        out.push_str(line);
        out.push_str("\x1b[K\n");
    }
    out.push_str("\x1b[J\x1b[?2026l");
    let mut stdout = io::stdout().lock();
    // A terminal that went away does not stop the demo: it must still clean up.
    let _ = stdout.write_all(out.as_bytes()).and_then(|()| stdout.flush());
    lines.len()
}

async fn lines(
    board: Arc<Mutex<Board>>,
    timeline: Timeline,
    manner: Manner,
    stop: CancellationToken,
) {
    let mut next_summary = SUMMARY;
    loop {
        let last = stop.is_cancelled();
        let (told, summary) = {
            let mut board = board.lock();
            let now = timeline.now();
            let told = board.take_log();
            let due = now >= next_summary && board.acked > 0;
            if now >= next_summary {
                next_summary += SUMMARY;
            }
            (told, due.then(|| summary(&board, now)))
        };
        told.iter().chain(&summary).for_each(|line| manner.print(line));
        if last {
            return;
        }
        stop.run_until_cancelled(tokio::time::sleep(REDRAW)).await;
    }
}

fn summary(board: &Board, now: Duration) -> String {
    let per_second = board.rates(now, 5).iter().sum::<u64>() / 5;
    format!(
        "{:>7.1} s  {per_second} acked/s, p50 {:.1} ms, p99 {:.1} ms; sent {}, acked {}, delivered {}",
        now.as_secs_f64(),
        board.wait(50).as_secs_f64() * 1000.0,
        board.wait(99).as_secs_f64() * 1000.0,
        board.sent,
        board.acked,
        board.delivered
    )
}
