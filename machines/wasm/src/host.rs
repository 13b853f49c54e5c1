//! What the engine gives the machine: a few functions, imported from the module `host`.

use aurora_virtual::Host;

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
