//! Clients that mean harm, against a node in a process of its own. The law: everybody else's messages go on, each
//! acknowledged within a deadline; a hostile link ends with a typed reason or costs a bounded amount; the node's
//! memory stays bounded. No time is asserted but by a deadline. What a single rule of a link says is claimed in
//! `transport/tests`; here many break many rules at once and somebody honest is watched meanwhile.

mod floods;
mod guesses;
mod large;
mod process;
mod quic;
mod shape;
mod slow;
mod witness;

use process::Process;
use witness::Witness;

/// What the node may have grown by when all are gone: caches that filled, buffers that the allocator keeps.
const GROWN_MIB_MAX: u64 = 160;
/// The most it may ever have had, however many were there at once.
const PEAK_MIB_MAX: u64 = 512;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_slow_and_the_silent_are_ended_and_nobody_else_waits() {
    let node = Process::start().await;
    let witness = Witness::begin(&node).await;
    let before = node.memory_mib();
    tokio::join!(
        slow::says_nothing(&node),
        slow::drips_a_handshake(&node),
        slow::says_nothing_after_tls(&node),
        slow::drips_a_head(&node),
        slow::stalls_in_a_body(&node),
        slow::drips_frames_without_a_token(&node),
        slow::never_answers(&node),
        slow::never_reads(&node),
    );
    finish("slow", node, witness, before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_and_misshapen_frames_end_their_links_and_nobody_else_waits() {
    let node = Process::start().await;
    let witness = Witness::begin(&node).await;
    let before = node.memory_mib();
    shape::offers_compression(&node).await;
    shape::sends_what_is_too_large(&node).await;
    shape::sends_bombs(&node).await;
    floods::pings(&node).await;
    floods::fragments(&node).await;
    floods::small_frames(&node).await;
    floods::streams_that_are_reset(&node).await;
    floods::connections(&node).await;
    guesses::ids(&node).await;
    guesses::passwords(&node).await;
    finish("floods", node, witness, before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_and_first_packets_without_end_are_not_amplified_and_nobody_else_waits() {
    let node = Process::start().await;
    let witness = Witness::begin(&node).await;
    let before = node.memory_mib();
    quic::garbage(&node).await;
    quic::first_packets(&node).await;
    quic::frames_without_end(&node).await;
    quic::a_link_that_moves_all_the_time(&node).await;
    finish("datagrams", node, witness, before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_files_pass_through_and_nobody_else_waits() {
    let node = Process::start().await;
    let witness = Witness::begin(&node).await;
    let before = node.memory_mib();
    large::files(&node).await;
    finish("large", node, witness, before).await;
}

/// Honest messages went on, and the node is as large as it was.
async fn finish(name: &str, node: Process, witness: Witness, before: u64) {
    let seen = witness.end(&node).await;
    let (after, peak) = (node.memory_mib(), node.peak_mib());
    println!("{name}: {seen}; node {before} MiB before, {after} after, {peak} at most");
    assert!(after <= before + GROWN_MIB_MAX, "the node grew from {before} to {after} MiB");
    assert!(peak <= PEAK_MIB_MAX, "the node had {peak} MiB");
    node.stop().await;
}
