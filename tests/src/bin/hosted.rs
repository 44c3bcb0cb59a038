//! One node as a process of its own, as the product's binary runs it, for tests that look at what a process costs.
//! `hosted <node.toml>`; it ends when its standard input does.

use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::ExitCode;

use node::config::Config;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio_util::sync::CancellationToken;

/// The product's allocator: what memory is given back depends on it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let Some(path) = std::env::args().nth(1) else { return ExitCode::FAILURE };
    let config = match Config::load(Path::new(&path)) {
        Ok(config) => config,
        Err(error) => return failed(&error),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return ExitCode::FAILURE };
    let ended = runtime.block_on(async {
        let stop = CancellationToken::new();
        let node = node::run(config, stop.clone());
        tokio::pin!(node);
        tokio::select! {
            ended = &mut node => return ended,
            () = left_alone() => stop.cancel(),
        }
        node.await
    });
    runtime.shutdown_background();
    ended.map_or_else(|error| failed(&error), |()| ExitCode::SUCCESS)
}

/// Until the pipe at standard input ends: whoever started this is gone, or wants it to end.
async fn left_alone() {
    let stdin = std::io::stdin().as_fd().try_clone_to_owned().expect("standard input is open");
    let mut pipe = Receiver::from_owned_fd(stdin).expect("standard input is a pipe");
    let _ = pipe.read_u8().await;
}

fn failed(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("hosted: {error}");
    ExitCode::FAILURE
}
