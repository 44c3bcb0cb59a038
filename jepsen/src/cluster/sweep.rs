//! Removes what a run left behind that could not clean up after itself. Touches only what carries its run id.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::groups::Controller;
use super::plan::PREFIX;
use super::shell;
use super::time::within;
use crate::net::{Namespace, Network};

/// The file in a run's folder that says which process owns it.
const OWNER: &str = "owner";
/// Processes of a run are gone within this.
const GONE_WITHIN: Duration = Duration::from_secs(10);
/// How often it is looked.
const LOOK: Duration = Duration::from_millis(50);

/// Notes in a run's folder that this process owns it.
pub(crate) fn own(home: &Path) -> std::io::Result<()> {
    let own = std::process::id();
    fs::write(home.join(OWNER), format!("{own} {}\n", started(own).unwrap_or(0)))
}

/// When a process started, in ticks since the machine did: a number that is used again has another start.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// Whether the process that owns a run's folder is still there.
fn owned(home: &Path) -> bool {
    let text = fs::read_to_string(home.join(OWNER)).unwrap_or_default();
    let mut words = text.split_whitespace().map(|word| word.parse::<u64>().ok());
    let (Some(Some(pid)), Some(start)) = (words.next(), words.next()) else { return false };
    u32::try_from(pid).ok().and_then(started) == start && start.is_some()
}

/// Sweeps every run below `folder` whose owner is gone. Returns their ids.
pub fn sweep_orphans(folder: &Path) -> Vec<String> {
    let mut swept = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let Some(run_id) = name.strip_prefix(&format!("{PREFIX}-")) else { continue };
        let home = entry.path();
        if home.join(OWNER).is_file() && !owned(&home) {
            sweep(folder, run_id);
            let _ = fs::remove_file(home.join(OWNER));
            swept.push(run_id.to_owned());
        }
    }
    swept
}

/// Ends and removes everything of one run: processes, namespaces, mounts, loop devices, control groups. Its logs stay.
pub fn sweep(folder: &Path, run_id: &str) {
    let home = folder.join(format!("{PREFIX}-{run_id}"));
    let within_home = format!("{}/", home.display());
    end_processes(&within_home);
    for namespace in Namespace::all(&Network::prefix(run_id)) {
        let _ = namespace.remove();
    }
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    for mount in mounted(&mounts, &within_home) {
        let _ = shell::run("fsfreeze", &["-u", mount]);
        let _ = shell::run("umount", &[mount]);
    }
    let loops = shell::words("losetup -l -n -O NAME,BACK-FILE").unwrap_or_default();
    for device in backed(&loops, &within_home) {
        let _ = shell::run("losetup", &["-d", device]);
    }
    for folder in Controller::ALL.into_iter().filter_map(Controller::own) {
        for group in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = group.file_name().into_string().unwrap_or_default();
            if name.starts_with(&Network::prefix(run_id)) {
                let _ = fs::write(group.path().join("freezer.state"), "THAWED");
                let _ = fs::remove_dir(group.path());
            }
        }
    }
    for entry in fs::read_dir(&home).into_iter().flatten().flatten() {
        if entry.path().extension().is_some_and(|kind| kind == "img") {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// SIGKILL for every process that was started with a file of this run.
fn end_processes(within_home: &str) {
    let mut struck = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if !started_with(&line, within_home) {
            continue;
        }
        if let Some(pid) = Pid::from_raw(pid)
            && kill_process(pid, Signal::KILL).is_ok()
        {
            struck.push(pid);
        }
    }
    within(GONE_WITHIN, LOOK, || {
        struck.iter().all(|pid| test_kill_process(*pid).is_err()).then_some(())
    });
}

/// Whether a command line is that of a node with a file of this run: `… start … --config <home>/…`.
fn started_with(line: &[u8], within_home: &str) -> bool {
    let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
    let config = words.windows(2).find(|pair| pair[0] == b"--config").map(|pair| pair[1]);
    words.contains(&b"start".as_slice())
        && config.is_some_and(|path| path.starts_with(within_home.as_bytes()))
}

/// The mounts below a folder, the last one first.
fn mounted<'a>(mounts: &'a str, below: &str) -> Vec<&'a str> {
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    let mut points: Vec<&str> = points.filter(|point| point.starts_with(below)).collect();
    points.reverse();
    points
}

/// The loop devices whose file is below a folder.
fn backed<'a>(loops: &'a str, below: &str) -> Vec<&'a str> {
    let pairs = loops.lines().filter_map(|line| line.trim().split_once(char::is_whitespace));
    pairs.filter(|(_, file)| file.trim().starts_with(below)).map(|(device, _)| device).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_below_the_runs_folder_is_found() {
        let mounts = "proc /proc proc rw 0 0\n/dev/loop0 /tmp/sj-r1/n1 ext4 rw 0 0\n\
                      /dev/loop1 /tmp/sj-r12/n1 ext4 rw 0 0\n/dev/loop2 /tmp/sj-r1/n2 ext4 rw 0 0\n";
        assert_eq!(mounted(mounts, "/tmp/sj-r1/"), ["/tmp/sj-r1/n2", "/tmp/sj-r1/n1"]);
        let loops = "/dev/loop0 /tmp/sj-r1/n1.img\n/dev/loop1 /tmp/sj-r12/n1.img\n/dev/loop7\n";
        assert_eq!(backed(loops, "/tmp/sj-r1/"), ["/dev/loop0"]);
    }

    #[test]
    fn only_nodes_of_the_run_are_ended() {
        let line = |words: &[&str]| words.join("\0").into_bytes();
        let home = "/tmp/sj-r1/";
        assert!(started_with(&line(&["synod", "start", "--config", "/tmp/sj-r1/n1.toml"]), home));
        for other in [
            line(&["synod", "start", "--config", "/tmp/sj-r12/n1.toml"]),
            line(&["less", "/tmp/sj-r1/n1.log"]),
            line(&["synod", "demo", "--data", "/tmp/sj-r1/"]),
            Vec::new(),
        ] {
            assert!(!started_with(&other, home));
        }
    }

    #[test]
    fn a_run_of_a_living_process_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mine, dead) = (folder.path().join("sj-mine"), folder.path().join("sj-dead"));
        for home in [&mine, &dead] {
            fs::create_dir(home).expect("a folder");
        }
        own(&mine).expect("a file");
        fs::write(dead.join(OWNER), "4194000 7\n").expect("a file");
        assert!(owned(&mine) && !owned(&dead));
        assert_eq!(sweep_orphans(folder.path()), ["dead"]);
    }
}
