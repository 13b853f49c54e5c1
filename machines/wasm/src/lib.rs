//! Aurora in a WebAssembly engine: a browser worker, or Node. What the engine gives is in [`host`], what it may call is
//! here; the loader is `web/src/machine.js`.
//!
//! What always holds: all state of the machine is in the linear memory, and between calls nothing of it is on the
//! engine's stack. So a copy of the memory is a snapshot, and writing it into a new instance goes on from there. Translated
//! code is the exception, which can be thrown away: [`aurora_restored`].
//!
//! The engine has one thread, so the locks below are never contended; they make the statics safe.
#![no_std]

extern crate alloc;

mod disk;
mod host;
mod link;

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::mem;

use aurora_machine::{BootInfo, Instant, Machine as _, MemoryRegion, PhysAddr, PhysMemory, Port};
use aurora_virtual::{Config, Driver, Next, PORT_CAPACITY, Time, VirtualMachine};
use host::EngineHost;
use spin::Mutex;
use talc::wasm::{WasmDynamicTalc, new_wasm_dynamic_allocator};

#[global_allocator]
static HEAP: WasmDynamicTalc = new_wasm_dynamic_allocator();

/// The machine, once booted.
static DRIVER: Mutex<Option<Driver<EngineHost>>> = Mutex::new(None);
/// Bytes on their way in or out: the engine reads and writes them in the linear memory.
static EXCHANGE: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Bytes of a page of linear memory.
const WASM_PAGE: u64 = 65536;

/// [`aurora_run`]: call again at once.
const AGAIN: f64 = 0.0;
/// [`aurora_run`]: the machine is off.
const OFF: f64 = -1.0;
/// [`aurora_run`]: the machine asks to be started anew.
const RESTART: f64 = -2.0;

/// Makes the exchange buffer at least `len` bytes long and returns where it is.
#[unsafe(no_mangle)]
pub extern "C" fn aurora_exchange(len: usize) -> *mut u8 {
    let mut buffer = EXCHANGE.lock();
    if buffer.len() < len {
        *buffer = vec![0; len];
    }
    buffer.as_mut_ptr()
}

/// Hands bytes to the engine.
fn exchange(bytes: &[u8]) {
    let mut buffer = EXCHANGE.lock();
    if buffer.len() < bytes.len() {
        *buffer = vec![0; bytes.len()];
    }
    buffer[..bytes.len()].copy_from_slice(bytes);
}

/// Turns the machine on with `megabytes` of RAM. The exchange buffer holds the command line, `line` bytes, and after it
/// the initial archive, `archive` bytes. Returns 0, or 1 after the reason was given to the host's log.
#[unsafe(no_mangle)]
pub extern "C" fn aurora_boot(megabytes: u32, line: usize, archive: usize) -> u32 {
    let mut bytes = mem::take(&mut *EXCHANGE.lock());
    bytes.truncate(line + archive);
    let initramfs = bytes.split_off(line.min(bytes.len()));
    let info = BootInfo { command_line: String::from_utf8_lossy(&bytes).into_owned(), initramfs };
    match boot(u64::from(megabytes) << 20, info) {
        Ok(driver) => {
            *DRIVER.lock() = Some(driver);
            0
        }
        Err(reason) => {
            host::print(&reason);
            1
        }
    }
}

fn boot(memory: u64, info: BootInfo) -> Result<Driver<EngineHost>, String> {
    let ram = allocate_ram(memory).ok_or("the engine has not so much memory")?;
    // The kernel's own objects are small beside what programs and files take.
    let heap_limit = (memory / 4).max(16 << 20);
    let config = Config { name: "wasm", heap_limit, time: Time::Real, traced: false };
    Driver::boot(VirtualMachine::new(config, ram, disk::disks(), EngineHost), info).map_err(|e| e.0)
}

/// RAM straight from the engine: its pages are zero already, and the host gives them only when they are touched.
fn allocate_ram(bytes: u64) -> Option<Arc<PhysMemory>> {
    let pages = usize::try_from(bytes.div_ceil(WASM_PAGE)).ok()?;
    let first = core::arch::wasm32::memory_grow::<0>(pages);
    if pages == 0 || first == usize::MAX {
        return None;
    }
    let window = (first * WASM_PAGE as usize) as *mut u8;
    let region = MemoryRegion { start: PhysAddr(0), end: PhysAddr(bytes) };
    // SAFETY: the pages were just made, nobody else knows of them, and linear memory never shrinks.
    Some(unsafe { PhysMemory::new(window, &[region], None) })
}

/// Lets the machine run for about `budget` milliseconds. Returns in how many milliseconds it wants its next turn,
/// infinity for not before bytes come, or one of the codes above.
#[unsafe(no_mangle)]
pub extern "C" fn aurora_run(budget: f64) -> f64 {
    let driver = DRIVER.lock();
    let Some(driver) = driver.as_ref() else { return OFF };
    match driver.turn((budget * 1e6) as u64) {
        Next::Again => AGAIN,
        Next::Idle { .. } if driver.has_news() => AGAIN,
        Next::Idle { until: Instant::NEVER } => f64::INFINITY,
        Next::Idle { until } => until.since(driver.machine().now()) as f64 / 1e6,
        Next::PowerOff => OFF,
        Next::Restart => RESTART,
    }
}

fn port(number: u32) -> Port {
    if number == 0 { Port::Console } else { Port::Link }
}

/// Gives the machine the first `len` bytes of the exchange buffer through a port (0 console, 1 link); returns how many
/// it took.
#[unsafe(no_mangle)]
pub extern "C" fn aurora_push(number: u32, len: usize) -> usize {
    let (driver, buffer) = (DRIVER.lock(), EXCHANGE.lock());
    match (driver.as_ref(), buffer.get(..len)) {
        (Some(driver), Some(bytes)) => driver.machine().push(port(number), bytes),
        _ => 0,
    }
}

/// Takes at most `max` bytes the machine sent to a port into the exchange buffer; returns how many.
#[unsafe(no_mangle)]
pub extern "C" fn aurora_pull(number: u32, max: usize) -> usize {
    let max = max.min(PORT_CAPACITY);
    aurora_exchange(max);
    let (driver, mut buffer) = (DRIVER.lock(), EXCHANGE.lock());
    match (driver.as_ref(), buffer.get_mut(..max)) {
        (Some(driver), Some(bytes)) => driver.machine().pull(port(number), bytes),
        _ => 0,
    }
}

/// The memory has just been written with a snapshot: goes on from there in this engine.
#[unsafe(no_mangle)]
pub extern "C" fn aurora_restored() {
    if let Some(driver) = DRIVER.lock().as_ref() {
        driver.machine().restored();
    }
}

/// Instructions retired so far.
#[unsafe(no_mangle)]
pub extern "C" fn aurora_retired() -> f64 {
    DRIVER.lock().as_ref().map_or(0.0, |driver| driver.machine().retired() as f64)
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    let place = info.location().map_or_else(String::new, |place| alloc::format!("{place}"));
    host::panicked(&alloc::format!("{}", info.message()), &place);
    core::arch::wasm32::unreachable()
}
