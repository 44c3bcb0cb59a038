//! `init`, `operator`, `node show`, `node join-token`, `settings`, `audit`: what operators ask of the cluster itself,
//! through any of its nodes.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use chat::Timestamp;
use client::{CallError, Operations};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use node::config::Config;
use node::identity::{self, Founded};
use node::{SystemClock, SystemEntropy};
use proto::spec_json::rfc3339;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::args::{self, Audit, Desk, Init, MakeJoinToken, Operator, Settings, ShowNode};
use crate::context::{self, Context};
use crate::exit::{Exit, Failure, Outcome};
use crate::operations::{AskError, GLANCE, NodeStatus, Standing};
use crate::{seed, start, status, talk};

/// Characters of an operator's token that are drawn: more than anybody guesses.
const TOKEN_CHARACTERS: usize = 48;

/// `synod init`.
pub(crate) fn init(args: &Init) -> Outcome {
    let config = start::load(&args.config)?;
    let founded = identity::found(&config, args.others, &SystemClock, &SystemEntropy);
    let founded = founded.map_err(|error| start::unknown(&error))?;
    if args.json {
        let Founded { cluster, client, authority, join, claim } = &founded;
        let told = json!({
            "schema": "synod/init/v1", "cluster": cluster, "client": client,
            "ca": authority, "joinToken": join.reveal(), "claim": claim,
        });
        say!("{told}");
        return Ok(Exit::Ok);
    }
    tell(&founded, args, &config);
    Ok(Exit::Ok)
}

fn tell(founded: &Founded, args: &Init, config: &Config) {
    say!("Cluster `{}` is ready in {}.", founded.cluster, config.data.display());
    say!("");
    tell_next(founded, &args.config.display(), &args.others.to_string());
}

/// What an operator does with a first node that was just made.
pub(crate) fn tell_next(founded: &Founded, file: &dyn std::fmt::Display, others: &str) {
    let Founded { cluster, client, authority, join, claim } = founded;
    say!("1. Start it here:");
    say!("   synod start --config {file}");
    say!("");
    say!("2. On {others} more machines, within 24 hours, paste this one line:");
    say!("   synod start --config node.toml --join {}", join.reveal());
    say!("");
    say!("3. Become its first operator, within 24 hours, once:");
    say!(
        "   synod operator claim {claim} --name you --addr {client} --ca {} --ctx {cluster}",
        authority.display()
    );
    say!("");
    say!("Neither secret is kept anywhere: this is the only time that they are shown.");
}

/// `synod operator …`.
pub(crate) async fn operator(args: Operator) -> Outcome {
    match args {
        Operator::Claim { desk, secret, name } => claim(&desk, &secret, &name).await,
        Operator::Invite(desk) => {
            let made =
                ask(&desk)?.post(&["claims"], json!({})).await.map_err(|e| talk::call(&e))?;
            show(&desk, &made, |made| {
                say!("{}", text(made, "secret"));
                eprintln!(
                    "good once, within 24 hours: synod operator claim SECRET --name THEIR-NAME --addr … --ca …"
                );
            })
        }
        Operator::Ls(desk) => {
            let cluster = ask(&desk)?.get(&[]).await.map_err(|e| talk::call(&e))?;
            show(&desk, &cluster["operators"], |names| {
                for name in names.as_array().into_iter().flatten() {
                    say!("{}", name.as_str().unwrap_or_default());
                }
            })
        }
        Operator::Rm { desk, name } => {
            ask(&desk)?.delete(&["operators", &name]).await.map_err(|e| talk::call(&e))?;
            Ok(Exit::Ok)
        }
    }
}

/// Shows the secret, and keeps a token that was drawn here.
async fn claim(desk: &Desk, secret: &str, name: &str) -> Outcome {
    let (_, context) = reach(desk)?;
    // Kept before it is shown to anybody, so that a lost answer leaves no operator without a token.
    let file = token_file(desk)?;
    let token = match read_token(&file) {
        Ok(token) => token,
        Err(_) => {
            let token = seed::secret(TOKEN_CHARACTERS);
            context::write_secret(&file, &token)?;
            token
        }
    };
    become_operator(&context, secret, name, &token).await?;
    if desk.ca.is_some() {
        // All nodes that answer, so that any of them will do next time.
        let standings = standings(desk).await?;
        let nodes = standings.into_iter().map(|(address, _)| address).collect();
        context::save(&desk.ctx, &Context { nodes, ..context }, None)?;
    }
    say!("{name} is an operator; the token is kept in {}", file.display());
    Ok(Exit::Ok)
}

/// Has the cluster know `token` as the one of the operator `name`. Doing it twice is like doing it once.
pub(crate) async fn become_operator(
    context: &Context,
    secret: &str,
    name: &str,
    token: &str,
) -> Result<(), Failure> {
    let operations = Operations::new(&config_of(context)?, None).map_err(|e| talk::call(&e))?;
    let body = json!({ "secret": secret, "name": name, "token": token });
    operations.post(&["claim"], body).await.map_err(|e| talk::call(&e))?;
    Ok(())
}

/// `synod node ls`: what the cluster decided; without an operator's token what the operations ports see.
pub(crate) async fn nodes(args: args::Operations) -> Outcome {
    let args::Operations { desk, operations } = &args;
    if !operations.is_empty() || !is_operator(desk) {
        return status::nodes(args).await;
    }
    let nodes = ask(desk)?.get(&["nodes"]).await.map_err(|e| talk::call(&e))?;
    show(desk, &nodes, |nodes| {
        say!(
            "{:>4}  {:<9} {:<6} {:>5}  {:<22} {}",
            "node",
            "state",
            "heard",
            "votes",
            "clients",
            "zone"
        );
        for node in nodes["nodes"].as_array().into_iter().flatten() {
            let votes = node["votes"].as_array().map_or(0, Vec::len);
            let heard = match (node["alive"] == true, node["slowDisk"] == true) {
                (true, true) => "slow",
                (true, false) => "yes",
                (false, _) => "no",
            };
            let (client, zone) = (text(node, "client"), text(node, "zone"));
            let state = text(node, "state");
            say!("{:>4}  {state:<9} {heard:<6} {votes:>5}  {client:<22} {zone}", node["node"]);
        }
    })
}

/// `synod node show`.
pub(crate) async fn node(args: ShowNode) -> Outcome {
    let id = args.node.to_string();
    let node = ask(&args.desk)?.get(&["nodes", &id]).await.map_err(|e| talk::call(&e))?;
    show(&args.desk, &node, fields)
}

/// `synod node join-token`.
pub(crate) async fn join_token(args: MakeJoinToken) -> Outcome {
    let body = json!({ "uses": args.uses, "ttlSeconds": args.ttl.as_secs() });
    let made = ask(&args.desk)?.post(&["join-tokens"], body).await.map_err(|e| talk::call(&e))?;
    show(&args.desk, &made, |made| say!("{}", text(made, "token")))
}

/// `synod settings …`.
pub(crate) async fn settings(args: Settings) -> Outcome {
    match args {
        Settings::Get(desk) => {
            let settings = ask(&desk)?.get(&["settings"]).await.map_err(|e| talk::call(&e))?;
            show(&desk, &settings, fields)
        }
        Settings::Set { desk, changes } => {
            let mut body = Map::new();
            for change in &changes {
                let wrong = || Failure::usage(format!("`{change}` is not NAME=VALUE"));
                let (name, value) = change.split_once('=').ok_or_else(wrong)?;
                let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
                body.insert(name.to_owned(), value);
            }
            let asked = ask(&desk)?.patch(&["settings"], Value::Object(body)).await;
            show(&desk, &asked.map_err(|e| talk::call(&e))?, fields)
        }
    }
}

/// `synod audit ls`.
pub(crate) async fn audit(args: Audit) -> Outcome {
    let Audit::Ls(desk) = args;
    let audit = ask(&desk)?.get(&["audit"]).await.map_err(|e| talk::call(&e))?;
    show(&desk, &audit, |audit| {
        for record in audit["records"].as_array().into_iter().flatten() {
            let at = rfc3339(Timestamp(record["atMs"].as_u64().unwrap_or_default()));
            say!("{at}  {:<12} {}", text(record, "actor"), text(record, "what"));
        }
    })
}

/// What every node says of itself and the cluster: those that are known are asked at once, and whomever they name. Takes no
/// longer than a glance, also while nodes hang.
pub(crate) async fn standings(desk: &Desk) -> Result<Vec<Standing>, Failure> {
    let ((config, context), token) = (reach(desk)?, token(desk)?);
    let until = Instant::now() + GLANCE;
    let ask = |address: SocketAddr| {
        let (config, token) = (client::Config { nodes: vec![address], ..config.clone() }, &token);
        async move {
            let asked =
                async { Operations::new(&config, Some(token.clone()))?.get(&["status"]).await };
            let late = |_| Err(CallError::Unavailable("no answer in time".to_owned()));
            (address, tokio::time::timeout_at(until, asked).await.unwrap_or_else(late))
        }
    };
    let mut known: BTreeSet<SocketAddr> = context.nodes.iter().copied().collect();
    let mut asking: FuturesUnordered<_> = known.iter().map(|address| ask(*address)).collect();
    let mut standings: Vec<Standing> = Vec::new();
    while let Some((address, answer)) = asking.next().await {
        let status = match answer {
            Ok(status) => serde_json::from_value::<NodeStatus>(status)
                .map_err(|error| AskError::Malformed(address, error.to_string())),
            Err(error @ CallError::Refused { status: 401, .. }) => return Err(talk::call(&error)),
            Err(error) => Err(AskError::Unreachable(address, error.to_string())),
        };
        for other in status.iter().flat_map(|status| &status.nodes) {
            if let Ok(other) = other.client.parse()
                && known.insert(other)
            {
                asking.push(ask(other));
            }
        }
        standings.push((address, status));
    }
    standings.sort_by_key(|(address, _)| *address);
    Ok(standings)
}

/// The cluster as this operator reaches it.
pub(crate) fn ask(desk: &Desk) -> Result<Operations, Failure> {
    let (config, _) = reach(desk)?;
    Operations::new(&config, Some(token(desk)?)).map_err(|e: CallError| talk::call(&e))
}

/// What this operator shows.
fn token(desk: &Desk) -> Result<String, Failure> {
    let file = token_file(desk)?;
    read_token(&file).map_err(|error| {
        let advice = "become an operator first: synod operator claim";
        Failure::new(Exit::NotAllowed, format!("{}: {error}; {advice}", file.display()))
    })
}

/// Whether there is a token to come with.
pub(crate) fn is_operator(desk: &Desk) -> bool {
    token_file(desk).is_ok_and(|file| file.exists())
}

/// Each node of the cluster by itself, for what every node answers for itself alone.
pub(crate) fn each_node(desk: &Desk) -> Result<Vec<Operations>, Failure> {
    let (_, context) = reach(desk)?;
    each_of(desk, context.nodes)
}

/// The same, of those at these addresses.
pub(crate) fn each_of(
    desk: &Desk,
    nodes: impl IntoIterator<Item = SocketAddr>,
) -> Result<Vec<Operations>, Failure> {
    let ((config, _), token) = (reach(desk)?, token(desk)?);
    let one = |node| {
        let config = client::Config { nodes: vec![node], ..config.clone() };
        Operations::new(&config, Some(token.clone())).map_err(|e| talk::call(&e))
    };
    nodes.into_iter().map(one).collect()
}

fn reach(desk: &Desk) -> Result<(client::Config, Context), Failure> {
    let context = match &desk.ca {
        Some(ca) => {
            let ca = std::path::absolute(ca).map_err(Failure::internal)?;
            Context { nodes: desk.addr.clone(), ca, ..Context::default() }
        }
        None => context::load(&desk.ctx)?,
    };
    Ok((config_of(&context)?, context))
}

fn config_of(context: &Context) -> Result<client::Config, Failure> {
    let pem = std::fs::read(&context.ca)
        .map_err(|e| Failure::new(Exit::NotFound, format!("{}: {e}", context.ca.display())))?;
    Ok(client::Config::new(context.nodes.clone(), pem))
}

fn token_file(desk: &Desk) -> Result<PathBuf, Failure> {
    match &desk.token_file {
        Some(file) => Ok(file.clone()),
        None => context::operator_file(&desk.ctx),
    }
}

fn read_token(file: &Path) -> std::io::Result<String> {
    std::fs::read_to_string(file).map(|text| text.trim().to_owned())
}

pub(crate) fn show(desk: &Desk, answer: &Value, plainly: impl FnOnce(&Value)) -> Outcome {
    if desk.json {
        say!("{answer}");
    } else {
        plainly(answer);
    }
    Ok(Exit::Ok)
}

/// One line for each field.
pub(crate) fn fields(answer: &Value) {
    for (name, value) in
        answer.as_object().into_iter().flatten().filter(|(name, _)| *name != "schema")
    {
        match value {
            Value::String(text) => say!("{name:<20} {text}"),
            Value::Null => say!("{name:<20} -"),
            other => say!("{name:<20} {other}"),
        }
    }
}

pub(crate) fn text<'a>(answer: &'a Value, field: &str) -> &'a str {
    answer[field].as_str().unwrap_or_default()
}
