//! What runs in a machine nobody sees, while the one they see has nothing to do: a little of everything programs do. An
//! engine compiles a function of the kernel's when it is first called, and optimizes it when it has been called often, so
//! the first program a person starts would be the one that waits for that.
//!
//! What always holds: it asks for nothing but what a kernel without devices has, and says nothing unless that fails. Its end
//! turns the machine off, since it is the first program.

mod calculate;
mod system;
mod text;

/// How often everything is done: enough for the engine to find it worth optimizing.
const ROUNDS: u32 = 8;

fn main() -> std::io::Result<()> {
    if std::env::args().nth(1).is_some_and(|what| what == system::CHILD) {
        system::answer();
        return Ok(());
    }
    for round in 0..ROUNDS {
        calculate::everything(round);
        text::everything(round);
    }
    system::everything()
}
