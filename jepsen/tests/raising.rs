//! A real cluster in namespaces: it serves, it is reached from the client namespace, and it leaves nothing behind.
//!
//! Needs root and a built `synod`; without them each test says what is missing and passes without a claim.

use std::path::PathBuf;
use std::process::Command;

use jepsen::cluster::{Cluster, Plan, sweep};
use jepsen::net::{Namespace, Network};

/// The binary to raise, unless this machine cannot: then the reason is printed.
fn binary() -> Option<PathBuf> {
    if !jepsen::nemesis::is_root() {
        println!("skipped: not root, so there are no namespaces to make");
        return None;
    }
    let target = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target");
    let named = std::env::var_os("SYNOD").map(PathBuf::from);
    let built = ["release/synod", "debug/synod"].map(|path| target.join(path));
    let found = named.into_iter().chain(built).find(|path| path.is_file());
    if found.is_none() {
        println!("skipped: no `synod` is built (cargo build -p synod), and SYNOD names none");
    }
    found
}

fn loops() -> String {
    let output = Command::new("losetup").args(["-l", "-n", "-O", "BACK-FILE"]).output();
    String::from_utf8(output.expect("losetup is there").stdout).expect("paths")
}

#[test]
fn three_namespaces_serve_and_leave_nothing_behind() {
    let Some(synod) = binary() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let run_id = format!("t{}", std::process::id());
    let mut plan = Plan::new(synod, &run_id);
    folder.path().clone_into(&mut plan.folder);
    plan.shards = 4;
    let cluster = match Cluster::raise(&plan) {
        Ok(cluster) => cluster,
        Err(setback) => {
            sweep(folder.path(), &run_id);
            panic!("this is root, and yet: {setback}");
        }
    };
    let leaders = cluster.leaders();
    assert_eq!(leaders.len(), 5, "four shards and the cluster's own group: {leaders:?}");
    for node in cluster.all() {
        let mut ask = cluster.in_client_namespace(Command::new("bash"));
        let address = cluster.client_addr(node);
        ask.args(["-c", &format!("exec 3<>/dev/tcp/{}/{}", address.ip(), address.port())]);
        assert!(ask.status().expect("bash is there").success(), "n{node} is not reached");
        assert!(cluster.data(node).is_dir());
    }
    assert_eq!(cluster.wounds(), Ok(vec![]));
    assert!(loops().contains(&*folder.path().to_string_lossy()));
    cluster.teardown();
    assert!(Namespace::all(&Network::prefix(&run_id)).is_empty());
    assert!(!loops().contains(&*folder.path().to_string_lossy()), "{}", loops());
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("Linux");
    assert!(!mounts.contains(&*folder.path().to_string_lossy()), "{mounts}");
}

/// Writes a thousand files into a disk, and says how many are there after its power was cut.
fn survivors(sync: bool) -> usize {
    use std::io::Write as _;
    let folder = tempfile::tempdir().expect("a folder");
    let kind = jepsen::cluster::DiskKind::LoopExt4 { mib: 64 };
    let mut disk = jepsen::disk::Disk::create(folder.path(), "d", kind).expect("this is root");
    for n in 0..1000 {
        let mut file = std::fs::File::create(disk.folder().join(n.to_string())).expect("a file");
        file.write_all(b"kept?").expect("room");
        if sync && n % 100 == 0 {
            file.sync_all().expect("a disk that is well");
        }
    }
    let last = std::fs::File::open(disk.folder().join("900")).expect("written");
    disk.cut_power().expect("a mounted image");
    drop(last);
    disk.unmount().expect("nobody uses it");
    disk.mount().expect("a file system that heals itself");
    let whole =
        |n: &u32| std::fs::read(disk.folder().join(n.to_string())).is_ok_and(|b| b == b"kept?");
    let survivors = if sync {
        (0..1000).step_by(100).filter(whole).count()
    } else {
        (0..1000).filter(whole).count()
    };
    disk.remove(false);
    survivors
}

#[test]
fn a_power_cut_loses_what_was_not_synced_and_nothing_that_was() {
    if !jepsen::nemesis::is_root() {
        println!("skipped: not root, so there is no disk to make");
        return;
    }
    assert_eq!(survivors(false), 0);
    assert_eq!(survivors(true), 10);
}

#[test]
fn a_disk_that_somebody_still_holds_as_it_was_cut_is_not_taken_for_mounted() {
    if !jepsen::nemesis::is_root() {
        println!("skipped: not root, so there is no disk to make");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let kind = jepsen::cluster::DiskKind::LoopExt4 { mib: 64 };
    let mut disk = jepsen::disk::Disk::create(folder.path(), "d", kind).expect("this is root");
    std::fs::write(disk.folder().join("kept"), b"kept").expect("room");
    std::fs::File::open(disk.folder().join("kept")).expect("written").sync_all().expect("a disk");
    // It takes a copy of the mounts along, says so, and ends after a moment.
    let held = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", "echo held; sleep 1"])
        .stdout(std::process::Stdio::piped())
        .spawn();
    let mut held = held.expect("util-linux is there");
    let mut said = [0; 4];
    let stdout = held.stdout.as_mut().expect("a pipe");
    std::io::Read::read_exact(stdout, &mut said).expect("it runs");
    disk.cut_power().expect("a mounted image");
    disk.unmount().expect("nobody uses it here");
    disk.mount().expect("it is let go of in the end");
    assert_eq!(std::fs::read(disk.folder().join("kept")).expect("it was synced"), b"kept");
    held.wait().expect("it ended");
    disk.remove(false);
}

#[test]
fn a_run_that_could_not_clean_up_is_swept() {
    let Some(synod) = binary() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let run_id = format!("o{}", std::process::id());
    let mut plan = Plan::new(synod, &run_id);
    folder.path().clone_into(&mut plan.folder);
    plan.shards = 1;
    let cluster = Cluster::raise(&plan).expect("this is root");
    // What a SIGKILL of the harness leaves.
    std::mem::forget(cluster);
    sweep(folder.path(), &run_id);
    assert!(Namespace::all(&Network::prefix(&run_id)).is_empty());
    assert!(!loops().contains(&*folder.path().to_string_lossy()), "{}", loops());
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("Linux");
    assert!(!mounts.contains(&*folder.path().to_string_lossy()), "{mounts}");
}
