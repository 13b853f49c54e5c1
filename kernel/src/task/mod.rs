//! Processes and threads: how they begin, wait for one another, get signals, and end.

pub mod clone;
pub mod debug;
pub mod elf;
pub mod exec;
pub mod exit;
pub(crate) mod fpstate;
pub mod frame;
pub mod interval;
pub mod limits;
pub mod load;
pub mod posix_timer;
pub mod process;
pub mod profile;
pub mod rseq;
pub mod scheduler;
pub mod seccomp;
pub mod signal;
pub mod table;
pub mod thread;
pub mod timer;
pub mod trace;
pub mod unhandled;
pub mod uts;
pub mod wait;

pub use process::{Pid, Process};
pub use signal::{SigInfo, Signal};
pub use thread::Thread;
