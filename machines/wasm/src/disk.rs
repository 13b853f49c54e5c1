//! Disks the engine has: the functions it does their requests with, and the one it says that a slow one ended with.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use aurora_machine::{BlockDevice, BlockError, BlockOp};
use aurora_virtual::{DiskHost, ImageDisk};
use spin::Mutex;

use crate::DRIVER;

#[link(wasm_import_module = "host")]
unsafe extern "C" {
    /// How many disks there are.
    safe fn disk_count() -> u32;
    /// Bytes of one.
    safe fn disk_size(disk: u32) -> f64;
    /// Whether writes to one fail.
    safe fn disk_is_read_only(disk: u32) -> u32;
    /// Starts a request. `op` is one of the numbers below; the answer is one of the results below, or [`LATER`].
    fn disk_start(disk: u32, tag: f64, op: u32, offset: f64, at: *mut u8, len: usize) -> u32;
}

const READ: u32 = 0;
const WRITE: u32 = 1;
const FLUSH: u32 = 2;

const DONE: u32 = 0;
const NO_SPACE: u32 = 2;
const READ_ONLY: u32 = 3;
/// The engine calls [`aurora_disk_done`] when it has done it.
const LATER: u32 = 4;

fn result(number: u32) -> Result<(), BlockError> {
    match number {
        DONE => Ok(()),
        NO_SPACE => Err(BlockError::NoSpace),
        READ_ONLY => Err(BlockError::ReadOnly),
        _ => Err(BlockError::Io),
    }
}

/// One of the engine's disks.
struct EngineDisk {
    number: u32,
    size: u64,
    read_only: bool,
}

impl DiskHost for EngineDisk {
    fn size(&self) -> u64 {
        self.size
    }

    fn is_read_only(&self) -> bool {
        self.read_only
    }

    fn discards(&self) -> bool {
        false
    }

    fn start(&self, tag: u64, op: BlockOp, offset: u64, bytes: &mut [u8]) -> Option<Result<(), BlockError>> {
        let op = match op {
            BlockOp::Read => READ,
            BlockOp::Write => WRITE,
            BlockOp::Flush => FLUSH,
            BlockOp::Discard { .. } => return Some(Ok(())),
        };
        // SAFETY: the engine reads or writes exactly these bytes; if later, `ImageDisk` leaves them where they are and
        // alone until then.
        let answer = unsafe { disk_start(self.number, tag as f64, op, offset as f64, bytes.as_mut_ptr(), bytes.len()) };
        (answer != LATER).then(|| result(answer))
    }
}

static DISKS: Mutex<Vec<Arc<ImageDisk<EngineDisk>>>> = Mutex::new(Vec::new());

/// The engine's disks as the machine's.
pub(crate) fn disks() -> Vec<Arc<dyn BlockDevice>> {
    let disk = |number| {
        let (size, read_only) = (disk_size(number) as u64, disk_is_read_only(number) != 0);
        Arc::new(ImageDisk::new(EngineDisk { number, size, read_only }))
    };
    let mut disks = DISKS.lock();
    *disks = (0..disk_count()).map(disk).collect();
    disks.iter().map(|disk| disk.clone() as Arc<dyn BlockDevice>).collect()
}

/// Syncs asked for, and the last of them that is done.
static SYNCS: AtomicU32 = AtomicU32::new(0);
static SYNCED: AtomicU32 = AtomicU32::new(0);

/// Has the kernel put everything that is only in memory on the disks. Returns a number: it is there when
/// [`aurora_synced`] is as large.
#[unsafe(no_mangle)]
pub extern "C" fn aurora_sync() -> u32 {
    let number = SYNCS.fetch_add(1, Ordering::Relaxed) + 1;
    match DRIVER.lock().as_ref() {
        Some(driver) => driver.sync_soon(move || drop(SYNCED.fetch_max(number, Ordering::Relaxed))),
        None => SYNCED.store(number, Ordering::Relaxed),
    }
    number
}

/// The last sync that is done.
#[unsafe(no_mangle)]
pub extern "C" fn aurora_synced() -> u32 {
    SYNCED.load(Ordering::Relaxed)
}

/// The engine has done a request it started.
#[unsafe(no_mangle)]
pub extern "C" fn aurora_disk_done(disk: u32, tag: f64, answer: u32) {
    let found = DISKS.lock().get(disk as usize).cloned();
    if let Some(disk) = found {
        disk.finish(tag as u64, result(answer));
    }
    if let Some(driver) = DRIVER.lock().as_ref() {
        driver.disks_ready();
    }
}
