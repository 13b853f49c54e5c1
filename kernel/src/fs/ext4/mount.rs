//! Mounting and unmounting.

use alloc::collections::BTreeMap;
use alloc::string::ToString;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::AtomicBool;

use aurora_abi::Errno;
use aurora_ext4::{Ext4, MountOptions, MountStep, Mounting};
use aurora_machine::SECTOR_SIZE;

use super::{Disk, errno_of, timestamp};
use crate::block::Volume;
use crate::kept::Kept;
use crate::num::to_usize;
use crate::sync::{Mutex, WaitQueue};
use crate::vfs::{FileSystem, Inode};
use crate::{Kernel, kerror, klog};

/// Bytes of the kernel's heap for each inode that is kept, with what its page cache has besides pages. Those of a quarter
/// of the heap are kept: who walks through more files than that finds none of them again.
const KEPT_COST: u64 = 1280;

/// Mounts the file system on a volume, after replaying its journal; returns its root.
pub async fn mount(kernel: &Arc<Kernel>, volume: &Arc<Volume>, read_only: bool) -> Result<Arc<dyn Inode>, Errno> {
    let claim = volume.claim()?;
    let read_only = read_only || volume.disk().geometry().read_only;
    let options = MountOptions { read_only, now: timestamp(kernel.now()) };
    let mut mounting = Mounting::new(volume.sectors() * SECTOR_SIZE, options);
    let mut ext4 = loop {
        let step = mounting.step().map_err(|error| {
            kerror!(kernel, "{}: {error}", volume.name);
            errno_of(&error)
        })?;
        match step {
            MountStep::Read { offset, length } => {
                let length = length.min((volume.sectors() * SECTOR_SIZE).saturating_sub(offset));
                let bytes = volume.read(offset, to_usize(length)).await?;
                mounting.supply(offset, &bytes);
            }
            MountStep::CarryOut(plan) => {
                super::write_back::carry_out(volume, &plan).await?;
                mounting.carried_out();
            }
            MountStep::Done => break mounting.finish().map_err(|error| errno_of(&error))?,
        }
    };
    let heap = kernel.machine.heap_limit();
    ext4.set_cache_limit(heap / 8);
    let label = alloc::string::String::from_utf8_lossy(&ext4.label()).to_string();
    klog!(
        kernel,
        "{}: ext4{}{}{}",
        volume.name,
        if label.is_empty() { "" } else { " " },
        label,
        if ext4.is_read_only() { ", read-only" } else { "" }
    );
    let block_size = u64::from(ext4.block_size());
    let disk = Arc::new_cyclic(|this: &Weak<Disk>| Disk {
        kernel: Arc::downgrade(kernel),
        this: this.clone(),
        volume: claim,
        control: kernel.memory.clone(),
        open_device: kernel.open_device.clone(),
        dev: volume.id.encode(),
        ext4: Mutex::new(ext4),
        block_size,
        inodes: Mutex::new(BTreeMap::new()),
        kept: Kept::new(to_usize(heap / 4 / KEPT_COST)),
        dirty: Mutex::new(BTreeMap::new()),
        orphans: Mutex::new(Vec::new()),
        busy: AtomicBool::new(false),
        idle: WaitQueue::new(),
        work: WaitQueue::new(),
        urgent: AtomicBool::new(false),
        restless: AtomicBool::new(false),
        stopped: AtomicBool::new(false),
    });
    let weak: Weak<Disk> = Arc::downgrade(&disk);
    kernel.memory.add_reclaim(weak.clone());
    let file_system: Weak<dyn FileSystem> = weak.clone();
    kernel.file_systems.lock().push(file_system);
    kernel.scheduler.spawn(super::write_back::job(kernel.clone(), weak));
    let root = disk.until_done(|ext4: &mut Ext4| ext4.attributes(Ext4::ROOT), false).await?;
    Ok(disk.adopt(root))
}
