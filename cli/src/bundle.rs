//! `synod debug bundle`: what a supporter needs, in one file. Nothing secret and nobody's name goes in; what is missing
//! is in its manifest, with the reason.

mod redact;
mod tar;

use std::{fs::OpenOptions, io::Write as _, net::SocketAddr, path::Path};

use node::{Clock as _, SystemClock};
use serde_json::{Value, json};

use crate::{
    args::Bundle,
    doctor,
    exit::{Exit, Failure, Outcome},
    operations, status,
};

/// Pages of a node that name no user.
const PAGES: [(&str, &str); 3] =
    [("/status", "status.json"), ("/readyz", "readyz.json"), ("/metrics", "metrics.txt")];
/// Pages that are left out, and why.
const LEFT_OUT: [(&str, &str); 1] = [("/deadletters", "it names users and their webhooks")];
/// What of this machine helps: no name of a host, no address, no process of others.
const MACHINE: [(&str, &str); 4] = [
    ("/proc/version", "machine/kernel.txt"),
    ("/proc/meminfo", "machine/memory.txt"),
    ("/proc/loadavg", "machine/load.txt"),
    ("/proc/pressure/io", "machine/io-pressure.txt"),
];

/// What was gathered and what was not.
#[derive(Default)]
struct Gathered {
    files: Vec<(String, Vec<u8>)>,
    missing: Vec<(String, String)>,
}

impl Gathered {
    /// Keeps a text, without what might be secret in it.
    fn keep(&mut self, path: impl Into<String>, text: &str) {
        self.files.push((path.into(), redact::text(text).into_bytes()));
    }

    fn miss(&mut self, what: impl Into<String>, why: impl ToString) {
        // What went wrong may quote what it went wrong with.
        self.missing.push((what.into(), redact::text(&why.to_string())));
    }

    fn manifest(&self) -> Value {
        let file =
            |(path, bytes): &(String, Vec<u8>)| json!({ "path": path, "bytes": bytes.len() });
        let missing = self.missing.iter().map(|(what, why)| json!({ "what": what, "why": why }));
        let left_out = LEFT_OUT.iter().map(|(what, why)| json!({ "what": what, "why": why }));
        json!({
            "schema": "synod/bundle/v1",
            "version": env!("CARGO_PKG_VERSION"),
            "made_at_ms": SystemClock.now().0,
            "files": self.files.iter().map(file).collect::<Vec<_>>(),
            "missing": missing.collect::<Vec<_>>(),
            "left_out": left_out.collect::<Vec<_>>(),
        })
    }
}

/// `synod debug bundle`.
pub(crate) async fn bundle(args: Bundle) -> Outcome {
    // Without a context a bundle of this machine alone is still worth something.
    let (addresses, no_context) = match status::addresses(&args.operations) {
        Ok(addresses) => (addresses, None),
        Err(failure) => (Vec::new(), Some(failure)),
    };
    let mut gathered = Gathered::default();
    if let Some(failure) = no_context {
        gathered.miss("nodes", failure);
    }
    for (number, address) in addresses.iter().enumerate() {
        node(&mut gathered, number + 1, *address).await;
    }
    match &args.config {
        Some(path) => config(&mut gathered, path, &addresses).await,
        None => gathered.miss("config.toml", "name it with --config"),
    }
    for (from, to) in MACHINE {
        match std::fs::read_to_string(from) {
            Ok(text) => gathered.keep(to, &text),
            Err(error) => gathered.miss(to, error),
        }
    }
    finish(&args, gathered)
}

async fn node(gathered: &mut Gathered, number: usize, address: SocketAddr) {
    for (page, name) in PAGES {
        let to = format!("nodes/{number}/{name}");
        match operations::page(address, page).await {
            Ok((_, body)) => gathered.keep(to, &String::from_utf8_lossy(&body)),
            Err(error) => gathered.miss(to, error),
        }
    }
}

async fn config(gathered: &mut Gathered, path: &Path, addresses: &[SocketAddr]) {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string());
    match text.and_then(|text| redact::toml(&text)) {
        Ok(text) => gathered.keep("config.toml", &text),
        Err(why) => gathered.miss("config.toml", why),
    }
    match doctor::checks(Some(path), addresses).await {
        Ok(checks) => gathered.keep("doctor.json", &doctor::json(&checks).to_string()),
        Err(failure) => gathered.miss("doctor.json", failure),
    }
}

fn finish(args: &Bundle, mut gathered: Gathered) -> Outcome {
    let manifest = gathered.manifest();
    let text = serde_json::to_vec_pretty(&manifest).expect("plain values");
    let is_partial = !gathered.missing.is_empty();
    gathered.files.insert(0, ("MANIFEST.json".to_owned(), text));
    if !args.list {
        let bytes = tar::archive(&gathered.files);
        let written = OpenOptions::new().write(true).create_new(true).open(&args.output);
        written.and_then(|mut file| file.write_all(&bytes)).map_err(|error| {
            Failure::new(Exit::Rejected, format!("{}: {error}", args.output.display()))
        })?;
    }
    if args.operations.desk.json {
        say!("{manifest}");
    } else {
        for (path, bytes) in &gathered.files {
            say!("{:>10}  {path}", bytes.len());
        }
        for (what, why) in &gathered.missing {
            say!("   missing  {what}: {why}");
        }
    }
    Ok(if is_partial { Exit::Partial } else { Exit::Ok })
}
