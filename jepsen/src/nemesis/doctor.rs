//! Which mechanism works on this machine, and what is missing where one does not.
//!
//! Looks at tools, kernel and rights; it changes nothing. That a fault bites is seen by trying it (`trial`).

use std::path::Path;

use crate::cluster::{Controller, shell};

/// What was found of one mechanism.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The mechanism.
    pub mechanism: &'static str,
    /// The faults that need it.
    pub faults: &'static str,
    /// Nothing when it works; else what is missing and how it is had.
    pub missing: Option<String>,
}

/// Whether this process may make namespaces and mount disks.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// All mechanisms.
#[must_use]
pub fn doctor() -> Vec<Finding> {
    let find = |mechanism, faults, missing: Option<String>| Finding { mechanism, faults, missing };
    let root = (!is_root()).then(|| "run as root".to_owned());
    let device =
        |path: &str, how: &str| (!Path::new(path).exists()).then(|| format!("no {path}: {how}"));
    vec![
        find("root", "all", root),
        find(
            "network namespaces (ip, nsenter)",
            "all",
            tools(&[("ip", "iproute2"), ("nsenter", "util-linux")]),
        ),
        find(
            "packet filter (nft)",
            "partitions, loss, large packets, storms, addresses",
            tools(&[("nft", "nftables")]),
        ),
        find(
            "TAP interfaces",
            "delay, reorder, duplicate, damage",
            device("/dev/net/tun", "the kernel needs CONFIG_TUN (modprobe tun)"),
        ),
        find("token bucket (tc)", "slow-link", tools(&[("tc", "iproute2")])),
        find(
            "loop-mounted ext4",
            "power, disk-full, disk-gone, stalled and slow disk",
            tools(&[
                ("mkfs.ext4", "e2fsprogs"),
                ("losetup", "mount"),
                ("mount", "mount"),
                ("fsfreeze", "util-linux"),
            ])
            .or_else(|| {
                device("/dev/loop-control", "the kernel needs CONFIG_BLK_DEV_LOOP (modprobe loop)")
            })
            .or_else(|| file_system("ext4")),
        ),
        find(
            "C compiler for the shim",
            "clocks, failing and slow syncs, reads, writes",
            tools(&[("cc", "gcc libc6-dev")]),
        ),
        find("cgroup v1: freezer", "freeze-one", controller(Controller::Freezer)),
        find("cgroup v1: cpu", "little-cpu", controller(Controller::Cpu)),
        find("cgroup v1: memory", "little-memory", controller(Controller::Memory)),
        find("cgroup v1: blkio", "slow-disk", controller(Controller::Disk)),
        find("prlimit", "few-files", tools(&[("prlimit", "util-linux")])),
    ]
}

/// The first of these tools that is missing, with the Debian package that has it.
fn tools(needed: &[(&str, &str)]) -> Option<String> {
    let missing = needed.iter().find(|(tool, _)| !shell::there_is(tool));
    missing.map(|(tool, package)| format!("no {tool}: apt-get install {package}"))
}

fn controller(controller: Controller) -> Option<String> {
    let none = "no such hierarchy: boot with systemd.unified_cgroup_hierarchy=0, or mount it below /sys/fs/cgroup";
    controller.own().is_none().then(|| none.to_owned())
}

fn file_system(name: &str) -> Option<String> {
    let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let there = known.lines().any(|line| line.split_whitespace().last() == Some(name));
    (!there).then(|| format!("the kernel does not know {name} (modprobe {name})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_tool_is_named_with_its_package() {
        assert_eq!(tools(&[("sh", "dash")]), None);
        let missing = tools(&[("sh", "dash"), ("no-such-tool", "a-package")]);
        assert_eq!(missing.as_deref(), Some("no no-such-tool: apt-get install a-package"));
    }

    #[test]
    fn every_mechanism_is_looked_at_without_being_root() {
        let found = doctor();
        assert!(found.len() >= 10);
        assert_eq!(found[0].missing.is_none(), is_root());
    }
}
