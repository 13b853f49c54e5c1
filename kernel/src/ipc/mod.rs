//! How processes talk and wait for one another: pipes, futexes, epoll, and what has a descriptor without being a file.

pub mod epoll;
pub mod eventfd;
pub mod futex;
pub mod futex_owned;
pub mod inotify;
pub mod mqueue;
pub mod pidfd;
pub mod pipe;
pub mod signalfd;
pub mod sysv;
pub mod timerfd;
