//! Draws the board as lines of text, for a terminal of a given size. Pure.

use std::time::Duration;

use super::{
    board::{Board, FaultLine, NodeLine, NodeState, Phase},
    paint::{Paint, Tone, clip, harmless},
    plan::Kind,
};

/// Faults that are shown; older ones are counted.
const FAULT_LINES: usize = 6;
/// The width that nothing is drawn beyond.
const WIDTH_MAX: usize = 110;

/// A piece of a line with its tone.
type Span = (Tone, String);

/// The board at `now` for a terminal of `width` × `height` characters.
pub(crate) fn draw(
    board: &Board,
    now: Duration,
    (width, height): (usize, usize),
    paint: Paint,
) -> Vec<String> {
    let width = width.clamp(20, WIDTH_MAX);
    let mut lines: Vec<Vec<Span>> = vec![headline(board, now), vec![]];
    lines.extend(board.nodes.iter().map(node_line));
    lines.push(vec![]);
    lines.extend(traffic(board, now));
    lines.push(vec![]);
    lines.extend(faults(board));
    lines.push(vec![]);
    lines.push(findings(board));
    let foot = foot(board);
    let room = height.saturating_sub(lines.len() + foot.len() + 2);
    let chat = chat(board, room);
    if !chat.is_empty() {
        lines.push(vec![]);
        lines.extend(chat);
    }
    if !foot.is_empty() {
        lines.push(vec![]);
        lines.extend(foot);
    }
    lines.truncate(height.saturating_sub(1).max(1));
    lines.iter().map(|line| render(line, width, paint)).collect()
}

/// One line, cut off at the width before it is coloured.
fn render(spans: &[Span], width: usize, paint: Paint) -> String {
    let mut line = String::from(" ");
    let mut left = width.saturating_sub(2);
    for (tone, text) in spans {
        let text = clip(&harmless(text), left);
        left -= text.chars().count();
        line.push_str(&paint.paint(*tone, &text));
        if left == 0 {
            break;
        }
    }
    line
}

fn clock(at: Duration) -> String {
    format!("{:02}:{:02}", at.as_secs() / 60, at.as_secs() % 60)
}

fn headline(board: &Board, now: Duration) -> Vec<Span> {
    let phase = match board.phase {
        Phase::Starting => (Tone::Warning, "starting"),
        Phase::Running => (Tone::Good, "running"),
        Phase::Draining => (Tone::Warning, "waiting for the last deliveries"),
        Phase::Reading => (Tone::Accent, "reading everything back from every node"),
        Phase::Stopping => (Tone::Faint, "stopping"),
    };
    // What comes after the last message is not counted against its time.
    let now = board.run_for.map_or(now, |total| now.min(total));
    let until = board.run_for.map_or(String::new(), |total| format!(" of {}", clock(total)));
    vec![
        (Tone::Strong, "synod demo  ".into()),
        (Tone::Plain, clock(now)),
        (Tone::Faint, format!("{until}  seed {}  ", board.seed)),
        (phase.0, phase.1.into()),
    ]
}

fn node_line(node: &NodeLine) -> Vec<Span> {
    let (tone, mark, state) = match node.state {
        NodeState::Starting => (Tone::Warning, "◌", "starting"),
        NodeState::Serving if node.leads > 0 => (Tone::Good, "●", "leads"),
        NodeState::Serving => (Tone::Good, "●", "follows"),
        NodeState::Dead => (Tone::Bad, "✗", "killed"),
        NodeState::Cut => (Tone::Bad, "╳", "cut off"),
    };
    let mut spans = vec![
        (tone, format!("{mark} node {}  {state:<9}", node.id)),
        (Tone::Faint, format!("{:<17}", node.address)),
    ];
    if matches!(node.state, NodeState::Serving | NodeState::Cut) {
        let (led, all) = (node.leads.min(40), node.shards.min(40));
        spans.push((Tone::Accent, "■".repeat(led)));
        spans.push((Tone::Faint, "·".repeat(all.saturating_sub(led))));
        spans.push((Tone::Plain, format!("  {:>2} led", node.leads)));
        spans.push((Tone::Faint, format!("  {} links", node.links)));
    }
    spans
}

fn traffic(board: &Board, now: Duration) -> Vec<Vec<Span>> {
    let rates = board.rates(now, 40);
    let latest: u64 = rates.iter().rev().take(3).sum::<u64>() / 3;
    let ms = |wait: Duration| format!("{:.1} ms", wait.as_secs_f64() * 1000.0);
    vec![
        vec![
            (Tone::Strong, format!("{latest:>5} acked/s")),
            (Tone::Plain, format!("   p50 {}   p99 {}", ms(board.wait(50)), ms(board.wait(99)))),
            (
                Tone::Faint,
                format!(
                    "   sent {}  acked {}  delivered {}",
                    board.sent, board.acked, board.delivered
                ),
            ),
        ],
        vec![(Tone::Accent, bars(&rates))],
    ]
}

/// A number for each second as a bar of eight heights; the highest is full.
fn bars(values: &[u64]) -> String {
    const STEPS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let top = values.iter().copied().max().unwrap_or(0).max(1);
    let step = |value: u64| STEPS[usize::try_from((value * 8).div_ceil(top)).unwrap_or(8).min(8)];
    values.iter().map(|value| step(*value)).collect()
}

fn faults(board: &Board) -> Vec<Vec<Span>> {
    if board.faults.is_empty() {
        let text = if board.chaos { "no faults yet" } else { "no faults: --no-chaos" };
        return vec![vec![(Tone::Faint, text.into())]];
    }
    let hidden = board.faults.len().saturating_sub(FAULT_LINES);
    let mut lines = vec![vec![
        (Tone::Strong, counted(board.faults.len(), "fault")),
        (Tone::Faint, "   what, whom, how long the slowest send around it waited".into()),
    ]];
    for (number, fault) in board.faults.iter().enumerate().skip(hidden) {
        lines.push(fault_line(fault, board.stalls.longest(number)));
    }
    lines
}

/// `1 fault`, `2 faults`.
pub(crate) fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

fn fault_line(fault: &FaultLine, stall: Duration) -> Vec<Span> {
    let (what, undone) = match fault.kind {
        Kind::Kill => ("kill -9", "restarted"),
        Kind::Partition => ("cut off", "healed"),
    };
    let tone = if fault.over { Tone::Plain } else { Tone::Bad };
    let stall_tone = match stall.as_millis() {
        0..1000 => Tone::Good,
        1000..3000 => Tone::Warning,
        _ => Tone::Bad,
    };
    let state = match (fault.over, fault.held) {
        (true, _) => undone,
        (false, true) => "holds",
        (false, false) => "begins",
    };
    vec![
        (Tone::Faint, format!("{}  ", clock(fault.at))),
        (tone, format!("{what}  node {}", fault.node)),
        (Tone::Faint, format!(" led {:>2}  ", fault.led)),
        (stall_tone, format!("{:>5} ms  ", stall.as_millis())),
        (tone, state.into()),
    ]
}

fn findings(board: &Board) -> Vec<Span> {
    let found = &board.findings;
    let tone = if found.clean() { Tone::Good } else { Tone::Bad };
    let counts = format!(
        "lost {}  duplicated {}  reordered {}  undelivered {}",
        found.lost, found.duplicated, found.reordered, found.undelivered
    );
    if board.verified == 0 && found.clean() {
        let text = "not verified yet: every message is read back from every node at the end";
        return vec![(Tone::Faint, text.into())];
    }
    vec![(Tone::Plain, format!("{} messages verified   ", board.verified)), (tone, counts)]
}

fn chat(board: &Board, room: usize) -> Vec<Vec<Span>> {
    let skip = board.chat.len().saturating_sub(room);
    let line = |(place, text): &(String, String)| {
        vec![(Tone::Faint, format!("{:<12} ", clip(place, 12))), (Tone::Plain, text.clone())]
    };
    board.chat.iter().skip(skip).map(line).collect()
}

fn foot(board: &Board) -> Vec<Vec<Span>> {
    let invitation = &board.invitation;
    if invitation.web.is_empty() {
        return Vec::new();
    }
    let users: Vec<String> =
        invitation.users.iter().map(|(user, password)| format!("{user} / {password}")).collect();
    let mut lines = vec![
        vec![
            (Tone::Strong, invitation.web.clone()),
            (Tone::Faint, "   CA ".into()),
            (Tone::Plain, invitation.ca.clone()),
        ],
        vec![(Tone::Faint, "log in as ".into()), (Tone::Plain, users.join("   "))],
    ];
    let try_this = match &invitation.context {
        Some(name) => format!("in another terminal: synod send --ctx {name} bob hello   ·   "),
        None => String::new(),
    };
    lines.push(vec![(Tone::Faint, format!("{try_this}Ctrl-C ends the demo and judges it"))]);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board() -> Board {
        let mut board = Board::new(7, true, Some(Duration::from_secs(30)));
        board.phase = Phase::Running;
        for id in 1..=3 {
            board.nodes.push(NodeLine {
                id,
                state: NodeState::Serving,
                leads: 6,
                shards: 17,
                links: 4,
                address: "127.0.0.1:7400".into(),
            });
        }
        board.acked(Duration::from_secs(1), Duration::from_millis(1250));
        board.said("lobby".into(), "ada: hello".into());
        board
    }

    #[test]
    fn the_board_says_what_there_is_to_know() {
        let mut board = board();
        let fault = board.fault(Kind::Kill, 1, Duration::from_secs(4)).expect("the first");
        board.nodes[1].state = NodeState::Dead;
        board.acked(Duration::from_secs(4), Duration::from_millis(4600));
        board.fault_held(fault);
        let drawn = draw(&board, Duration::from_secs(5), (100, 40), Paint(false)).join("\n");
        for part in
            ["00:05 of 00:30", "node 2  killed", "kill -9  node 2", "600 ms", "holds", "ada: hello"]
        {
            assert!(drawn.contains(part), "`{part}` is not in\n{drawn}");
        }
    }

    #[test]
    fn nothing_is_wider_or_higher_than_the_terminal() {
        let mut board = board();
        for n in 0..40 {
            board.said("a very long place name".into(), format!("eva: {n} {}", "x".repeat(300)));
            board.fault(Kind::Partition, 0, Duration::from_secs(n));
        }
        board.invitation.web = "http://127.0.0.1:7403/".into();
        for (width, height) in [(20, 5), (80, 24), (200, 60), (0, 0)] {
            let lines = draw(&board, Duration::from_secs(60), (width, height), Paint(false));
            assert!(lines.len() < height.max(2), "{width} x {height}");
            let widest = lines.iter().map(|line| line.chars().count()).max();
            assert!(widest <= Some(width.max(20)), "{width} x {height}");
        }
    }

    #[test]
    fn bars_show_a_stall_as_a_gap() {
        assert_eq!(bars(&[8, 0, 4, 8]), "█ ▄█");
        assert_eq!(bars(&[]), "");
    }
}
