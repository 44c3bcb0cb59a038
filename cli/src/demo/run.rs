//! The course of a demo: nodes up, people invited, bots talking while faults come and go, then
//! silence, everything read back, and judged; again and again in a demo without an end.

use std::{os::unix::process::ExitStatusExt as _, sync::Arc, time::Duration};

use chat::UserId;
use client::{Client, Credentials};
use parking_lot::Mutex;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use transport::{ClientTls, http};

use super::{
    CONTEXT,
    board::{Board, Invitation, NodeState, Phase},
    bots::{self, Actor, SEND_PATIENCE, Stage, Tempo},
    chaos::Chaos,
    cluster::Cluster,
    folder::Folder,
    plan::Plan,
    readback::{self, Reader},
    script::Cast,
    timeline::Timeline,
    verdict::{self, Bot, Shelf},
};
use crate::{
    args::Demo,
    context::{self, Context},
    desk,
    exit::Failure,
    seed::{self, Dice},
};

/// A demo without an end is judged this often, so that what it remembers stays small.
const ROUND: Duration = Duration::from_secs(60);
/// Without faults there is less to judge, and whoever measures wants to be left alone.
const CALM_ROUND: Duration = Duration::from_secs(600);
/// Deliveries have this long after the last answer.
const DELIVER_WITHIN: Duration = Duration::from_secs(10);
/// How often is looked whether everything has come.
const POLL: Duration = Duration::from_millis(50);
/// Bots that are watched: some hundred messages a second on this machine at most.
const LIVELY: Tempo = Tempo { pause_ms: (40, 160) };
/// Bots in a cluster that others use: one message a second together.
const CALM: Tempo = Tempo { pause_ms: (3000, 9000) };

/// Everything a run needs.
pub(crate) struct Run<'a> {
    pub(crate) args: &'a Demo,
    pub(crate) seed: u64,
    pub(crate) folder: &'a Folder,
    pub(crate) board: Arc<Mutex<Board>>,
    pub(crate) timeline: Timeline,
    pub(crate) cluster: Arc<Cluster>,
    /// Somebody asked the run to end in order.
    pub(crate) please: CancellationToken,
}

/// What the run has at hand once everybody is there.
struct Company {
    stage: Arc<Stage>,
    readers: Vec<Reader>,
    http: http::Client,
    /// Keeps the bots' tasks; they end with it.
    _tasks: JoinSet<()>,
}

impl Run<'_> {
    /// Plays the run to its end.
    pub(crate) async fn play(&self) -> Result<verdict::Run, Failure> {
        let started = Instant::now();
        self.cluster.start().await?;
        let (nodes, ms) = (self.cluster.len(), started.elapsed().as_millis());
        self.tell(format_args!("{nodes} nodes serve after {ms} ms"));
        let mut tasks = JoinSet::new();
        self.watch(&mut tasks);
        let company = self.gather().await?;
        let mut run = verdict::Run { chaos: !self.args.no_chaos, ..verdict::Run::default() };
        self.timeline.begin();
        let end = self.args.run_for.map(|time| Instant::now() + time);
        let mut chaos = Chaos {
            cluster: self.cluster.clone(),
            board: self.board.clone(),
            timeline: self.timeline.clone(),
            plan: Plan::new(self.seed),
        };
        loop {
            let length = if self.args.no_chaos { CALM_ROUND } else { ROUND };
            let until = Instant::now() + length;
            let until = end.map_or(until, |end| end.min(until));
            self.phase(Phase::Running);
            company.stage.go(true);
            self.disturb(&mut chaos, until, &company.stage).await?;
            company.stage.go(false);
            self.judge(&company, &mut run).await?;
            let over = end.is_some_and(|end| Instant::now() >= end);
            if over || self.please.is_cancelled() {
                return Ok(run);
            }
        }
    }

    fn tell(&self, what: impl std::fmt::Display) {
        self.board.lock().tell(self.timeline.now(), what);
    }

    fn phase(&self, phase: Phase) {
        self.board.lock().phase = phase;
    }

    /// Watches the nodes. One that ended by itself is brought back, unless faults are not wanted:
    /// then whoever killed it wants to see it dead.
    fn watch(&self, tasks: &mut JoinSet<()>) {
        let (report, mut ended) = mpsc::channel::<usize>(16);
        let (cluster, board) = (self.cluster.clone(), self.board.clone());
        tasks.spawn(async move {
            let note = |place, status: std::process::ExitStatus| {
                // A signal comes from outside; everything else is the node's own doing.
                if status.signal().is_none() {
                    board.lock().crashes += 1;
                }
                // Full only if a node keeps dying; then one notice is enough.
                let _ = report.try_send(place);
            };
            cluster.watch(note).await;
        });
        if self.args.no_chaos {
            return;
        }
        let (cluster, board, timeline) =
            (self.cluster.clone(), self.board.clone(), self.timeline.clone());
        tasks.spawn(async move {
            while let Some(place) = ended.recv().await {
                if let Err(failure) = cluster.revive(place).await {
                    board.lock().tell(timeline.now(), failure);
                }
            }
        });
    }

    /// Accounts for people and bots, the bots' clients and groups, the invitation.
    async fn gather(&self) -> Result<Company, Failure> {
        let ca_pem = std::fs::read(self.folder.ca()).map_err(Failure::internal)?;
        let tls = ClientTls::from_ca_pem(&ca_pem).map_err(Failure::internal)?;
        let cast = Cast::new(self.folder.memory.runs);
        let (people, guests) = self.people(&ca_pem).await?;
        let sessions = cast.users.iter().enumerate().map(|(bot, user)| {
            let config = self.client_config(&ca_pem, bot);
            async move {
                let password = seed::secret(16);
                bots::register(&config, user, &password).await?;
                let session = bots::login(&config, user, &password, "bot").await?;
                Ok::<_, Failure>((config, session))
            }
        });
        let sessions = futures::future::try_join_all(sessions).await?;
        let mut clients = Vec::new();
        let mut inboxes = Vec::new();
        for (config, session) in sessions {
            let (client, inbox) = Client::connect(config, session).map_err(Failure::internal)?;
            clients.push(client);
            inboxes.push(inbox);
        }
        bots::make_groups(&cast, &clients, &guests).await?;
        self.invite(people).await?;
        let reader = |bot: Bot| Reader { bot, client: clients[bot].clone() };
        let readers = cast.readers().into_iter().map(reader).collect();
        let stage = Arc::new(Stage::new(cast, self.board.clone(), self.timeline.clone()));
        let mut tasks = JoinSet::new();
        for (bot, inbox) in inboxes.into_iter().enumerate() {
            let dice = Dice::new(self.seed, 100 + bot as u64);
            let calm = self.args.no_chaos && self.args.run_for.is_none();
            let tempo = if calm { CALM } else { LIVELY };
            let client = clients[bot].clone();
            Actor { bot, client, inbox, dice, tempo }.begin(stage.clone(), &mut tasks);
        }
        let http = http::Client::new(tls);
        Ok(Company { stage, readers, http, _tasks: tasks })
    }

    /// Accounts for people. Alice is logged in: her session goes into the context.
    async fn people(&self, ca_pem: &[u8]) -> Result<(Credentials, Vec<UserId>), Failure> {
        let config = self.client_config(ca_pem, 0);
        let mut users = Vec::new();
        for (name, password) in &self.folder.memory.people {
            let user = UserId::parse(name).map_err(Failure::internal)?;
            bots::register(&config, &user, password).await?;
            users.push(user);
        }
        let password = &self.folder.memory.people[0].1;
        let session = bots::login(&config, &users[0], password, "terminal").await?;
        Ok((session, users))
    }

    /// How a bot's client finds the nodes: each begins at another one, and every other bot does
    /// without UDP.
    fn client_config(&self, ca_pem: &[u8], bot: usize) -> client::Config {
        let mut nodes: Vec<_> = self.cluster.places().map(|place| place.client).collect();
        let first = bot % nodes.len();
        nodes.rotate_left(first);
        let mut config = client::Config::new(nodes, ca_pem.to_vec());
        config.send_patience = SEND_PATIENCE;
        config.transport = match bot % 2 {
            0 => client::Transport::Quic,
            _ => client::Transport::WebSocket,
        };
        config
    }

    /// Whoever runs the demo may also change its cluster: `synod node join-token` and the like work with its context.
    async fn become_operator(&self, context: &Context) {
        let memory = &self.folder.memory;
        let claimed = desk::become_operator(context, &memory.claim, "demo", &memory.operator).await;
        let kept = claimed.and_then(|()| {
            context::write_secret(&self.folder.operator(), &memory.operator)?;
            context::write_secret(&context::operator_file(CONTEXT)?, &memory.operator)
        });
        if let Err(failure) = kept {
            self.tell(format_args!("there is no operator: {failure}"));
        }
    }

    /// Writes the context and says how people come in.
    async fn invite(&self, session: Credentials) -> Result<(), Failure> {
        let context = Context {
            nodes: self.cluster.places().map(|place| place.client).collect(),
            operations: self.cluster.places().map(|place| place.operations).collect(),
            ca: self.folder.ca(),
            demo: Some(std::process::id()),
        };
        self.become_operator(&context).await;
        let saved = context::save(CONTEXT, &context, Some(&session));
        if let Err(failure) = &saved {
            self.tell(format_args!("no context was written: {failure}"));
        }
        let web = self.cluster.places().next().map(|place| place.plain);
        let invitation = Invitation {
            web: web.map_or(String::new(), |address| format!("http://{address}/")),
            ca: self.folder.ca().display().to_string(),
            users: self.folder.memory.people.clone(),
            context: saved.is_ok().then(|| CONTEXT.to_owned()),
        };
        self.tell(format_args!("web address {}", invitation.web));
        self.tell(format_args!("CA file {}", invitation.ca));
        for (user, password) in &invitation.users {
            self.tell(format_args!("user {user} password {password}"));
        }
        self.board.lock().invitation = invitation;
        Ok(())
    }

    /// Lets the bots talk until `until`, and breaks things meanwhile unless asked not to.
    async fn disturb(
        &self,
        chaos: &mut Chaos,
        until: Instant,
        stage: &Stage,
    ) -> Result<(), Failure> {
        let broken = async {
            loop {
                if let Some(failure) = stage.broken() {
                    return failure;
                }
                sleep(POLL).await;
            }
        };
        let course = async {
            if self.args.no_chaos {
                let waiting = tokio::time::sleep_until(until);
                self.please.run_until_cancelled(waiting).await;
                Ok(())
            } else {
                chaos.rage(until, &self.please).await
            }
        };
        tokio::select! {
            failure = broken => Err(failure),
            ended = course => ended,
        }
    }

    /// Waits until everything has its answer, reads everything back, and judges the round.
    async fn judge(&self, company: &Company, run: &mut verdict::Run) -> Result<(), Failure> {
        if !self.args.no_chaos {
            // Whatever was broken is mended by now, or about to be: all replicas are read.
            self.cluster.whole().await?;
        }
        let living = self.living();
        if living.len() * 2 <= self.cluster.len() {
            self.tell("too few nodes are left to be read");
            return Ok(());
        }
        self.phase(Phase::Draining);
        self.until(SEND_PATIENCE, || company.stage.answered()).await;
        self.phase(Phase::Reading);
        let shelves = self.read(company, &living).await?;
        let findings = || {
            let evidence = company.stage.record.lock().evidence(&shelves);
            verdict::judge(&evidence)
        };
        // What is still on its way to a bot has this long to arrive.
        self.until(DELIVER_WITHIN, || findings().undelivered == 0).await;
        let found = findings();
        let judged = company.stage.record.lock().settle(&shelves);
        let mut board = self.board.lock();
        board.verified += judged;
        let word = if found.clean() { "as they should be" } else { "NOT as they should be" };
        let line = format!("{judged} messages compared on {} nodes: {word}", living.len());
        board.tell(self.timeline.now(), line);
        board.findings.add(found);
        run.acked = board.acked;
        run.shelves += shelves.len();
        run.faults = board.faults.len();
        run.faults_held = board.faults.iter().filter(|fault| fault.held).count();
        run.crashes = board.crashes;
        Ok(())
    }

    /// The nodes that serve: id and client address.
    fn living(&self) -> Vec<(u64, std::net::SocketAddr)> {
        self.cluster
            .places()
            .enumerate()
            .filter(|(place, _)| self.cluster.state(*place) == NodeState::Serving)
            .map(|(_, node)| (node.id, node.client))
            .collect()
    }

    async fn read(
        &self,
        company: &Company,
        living: &[(u64, std::net::SocketAddr)],
    ) -> Result<Vec<Shelf>, Failure> {
        let base = company.stage.record.lock().base().to_vec();
        readback::read_all(&company.http, &company.stage.cast, &company.readers, living, &base)
            .await
            .map_err(Failure::unavailable)
    }

    /// Waits until `holds`, but no longer than `patience`.
    async fn until(&self, patience: Duration, holds: impl Fn() -> bool) {
        let deadline = Instant::now() + patience;
        while !holds() && Instant::now() < deadline {
            sleep(POLL).await;
        }
    }
}
