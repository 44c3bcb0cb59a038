//! Control groups of one node (version 1): processor time, memory, disk bandwidth, the freezer.
//!
//! Each is made below the group that the harness itself is in, and removed with the node.

use std::fs;
use std::path::{Path, PathBuf};

use super::setback::{Doing as _, Setback};

/// Where the hierarchies are mounted.
const ROOT: &str = "/sys/fs/cgroup";
/// Length of the period in which processor time is given out, microseconds.
const PERIOD_US: u64 = 100_000;

/// A controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Controller {
    /// Processor time.
    Cpu,
    /// Memory.
    Memory,
    /// Disk bandwidth.
    Disk,
    /// Standing still.
    Freezer,
}

impl Controller {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Cpu, Self::Memory, Self::Disk, Self::Freezer];

    fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Disk => "blkio",
            Self::Freezer => "freezer",
        }
    }

    /// The group that this process is in, as a folder; `None` when there is no such hierarchy.
    #[must_use]
    pub fn own(self) -> Option<PathBuf> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let path = path_of(&own, self.name())?;
        let folder = Path::new(ROOT).join(self.name()).join(path.trim_start_matches('/'));
        folder.join("cgroup.procs").exists().then_some(folder)
    }
}

/// The path of a controller in the text of `/proc/<pid>/cgroup`.
fn path_of<'a>(text: &'a str, controller: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let controllers = parts.next()?;
        controllers.split(',').any(|name| name == controller).then(|| parts.next())?
    })
}

/// The groups of one node.
#[derive(Debug)]
pub struct Groups {
    folders: Vec<(Controller, PathBuf)>,
}

impl Groups {
    /// Makes a group called `name` wherever this machine has the controller.
    #[must_use]
    pub fn create(name: &str) -> Self {
        let make = |controller: Controller| {
            let folder = controller.own()?.join(name);
            (folder.is_dir() || fs::create_dir(&folder).is_ok()).then_some((controller, folder))
        };
        Self { folders: Controller::ALL.into_iter().filter_map(make).collect() }
    }

    fn folder(&self, controller: Controller) -> Result<&Path, Setback> {
        let found = self.folders.iter().find(|(known, _)| *known == controller);
        found.map(|(_, folder)| folder.as_path()).ok_or_else(|| {
            let name = controller.name();
            Setback::new(format!("no {name} controller (cgroup version 1) on this machine"))
        })
    }

    fn write(&self, controller: Controller, file: &str, value: &str) -> Result<(), Setback> {
        let path = self.folder(controller)?.join(file);
        fs::write(&path, value).doing(format_args!("{value} into {}", path.display()))
    }

    fn read(&self, controller: Controller, file: &str) -> Result<String, Setback> {
        let path = self.folder(controller)?.join(file);
        fs::read_to_string(&path).doing(path.display())
    }

    /// Takes a process in, with all its threads.
    ///
    /// # Errors
    /// When it is gone.
    pub fn take_in(&self, pid: u32) -> Result<(), Setback> {
        for (controller, _) in &self.folders {
            self.write(*controller, "cgroup.procs", &pid.to_string())?;
        }
        Ok(())
    }

    /// Gives the node so many percent of one core; `None`: all it wants.
    ///
    /// # Errors
    /// When there is no such controller.
    pub fn limit_cpu(&self, percent: Option<u64>) -> Result<(), Setback> {
        self.write(Controller::Cpu, "cpu.cfs_period_us", &PERIOD_US.to_string())?;
        let quota =
            percent.map_or("-1".to_owned(), |percent| (PERIOD_US * percent / 100).to_string());
        self.write(Controller::Cpu, "cpu.cfs_quota_us", &quota)
    }

    /// In how many periods the node had to wait for processor time.
    ///
    /// # Errors
    /// When there is no such controller.
    pub fn cpu_waits(&self) -> Result<u64, Setback> {
        let text = self.read(Controller::Cpu, "cpu.stat")?;
        let line = text.lines().find_map(|line| line.strip_prefix("nr_throttled "));
        line.and_then(|n| n.trim().parse().ok()).ok_or_else(|| Setback::new("no nr_throttled"))
    }

    /// Gives the node so many bytes of memory; `None`: all it wants.
    ///
    /// # Errors
    /// When there is no such controller, or it cannot give up so much.
    pub fn limit_memory(&self, bytes: Option<u64>) -> Result<(), Setback> {
        let limit = bytes.map_or("-1".to_owned(), |bytes| bytes.to_string());
        self.write(Controller::Memory, "memory.limit_in_bytes", &limit)
    }

    /// Memory in use, bytes, and how often the limit was in the way.
    ///
    /// # Errors
    /// When there is no such controller.
    pub fn memory(&self) -> Result<(u64, u64), Setback> {
        let number = |file: &str| {
            let text = self.read(Controller::Memory, file)?;
            text.trim().parse::<u64>().doing(file)
        };
        Ok((number("memory.usage_in_bytes")?, number("memory.failcnt")?))
    }

    /// Limits writes and reads of a device to so many bytes a second; `None` lifts it.
    ///
    /// # Errors
    /// When there is no such controller.
    pub fn limit_disk(&self, device: &str, bytes_per_second: Option<u64>) -> Result<(), Setback> {
        let limit = format!("{device} {}", bytes_per_second.unwrap_or(0));
        self.write(Controller::Disk, "blkio.throttle.write_bps_device", &limit)?;
        self.write(Controller::Disk, "blkio.throttle.read_bps_device", &limit)
    }

    /// Stops all threads at once, or lets them go on.
    ///
    /// # Errors
    /// When there is no such controller.
    pub fn freeze(&self, still: bool) -> Result<(), Setback> {
        let state = if still { "FROZEN" } else { "THAWED" };
        self.write(Controller::Freezer, "freezer.state", state)
    }

    /// Whether they stand still.
    ///
    /// # Errors
    /// When there is no such controller.
    pub fn frozen(&self) -> Result<bool, Setback> {
        Ok(self.read(Controller::Freezer, "freezer.state")?.trim() == "FROZEN")
    }

    /// Lifts every limit; what this machine does not have needs no lifting.
    pub fn heal(&self, device: Option<&str>) {
        let _ = self.freeze(false);
        let _ = self.limit_cpu(None);
        let _ = self.limit_memory(None);
        if let Some(device) = device {
            let _ = self.limit_disk(device, None);
        }
    }

    /// What is still limited.
    #[must_use]
    pub fn wound(&self) -> Option<String> {
        let is = |controller, file: &str, expected: &str| {
            self.read(controller, file).map_or(true, |text| text.trim() == expected)
        };
        if !is(Controller::Cpu, "cpu.cfs_quota_us", "-1") {
            return Some("processor time is limited".to_owned());
        }
        if !is(Controller::Disk, "blkio.throttle.write_bps_device", "") {
            return Some("disk bandwidth is limited".to_owned());
        }
        (!is(Controller::Freezer, "freezer.state", "THAWED")).then(|| "frozen".to_owned())
    }

    /// Removes the groups; their processes must be gone.
    pub fn remove(&self) {
        for (_, folder) in &self.folders {
            // A process that is not quite gone keeps it; the sweep of this run id finds it.
            let _ = fs::remove_dir(folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_controller_is_found_alone_and_among_others() {
        let text = "9:name=systemd:/\n5:cpu,cpuacct:/a/b\n4:memory:/x:y\n0::/\n";
        assert_eq!(path_of(text, "cpu"), Some("/a/b"));
        assert_eq!(path_of(text, "memory"), Some("/x:y"));
        assert_eq!(path_of(text, "blkio"), None);
    }
}
