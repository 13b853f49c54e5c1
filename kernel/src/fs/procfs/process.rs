//! Files about one process.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Write;
use core::sync::atomic::Ordering;

use aurora_abi::Errno;
use aurora_machine::{PAGE_SIZE, VirtRange};

use crate::fs::procfs::{Node, system};
use crate::memory::area::Label;
use crate::memory::{Area, Backing, Prot};
use crate::task::limits::UNLIMITED;
use crate::task::{Pid, Process};
use crate::vfs::{FdTable, FileKind, OpenFile, PathRef};

/// Links of a process to places.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Executable,
    WorkingDirectory,
    Root,
}

/// Names in `/proc/PID`.
pub(super) fn entries(pid: Pid) -> Vec<(Vec<u8>, Node)> {
    let text = |f, mode| Node::ProcessText(pid, f, mode);
    let entries: [(&str, Node); 17] = [
        ("cmdline", text(cmdline, 0o444)),
        ("comm", text(comm, 0o444)),
        ("cwd", Node::Place(pid, Place::WorkingDirectory)),
        ("environ", text(environ, 0o400)),
        ("exe", Node::Place(pid, Place::Executable)),
        ("fd", Node::Descriptors(pid)),
        ("limits", text(limits, 0o444)),
        ("maps", text(maps, 0o444)),
        ("mountinfo", text(mountinfo, 0o444)),
        ("mounts", text(|p| Ok(system::mounts(&p.kernel)), 0o444)),
        ("oom_score_adj", text(|_| Ok(b"0\n".to_vec()), 0o444)),
        ("root", Node::Place(pid, Place::Root)),
        ("stat", text(stat, 0o444)),
        ("statm", text(statm, 0o444)),
        ("status", text(status, 0o444)),
        ("task", Node::Tasks(pid)),
        ("wchan", text(|_| Ok(b"0".to_vec()), 0o444)),
    ];
    entries.into_iter().map(|(name, node)| (name.as_bytes().to_vec(), node)).collect()
}

/// The descriptors of a process's first thread.
pub(super) fn files(process: &Arc<Process>) -> Result<Arc<FdTable>, Errno> {
    process.threads.lock().first().map(|t| t.files()).ok_or(Errno::ENOENT)
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

pub(super) fn place(process: &Process, place: Place) -> Result<PathRef, Errno> {
    let fs = process.threads.lock().first().map(|t| t.fs());
    match place {
        Place::Executable => process.executable.lock().clone().ok_or(Errno::ENOENT),
        Place::WorkingDirectory => fs.map(|f| f.cwd()).ok_or(Errno::ENOENT),
        Place::Root => fs.map(|f| f.root()).ok_or(Errno::ENOENT),
    }
}

/// Copies a range of a process's memory as far as it is there.
fn memory_text(process: &Process, range: Option<VirtRange>) -> Vec<u8> {
    let (Some(space), Some(range)) = (process.space(), range) else { return Vec::new() };
    let mut bytes = alloc::vec![0; crate::num::to_usize(range.len().min(128 * 1024))];
    let n = space.peek(range.start, &mut bytes);
    bytes.truncate(n);
    bytes
}

fn cmdline(process: &Arc<Process>) -> Result<Vec<u8>, Errno> {
    let range = process.space().and_then(|s| s.layout().arguments);
    Ok(memory_text(process, range))
}

fn environ(process: &Arc<Process>) -> Result<Vec<u8>, Errno> {
    let range = process.space().and_then(|s| s.layout().environment);
    Ok(memory_text(process, range))
}

fn comm(process: &Arc<Process>) -> Result<Vec<u8>, Errno> {
    let mut name = process.name();
    name.push(b'\n');
    Ok(name)
}

/// The state letter of `ps`.
fn state(process: &Process) -> char {
    let state = process.state();
    match () {
        () if state.ended.is_some() => 'Z',
        () if state.stopped.is_some() => 'T',
        () if process.threads.lock().iter().any(|t| t.task.is_runnable()) => 'R',
        () => 'S',
    }
}

fn stat(process: &Arc<Process>) -> Result<Vec<u8>, Errno> {
    let ticks = |ns: u64| ns / 10_000_000;
    let usage = process.space().map(|s| s.usage()).unwrap_or_default();
    let (device, foreground) = match &*process.terminal.lock() {
        Some(tty) => (tty.device.encode(), tty.foreground().map_or(-1, |g| g.0)),
        None => (0, -1),
    };
    let threads = process.threads.lock().len();
    let nice = process.threads.lock().first().map_or(0, |t| t.task.nice());
    let mut text = format!("{} (", process.pid.0).into_bytes();
    text.extend_from_slice(&process.name());
    let rest = format!(
        ") {} {} {} {} {device} {foreground} 4194304 {} 0 0 0 {} 0 {} 0 {} {nice} {threads} 0 {} {} {} {UNLIMITED} \
         0 0 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
        state(process),
        process.parent_pid().0,
        process.group().0,
        process.session().0,
        process.faults.load(Ordering::Relaxed),
        ticks(process.used_ns()),
        ticks(process.used_by_children.load(Ordering::Relaxed)),
        20 + i32::from(nice),
        ticks(process.started.0),
        usage.total * PAGE_SIZE,
        usage.resident,
    );
    text.extend_from_slice(rest.as_bytes());
    Ok(text)
}

fn statm(process: &Arc<Process>) -> Result<Vec<u8>, Errno> {
    let usage = process.space().map(|s| s.usage()).unwrap_or_default();
    Ok(format!("{} {} 0 0 0 {} 0\n", usage.total, usage.resident, usage.data).into_bytes())
}

fn status(process: &Arc<Process>) -> Result<Vec<u8>, Errno> {
    let kib = |pages: u64| pages * PAGE_SIZE / 1024;
    let letter = state(process);
    let word = match letter {
        'Z' => "zombie",
        'T' => "stopped",
        'R' => "running",
        _ => "sleeping",
    };
    let c = process.credentials();
    let usage = process.space().map(|s| s.usage()).unwrap_or_default();
    let (pending, blocked) = process.threads.lock().first().map_or((0, 0), |t| (t.pending.set().0, t.mask().0));
    let actions = process.actions.lock().clone();
    let (mut ignored, mut caught) = (0u64, 0u64);
    for number in 1..=64 {
        let Some(signal) = crate::task::Signal::new(number) else { continue };
        match actions.get(signal).handler {
            crate::task::signal::DEFAULT => {}
            crate::task::signal::IGNORE => ignored |= 1 << (number - 1),
            _ => caught |= 1 << (number - 1),
        }
    }
    let groups: Vec<String> = c.groups.iter().map(|g| format!("{g} ")).collect();
    let mut text = b"Name:\t".to_vec();
    text.extend_from_slice(&process.name());
    let threads = process.threads.lock().len();
    let rest = format!(
        "\nUmask:\t{:04o}\nState:\t{letter} ({word})\nTgid:\t{pid}\nPid:\t{pid}\nPPid:\t{}\nTracerPid:\t0\n\
         Uid:\t{}\t{}\t{}\t{}\nGid:\t{}\t{}\t{}\t{}\nFDSize:\t64\nGroups:\t{}\nVmPeak:\t{:8} kB\nVmSize:\t{:8} kB\n\
         VmHWM:\t{:8} kB\nVmRSS:\t{:8} kB\nVmData:\t{:8} kB\nVmPTE:\t{:8} kB\nThreads:\t{threads}\n\
         SigPnd:\t{pending:016x}\nShdPnd:\t{:016x}\nSigBlk:\t{blocked:016x}\nSigIgn:\t{ignored:016x}\n\
         SigCgt:\t{caught:016x}\nNoNewPrivs:\t{}\n",
        process.threads.lock().first().map_or(0o022, |t| t.fs().umask()),
        process.parent_pid().0,
        c.uid,
        c.euid,
        c.suid,
        c.fsuid,
        c.gid,
        c.egid,
        c.sgid,
        c.fsgid,
        groups.concat(),
        kib(usage.total),
        kib(usage.total),
        kib(usage.peak),
        kib(usage.resident),
        kib(usage.data),
        kib(usage.tables),
        process.pending.set().0,
        u8::from(process.no_new_privs.load(Ordering::Relaxed)),
        pid = process.pid.0,
    );
    text.extend_from_slice(rest.as_bytes());
    Ok(text)
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

fn limits(process: &Arc<Process>) -> Result<Vec<u8>, Errno> {
    let mut text = format!("{:<25} {:<20} {:<20} {:<10}\n", "Limit", "Soft Limit", "Hard Limit", "Units");
    let shown = |v: u64| if v == UNLIMITED { String::from("unlimited") } else { format!("{v}") };
    for (i, (name, unit)) in (0u32..).zip(LIMITS) {
        let limit = process.limits.read(i)?;
        let _ = writeln!(text, "{name:<25} {:<20} {:<20} {unit:<10}", shown(limit.current), shown(limit.max));
    }
    Ok(text.into_bytes())
}

fn maps(process: &Arc<Process>) -> Result<Vec<u8>, Errno> {
    let mut text = Vec::new();
    let Some(space) = process.space() else { return Ok(text) };
    let root = process.kernel.vfs.root()?;
    space.for_each_area(|area| {
        let (offset, dev, ino, name) = map_source(process, area, &root);
        let bit = |prot, letter| if area.prot.contains(prot) { letter } else { '-' };
        let mut line = format!(
            "{:08x}-{:08x} {}{}{}{} {offset:08x} {:02x}:{:02x} {ino} ",
            area.range.start,
            area.range.end,
            bit(Prot::READ, 'r'),
            bit(Prot::WRITE, 'w'),
            bit(Prot::EXEC, 'x'),
            if area.shared { 's' } else { 'p' },
            dev >> 8,
            dev & 0xff,
        )
        .into_bytes();
        if !name.is_empty() {
            line.resize(line.len().max(73), b' ');
            line.extend_from_slice(&name);
        }
        line.push(b'\n');
        text.extend_from_slice(&line);
    });
    Ok(text)
}

fn map_source(process: &Process, area: &Area, root: &PathRef) -> (u64, u64, u64, Vec<u8>) {
    let label = match area.label {
        Label::None => Vec::new(),
        Label::Heap => b"[heap]".to_vec(),
        Label::Stack => b"[stack]".to_vec(),
    };
    match &area.backing {
        Backing::Cache { first, file: Some(file), .. } => {
            let metadata = file.inode.metadata();
            let name = file.path.as_ref().and_then(|p| process.kernel.vfs.path_of(p, root));
            (first * PAGE_SIZE, metadata.dev, metadata.ino, name.unwrap_or_default())
        }
        Backing::Cache { .. } => (0, 1, 1, b"/dev/zero (deleted)".to_vec()),
        Backing::Anonymous => (0, 0, 0, label),
    }
}

fn mountinfo(process: &Arc<Process>) -> Result<Vec<u8>, Errno> {
    let kernel = &process.kernel;
    let root = kernel.vfs.root()?;
    let mut text = Vec::new();
    for mount in kernel.vfs.mounts() {
        let at = PathRef { dentry: mount.root.clone(), mount: mount.clone() };
        let Some(path) = kernel.vfs.path_of(&at, &root) else { continue };
        let parent = mount.place.as_ref().map_or(0, |p| p.mount.id);
        let dev = mount.root.inode().metadata().dev;
        text.extend_from_slice(format!("{} {parent} 0:{dev} / ", mount.id).as_bytes());
        text.extend_from_slice(&path);
        let rest = format!(" rw,relatime - {} {} rw\n", mount.kind, mount.source);
        text.extend_from_slice(rest.as_bytes());
    }
    Ok(text)
}
