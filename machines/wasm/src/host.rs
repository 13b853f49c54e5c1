//! What the engine gives the machine: a few functions, imported from the module `host`.

use alloc::boxed::Box;

use aurora_virtual::{Engine, Host};

#[link(wasm_import_module = "host")]
unsafe extern "C" {
    /// Milliseconds of a clock that does not go back while the worker lives.
    safe fn clock() -> f64;
    /// Milliseconds since the Unix epoch.
    safe fn realtime() -> f64;
    /// Fills memory with unpredictable bytes.
    fn entropy(at: *mut u8, len: usize);
    /// A line for the people who run the engine: why the machine did not start.
    fn print_line(at: *const u8, len: usize);
    /// The kernel panicked: what it said, and where in its source.
    #[link_name = "panicked"]
    fn engine_panicked(message: *const u8, message_len: usize, place: *const u8, place_len: usize);
    /// Makes so many new slots in our function table; returns the first, or -1.
    safe fn grow_table(count: u32) -> i32;
    /// Instantiates a module that shares our memory and table; returns whether that worked.
    fn install(at: *const u8, len: usize) -> i32;
    /// Whether the engine has all instructions of a module.
    fn validate(at: *const u8, len: usize) -> i32;
    /// Empties a slot of our function table.
    safe fn clear_slot(slot: u32);
}

/// The engine.
pub(crate) struct EngineHost;

impl Host for EngineHost {
    fn clock_ns(&self) -> u64 {
        (clock() * 1e6) as u64
    }

    fn realtime_ns(&self) -> u64 {
        (realtime() * 1e6) as u64
    }

    fn entropy(&self, buffer: &mut [u8]) {
        // SAFETY: the host writes exactly this buffer.
        unsafe { entropy(buffer.as_mut_ptr(), buffer.len()) }
    }

    /// The loader looks after every turn.
    fn output_ready(&self) {}

    /// As above.
    fn input_taken(&self) {}

    fn engine(&self) -> Option<Box<dyn Engine>> {
        Some(Box::new(EngineHost))
    }
}

impl Engine for EngineHost {
    fn grow(&mut self, count: u32) -> Option<u32> {
        u32::try_from(grow_table(count)).ok()
    }

    fn install(&mut self, module: &[u8]) -> bool {
        // SAFETY: the host only reads these bytes, and what it instantiates is the translator's, which keeps to the
        // memory and the slots that are its own.
        unsafe { install(module.as_ptr(), module.len()) != 0 }
    }

    fn validate(&mut self, module: &[u8]) -> bool {
        // SAFETY: the host only reads these bytes.
        unsafe { validate(module.as_ptr(), module.len()) != 0 }
    }

    fn clear(&mut self, slot: u32) {
        clear_slot(slot);
    }
}

/// Gives the host a line for its log.
pub(crate) fn print(line: &str) {
    // SAFETY: the host only reads these bytes.
    unsafe { print_line(line.as_ptr(), line.len()) }
}

/// Tells the host of a panic.
pub(crate) fn panicked(message: &str, place: &str) {
    // SAFETY: the host only reads these bytes.
    unsafe { engine_panicked(message.as_ptr(), message.len(), place.as_ptr(), place.len()) }
}
