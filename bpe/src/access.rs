//! Guest memory: loads, stores, and how they fault.
//!
//! What always holds: an access either happens whole or not at all. A store that crosses a page looks at both pages
//! before it writes; a read-modify-write asks for permission to write before it reads.

use aurora_machine::paging::{self, WalkError};
use aurora_machine::{Access, Exception, PAGE_SIZE, PageFault, PageFlags, PhysAddr, Trap, VirtAddr};

use crate::core::Core;
use crate::op::{Op, Stop};
use crate::width::{Plain, Width};

/// Bytes of the largest plain type, a YMM register.
const LARGEST: usize = 32;

/// A range of guest memory found in the host's: one or two pieces.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    first: *mut u8,
    /// Bytes in the first piece.
    split: usize,
    second: *mut u8,
    bytes: usize,
}

impl Span {
    /// Copies the range out. `out` must be as long as the range.
    pub(crate) fn read(&self, out: &mut [u8]) {
        debug_assert_eq!(out.len(), self.bytes);
        let (a, b) = out.split_at_mut(self.split.min(self.bytes));
        // SAFETY: `Core::span` found `split` bytes at `first` and the rest at `second` inside guest frames, which no
        // Rust reference points into.
        unsafe {
            a.as_mut_ptr().copy_from_nonoverlapping(self.first, a.len());
            b.as_mut_ptr().copy_from_nonoverlapping(self.second, b.len());
        }
    }

    /// Copies `data` in.
    pub(crate) fn write(&self, data: &[u8]) {
        debug_assert_eq!(data.len(), self.bytes);
        let (a, b) = data.split_at(self.split.min(self.bytes));
        // SAFETY: as in `read`, and `Core::span` was asked for write access.
        unsafe {
            self.first.copy_from_nonoverlapping(a.as_ptr(), a.len());
            self.second.copy_from_nonoverlapping(b.as_ptr(), b.len());
        }
    }
}

impl Core {
    /// Loads a value.
    #[inline(always)]
    pub(crate) fn load<T: Plain>(&mut self, op: &Op, addr: u64) -> Result<T, Stop> {
        match self.tlb.read(addr, size_of::<T>() as u64, self.asid) {
            // SAFETY: the TLB has the host address of a readable page and the value is inside it.
            Some(p) => Ok(unsafe { p.cast::<T>().read_unaligned() }),
            None => self.load_slow(op, addr),
        }
    }

    #[cold]
    #[inline(never)]
    fn load_slow<T: Plain>(&mut self, op: &Op, addr: u64) -> Result<T, Stop> {
        let span = self.span(op, addr, size_of::<T>(), Access::Read)?;
        let mut bytes = [0u8; LARGEST];
        span.read(&mut bytes[..size_of::<T>()]);
        // SAFETY: `T` is plain and at most this large.
        Ok(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
    }

    /// Stores a value.
    #[inline(always)]
    pub(crate) fn store<T: Plain>(&mut self, op: &Op, addr: u64, value: T) -> Result<(), Stop> {
        match self.tlb.write(addr, size_of::<T>() as u64, self.asid) {
            Some(p) => {
                // SAFETY: the TLB has the host address of a writable page and the value is inside it.
                unsafe { p.cast::<T>().write_unaligned(value) };
                Ok(())
            }
            None => self.store_slow(op, addr, value),
        }
    }

    #[cold]
    #[inline(never)]
    fn store_slow<T: Plain>(&mut self, op: &Op, addr: u64, value: T) -> Result<(), Stop> {
        let span = self.span(op, addr, size_of::<T>(), Access::Write)?;
        let mut bytes = [0u8; LARGEST];
        // SAFETY: `T` is plain and at most this large.
        unsafe { bytes.as_mut_ptr().cast::<T>().write_unaligned(value) };
        span.write(&bytes[..size_of::<T>()]);
        Ok(())
    }

    /// Replaces the value at `addr` by what `change` makes of it.
    #[inline(always)]
    pub(crate) fn modify<W: Width + Plain>(
        &mut self,
        op: &Op,
        addr: u64,
        change: impl FnOnce(&mut Self, u64) -> u64,
    ) -> Result<(), Stop> {
        match self.tlb.write(addr, W::BYTES, self.asid) {
            Some(p) => {
                let p = p.cast::<W>();
                // SAFETY: the TLB has the host address of a writable page and the value is inside it.
                let old = unsafe { p.read_unaligned() };
                let new = W::truncate(change(self, old.extend()));
                // SAFETY: as above.
                unsafe { p.write_unaligned(new) };
            }
            None => {
                let span = self.span(op, addr, W::BYTES as usize, Access::Write)?;
                let mut bytes = [0u8; 8];
                span.read(&mut bytes[..W::BYTES as usize]);
                bytes = change(self, u64::from_le_bytes(bytes)).to_le_bytes();
                span.write(&bytes[..W::BYTES as usize]);
            }
        }
        Ok(())
    }

    /// Loads an integer operand, zero-extended.
    #[inline(always)]
    pub(crate) fn load_int<W: Width + Plain>(&mut self, op: &Op, addr: u64) -> Result<u64, Stop> {
        Ok(self.load::<W>(op, addr)?.extend())
    }

    /// Finds `bytes` (at most a page) of guest memory at `addr`, all of which must allow `access`.
    pub(crate) fn span(&mut self, op: &Op, addr: u64, bytes: usize, access: Access) -> Result<Span, Stop> {
        let last = addr.wrapping_add(bytes as u64 - 1);
        if !VirtAddr(addr).is_canonical() || !VirtAddr(last).is_canonical() {
            return Err(self.non_canonical(op));
        }
        let room = (PAGE_SIZE - addr % PAGE_SIZE) as usize;
        let first = self.translate(addr, access)?;
        let second = if bytes > room { self.translate(addr.wrapping_add(room as u64), access)? } else { first };
        Ok(Span { first, split: room, second, bytes })
    }

    #[cold]
    pub(crate) fn non_canonical(&mut self, op: &Op) -> Stop {
        match op.attributes & Op::STACK != 0 {
            true => self.exception(Exception::StackFault),
            false => self.general_protection(),
        }
    }

    /// Host address of the byte at `addr`, from the TLB or a walk.
    pub(crate) fn translate(&mut self, addr: u64, access: Access) -> Result<*mut u8, Stop> {
        let hit = match access {
            Access::Write => self.tlb.write(addr, 1, self.asid),
            _ => self.tlb.read(addr, 1, self.asid),
        };
        if let Some(p) = hit {
            self.note_page(p);
            return Ok(p);
        }
        let found = self.walk(addr, access)?;
        let code = self.memory.has_code(found.frame);
        if access == Access::Write && code {
            self.code_frame = found.frame;
            return Err(Stop::CodeWrite);
        }
        let host = self.memory.window().wrapping_add(found.frame.0 as usize);
        let writable = found.flags.contains(PageFlags::WRITE | PageFlags::DIRTY) && !code;
        self.tlb.fill(addr, self.asid, host, writable);
        self.note_page(host);
        Ok(host.wrapping_add((addr % PAGE_SIZE) as usize))
    }

    /// Lets translated code find the page of `addr`, if it was found.
    pub(crate) fn remember(&mut self, addr: u64) {
        self.tlb.fill_fast(addr);
    }

    /// Has translated code remember the page of the stack; or, where that cannot be written, any that was. Whether there is
    /// one.
    #[cold]
    pub(crate) fn remember_stack(&mut self) -> bool {
        let rsp = self.rsp();
        let found = VirtAddr(rsp).is_canonical() && self.translate(rsp, Access::Write).is_ok();
        let page = if found { Some(rsp) } else { self.tlb.some_written(self.asid) };
        page.is_some_and(|addr| {
            self.remember(addr);
            self.tlb.remember(addr)
        })
    }

    /// The frame to fetch instructions at `addr` from.
    pub(crate) fn fetch_frame(&mut self, addr: u64) -> Result<PhysAddr, Stop> {
        if !VirtAddr(addr).is_canonical() {
            return Err(self.general_protection());
        }
        Ok(self.walk(addr, Access::Execute)?.frame)
    }

    fn walk(&mut self, addr: u64, access: Access) -> Result<paging::Translation, Stop> {
        // The rest is the machine's, and nothing there is present for programs.
        let found = match VirtAddr(addr).is_user() {
            true => paging::walk(&self.memory, self.root, VirtAddr(addr), access),
            _ => Err(WalkError::NotPresent),
        };
        found.map_err(|error| {
            let protection = error == WalkError::Protection;
            self.trap = Trap::PageFault(PageFault { addr: VirtAddr(addr), access, protection });
            Stop::Fault
        })
    }

    /// Pushes a value of the operand's size.
    #[inline(always)]
    pub(crate) fn push<W: Width + Plain>(&mut self, op: &Op, value: u64) -> Result<(), Stop> {
        let rsp = self.rsp().wrapping_sub(W::BYTES);
        if let Err(stop) = self.store(op, rsp, W::truncate(value)) {
            return Err(self.stack_stop(stop));
        }
        self.set(crate::op::RSP, rsp);
        Ok(())
    }

    /// Reads what a pop would take; the caller then moves RSP.
    #[inline(always)]
    pub(crate) fn top<W: Width + Plain>(&mut self, op: &Op) -> Result<u64, Stop> {
        match self.load_int::<W>(op, self.rsp()) {
            Ok(value) => Ok(value),
            Err(stop) => Err(self.stack_stop(stop)),
        }
    }

    /// A non-canonical address on the stack is a stack fault whatever the memory operand's is.
    #[cold]
    pub(crate) fn stack_stop(&mut self, stop: Stop) -> Stop {
        if self.trap == Trap::Exception(Exception::GeneralProtection(0)) {
            self.trap = Trap::Exception(Exception::StackFault);
        }
        stop
    }
}
