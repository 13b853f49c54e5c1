//! Job control: sessions and their controlling terminals, who may use a terminal, and what a hang-up does
//! (credentials(7), "Process group, session and controlling terminal").

use alloc::sync::Arc;

use aurora_abi::Errno;

use crate::task::signal::SignalSet;
use crate::task::{Pid, Process, SigInfo, Signal, Thread};
use crate::tty::Tty;

impl Tty {
    /// The foreground process group.
    pub fn foreground(&self) -> Option<Pid> {
        self.inner.lock().foreground
    }

    /// The session it controls.
    pub fn session(&self) -> Option<Pid> {
        self.inner.lock().session
    }

    /// Whether it controls the session of `thread`'s process.
    pub fn controls(self: &Arc<Self>, thread: &Thread) -> bool {
        thread.process.terminal.lock().as_ref().is_some_and(|t| Arc::ptr_eq(t, self))
    }

    /// Makes it control the session `process` leads, with the process's group in the foreground.
    pub fn start_session(self: &Arc<Self>, process: &Process) {
        let mut inner = self.inner.lock();
        inner.session = Some(process.pid);
        inner.foreground = Some(process.group());
        drop(inner);
        *process.terminal.lock() = Some(self.clone());
    }

    /// The session it controlled has no terminal any more. Returns the group that was in the foreground.
    fn end_session(self: &Arc<Self>) -> Option<Pid> {
        let (session, foreground) = {
            let mut inner = self.inner.lock();
            (inner.session.take(), inner.foreground.take())
        };
        for process in session.map(|s| self.processes.session(s)).unwrap_or_default() {
            let mut mine = process.terminal.lock();
            if mine.as_ref().is_some_and(|t| Arc::ptr_eq(t, self)) {
                *mine = None;
            }
        }
        foreground
    }

    /// Makes it the controlling terminal of the session `thread`'s process leads.
    pub fn become_controlling(self: &Arc<Self>, thread: &Thread, steal: bool) -> Result<(), Errno> {
        let process = &thread.process;
        let leads = process.session() == process.pid;
        if leads && self.session() == Some(process.pid) {
            return Ok(());
        }
        if !leads || process.terminal.lock().is_some() {
            return Err(Errno::EPERM);
        }
        if self.session().is_some() {
            if !(steal && process.credentials().is_root()) {
                return Err(Errno::EPERM);
            }
            self.end_session();
        }
        self.start_session(process);
        self.ask_for_size();
        Ok(())
    }

    /// tcsetpgrp(3).
    pub fn set_foreground(self: &Arc<Self>, thread: &Thread, group: Pid) -> Result<(), Errno> {
        match check_background(thread, self, Signal::SIGTTOU) {
            Err(Errno::EIO) => return Err(Errno::ENOTTY),
            other => other?,
        }
        if group.0 < 0 {
            return Err(Errno::EINVAL);
        }
        let session = thread.process.session();
        if !self.controls(thread) || self.session() != Some(session) {
            return Err(Errno::ENOTTY);
        }
        let members = self.processes.group(group);
        if members.is_empty() && self.processes.process(group).is_none() {
            return Err(Errno::ESRCH);
        }
        if members.first().is_none_or(|member| member.session() != session) {
            return Err(Errno::EPERM);
        }
        self.inner.lock().foreground = Some(group);
        Ok(())
    }

    /// Whoever was at the other side has hung up: files open now are dead, and the session's leader hears of it.
    pub fn hang_up(self: &Arc<Self>) {
        let session = {
            let mut inner = self.inner.lock();
            inner.hang_ups += 1;
            inner.discipline.flush_input();
            inner.session
        };
        let foreground = self.end_session();
        self.changed.wake_all();
        let leader = session.and_then(|s| self.processes.process(s));
        if let Some(leader) = leader {
            *leader.lost_foreground.lock() = foreground;
            for signal in [Signal::SIGHUP, Signal::SIGCONT] {
                let _ = leader.send(SigInfo::kernel(signal));
            }
        }
    }
}

/// Job control: a background process that uses its terminal is stopped (or fails, if it could never go on).
pub fn check_background(thread: &Thread, tty: &Arc<Tty>, signal: Signal) -> Result<(), Errno> {
    let process = &thread.process;
    let controls = tty.controls(thread);
    let Some(foreground) = tty.foreground().filter(|_| controls) else { return Ok(()) };
    if process.group() == foreground {
        return Ok(());
    }
    let blocked = SignalSet::contains(thread.mask(), signal) || process.actions.lock().ignores(signal);
    if blocked {
        return if signal == Signal::SIGTTIN { Err(Errno::EIO) } else { Ok(()) };
    }
    if process.kernel.processes.is_orphaned(process.group()) {
        return Err(Errno::EIO);
    }
    process.kernel.processes.signal_group(process.group(), SigInfo::kernel(signal));
    Err(Errno::ERESTARTSYS)
}

/// The leader of a session gives up its terminal, because it wants to (`TIOCNOTTY`) or because it `ends`. Another process
/// just has none any more.
pub fn leave_terminal(process: &Arc<Process>, ends: bool) {
    if process.session() != process.pid {
        if !ends {
            *process.terminal.lock() = None;
        }
        return;
    }
    let tty = process.terminal.lock().clone();
    let signals: &[Signal] = match &tty {
        // A line whose session is over is free for the next one, with nobody left on it.
        Some(tty) if ends && !tty.is_pty() => {
            let foreground = tty.foreground();
            tty.hang_up();
            *process.lost_foreground.lock() = None;
            return signal_foreground(process, foreground, &[Signal::SIGHUP]);
        }
        Some(_) if ends => &[Signal::SIGHUP],
        _ => &[Signal::SIGHUP, Signal::SIGCONT],
    };
    let lost = process.lost_foreground.lock().take();
    let foreground = match tty {
        Some(tty) => tty.end_session(),
        // It was hung up before: what was in the foreground then hears of it now.
        None => lost.filter(|_| ends),
    };
    signal_foreground(process, foreground, signals);
}

fn signal_foreground(process: &Process, group: Option<Pid>, signals: &[Signal]) {
    let Some(group) = group else { return };
    for &signal in signals {
        process.kernel.processes.signal_group(group, SigInfo::kernel(signal));
    }
}
