//! The file systems programs expect. The kernel may have mounted some of them already.

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

use crate::say;

struct Wanted {
    place: &'static str,
    kind: &'static str,
    options: &'static str,
    flags: MsFlags,
}

const SAFE: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV);

/// In this order: `/proc` tells what is mounted.
const WANTED: [Wanted; 6] = [
    Wanted { place: "/proc", kind: "proc", options: "", flags: SAFE.union(MsFlags::MS_NOEXEC) },
    Wanted { place: "/dev", kind: "devtmpfs", options: "", flags: MsFlags::MS_NOSUID },
    Wanted { place: "/dev/pts", kind: "devpts", options: "gid=5,mode=620,ptmxmode=666", flags: MsFlags::MS_NOSUID },
    Wanted { place: "/dev/shm", kind: "tmpfs", options: "mode=1777", flags: SAFE },
    Wanted { place: "/run", kind: "tmpfs", options: "mode=755", flags: SAFE },
    Wanted { place: "/tmp", kind: "tmpfs", options: "mode=1777", flags: SAFE },
];

/// Mounts what is missing.
pub fn mount_all() {
    for Wanted { place, kind, options, flags } in WANTED {
        if is_mounted(place) {
            continue;
        }
        match mount(Some(kind), place, Some(kind), flags, Some(options)) {
            // A place that the image does not have is not wanted in it.
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(error) => say(&format!("cannot mount {place}: {error}")),
        }
    }
}

fn is_mounted(place: &str) -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts.lines().any(|line| line.split(' ').nth(1) == Some(place))
}
