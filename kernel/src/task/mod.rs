//! Processes and threads: how they begin, wait for one another, get signals, and end.

pub mod clone;
pub mod elf;
pub mod exec;
pub mod exit;
pub mod frame;
pub mod limits;
pub mod load;
pub mod process;
pub mod scheduler;
pub mod signal;
pub mod table;
pub mod thread;
pub mod timer;
pub mod unhandled;
pub mod wait;

pub use process::{Pid, Process};
pub use signal::{SigInfo, Signal};
pub use thread::Thread;
