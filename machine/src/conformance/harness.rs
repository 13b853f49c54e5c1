//! A program under test: an address space with a page of code, one of data and one of stack, and a processor's state.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;

use super::Outcome;
use crate::{
    Exception, Frame, Instant, Machine, PAGE_SIZE, PageFlags, PageTable, Reg, Trap, UserContext, VirtAddr, VirtRange,
};

/// Where a program's code is; it may be read and executed.
pub(super) const CODE: VirtAddr = VirtAddr(0x40_0000);
/// A page it may read and write. The pages around it are not mapped.
pub(super) const DATA: VirtAddr = VirtAddr(0x7f12_3456_7000);
/// The same, and RSP starts at its end.
pub(super) const STACK: VirtAddr = VirtAddr(0x7ffe_0000_0000);

pub(super) const CODE_FLAGS: PageFlags = PageFlags::empty();
pub(super) const DATA_FLAGS: PageFlags = PageFlags::WRITE.union(PageFlags::NO_EXECUTE);
pub(super) const CONSTANT_FLAGS: PageFlags = PageFlags::NO_EXECUTE;

/// How long a case may take before it counts as hung.
const PATIENCE_NS: u64 = 10_000_000_000;

pub(super) struct Program {
    pub(super) machine: Arc<dyn Machine>,
    pub(super) table: PageTable,
    pub(super) cpu: UserContext,
    pub(super) code: Frame,
    pub(super) data: Frame,
}

impl Program {
    pub(super) fn new(machine: &Arc<dyn Machine>, code: &[u8]) -> Result<Self, String> {
        let memory = machine.memory();
        let frame = || memory.allocate().map_err(|_| String::from("out of frames"));
        let table = PageTable::new(memory).map_err(|_| String::from("out of frames"))?;
        let cpu = UserContext::new(CODE.0, STACK.0 + PAGE_SIZE);
        let mut program = Self { machine: machine.clone(), table, cpu, code: frame()?, data: frame()? };
        program.code.write(0, code);
        program.map_frame(CODE, program.code.clone(), CODE_FLAGS)?;
        program.map_frame(DATA, program.data.clone(), DATA_FLAGS)?;
        program.map(STACK, DATA_FLAGS)?;
        Ok(program)
    }

    /// Maps a new frame of zeros.
    pub(super) fn map(&mut self, addr: VirtAddr, flags: PageFlags) -> Result<Frame, String> {
        let frame = self.machine.memory().allocate().map_err(|_| "out of frames")?;
        self.map_frame(addr, frame.clone(), flags)?;
        Ok(frame)
    }

    /// Maps `frame`. Says so to the machine only if it replaced another.
    pub(super) fn map_frame(&mut self, addr: VirtAddr, frame: Frame, flags: PageFlags) -> Outcome {
        let old = self.table.cursor(VirtRange::user()).map(addr, frame, flags).map_err(|_| "out of frames")?;
        if old.is_some() {
            self.machine.invalidate(self.table.root(), VirtRange::page_of(addr));
        }
        Ok(())
    }

    pub(super) fn unmap(&mut self, addr: VirtAddr) {
        let mapping = self.table.cursor(VirtRange::user()).unmap(addr);
        self.machine.invalidate(self.table.root(), VirtRange::page_of(addr));
        drop(mapping);
    }

    /// Changes the flags of a page; for flags that only allow more, the machine need not be told.
    pub(super) fn protect(&mut self, addr: VirtAddr, flags: PageFlags, tell: bool) {
        self.table.cursor(VirtRange::user()).protect(addr, flags | PageFlags::USER);
        if tell {
            self.machine.invalidate(self.table.root(), VirtRange::page_of(addr));
        }
    }

    pub(super) fn flags(&self, addr: VirtAddr) -> Result<PageFlags, String> {
        Ok(self.table.query(addr).ok_or("the page is not mapped")?.flags)
    }

    pub(super) fn set(&mut self, reg: Reg, value: u64) -> &mut Self {
        self.cpu.set_reg(reg, value);
        self
    }

    pub(super) fn reg(&self, reg: Reg) -> u64 {
        self.cpu.reg(reg)
    }

    /// Starts again at `CODE`.
    pub(super) fn rewind(&mut self) -> &mut Self {
        self.cpu.rip = CODE.0;
        self
    }

    /// Runs once.
    pub(super) fn run_until(&mut self, until: Instant) -> Trap {
        self.machine.run(&mut self.cpu, self.table.root(), until)
    }

    /// Runs until something other than an interrupt stops it.
    pub(super) fn run(&mut self) -> Result<Trap, String> {
        let end = self.machine.now() + PATIENCE_NS;
        loop {
            match self.run_until(end) {
                Trap::Interrupted if self.machine.now() < end => {}
                Trap::Interrupted => return Err(format!("no trap, RIP {:#x}", self.cpu.rip)),
                trap => {
                    self.cpu.settle();
                    return Ok(trap);
                }
            }
        }
    }

    /// Runs, and wants `trap` with RIP `offset` bytes into the code.
    pub(super) fn expect(&mut self, trap: Trap, offset: u64) -> Outcome {
        let seen = self.run()?;
        check!(seen == trap, "{trap:?} expected, {seen:?} came, RIP {:#x}", self.cpu.rip);
        let rip = CODE.0 + offset;
        check!(self.cpu.rip == rip, "{trap:?} came at RIP {:#x}, not {rip:#x}", self.cpu.rip);
        Ok(())
    }

    /// The same for a fault, which must leave everything as it was before the instruction.
    pub(super) fn expect_untouched(&mut self, trap: Trap) -> Outcome {
        let before = self.cpu.clone();
        self.expect(trap, before.rip - CODE.0)?;
        check!(self.cpu.gpr == before.gpr, "registers changed: {:x?} to {:x?}", before.gpr, self.cpu.gpr);
        check!(self.cpu.rflags == before.rflags, "flags changed: {:#x} to {:#x}", before.rflags, self.cpu.rflags);
        Ok(())
    }

    /// The same for an exception.
    pub(super) fn expect_exception(&mut self, exception: Exception) -> Outcome {
        self.expect_untouched(Trap::Exception(exception))
    }

    /// Runs to the system call at the end of the code.
    pub(super) fn expect_syscall(&mut self) -> Outcome {
        let seen = self.run()?;
        check!(seen == Trap::Syscall, "Syscall expected, {seen:?} came, RIP {:#x}", self.cpu.rip);
        Ok(())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.machine.retire(self.table.root());
    }
}

/// A word of a frame.
pub(super) fn word(frame: &Frame, offset: usize) -> u64 {
    let mut bytes = [0; 8];
    frame.read(offset, &mut bytes);
    u64::from_le_bytes(bytes)
}
