//! `/proc/PID/stat` and `status`.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;
use core::sync::atomic::Ordering;

use aurora_abi::Errno;
use aurora_machine::PAGE_SIZE;

use crate::fs::procfs::Subject;
use crate::task::limits::UNLIMITED;
use crate::task::signal::{DEFAULT, IGNORE};
use crate::task::{Process, Signal};

/// The state letter of `ps`, and the word `status` adds.
fn state(subject: &Subject) -> (char, &'static str) {
    let process = &subject.process;
    let (ended, stopped) = (process.is_zombie(), process.stopped().is_some());
    let traced = subject.thread().is_ok_and(|t| t.trace.lock().stop.is_some());
    let runs = match &subject.thread {
        Some(thread) => thread.task.is_runnable(),
        None => process.threads.lock().iter().any(|t| t.task.is_runnable()),
    };
    match () {
        () if ended => ('Z', "zombie"),
        () if traced => ('t', "tracing stop"),
        () if stopped => ('T', "stopped"),
        () if runs => ('R', "running"),
        () => ('S', "sleeping"),
    }
}

/// Ignored and caught signals.
fn actions(process: &Process) -> (u64, u64) {
    let actions = process.actions.lock().clone();
    let (mut ignored, mut caught) = (0u64, 0u64);
    for number in 1..=64 {
        let Some(signal) = Signal::new(number) else { continue };
        match actions.get(signal).handler {
            DEFAULT => {}
            IGNORE => ignored |= 1 << (number - 1),
            _ => caught |= 1 << (number - 1),
        }
    }
    (ignored, caught)
}

pub(super) fn stat(subject: &Subject) -> Result<Vec<u8>, Errno> {
    let ticks = |ns: u64| ns / 10_000_000;
    let process = &subject.process;
    let usage = process.space().map(|s| s.usage()).unwrap_or_default();
    let layout = process.space().map(|s| s.layout()).unwrap_or_default();
    let (device, foreground) = match &*process.terminal.lock() {
        Some(tty) => (tty.device.encode(), tty.foreground().map_or(-1, |g| g.0)),
        None => (0, -1),
    };
    let thread = subject.thread().ok();
    let threads = process.threads.lock().len();
    let nice = thread.as_ref().map_or(0, |t| t.task.nice());
    let scheduling = thread.as_ref().map(|t| t.task.scheduling());
    let (used, system) = match &subject.thread {
        Some(thread) => (thread.task.used_ns(), thread.system_ns.load(Ordering::Relaxed)),
        None => (process.used_ns(), process.system_ns()),
    };
    let system = system.min(used);
    let children = process.used_by_children.load(Ordering::Relaxed);
    let children_system = process.system_of_children.load(Ordering::Relaxed).min(children);
    let (ignored, caught) = actions(process);
    let (pending, blocked) = thread.as_ref().map_or((0, 0), |t| (t.pending.set().0, t.mask().0));
    let real_time = scheduling.map_or(0, |s| s.priority);
    let priority = if real_time > 0 { -1 - i32::from(real_time) } else { 20 + i32::from(nice) };
    let bounds = |range: Option<aurora_machine::VirtRange>| range.map_or((0, 0), |r| (r.start.0, r.end.0));
    let (code, arguments, environment) = (bounds(layout.code), bounds(layout.arguments), bounds(layout.environment));
    let exit_code = process.state().ended.map_or(0, |e| e.encode());
    let mut text = format!("{} (", subject.number()).into_bytes();
    text.extend_from_slice(&subject.name());
    let mut rest = String::new();
    let _ = write!(
        rest,
        ") {} {} {} {} {device} {foreground} 4194304 {} {} 0 0 {} {} {} {} {priority} {nice} {threads} 0 {} {} {} {UNLIMITED} ",
        state(subject).0,
        process.parent_pid().0,
        process.group().0,
        process.session().0,
        process.faults.load(Ordering::Relaxed),
        process.faults_of_children.load(Ordering::Relaxed),
        ticks(used - system),
        ticks(system),
        ticks(children - children_system),
        ticks(children_system),
        ticks(process.started.0),
        usage.total * PAGE_SIZE,
        usage.resident,
    );
    let _ = writeln!(
        rest,
        "{} {} {} 0 0 {} {} {} {} 0 0 0 {} 0 {real_time} {} 0 0 0 0 0 {} {} {} {} {} {exit_code}",
        code.0,
        code.1,
        layout.stack_top.0,
        pending & 0x7fff_ffff,
        blocked & 0x7fff_ffff,
        ignored & 0x7fff_ffff,
        caught & 0x7fff_ffff,
        process.exit_signal.load(Ordering::Relaxed),
        scheduling.map_or(0, |s| s.policy as u8),
        layout.brk_start.0,
        arguments.0,
        arguments.1,
        environment.0,
        environment.1,
    );
    text.extend_from_slice(rest.as_bytes());
    Ok(text)
}

pub(super) fn status(subject: &Subject) -> Result<Vec<u8>, Errno> {
    let process = &subject.process;
    let (letter, word) = state(subject);
    let c = process.credentials();
    let thread = subject.thread().ok();
    let tracer = thread.as_ref().and_then(|t| t.trace.lock().tracer()).map_or(0, |t| t.pid.0);
    let groups: String = c.groups.iter().map(|g| format!("{g} ")).collect();
    let mut text = b"Name:\t".to_vec();
    text.extend_from_slice(&subject.name());
    let mut rest = String::new();
    let (pid, number) = (process.pid.0, subject.number());
    let _ = write!(
        rest,
        "\nUmask:\t{:04o}\nState:\t{letter} ({word})\nTgid:\t{pid}\nNgid:\t0\nPid:\t{number}\nPPid:\t{}\n\
         TracerPid:\t{tracer}\nUid:\t{}\t{}\t{}\t{}\nGid:\t{}\t{}\t{}\t{}\nFDSize:\t{}\nGroups:\t{groups}\n\
         NStgid:\t{pid}\nNSpid:\t{number}\nNSpgid:\t{}\nNSsid:\t{}\nKthread:\t0\n",
        thread.as_ref().map_or(0o022, |t| t.fs().umask()),
        process.parent_pid().0,
        c.uid,
        c.euid,
        c.suid,
        c.fsuid,
        c.gid,
        c.egid,
        c.sgid,
        c.fsgid,
        thread.as_ref().map_or(64, |t| t.files().room()),
        process.group().0,
        process.session().0,
    );
    memory(process, &mut rest);
    signals(subject, &mut rest);
    let caps = c.caps;
    let (mode, filters) = thread.as_ref().map_or((0, 0), |t| {
        let seccomp = t.seccomp.lock();
        (seccomp.mode(), seccomp.count())
    });
    let [voluntary, lost] = thread.as_ref().map_or([0; 2], |t| {
        let [a, b] = &t.task.switches;
        [a.load(Ordering::Relaxed), b.load(Ordering::Relaxed)]
    });
    let _ = write!(
        rest,
        "CapInh:\t{:016x}\nCapPrm:\t{:016x}\nCapEff:\t{:016x}\nCapBnd:\t{:016x}\nCapAmb:\t{:016x}\nNoNewPrivs:\t{}\n\
         Seccomp:\t{mode}\nSeccomp_filters:\t{filters}\nCpus_allowed:\t1\nCpus_allowed_list:\t0\nMems_allowed:\t1\n\
         Mems_allowed_list:\t0\nvoluntary_ctxt_switches:\t{voluntary}\nnonvoluntary_ctxt_switches:\t{lost}\n",
        caps.inheritable,
        caps.permitted,
        caps.effective,
        caps.bounding,
        caps.ambient,
        u8::from(process.no_new_privs.load(Ordering::Relaxed)),
    );
    text.extend_from_slice(rest.as_bytes());
    Ok(text)
}

/// The `Vm` lines; a process without memory has none.
fn memory(process: &Process, text: &mut String) {
    let Some(space) = process.space() else { return };
    let (usage, shared) = (space.usage(), space.shared_pages());
    let lines = [
        ("VmPeak", usage.total),
        ("VmSize", usage.total),
        ("VmLck", usage.locked),
        ("VmPin", 0),
        ("VmHWM", usage.peak),
        ("VmRSS", usage.resident),
        ("RssAnon", usage.resident.saturating_sub(shared)),
        ("RssFile", shared),
        ("RssShmem", 0),
        ("VmData", usage.data.saturating_sub(usage.stack)),
        ("VmStk", usage.stack),
        ("VmExe", usage.code),
        ("VmLib", 0),
        ("VmPTE", usage.tables),
        ("VmSwap", 0),
    ];
    for (name, pages) in lines {
        let _ = writeln!(text, "{name}:\t{:8} kB", pages * PAGE_SIZE / 1024);
    }
}

fn signals(subject: &Subject, text: &mut String) {
    let process = &subject.process;
    let thread = subject.thread().ok();
    let (pending, blocked) = thread.map_or((0, 0), |t| (t.pending.set().0, t.mask().0));
    let (ignored, caught) = actions(process);
    let limit = process.limits.get(crate::task::limits::Resource::PendingSignals);
    let _ = write!(
        text,
        "Threads:\t{}\nSigQ:\t{}/{limit}\nSigPnd:\t{pending:016x}\nShdPnd:\t{:016x}\nSigBlk:\t{blocked:016x}\n\
         SigIgn:\t{ignored:016x}\nSigCgt:\t{caught:016x}\n",
        process.threads.lock().len().max(1),
        process.pending.len(),
        process.pending.set().0,
    );
}
