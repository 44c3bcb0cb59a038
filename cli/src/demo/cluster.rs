//! The three nodes as the demo handles them: starts, watches, kills, cuts, heals, stops.

use std::{os::unix::process::ExitStatusExt as _, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    board::{Board, NodeLine, NodeState},
    folder::{Folder, Place},
    process::{Process, Recipe},
    timeline::Timeline,
};
use crate::{
    exit::{Exit, Failure},
    operations::{self, NodeStatus},
};

/// How often nodes are asked how they are.
const WATCH: Duration = Duration::from_millis(250);
/// How often a node that starts is asked whether it serves.
const READY_POLL: Duration = Duration::from_millis(40);
/// A node has this long to serve before the demo gives up on it.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// A node has this long to stop in order.
const STOP_WITHIN: Duration = Duration::from_secs(3);
/// A node that ends while it starts is started again so often.
const REVIVALS_MAX: u32 = 3;
/// Lines of a node's log that are shown when it fails.
const LOG_LINES: usize = 12;

/// The nodes of a demo.
pub(crate) struct Cluster {
    nodes: Vec<Node>,
    board: Arc<Mutex<Board>>,
    timeline: Timeline,
}

struct Node {
    place: Place,
    recipe: Recipe,
    process: tokio::sync::Mutex<Option<Process>>,
    reviving: tokio::sync::Mutex<()>,
    /// What the node said last.
    status: Mutex<Option<NodeStatus>>,
}

impl Cluster {
    /// The nodes of a folder; none of them runs yet.
    pub(crate) fn new(
        folder: &Folder,
        board: Arc<Mutex<Board>>,
        timeline: Timeline,
    ) -> Result<Cluster, Failure> {
        let executable = std::env::current_exe().map_err(Failure::internal)?;
        let node = |place: &Place| Node {
            place: place.clone(),
            recipe: Recipe {
                executable: executable.clone(),
                config: place.folder.join("node.toml"),
                log: place.folder.join("node.log"),
                sweep: folder.temporary.then(|| folder.path.clone()),
            },
            process: Default::default(),
            reviving: Default::default(),
            status: Mutex::default(),
        };
        let nodes: Vec<Node> = folder.places.iter().map(node).collect();
        board.lock().nodes = nodes
            .iter()
            .map(|node| NodeLine {
                id: node.place.id,
                state: NodeState::Starting,
                leads: 0,
                shards: 0,
                links: 0,
                address: node.place.client.to_string(),
            })
            .collect();
        Ok(Cluster { nodes, board, timeline })
    }

    pub(crate) fn places(&self) -> impl Iterator<Item = &Place> {
        self.nodes.iter().map(|node| &node.place)
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn id(&self, place: usize) -> u64 {
        self.nodes[place].place.id
    }

    pub(crate) fn state(&self, place: usize) -> NodeState {
        self.board.lock().nodes[place].state
    }

    fn set_state(&self, place: usize, state: NodeState) {
        self.board.lock().nodes[place].state = state;
    }

    fn tell(&self, what: impl std::fmt::Display) {
        self.board.lock().tell(self.timeline.now(), what);
    }

    /// Starts every node and waits until all of them serve.
    pub(crate) async fn start(&self) -> Result<(), Failure> {
        for place in 0..self.nodes.len() {
            self.launch(place).await?;
        }
        for place in 0..self.nodes.len() {
            self.ready(place).await?;
        }
        Ok(())
    }

    /// Starts a node, unless it runs.
    async fn launch(&self, place: usize) -> Result<(), Failure> {
        let node = &self.nodes[place];
        let mut process = node.process.lock().await;
        if process.is_some() {
            return Ok(());
        }
        self.set_state(place, NodeState::Starting);
        let started = node.recipe.start().map_err(|e| {
            Failure::internal(format!("node {} cannot be started: {e}", node.place.id))
        })?;
        *process = Some(started);
        Ok(())
    }

    /// Starts a node again and waits until it serves. One that ends instead is started once more: the
    /// run goes on, and its verdict says that a node ended by itself.
    pub(crate) async fn revive(&self, place: usize) -> Result<(), Failure> {
        // Whoever broke it and whoever watches it may both want to mend it.
        let _one_at_a_time = self.nodes[place].reviving.lock().await;
        let mut tries = 0;
        while self.state(place) != NodeState::Serving {
            self.launch(place).await?;
            match self.ready(place).await {
                Err(failure) if tries < REVIVALS_MAX => {
                    tries += 1;
                    // The watch may have been there first; then it has told and counted.
                    if self.nodes[place].process.lock().await.take().is_some() {
                        self.board.lock().crashes += 1;
                        self.tell(failure);
                    }
                }
                ended => return ended,
            }
        }
        Ok(())
    }

    /// Waits until a node that was launched serves.
    async fn ready(&self, place: usize) -> Result<(), Failure> {
        let node = &self.nodes[place];
        let deadline = Instant::now() + READY_WITHIN;
        while !operations::ready(node.place.operations).await {
            // The watch may have seen the end first, and taken the process away.
            match node.process.lock().await.as_mut().map(Process::ended) {
                Some(None) => {}
                Some(Some(status)) => {
                    return Err(self.broken(place, &format!("ended with {status}")));
                }
                None => return Err(self.broken(place, "ended before it served")),
            }
            if Instant::now() > deadline {
                return Err(self.broken(place, "does not serve"));
            }
            tokio::time::sleep(READY_POLL).await;
        }
        self.set_state(place, NodeState::Serving);
        Ok(())
    }

    /// Waits until every node serves. A node that does not come back is a failure.
    pub(crate) async fn whole(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + READY_WITHIN;
        for place in 0..self.nodes.len() {
            while self.state(place) != NodeState::Serving {
                if Instant::now() > deadline {
                    return Err(self.broken(place, "does not come back"));
                }
                tokio::time::sleep(READY_POLL).await;
            }
        }
        Ok(())
    }

    fn broken(&self, place: usize, what: &str) -> Failure {
        let node = &self.nodes[place];
        let log = node.recipe.log_tail(LOG_LINES);
        let why =
            if log.is_empty() { String::new() } else { format!("; its log ends with\n{log}") };
        Failure::new(Exit::Unhealthy, format!("node {} {what}{why}", node.place.id))
    }

    /// SIGKILL. Returns when the process is gone: whether it was this that ended it.
    pub(crate) async fn kill(&self, place: usize) -> bool {
        let mut process = self.nodes[place].process.lock().await;
        let Some(process) = process.take() else { return false };
        self.set_state(place, NodeState::Dead);
        matches!(process.kill().await, Ok(status) if status.signal() == Some(9))
    }

    /// Cuts a node off from all others, or heals it.
    pub(crate) async fn cut(&self, place: usize, cut: bool) -> Result<(), operations::AskError> {
        let node = &self.nodes[place].place;
        let others: Vec<u64> =
            self.places().map(|other| other.id).filter(|id| cut && *id != node.id).collect();
        operations::cut(node.operations, &others).await?;
        self.set_state(place, if cut { NodeState::Cut } else { NodeState::Serving });
        Ok(())
    }

    /// Whether every other node that serves holds this one for dead.
    pub(crate) async fn missed(&self, place: usize) -> bool {
        let id = self.id(place);
        let mut asked = 0;
        for (other, node) in self.nodes.iter().enumerate() {
            if other == place || self.state(other) != NodeState::Serving {
                continue;
            }
            match operations::status(node.place.operations).await {
                Ok(status) if !status.sees(id) => asked += 1,
                _ => return false,
            }
        }
        asked > 0
    }

    /// The node that leads most shards, as the nodes themselves say.
    pub(crate) fn busiest(&self) -> usize {
        let leads =
            |place: &usize| self.nodes[*place].status.lock().as_ref().map_or(0, NodeStatus::leads);
        (0..self.nodes.len()).max_by_key(leads).unwrap_or(0)
    }

    /// Asks the nodes how they are, for ever. A node that ended by itself is handed to `ended`.
    pub(crate) async fn watch(&self, ended: impl Fn(usize, std::process::ExitStatus)) {
        loop {
            for place in 0..self.nodes.len() {
                self.look(place, &ended).await;
            }
            tokio::time::sleep(WATCH).await;
        }
    }

    async fn look(&self, place: usize, ended: &impl Fn(usize, std::process::ExitStatus)) {
        let node = &self.nodes[place];
        if let Ok(mut process) = node.process.try_lock()
            && let Some(status) = process.as_mut().and_then(Process::ended)
        {
            *process = None;
            self.set_state(place, NodeState::Dead);
            let id = node.place.id;
            match status.signal() {
                Some(_) => self.tell(format_args!("node {id} was killed from outside: {status}")),
                None => {
                    let last = node.recipe.log_tail(1);
                    self.tell(format_args!("node {id} ended by itself, {status}: {last}"));
                }
            }
            ended(place, status);
        }
        let status = match self.state(place) {
            NodeState::Dead => None,
            _ => operations::status(node.place.operations).await.ok(),
        };
        let mut board = self.board.lock();
        let line = &mut board.nodes[place];
        line.leads = status.as_ref().map_or(0, NodeStatus::leads);
        line.shards = status.as_ref().map_or(line.shards, |status| status.shards.len());
        line.links = status.as_ref().map_or(0, |status| status.links);
        drop(board);
        *node.status.lock() = status;
    }

    /// Stops every node, in order if they will.
    pub(crate) async fn stop(&self) {
        let stops = self.nodes.iter().map(|node| async {
            if let Some(process) = node.process.lock().await.take() {
                process.stop(STOP_WITHIN).await;
            }
        });
        futures::future::join_all(stops).await;
    }
}
