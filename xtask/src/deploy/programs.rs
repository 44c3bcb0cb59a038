//! What other programs judge: systemd its unit, Helm its chart. Where one is not installed, that is said.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::place;

const UNIT: &str = "deploy/systemd/synod.service";
const CHART: &str = "deploy/helm/synod";
/// The most that `systemd-analyze security` may find exposed, in tenths.
const EXPOSURE_MAX: &str = "20";
/// How a complaint about our unit begins, behind its folder.
const COMPLAINT: &str = "synod.service:";
const RULES: &str = "deploy/prometheus/alerts.yaml";

/// Asks every program that is there. Whether none complained.
pub(crate) fn judged() -> bool {
    let root = place::root();
    let folder = root.join("target").join("deploy");
    if std::fs::create_dir_all(&folder).is_err() {
        eprintln!("failed: {} cannot be made", folder.display());
        return false;
    }
    let mut passed = true;
    if is_there("systemd-analyze") {
        let unit = runnable(root, &folder);
        let unit = unit.to_str().expect("a plain path");
        passed &= asked("systemd unit", "systemd-analyze", &["verify", "--man=no", unit]);
        let threshold = format!("--threshold={EXPOSURE_MAX}");
        let security = ["security", "--offline=yes", "--no-pager", threshold.as_str(), unit];
        passed &= asked("systemd sandbox", "systemd-analyze", &security);
    } else {
        println!("skipped: systemd unit (systemd-analyze is not installed)");
    }
    if is_there("promtool") {
        let rules = root.join(RULES);
        let rules = rules.to_str().expect("a plain path");
        passed &= asked("alert rules", "promtool", &["check", "rules", rules]);
    } else {
        println!(
            "skipped: alert rules evaluated (promtool is not installed; their names were read)"
        );
    }
    if is_there("helm") {
        let chart = root.join(CHART);
        let chart = chart.to_str().expect("a plain path");
        passed &= asked("helm chart", "helm", &["lint", "--strict", chart]);
        passed &= asked("helm template", "helm", &["template", "synod", chart]);
    } else {
        println!("skipped: helm chart rendered (helm is not installed; its templates were read)");
    }
    passed
}

/// The unit with a program that is on every machine in place of ours, which the judge would miss.
fn runnable(root: &Path, folder: &Path) -> PathBuf {
    let unit = std::fs::read_to_string(root.join(UNIT)).unwrap_or_default();
    let path = folder.join("synod.service");
    std::fs::write(&path, unit.replace("/usr/bin/synod", "/bin/true"))
        .expect("the folder was made a moment ago");
    path
}

fn is_there(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg(if program == "helm" { "version" } else { "--version" });
    let asked = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}

fn asked(what: &str, program: &str, arguments: &[&str]) -> bool {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let passed = output.as_ref().is_ok_and(|output| {
        // A key that systemd does not know is only told, and ignored.
        output.status.success() && !String::from_utf8_lossy(&output.stderr).contains(COMPLAINT)
    });
    if passed {
        println!("ok: {what}");
    } else {
        let said = output.map_or_else(
            |error| error.to_string(),
            |output| {
                format!(
                    "{}{}",
                    String::from_utf8_lossy(&output.stdout),
                    String::from_utf8_lossy(&output.stderr)
                )
            },
        );
        eprintln!("{said}\nfailed: {what}");
    }
    passed
}
