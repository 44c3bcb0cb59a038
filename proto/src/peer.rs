//! What nodes say to each other (`schema/peer.proto`), as generated.
//! Nothing here checks anything beyond the protobuf encoding: that is done on the way to the types of `chat`.

pub use v1::*;

/// Version 1. A change that old readers cannot read gets a module beside this one.
#[allow(
    missing_docs,
    clippy::all,
    reason = "generated from the schema, which holds the comments; its layout is the generator's"
)]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/synod.peer.v1.rs"));
}
