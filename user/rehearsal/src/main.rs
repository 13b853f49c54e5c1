//! What runs in a machine nobody sees, while the one they see has nothing to do: a little of everything programs do. An
//! engine compiles a function of the kernel's when it is first called, and optimizes it when it has been called often, so
//! the first program a person starts would be the one that waits for that.
//!
//! What always holds: it asks for nothing but what a kernel without devices has, and it ends by turning the machine off.

mod calculate;
mod system;
mod text;

use nix::sys::reboot::{RebootMode, reboot};

/// How often everything is done: enough for the engine to find it worth optimizing.
const ROUNDS: u32 = 8;

fn main() {
    if std::env::args().nth(1).is_some_and(|what| what == system::CHILD) {
        return system::answer();
    }
    for round in 0..ROUNDS {
        calculate::everything(round);
        text::everything(round);
    }
    if let Err(error) = system::everything() {
        eprintln!("rehearsal: {error}");
    }
    // Where it is tried out, others want to go on.
    if std::process::id() == 1 {
        let Err(error) = reboot(RebootMode::RB_POWER_OFF);
        eprintln!("rehearsal: the kernel does not end: {error}");
    }
}
