//! What `aurora` is made of, as a library: the whole-system tests start machines and programs with the same code.
//!
//! What always holds: whatever a command starts (a machine, a browser, a server) ends with it, listens on loopback only,
//! and everything it makes is under `target/`.
#![forbid(unsafe_code)]

pub mod bench;
pub mod build;
pub mod cpio;
pub mod debian;
pub mod doctor;
pub mod image;
pub mod link;
pub mod long;
pub mod machines;
pub mod pc;
pub mod profile;
pub mod project;
pub mod run;
pub mod serve;
pub mod server;
pub mod setup;
pub mod symbols;
pub mod terminal;
pub mod ui;
