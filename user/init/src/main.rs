//! Aurora's first program. It mounts what programs expect, keeps a login shell on every console, buries orphans, and ends
//! the system when it is asked to, by the signals busybox's `poweroff`, `reboot` and `halt` send.
//!
//! `/etc/consoles` names the terminals, one a line; those this machine does not have are skipped. The shell is root's in
//! `/etc/passwd`. What the kernel's command line gives init as environment, the shells have, too.

mod console;
mod mounts;
mod shutdown;

use std::process::ExitCode;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use console::Console;
use shutdown::End;

/// Says something on the console.
fn say(text: &str) {
    eprintln!("init: {text}");
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, flag, terminal, delay] = arguments.as_slice()
        && flag == console::FLAG
    {
        say(&console::become_shell(terminal, delay.parse().unwrap_or(0)));
        return ExitCode::FAILURE;
    }
    if std::process::id() != 1 {
        say("this is the system's first program, and it runs already");
        return ExitCode::FAILURE;
    }
    let signals: SigSet = [Signal::SIGCHLD].into_iter().chain(End::SIGNALS.map(|(signal, _)| signal)).collect();
    if let Err(error) = signals.thread_block() {
        say(&format!("cannot block signals: {error}"));
    }
    mounts::mount_all();
    set_host_name();
    let mut consoles = console::all();
    consoles.iter_mut().for_each(Console::start);
    loop {
        // Signals are blocked, so none is lost between two waits.
        let Ok(signal) = signals.wait() else { continue };
        match End::asked_by(signal) {
            Some(end) => end.bring_about(),
            None => bury(&mut consoles),
        }
    }
}

fn set_host_name() {
    let Ok(name) = std::fs::read_to_string("/etc/hostname") else { return };
    if let Err(error) = nix::unistd::sethostname(name.trim()) {
        say(&format!("cannot set the host's name: {error}"));
    }
}

/// Takes note of every child that has ended, ours and those whose parents ended before; restarts shells.
fn bury(consoles: &mut [Console]) {
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        let (WaitStatus::Exited(child, _) | WaitStatus::Signaled(child, ..)) = status else { return };
        if let Some(console) = consoles.iter_mut().find(|c| c.is(child)) {
            console.start();
        }
    }
}
