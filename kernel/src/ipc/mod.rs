//! How processes talk: pipes and futexes.

pub mod futex;
pub mod pipe;
