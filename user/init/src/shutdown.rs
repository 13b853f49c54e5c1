//! The end of the system: everybody is asked to end, then made to, then the kernel turns the machine off.

use std::time::{Duration, Instant};

use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, sync};

use crate::say;

/// How long programs may take to end.
const PATIENCE: Duration = Duration::from_millis(1500);
/// How often it is looked whether they have.
const PAUSE: Duration = Duration::from_millis(10);

/// How the system ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The machine is turned off.
    PowerOff,
    /// It starts anew.
    Restart,
    /// It stands still, which turns a machine off, too, that cannot.
    Halt,
}

impl End {
    /// What asks for each: busybox's `poweroff`, `reboot` (and a keyboard's three keys), and `halt`.
    pub const SIGNALS: [(Signal, Self); 4] = [
        (Signal::SIGUSR2, Self::PowerOff),
        (Signal::SIGTERM, Self::Restart),
        (Signal::SIGINT, Self::Restart),
        (Signal::SIGUSR1, Self::Halt),
    ];

    /// What `signal` asks for.
    pub fn asked_by(signal: Signal) -> Option<Self> {
        Self::SIGNALS.into_iter().find(|(asks, _)| *asks == signal).map(|(_, end)| end)
    }

    /// Ends everything. Comes back only if the kernel refuses.
    pub fn bring_about(self) {
        let everybody = Pid::from_raw(-1);
        // A stopped program hears of its end when it goes on.
        for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGCONT] {
            let _ = kill(everybody, signal);
        }
        if !all_ended(PATIENCE) {
            let _ = kill(everybody, Signal::SIGKILL);
            all_ended(PATIENCE);
        }
        sync();
        let mode = match self {
            Self::PowerOff => RebootMode::RB_POWER_OFF,
            Self::Restart => RebootMode::RB_AUTOBOOT,
            Self::Halt => RebootMode::RB_HALT_SYSTEM,
        };
        let Err(error) = reboot(mode);
        say(&format!("the kernel does not end: {error}"));
    }
}

/// Buries what ends, until nothing is left or time is up.
fn all_ended(patience: Duration) -> bool {
    let start = Instant::now();
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Err(_) => return true,
            Ok(nix::sys::wait::WaitStatus::StillAlive) if start.elapsed() > patience => return false,
            Ok(nix::sys::wait::WaitStatus::StillAlive) => std::thread::sleep(PAUSE),
            Ok(_) => {}
        }
    }
}
