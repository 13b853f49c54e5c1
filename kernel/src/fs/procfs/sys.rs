//! `/proc/sys` and what there is of sysfs(5).

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use aurora_abi::Errno;

use crate::Kernel;
use crate::fs::procfs::Node;
use crate::fs::procfs::block::{Block, Listing};
use crate::fs::procfs::system::{line, uuid};
use crate::task::table::PID_MAX;
use crate::task::uts::UtsNamespace;

/// Names in `/proc/sys`.
pub(super) const ROOT: &[(&str, Node)] = &[
    ("fs", Node::Directory(FS)),
    ("kernel", Node::Directory(KERNEL)),
    ("user", Node::Directory(USER)),
    ("vm", Node::Directory(VM)),
];

const FS: &[(&str, Node)] = &[
    ("file-max", Node::Text(|_| b"9223372036854775807\n".to_vec())),
    ("file-nr", Node::Text(|k| format!("{}\t0\t9223372036854775807\n", k.memory.open_files()).into_bytes())),
    ("nr_open", Node::Text(|_| format!("{}\n", crate::vfs::fd::MAX_FDS).into_bytes())),
    ("overflowgid", Node::Text(|_| b"65534\n".to_vec())),
    ("overflowuid", Node::Text(|_| b"65534\n".to_vec())),
    ("pipe-max-size", Node::Text(|_| format!("{}\n", crate::ipc::pipe::CAPACITY_MAX).into_bytes())),
    ("suid_dumpable", Node::Text(|_| b"0\n".to_vec())),
];

const KERNEL: &[(&str, Node)] = &[
    ("cap_last_cap", Node::Text(|_| format!("{}\n", crate::security::credentials::CAP_LAST).into_bytes())),
    ("core_pattern", Node::Text(|_| b"core\n".to_vec())),
    ("core_uses_pid", Node::Text(|_| b"0\n".to_vec())),
    ("domainname", Node::Setting(|k| line(&names(k).names().domain), |k, text| rename(k, text, false))),
    ("hostname", Node::Setting(|k| line(&names(k).names().host), |k, text| rename(k, text, true))),
    ("ngroups_max", Node::Text(|_| b"65536\n".to_vec())),
    ("osrelease", Node::Text(|_| line(crate::boot::RELEASE.as_bytes()))),
    ("ostype", Node::Text(|_| b"Linux\n".to_vec())),
    ("overflowgid", Node::Text(|_| b"65534\n".to_vec())),
    ("overflowuid", Node::Text(|_| b"65534\n".to_vec())),
    ("pid_max", Node::Text(|_| format!("{PID_MAX}\n").into_bytes())),
    ("random", Node::Directory(RANDOM)),
    ("randomize_va_space", Node::Text(|_| b"2\n".to_vec())),
    ("seccomp", Node::Directory(SECCOMP)),
    ("tainted", Node::Text(|_| b"0\n".to_vec())),
    ("threads-max", Node::Text(|k| format!("{}\n", k.max_threads).into_bytes())),
    ("version", Node::Text(|_| line(crate::syscall::system::VERSION.as_bytes()))),
];

const RANDOM: &[(&str, Node)] = &[
    ("boot_id", Node::Text(uuid)),
    ("entropy_avail", Node::Text(|_| b"256\n".to_vec())),
    ("poolsize", Node::Text(|_| b"256\n".to_vec())),
    ("uuid", Node::Text(uuid)),
];

const SECCOMP: &[(&str, Node)] =
    &[("actions_avail", Node::Text(|_| b"kill_process kill_thread trap errno trace log allow\n".to_vec()))];

const USER: &[(&str, Node)] = &[
    ("max_mnt_namespaces", Node::Text(|k| format!("{}\n", k.max_threads).into_bytes())),
    ("max_user_namespaces", Node::Text(|_| b"0\n".to_vec())),
    ("max_uts_namespaces", Node::Text(|k| format!("{}\n", k.max_threads).into_bytes())),
];

const VM: &[(&str, Node)] = &[
    ("max_map_count", Node::Text(|_| format!("{}\n", crate::memory::space::MAX_AREAS).into_bytes())),
    ("mmap_min_addr", Node::Text(|_| format!("{}\n", crate::memory::layout::MMAP_MIN.0).into_bytes())),
    ("overcommit_memory", Node::Setting(overcommit, set_overcommit)),
    ("overcommit_ratio", Node::Text(|_| b"50\n".to_vec())),
    ("swappiness", Node::Text(|_| b"60\n".to_vec())),
];

fn overcommit(kernel: &Kernel) -> Vec<u8> {
    format!("{}\n", kernel.settings.overcommit.load(Ordering::Relaxed)).into_bytes()
}

/// Counting everything that could ever be asked for (2) is not offered.
fn set_overcommit(kernel: &Kernel, text: &[u8]) -> Result<(), Errno> {
    let value = core::str::from_utf8(text).ok().and_then(|t| t.trim().parse().ok()).filter(|v: &u64| *v <= 1);
    kernel.settings.overcommit.store(value.ok_or(Errno::EINVAL)?, Ordering::Relaxed);
    Ok(())
}

/// The names whoever asks sees.
fn names(kernel: &Kernel) -> Arc<UtsNamespace> {
    let asking = kernel.current().and_then(|(_, tid)| kernel.processes.thread(tid));
    asking.map_or_else(|| kernel.uts.clone(), |t| t.uts())
}

fn rename(kernel: &Kernel, text: &[u8], host: bool) -> Result<(), Errno> {
    let name = text.split(|&b| b == b'\n').next().unwrap_or_default();
    let name = name.get(..name.len().min(64)).unwrap_or_default().to_vec();
    let uts = names(kernel);
    let mut names = uts.names();
    *if host { &mut names.host } else { &mut names.domain } = name;
    Ok(())
}

/// Names in sysfs.
pub(super) const SYSFS: &[(&str, Node)] = &[
    ("block", Node::Block(Block::Links(Listing::Disks))),
    ("bus", Node::Directory(&[])),
    ("class", Node::Directory(&[("block", Node::Block(Block::Links(Listing::Class))), ("tty", Node::Directory(&[]))])),
    ("dev", Node::Directory(&[("block", Node::Block(Block::Links(Listing::Numbers))), ("char", Node::Directory(&[]))])),
    ("devices", Node::Directory(&[("system", Node::Directory(SYSTEM)), ("virtual", Node::Directory(VIRTUAL))])),
    ("firmware", Node::Directory(&[])),
    ("fs", Node::Directory(&[("cgroup", Node::Directory(&[]))])),
    ("kernel", Node::Directory(&[("mm", Node::Directory(&[]))])),
    ("module", Node::Directory(&[])),
    ("power", Node::Directory(&[])),
];

const VIRTUAL: &[(&str, Node)] = &[("block", Node::Block(Block::Disks))];

const SYSTEM: &[(&str, Node)] = &[("cpu", Node::Directory(CPU)), ("node", Node::Directory(NODE))];

const CPU: &[(&str, Node)] = &[
    ("cpu0", Node::Directory(&[("topology", Node::Directory(TOPOLOGY))])),
    ("kernel_max", Node::Text(|_| b"0\n".to_vec())),
    ("offline", Node::Text(|_| b"\n".to_vec())),
    ("online", Node::Text(zero)),
    ("possible", Node::Text(zero)),
    ("present", Node::Text(zero)),
];

const TOPOLOGY: &[(&str, Node)] = &[
    ("core_cpus", Node::Text(|_| b"1\n".to_vec())),
    ("core_id", Node::Text(zero)),
    ("core_siblings", Node::Text(|_| b"1\n".to_vec())),
    ("core_siblings_list", Node::Text(zero)),
    ("physical_package_id", Node::Text(zero)),
    ("thread_siblings", Node::Text(|_| b"1\n".to_vec())),
    ("thread_siblings_list", Node::Text(zero)),
];

const NODE: &[(&str, Node)] = &[
    ("node0", Node::Directory(&[("cpulist", Node::Text(zero)), ("cpumap", Node::Text(|_| b"1\n".to_vec()))])),
    ("online", Node::Text(zero)),
    ("possible", Node::Text(zero)),
];

fn zero(_: &Kernel) -> Vec<u8> {
    b"0\n".to_vec()
}
