//! A disk without room: what is refused, what goes on, and that nobody has to come. Needs root, loop devices and mkfs.ext4;
//! says so and passes where they are missing.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use store::{Disk as _, FsDisk};
use tests::{Chat, Cluster, Shape, Stranger, http, in_time};

/// Large enough for a node that is hardly used, small enough to be filled in a moment.
const IMAGE_BYTES: u64 = 256 << 20;
/// Once there is room again, messages are taken within this.
const RECOVERED_WITHIN: Duration = Duration::from_secs(10);
/// One write of what fills the disk.
const FILL_BYTES: usize = 256 << 10;

fn run(program: &str, arguments: &[&std::ffi::OsStr]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    let words = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{program}: {}", words.trim())) }
}

/// A small file system, unmounted when it goes.
struct SmallDisk {
    mounted: PathBuf,
}

impl SmallDisk {
    fn mount(image: &Path, mounted: &Path) -> Result<Self, String> {
        let failed = |error: std::io::Error| error.to_string();
        File::create(image).and_then(|file| file.set_len(IMAGE_BYTES)).map_err(failed)?;
        std::fs::create_dir_all(mounted).map_err(failed)?;
        let reserve = ["-q".as_ref(), "-F".as_ref(), "-m".as_ref(), "0".as_ref(), image.as_ref()];
        run("mkfs.ext4", &reserve)?;
        run("mount", &["-o".as_ref(), "loop".as_ref(), image.as_ref(), mounted.as_ref()])?;
        // What mkfs leaves there is no part of a data folder.
        std::fs::remove_dir(mounted.join("lost+found")).map_err(failed)?;
        Ok(Self { mounted: mounted.to_owned() })
    }

    fn filler(&self) -> PathBuf {
        self.mounted.join("somebody-elses-file")
    }

    /// Somebody else writes until only a part of the disk is free; all of it with `None`.
    fn fill(&self, leave_one_in: Option<u64>) {
        let options = File::options().create(true).append(true).open(self.filler());
        let mut filler = options.expect("the disk is there");
        let disk = FsDisk::open_anywhere(&self.mounted).expect("the disk is there");
        let zeros = vec![0; FILL_BYTES];
        loop {
            let space = disk.space().expect("it can tell");
            let enough =
                leave_one_in.is_some_and(|part| space.free_bytes < space.total_bytes / part);
            if enough || filler.write_all(&zeros).is_err() {
                break;
            }
        }
        // What did not fit is as good as written: the disk is full.
        let _ = filler.sync_all();
    }

    fn free(&self) {
        std::fs::remove_file(self.filler()).expect("it was written");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a node that is still stopping does not keep the test's folder.
        let _ = run("umount", &["-l".as_ref(), self.mounted.as_ref()]);
    }
}

/// Says numbered messages until one is refused (`taken` false) or taken.
async fn until(chat: &mut Chat, said: &mut usize, taken: bool) -> Value {
    in_time(async {
        loop {
            let id = format!("m{}", *said + 1);
            let item = chat.message("ben", &id, &format!("text {}", *said + 1));
            let answer = chat.sent(item).await;
            let stored = answer["receivedServer"] == json!(true);
            *said += usize::from(stored);
            if stored == taken {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
}

async fn tells(cluster: &Cluster, metric: &str) -> bool {
    let address = cluster.operations_address(1);
    let answer = http::plain(address, "GET", "/metrics", None, "").await;
    answer.is_some_and(|(status, body)| {
        status == 200 && String::from_utf8_lossy(body.as_ref()).lines().any(|line| line == metric)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_messages_serves_readers_and_needs_nobody_to_recover() {
    let mut cluster = Cluster::prepare(Shape { nodes: 1, shards: 2, engine: "fjall" });
    let disk = SmallDisk::mount(&cluster.home(1).join("image"), &cluster.home(1).join("data"));
    let disk = match disk {
        Ok(disk) => disk,
        Err(why) => return println!("skipped, no loop-mounted file system: {why}"),
    };
    cluster.start_node(1);
    cluster.wait_ready(1).await;
    let anna = Stranger::arrive(cluster.plain_address(1), "anna").await;
    Stranger::arrive(cluster.plain_address(1), "ben").await;
    let mut chat = anna.chat().await;
    let mut said = 0;
    until(&mut chat, &mut said, true).await;

    for leave_one_in in [Some(40), None] {
        disk.fill(leave_one_in);
        let refused = until(&mut chat, &mut said, false).await;
        assert_eq!(refused["error"]["retryable"], json!(true), "{refused}");
        assert_eq!(refused["error"]["code"], "overloaded", "{refused}");
        assert!(tells(&cluster, "synod_disk_low 1").await, "operators are told");
        assert_eq!(anna.history("ben").await.len(), said, "reads go on");
        let alive = http::plain(cluster.operations_address(1), "GET", "/livez", None, "").await;
        assert_eq!(alive.map(|(status, _)| status), Some(200), "the process lives");
    }
    disk.free();
    let taken = tokio::time::timeout(RECOVERED_WITHIN, until(&mut chat, &mut said, true)).await;
    assert!(taken.is_ok(), "messages are taken again by themselves");
    let history = anna.history("ben").await;
    let texts: Vec<_> = history.iter().map(|one| one["messageText"].clone()).collect();
    let expected: Vec<_> = (1..=said).map(|n| json!(format!("text {n}"))).collect();
    assert_eq!(texts, expected, "nothing that was acknowledged is lost, nothing refused is there");
    // It was durable: a restart reads the same.
    cluster.stop_node(1).await;
    cluster.start_node(1);
    cluster.wait_ready(1).await;
    assert_eq!(anna.history("ben").await.len(), said);
    cluster.stop_all().await;
}
