//! BPE/U: a virtual x86-64 processor that runs user mode, usable wherever Rust runs.
//!
//! [`Processor::run`] takes a program's registers and the page tables of its address space and executes until something
//! needs the kernel. Guest instructions are decoded once, lowered to a compact form ([`op`]) and kept as blocks that
//! belong to physical frames; a write to such a frame, whoever makes it, drops them. Memory is reached through a software
//! TLB filled by the same page-table walk silicon does.
//!
//! What always holds: a trap is exact. Whatever stopped the program, its registers and memory are those before the
//! instruction RIP points at, or after the previous one, which is the same.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod access;
mod blocks;
mod check;
mod core;
mod cpuid;
mod decode;
mod flags;
mod float;
mod hot;
mod jit;
mod lower;
mod op;
mod ops;
mod processor;
mod statistics;
mod stress;
mod tlb;
mod vector;
mod width;
mod x87;

pub use jit::Engine;
pub use processor::{Environment, Processor};
pub use statistics::Statistics;
