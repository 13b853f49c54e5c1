//! Page faults: what is missing is brought in, what is shared and written is copied, what is not allowed is an error.

use aurora_abi::Errno;
use aurora_machine::{Access, PAGE_SIZE, PageFlags, VirtAddr, VirtRange};

use crate::memory::area::Label;
use crate::memory::space::Inner;
use crate::memory::{AddressSpace, Area, Backing, IoError, Prot};
use crate::num::to_usize;
use crate::task::scheduler::yield_now;

/// Why an access stays impossible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultError {
    /// Nothing is mapped there (`SEGV_MAPERR`).
    NotMapped,
    /// The mapping forbids it (`SEGV_ACCERR`).
    NotAllowed,
    /// Past the end of the mapped file (`BUS_ADRERR`).
    PastEnd,
    /// No memory, even after others were killed for it.
    OutOfMemory,
    /// It is on a disk, and has to be brought in first.
    Missing,
    /// It cannot be brought in, or there is no place for what would be written (`BUS_ADRERR`, too).
    Failed,
}

impl From<IoError> for FaultError {
    fn from(error: IoError) -> Self {
        match error {
            IoError::Missing => Self::Missing,
            IoError::Errno(Errno::ENOMEM) => Self::OutOfMemory,
            _ => Self::Failed,
        }
    }
}

/// How often a fault waits for the out-of-memory killer before it fails.
const PATIENCE: u32 = 64;

/// Pages looked at around a page of a file that is read: Linux's `fault_around_bytes`.
const AROUND: u64 = 16;

/// Pages kept free between a stack and what is below it: Linux's `stack_guard_gap`.
const STACK_GUARD: u64 = 256 * PAGE_SIZE;

impl AddressSpace {
    /// Makes `access` to `addr` possible.
    pub async fn fault(&self, addr: VirtAddr, access: Access) -> Result<(), FaultError> {
        for _ in 0..PATIENCE {
            match self.try_fault(addr, access) {
                Err(FaultError::OutOfMemory) => {
                    self.control().report_shortage();
                    yield_now().await;
                }
                Err(FaultError::Missing) => {
                    self.control().misses().bring_in().await.map_err(|_| FaultError::Failed)?;
                }
                result => return result,
            }
        }
        Err(FaultError::OutOfMemory)
    }

    fn try_fault(&self, addr: VirtAddr, access: Access) -> Result<(), FaultError> {
        let mut inner = self.lock();
        if inner.area_at(addr).is_none() {
            inner.grow_stack(addr)?;
        }
        let area = inner.area_at(addr).ok_or(FaultError::NotMapped)?;
        let allowed = match access {
            Access::Read => !area.prot.is_empty(),
            Access::Write => area.prot.contains(Prot::WRITE),
            Access::Execute => area.prot.contains(Prot::EXEC),
        };
        if !allowed {
            return Err(FaultError::NotAllowed);
        }
        inner.bring_in(self, addr, access == Access::Write)
    }
}

impl AddressSpace {
    /// Reads for a tracer: whatever the protection, bringing in what is missing. Returns how much there was.
    pub fn look(&self, addr: VirtAddr, out: &mut [u8]) -> usize {
        self.forced(addr, out.len(), false, |frame, offset, done, run| {
            frame.read(offset, out.get_mut(done..done + run).unwrap_or_default());
        })
    }

    /// Writes for a tracer: where the program itself may not, a private copy is made. Returns how much could be written.
    pub fn poke(&self, addr: VirtAddr, bytes: &[u8]) -> usize {
        self.forced(addr, bytes.len(), true, |frame, offset, done, run| {
            frame.write(offset, bytes.get(done..done + run).unwrap_or_default());
        })
    }

    fn forced(
        &self,
        addr: VirtAddr,
        len: usize,
        write: bool,
        mut each: impl FnMut(&aurora_machine::Frame, usize, usize, usize),
    ) -> usize {
        let mut done = 0;
        while done < len {
            let Some(at) = addr.checked_add(done as u64).filter(|a| a.is_user()) else { break };
            let mut inner = self.lock();
            let Some(area) = inner.area_at(at).filter(|area| area.label != Label::Vvar) else { break };
            if write && area.shared && !area.prot.contains(Prot::WRITE) || inner.bring_in(self, at, write).is_err() {
                break;
            }
            let Some(mapping) = inner.table.query(at) else { break };
            let offset = crate::num::in_page(at.0);
            let run = (len - done).min(crate::num::to_usize(PAGE_SIZE) - offset);
            each(&mapping.frame, offset, done, run);
            done += run;
        }
        done
    }
}

impl Inner {
    fn bring_in(&mut self, space: &AddressSpace, addr: VirtAddr, write: bool) -> Result<(), FaultError> {
        let present = self.table.query(addr);
        let area = self.area_at(addr).ok_or(FaultError::NotMapped)?;
        let index = (addr.page_floor().0 - area.range.start.0) / PAGE_SIZE;
        let control = space.control().clone();
        let no_memory = |_: Errno| FaultError::OutOfMemory;
        let (frame, flags) = match present {
            Some(mapping) if write && !mapping.flags.contains(PageFlags::WRITE) => {
                if area.shared {
                    ready_to_write(area, index)?;
                }
                // The mapping just read holds one count, the entry another.
                if area.shared || mapping.frame.owners() == 2 {
                    let flags = area.flags(true);
                    self.table.cursor(VirtRange::page_of(addr)).protect(addr.page_floor(), flags);
                    space.invalidate(VirtRange::page_of(addr));
                    return Ok(());
                }
                (control.frame_copy(&mapping.frame).map_err(no_memory)?, area.flags(true))
            }
            Some(mapping) => {
                // It is there: entries may lag behind the area's rights.
                let flags = area.flags(mapping.flags.contains(PageFlags::WRITE));
                self.table.cursor(VirtRange::page_of(addr)).protect(addr.page_floor(), flags);
                space.invalidate(VirtRange::page_of(addr));
                return Ok(());
            }
            None => missing_page(area, index, write, &control)?,
        };
        self.map_page(space, addr, frame, flags).map_err(no_memory)?;
        if !write {
            self.map_around(space, addr);
        }
        Ok(())
    }

    /// Maps pages of a file next to one that was just read, as far as the cache has them: programs run on in the same
    /// few pages, and each fault costs more than all these entries.
    fn map_around(&mut self, space: &AddressSpace, addr: VirtAddr) {
        let Some(area) = self.area_at(addr) else { return };
        let Backing::Cache { cache, first, .. } = &area.backing else { return };
        let start = VirtAddr(addr.0 & !(AROUND * PAGE_SIZE - 1)).max(area.range.start);
        let end = (start + AROUND * PAGE_SIZE).min(area.range.end);
        let index = first + (start.0 - area.range.start.0) / PAGE_SIZE;
        let (range, flags) = (VirtRange { start, end }, area.flags(area.shared && !cache.is_stored()));
        let there = cache.pages_in(index, index + range.pages());
        for (page, frame) in there {
            let at = start + (page - index) * PAGE_SIZE;
            if self.table.query(at).is_none() && self.map_page(space, at, frame, flags).is_err() {
                return;
            }
        }
    }

    /// Lets the stack just above `addr` reach down to it.
    fn grow_stack(&mut self, addr: VirtAddr) -> Result<(), FaultError> {
        let limit = self.layout.stack_limit;
        let start = addr.page_floor();
        let below_end = self.areas.range(..start).next_back().map_or(VirtAddr(0), |(_, a)| a.range.end);
        let (&old_start, stack) = self.areas.range(start..).next().ok_or(FaultError::NotMapped)?;
        let room = start.0.saturating_sub(below_end.0) >= STACK_GUARD;
        if !stack.grows_down || stack.range.end.0 - start.0 > limit || !room {
            return Err(FaultError::NotMapped);
        }
        if let Some(mut stack) = self.areas.remove(&old_start) {
            stack.range.start = start;
            self.areas.insert(start, stack);
        }
        Ok(())
    }
}

/// A program is about to write to a shared page, which then differs from what is on the disk.
fn ready_to_write(area: &Area, index: u64) -> Result<(), FaultError> {
    let Backing::Cache { cache, first, .. } = &area.backing else { return Ok(()) };
    let start = (first + index) * PAGE_SIZE;
    if cache.is_stored() && start < cache.size() {
        cache.prepare(start..(start + PAGE_SIZE).min(cache.size()))?;
    }
    Ok(())
}

/// The frame for a page that is not in the tables, and the flags of its entry.
fn missing_page(
    area: &Area,
    index: u64,
    write: bool,
    control: &alloc::sync::Arc<crate::memory::MemoryControl>,
) -> Result<(aurora_machine::Frame, PageFlags), FaultError> {
    let no_memory = |_: Errno| FaultError::OutOfMemory;
    match &area.backing {
        Backing::Anonymous if write => Ok((control.frame().map_err(no_memory)?, area.flags(true))),
        Backing::Anonymous => Ok((control.zero_frame().clone(), area.flags(false))),
        Backing::Kernel { frames, first } => {
            let frame = frames.get(to_usize(first + index)).ok_or(FaultError::PastEnd)?;
            let own = if write { control.frame_copy(frame).map_err(no_memory)? } else { frame.clone() };
            Ok((own, area.flags(write)))
        }
        Backing::Cache { cache, first, .. } => {
            let page = first + index;
            if page >= cache.size().div_ceil(PAGE_SIZE) {
                return Err(FaultError::PastEnd);
            }
            if cache.is_stored() {
                if area.shared && write {
                    ready_to_write(area, index)?;
                }
                let frame = cache.page_or_miss(page)?;
                return match (area.shared, write) {
                    (false, true) => Ok((control.frame_copy(&frame).map_err(no_memory)?, area.flags(true))),
                    (shared, write) => Ok((frame, area.flags(shared && write))),
                };
            }
            if area.shared {
                return Ok((cache.page_or_new(page).map_err(no_memory)?, area.flags(true)));
            }
            let shown = cache.page(page);
            match (shown, write) {
                (Some(frame), true) => Ok((control.frame_copy(&frame).map_err(no_memory)?, area.flags(true))),
                (None, true) => Ok((control.frame().map_err(no_memory)?, area.flags(true))),
                // A hole must become a page now, so that a later write to the file is seen.
                (_, false) => Ok((cache.page_or_new(page).map_err(no_memory)?, area.flags(false))),
            }
        }
    }
}
