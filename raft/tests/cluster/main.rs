//! Several nodes in one process, over a network in memory that can be cut. Each test is a claim about
//! what a caller of this room may rely on; all wait for conditions with a deadline.

mod damage;
mod failover;
mod harness;
mod members;
mod moments;
mod propose;
mod reads;
mod refounding;
mod restart;
mod slow_disk;
mod snapshots;
mod splitting;
