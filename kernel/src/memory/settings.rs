//! Settings of the system that programs read and the superuser changes under `/proc/sys`.

use core::sync::atomic::AtomicU64;

/// The settings that are numbers.
#[derive(Default)]
pub struct Settings {
    /// `vm.overcommit_memory`: 0 refuses what can never be there, 1 nothing.
    pub overcommit: AtomicU64,
}
