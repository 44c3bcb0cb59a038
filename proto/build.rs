//! Generates the wire types from `schema/` with a protobuf compiler written in Rust: no protoc needed.

use std::{env, fs, path::PathBuf};

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=schema");
    let files = ["frames.proto", "log.proto", "rows.proto", "peer.proto", "backup.proto"];
    let set = protox::compile(files, ["schema"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("schema.bin"), set.encode_to_vec())?;
    prost_build::Config::new().bytes(["."]).compile_fds(set)?;
    Ok(())
}
