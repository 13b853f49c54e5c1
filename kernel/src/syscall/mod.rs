//! System calls: a table for each of the two gates, then a file per family.
//!
//! A row gives the number, the name, the typed arguments, the capability needed, and the handler. Decoding, the check
//! and the trace come from the row.

#[macro_use]
mod rows;

mod absent;
mod allocate;
mod arg;
pub mod aurora;
mod blocked;
mod capability;
mod descriptor;
mod directory;
#[cfg(test)]
mod documentation;
mod epoll;
mod event;
mod fcntl;
mod file;
mod futex;
pub(crate) mod host;
mod identity;
mod inotify;
mod lock;
mod memory;
mod message;
mod mount;
mod mqueue;
pub(crate) mod namespace;
mod open;
mod poll;
mod prctl;
mod process;
mod ptrace;
mod resources;
mod sched;
pub(crate) mod seccomp;
mod semaphore;
mod signal;
mod socket;
mod splice;
mod stat;
mod sync;
pub mod system;
mod sysv;
pub mod table;
mod time;
mod xattr;

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Write;
use core::sync::atomic::Ordering;

use aurora_abi::Errno;
use aurora_machine::{Instant, Reg, UserContext};

use crate::memory::AddressSpace;
use crate::memory::UserPtr;
use crate::memory::user::CStr;
use crate::security::{Kind, Rights};
use crate::syscall::arg::Argument;
use crate::syscall::rows::ARGUMENTS;
use crate::task::Thread;
use crate::vfs::path::{Follow, PATH_MAX};
use crate::vfs::{AT_FDCWD, Fd, PathRef};

/// What a system call returns.
pub type SysResult = Result<u64, Errno>;

/// The number of restart_syscall(2), at both gates.
pub const RESTART_SYSCALL: u64 = 219;

/// How a call with a time limit goes on after an interruption without a handler.
#[derive(Clone, Debug)]
pub enum Restart {
    /// clock_nanosleep(2) until a time, then telling what was left where.
    Sleep(Instant, u64),
    /// poll(2) until a time.
    Poll(u64, u64, Option<Instant>),
    /// futex(2) wait until a time: address, value, bits, private.
    Futex(u64, u32, u32, bool, Option<Instant>),
}

/// A row of the table, for the trace and the documentation.
pub struct Row {
    /// The number in RAX.
    pub number: u64,
    /// Its name.
    pub name: &'static str,
    /// Names of the arguments.
    pub arguments: &'static [&'static str],
    /// The capability it needs.
    pub capability: Option<(Kind, Rights)>,
    /// What does it: rows of both tables with the same handler are twins.
    pub handler: &'static str,
}

/// How a program enters the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// SYSCALL: Linux's numbers.
    Linux,
    /// `INT 0x80`: ours, for programs that carry the note.
    Aurora,
}

/// Does the system call the thread's registers ask for, if that never waits and nobody watches: what most of a short call
/// would cost is the waiting it does not do.
pub fn dispatch_now(thread: &Arc<Thread>, cpu: &mut UserContext, gate: Gate) -> Option<SysResult> {
    let number = cpu.reg(Reg::Rax);
    let kernel = thread.kernel();
    if kernel.is_tracing() {
        return None;
    }
    kernel.set_call(thread, Call::entered(gate, number));
    let misses = kernel.memory.misses();
    drop(misses.take());
    let mut cx = Context { thread, cpu };
    let result = match gate {
        Gate::Linux => table::call_now(&mut cx, number)?,
        Gate::Aurora if thread.process.opens_aurora_gate.load(Ordering::Relaxed) => aurora::call_now(&mut cx, number)?,
        Gate::Aurora => Err(Errno::ENOSYS),
    };
    if result.is_err() && misses.noted() {
        // It has changed nothing, and is made anew with the waiting.
        return None;
    }
    kernel.set_call(thread, Call::NONE);
    Some(result)
}

/// Does the system call the thread's registers ask for.
pub async fn dispatch(thread: &Arc<Thread>, cpu: &mut UserContext, gate: Gate) -> SysResult {
    let number = cpu.reg(Reg::Rax);
    let kernel = thread.kernel();
    let traced = kernel.is_tracing().then(|| registers(cpu));
    kernel.set_call(thread, Call::entered(gate, number));
    let mut cx = Context { thread, cpu };
    let misses = kernel.memory.misses();
    drop(misses.take());
    let result = loop {
        let result = match gate {
            Gate::Linux => table::call(&mut cx, number).await,
            Gate::Aurora if thread.process.opens_aurora_gate.load(Ordering::Relaxed) => {
                aurora::call(&mut cx, number).await
            }
            Gate::Aurora => Err(Errno::ENOSYS),
        };
        // What failed for something that is not in memory has changed nothing, and is made anew when it is there.
        let Err(errno) = result else { break result };
        if let Err(errno) = misses.again(errno).await {
            break Err(errno);
        }
    };
    kernel.set_call(thread, Call::NONE);
    if let Some(arguments) = traced {
        trace(thread, gate, number, &arguments, &result);
    }
    result
}

impl Gate {
    fn row(self, number: u64) -> Option<&'static Row> {
        let rows = if self == Self::Linux { table::ROWS } else { aurora::ROWS };
        rows.binary_search_by_key(&number, |row| row.number).ok().and_then(|at| rows.get(at))
    }
}

/// Which call a thread is in, in one word that needs no lock: twice the number, plus the gate, plus one; 0 outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Call(pub u64);

impl Call {
    /// In none.
    pub const NONE: Self = Self(0);

    fn entered(gate: Gate, number: u64) -> Self {
        Self(number.wrapping_mul(2).wrapping_add(u64::from(gate == Gate::Aurora)).wrapping_add(1))
    }

    /// Its row.
    pub fn row(self) -> Option<&'static Row> {
        let both = self.0.checked_sub(1)?;
        let gate = if both & 1 == 0 { Gate::Linux } else { Gate::Aurora };
        gate.row(both >> 1)
    }
}

/// What a handler works on: the thread that called, and its registers.
pub struct Context<'a> {
    /// Who called.
    pub thread: &'a Arc<Thread>,
    /// Its registers, after the call.
    pub cpu: &'a mut UserContext,
}

impl Context<'_> {
    fn space(&self) -> Result<Arc<AddressSpace>, Errno> {
        self.thread.space()
    }

    fn kernel(&self) -> &Arc<crate::Kernel> {
        self.thread.kernel()
    }

    /// The argument in a register.
    fn argument<T: Argument>(&self, register: Option<&Reg>) -> T {
        T::from_register(register.map_or(0, |&reg| self.cpu.reg(reg)))
    }

    /// Reads a path a program gave.
    async fn path(&self, at: UserPtr<CStr>) -> Result<Vec<u8>, Errno> {
        self.string(at, PATH_MAX).await
    }

    /// Reads a string of at most `limit` bytes, NUL included; `ENAMETOOLONG` if it is longer.
    async fn string(&self, at: UserPtr<CStr>, limit: usize) -> Result<Vec<u8>, Errno> {
        let space = self.space()?;
        let mut text = Vec::new();
        let mut chunk = [0; 128];
        loop {
            let want = chunk.len().min(limit - text.len());
            if want == 0 {
                return Err(Errno::ENAMETOOLONG);
            }
            let part = chunk.get_mut(..want).unwrap_or_default();
            match space.copy_in_str(at.addr() + text.len() as u64, part).await {
                Ok(end) => {
                    text.extend_from_slice(end);
                    return Ok(text);
                }
                Err(Errno::ENAMETOOLONG) => text.extend_from_slice(part),
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Where a path relative to `dirfd` starts.
    fn start_of(&self, dirfd: Fd, path: &[u8]) -> Result<PathRef, Errno> {
        if dirfd == AT_FDCWD || path.starts_with(b"/") {
            return Ok(self.thread.fs().cwd());
        }
        self.thread.files().get(dirfd)?.path.clone().ok_or(Errno::ENOTDIR)
    }

    /// Finds what a path names.
    fn resolve(&self, dirfd: Fd, path: &[u8], follow: Follow) -> Result<PathRef, Errno> {
        let credentials = self.thread.process.credentials();
        self.thread.lookup_from(&credentials, self.start_of(dirfd, path)?).resolve(path, follow)
    }

    /// Finds the directory of a path's last name.
    fn target(&self, dirfd: Fd, path: &[u8]) -> Result<crate::vfs::path::Target, Errno> {
        let credentials = self.thread.process.credentials();
        self.thread.lookup_from(&credentials, self.start_of(dirfd, path)?).target(path)
    }
}

/// Checks the row's capability.
fn check(thread: &Thread, needed: Option<(Kind, Rights)>) -> Result<(), Errno> {
    match needed {
        Some((kind, rights)) => thread.process.capabilities.check(kind, rights),
        None => Ok(()),
    }
}

/// One line of the trace, in the manner of strace(1).
fn trace(thread: &Thread, gate: Gate, number: u64, registers: &[u64; 6], result: &SysResult) {
    let mut line = String::new();
    let _ = write!(line, "[{}] ", thread.tid().0);
    let absent = || absent::name(number).filter(|_| gate == Gate::Linux);
    match gate.row(number) {
        Some(row) => {
            let _ = write!(line, "{}(", row.name);
            for (i, (name, value)) in row.arguments.iter().zip(registers).enumerate() {
                let comma = if i > 0 { ", " } else { "" };
                let _ = match value {
                    0..=9999 => write!(line, "{comma}{name}={value}"),
                    0xffff_ff00.. if value.cast_signed() < 0 && value.cast_signed() > -4096 => {
                        write!(line, "{comma}{name}={}", value.cast_signed())
                    }
                    _ => write!(line, "{comma}{name}={value:#x}"),
                };
            }
            line.push(')');
        }
        None => {
            let _ = match absent() {
                Some(name) => write!(line, "{name}()"),
                None => write!(line, "syscall_{number}()"),
            };
        }
    }
    let _ = match result {
        Ok(value) if *value < 0x1_0000 => write!(line, " = {value}"),
        Ok(value) => write!(line, " = {value:#x}"),
        Err(errno) if errno.number() >= 512 => write!(line, " = ? (interrupted)"),
        Err(errno) => write!(line, " = -1 {errno:?}"),
    };
    thread.kernel().trace_line(&line);
}

/// The six argument registers.
fn registers(cpu: &UserContext) -> [u64; 6] {
    ARGUMENTS.map(|register| cpu.reg(register))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_in_order_of_their_numbers() {
        assert!(table::ROWS.is_sorted_by_key(|r| r.number));
        assert!(aurora::ROWS.is_sorted_by_key(|r| r.number));
    }

    #[test]
    fn every_call_of_our_gate_has_a_twin_with_the_same_arguments_and_capability() {
        for row in aurora::ROWS {
            let twin = table::ROWS.iter().find(|twin| twin.handler == row.handler).expect(row.name);
            assert_eq!((twin.arguments, twin.capability), (row.arguments, row.capability), "{}", row.name);
        }
        assert!(aurora::ROWS.len() >= 50);
    }

    #[test]
    fn an_interrupted_call_goes_on_at_either_gate() {
        for rows in [table::ROWS, aurora::ROWS] {
            assert!(rows.iter().any(|r| r.number == RESTART_SYSCALL && r.handler == "restart_syscall"));
        }
    }
}
