//! `cargo xtask s3`: assets on a real server of S3. The server is a package of Python's registry, pinned, and installed below
//! `target`; `cargo test` needs nothing but Rust, so this is run by hand and when its room changes.

use std::path::Path;
use std::process::Command;

use crate::outside;

/// The server: it keeps buckets in memory and speaks the whole protocol, multipart and conditions included.
const SERVER: &str = "moto[server]==5.2.1";

/// Gets a server and runs the test against it.
pub(crate) fn s3() -> bool {
    let folder = std::env::current_dir().unwrap_or_default().join("target").join("s3");
    let server = folder.join("bin").join("moto_server");
    if !server.exists() && !install(&folder) {
        eprintln!(
            "s3: no server could be installed; Python 3.10 or later with venv and pip is needed"
        );
        return false;
    }
    let test = ["test", "--package", "tests", "--features", "s3", "--test", "object_store"];
    ran(outside::cargo().args(test).env("SYNOD_S3_SERVER", server))
}

fn install(folder: &Path) -> bool {
    let python = std::env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
    ran(Command::new(python).args(["-m", "venv"]).arg(folder))
        && ran(Command::new(folder.join("bin").join("pip")).args(["install", "--quiet", SERVER]))
}

fn ran(command: &mut Command) -> bool {
    command.status().is_ok_and(|status| status.success())
}
