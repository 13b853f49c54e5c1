//! Files about one process.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Write;
use core::sync::atomic::{AtomicU64, Ordering};

use aurora_abi::Errno;
use aurora_machine::VirtRange;

use crate::fs::procfs::{ProcessText, SetProcess, Subject, memory, mounts, status};
use crate::security::credentials::CAP_SYS_RESOURCE;
use crate::task::limits::UNLIMITED;
use crate::vfs::{Fd, FdTable, FileKind, OpenFile, OpenFlags, PathRef};

/// Links of a process to places.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Executable,
    WorkingDirectory,
    Root,
}

/// What a name in `/proc/PID` is.
#[derive(Clone, Copy)]
pub(super) enum Entry {
    /// Text anybody may read who may open it.
    Text(ProcessText, u32),
    /// Text for those who may look into the process.
    Private(ProcessText, u32),
    /// The same about the memory the process has when the file is opened.
    OfMemory(ProcessText, u32),
    /// Text, and what writing it does.
    Setting(ProcessText, SetProcess, u32),
    Place(Place),
    Descriptors,
    DescriptorInfos,
    Tasks,
    Namespaces,
    Memory,
}

use Entry::{DescriptorInfos, Descriptors, Memory, Namespaces, OfMemory, Private, Setting, Tasks, Text};

/// Names in `/proc/PID`; those in `/proc/PID/task/TID` are the same without `task`.
pub(super) const ENTRIES: &[(&str, Entry)] = &[
    ("auxv", OfMemory(auxv, 0o400)),
    ("cgroup", Text(|_| Ok(b"0::/\n".to_vec()), 0o444)),
    ("cmdline", Text(cmdline, 0o444)),
    ("comm", Setting(comm, set_comm, 0o644)),
    ("coredump_filter", Text(|_| Ok(b"00000033\n".to_vec()), 0o444)),
    ("cpuset", Text(|_| Ok(b"/\n".to_vec()), 0o444)),
    ("cwd", Entry::Place(Place::WorkingDirectory)),
    ("environ", OfMemory(environ, 0o400)),
    ("exe", Entry::Place(Place::Executable)),
    ("fd", Descriptors),
    ("fdinfo", DescriptorInfos),
    ("gid_map", Text(id_map, 0o444)),
    ("io", Private(io, 0o400)),
    ("limits", Text(limits, 0o444)),
    ("loginuid", Text(|_| Ok(b"4294967295".to_vec()), 0o444)),
    ("maps", OfMemory(memory::maps, 0o444)),
    ("mem", Memory),
    ("mountinfo", Text(mounts::mountinfo, 0o444)),
    ("mounts", Text(mounts::mounts, 0o444)),
    ("mountstats", Text(mounts::mountstats, 0o400)),
    ("ns", Namespaces),
    ("oom_adj", Text(oom_adj, 0o444)),
    ("oom_score", Text(oom_score, 0o444)),
    ("oom_score_adj", Setting(oom_score_adj, set_oom_score_adj, 0o644)),
    ("personality", Private(personality, 0o400)),
    ("root", Entry::Place(Place::Root)),
    ("schedstat", Text(schedstat, 0o444)),
    ("sessionid", Text(|_| Ok(b"4294967295".to_vec()), 0o444)),
    ("setgroups", Text(|_| Ok(b"allow\n".to_vec()), 0o444)),
    ("smaps", OfMemory(memory::smaps, 0o444)),
    ("smaps_rollup", OfMemory(memory::smaps_rollup, 0o444)),
    ("stat", Text(status::stat, 0o444)),
    ("statm", Text(memory::statm, 0o444)),
    ("status", Text(status::status, 0o444)),
    ("syscall", Private(syscall, 0o400)),
    ("task", Tasks),
    ("timerslack_ns", Text(timer_slack, 0o444)),
    ("uid_map", Text(id_map, 0o444)),
    ("wchan", Text(|_| Ok(b"0".to_vec()), 0o444)),
];

impl Entry {
    pub(super) fn mode(self) -> u32 {
        match self {
            Self::Text(_, mode) | Self::Private(_, mode) | Self::OfMemory(_, mode) | Self::Setting(_, _, mode) => {
                FileKind::Regular.bits() | mode
            }
            Self::Memory => FileKind::Regular.bits() | 0o600,
            Self::Place(_) => FileKind::Symlink.bits() | 0o777,
            Self::Descriptors => FileKind::Directory.bits() | 0o500,
            Self::DescriptorInfos | Self::Tasks => FileKind::Directory.bits() | 0o555,
            Self::Namespaces => FileKind::Directory.bits() | 0o511,
        }
    }
}

impl Entry {
    /// Where a file with text stands among the names.
    pub(super) fn number(self) -> Option<u64> {
        let text = |entry: Entry| match entry {
            Self::Text(make, _) | Self::Private(make, _) | Self::OfMemory(make, _) | Self::Setting(make, ..) => {
                Some(make as usize)
            }
            _ => None,
        };
        let mine = text(self)?;
        ENTRIES.iter().position(|(_, other)| text(*other) == Some(mine)).map(|at| at as u64)
    }
}

/// The descriptors of a process or thread.
pub(super) fn files(subject: &Subject) -> Result<Arc<FdTable>, Errno> {
    subject.thread().map(|t| t.files())
}

/// What a descriptor without a path shows.
pub(super) fn describe(file: &OpenFile) -> Vec<u8> {
    if let Some(kind) = file.ops.kind() {
        return format!("anon_inode:{kind}").into_bytes();
    }
    let metadata = file.inode.metadata();
    let kind = match metadata.kind() {
        FileKind::Fifo => "pipe",
        FileKind::Socket => "socket",
        _ => "anon_inode",
    };
    format!("{kind}:[{}]", metadata.ino).into_bytes()
}

/// `/proc/PID/fdinfo/N`.
pub(super) fn describe_state(subject: &Subject, fd: Fd) -> Result<Vec<u8>, Errno> {
    let files = files(subject)?;
    let file = files.get(fd)?;
    let mut flags = file.flags();
    flags.set(OpenFlags::CLOEXEC, files.close_on_exec(fd)?);
    let metadata = file.inode.metadata();
    let mount = file.path.as_ref().map_or(0, |p| p.mount.id);
    let position = *file.offset.lock();
    let mut text = format!("pos:\t{position}\nflags:\t0{:o}\nmnt_id:\t{mount}\nino:\t{}\n", flags.bits(), metadata.ino);
    let locks = super::locks::lines(&subject.process.kernel, Some((metadata.dev, metadata.ino)));
    for line in locks {
        let _ = writeln!(text, "lock:\t{line}");
    }
    Ok(text.into_bytes())
}

pub(super) fn place(subject: &Subject, place: Place) -> Result<PathRef, Errno> {
    let fs = || subject.thread().map(|t| t.fs());
    match place {
        Place::Executable => subject.process.executable.lock().clone().ok_or(Errno::ENOENT),
        Place::WorkingDirectory => Ok(fs()?.cwd()),
        Place::Root => Ok(fs()?.root()),
    }
}

/// Copies a range of a process's memory as far as it is there.
fn memory_text(subject: &Subject, range: Option<VirtRange>) -> Vec<u8> {
    let (Some(space), Some(range)) = (subject.space(), range) else { return Vec::new() };
    let mut bytes = alloc::vec![0; crate::num::to_usize(range.len().min(128 * 1024))];
    let n = space.look(range.start, &mut bytes);
    bytes.truncate(n);
    bytes
}

fn cmdline(subject: &Subject) -> Result<Vec<u8>, Errno> {
    let range = subject.space().and_then(|s| s.layout().arguments);
    Ok(memory_text(subject, range))
}

fn environ(subject: &Subject) -> Result<Vec<u8>, Errno> {
    let range = subject.space().and_then(|s| s.layout().environment);
    Ok(memory_text(subject, range))
}

fn auxv(subject: &Subject) -> Result<Vec<u8>, Errno> {
    let range = subject.space().and_then(|s| s.layout().auxiliary);
    Ok(memory_text(subject, range))
}

fn comm(subject: &Subject) -> Result<Vec<u8>, Errno> {
    let mut name = subject.name();
    name.push(b'\n');
    Ok(name)
}

/// Only the process itself may be renamed.
fn set_comm(subject: &Subject, text: &[u8]) -> Result<(), Errno> {
    let own = subject.process.kernel.current().is_some_and(|(pid, _)| pid == subject.process.pid);
    if !own {
        return Err(Errno::EINVAL);
    }
    let name = text.strip_suffix(b"\n").unwrap_or(text);
    subject.thread()?.set_name(name);
    Ok(())
}

fn number(text: &[u8]) -> Result<i64, Errno> {
    core::str::from_utf8(text).ok().and_then(|t| t.trim().parse().ok()).ok_or(Errno::EINVAL)
}

fn oom_score_adj(subject: &Subject) -> Result<Vec<u8>, Errno> {
    Ok(format!("{}\n", subject.process.oom_score_adj.load(Ordering::Relaxed)).into_bytes())
}

fn set_oom_score_adj(subject: &Subject, text: &[u8]) -> Result<(), Errno> {
    let value = i32::try_from(number(text)?).ok().filter(|v| (-1000..=1000).contains(v)).ok_or(Errno::EINVAL)?;
    let kernel = &subject.process.kernel;
    let writer = kernel.current().and_then(|(pid, _)| kernel.processes.process(pid));
    let privileged = writer.is_none_or(|w| w.credentials().is_capable(CAP_SYS_RESOURCE));
    if value < subject.process.oom_score_adj.load(Ordering::Relaxed) && !privileged {
        return Err(Errno::EACCES);
    }
    subject.process.oom_score_adj.store(value, Ordering::Relaxed);
    Ok(())
}

/// The same on the older scale of -17 to 15.
fn oom_adj(subject: &Subject) -> Result<Vec<u8>, Errno> {
    let value = subject.process.oom_score_adj.load(Ordering::Relaxed);
    let shown = if value == 1000 { 15 } else { value * 17 / 1000 };
    Ok(format!("{shown}\n").into_bytes())
}

fn oom_score(subject: &Subject) -> Result<Vec<u8>, Errno> {
    let total = i64::try_from(subject.process.kernel.memory.phys().total_frames()).unwrap_or(i64::MAX).max(1);
    let score = subject.process.oom_pages().map_or(0, |pages| pages.max(0) * 1000 / total);
    Ok(format!("{score}\n").into_bytes())
}

fn personality(subject: &Subject) -> Result<Vec<u8>, Errno> {
    Ok(format!("{:08x}\n", subject.process.personality.load(Ordering::Relaxed)).into_bytes())
}

fn io(subject: &Subject) -> Result<Vec<u8>, Errno> {
    let io = &subject.process.io;
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let text = format!(
        "rchar: {}\nwchar: {}\nsyscr: {}\nsyscw: {}\nread_bytes: 0\nwrite_bytes: 0\ncancelled_write_bytes: 0\n",
        load(&io.read),
        load(&io.written),
        load(&io.reads),
        load(&io.writes),
    );
    Ok(text.into_bytes())
}

fn schedstat(subject: &Subject) -> Result<Vec<u8>, Errno> {
    let task = &subject.thread()?.task;
    let [voluntary, lost] = &task.switches;
    let turns = voluntary.load(Ordering::Relaxed) + lost.load(Ordering::Relaxed);
    Ok(format!("{} 0 {turns}\n", task.used_ns()).into_bytes())
}

fn timer_slack(subject: &Subject) -> Result<Vec<u8>, Errno> {
    Ok(format!("{}\n", subject.thread()?.timer_slack.load(Ordering::Relaxed)).into_bytes())
}

/// Everybody is in the first user namespace.
fn id_map(_: &Subject) -> Result<Vec<u8>, Errno> {
    Ok(b"         0          0 4294967295\n".to_vec())
}

/// Which system call it is in.
fn syscall(subject: &Subject) -> Result<Vec<u8>, Errno> {
    let thread = subject.thread()?;
    if thread.task.is_runnable() {
        return Ok(b"running\n".to_vec());
    }
    let call = crate::syscall::Call(thread.call.load(Ordering::Relaxed));
    Ok(match call.row() {
        Some(row) => format!("{} 0x0 0x0 0x0 0x0 0x0 0x0 0x0 0x0\n", row.number).into_bytes(),
        None => b"-1 0x0 0x0\n".to_vec(),
    })
}

const LIMITS: [(&str, &str); 16] = [
    ("Max cpu time", "seconds"),
    ("Max file size", "bytes"),
    ("Max data size", "bytes"),
    ("Max stack size", "bytes"),
    ("Max core file size", "bytes"),
    ("Max resident set", "bytes"),
    ("Max processes", "processes"),
    ("Max open files", "files"),
    ("Max locked memory", "bytes"),
    ("Max address space", "bytes"),
    ("Max file locks", "locks"),
    ("Max pending signals", "signals"),
    ("Max msgqueue size", "bytes"),
    ("Max nice priority", ""),
    ("Max realtime priority", ""),
    ("Max realtime timeout", "us"),
];

fn limits(subject: &Subject) -> Result<Vec<u8>, Errno> {
    let mut text = format!("{:<25} {:<20} {:<20} {:<10}\n", "Limit", "Soft Limit", "Hard Limit", "Units");
    let shown = |v: u64| if v == UNLIMITED { String::from("unlimited") } else { format!("{v}") };
    for (i, (name, unit)) in (0u32..).zip(LIMITS) {
        let limit = subject.process.limits.read(i)?;
        let _ = writeln!(text, "{name:<25} {:<20} {:<20} {unit:<10}", shown(limit.current), shown(limit.max));
    }
    Ok(text.into_bytes())
}
