//! The processor's registers, and how handlers reach them.

use alloc::sync::Arc;

use aurora_machine::{Exception, ExtendedState, FxState, PhysAddr, PhysMemory, Trap, UserContext};

use crate::check::Journal;
use crate::flags::{Flags, STATUS};
use crate::jit::Exchange;
use crate::op::{Op, RSP, Stop, slot};
use crate::tlb::Tlb;
use crate::width::Width;

/// Slots of the register file: the 16 general-purpose registers, those of [`slot`], and room so that no byte offset an
/// op can hold leaves it.
const SLOTS: usize = 33;

/// What an instruction asks of the environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// `RDTSC`.
    Tsc,
    /// `RDTSCP`.
    TscProcessor,
    /// `RDRAND` or `RDSEED` into the register at this offset, of so many bits.
    Random(u8, u32),
}

/// The state handlers work on.
pub(crate) struct Core {
    pub(crate) regs: [u64; SLOTS],
    /// The status flags.
    pub(crate) flags: Flags,
    /// The other flags, in their places in RFLAGS.
    pub(crate) control_flags: u64,
    /// Next instruction; up to date between blocks only.
    pub(crate) rip: u64,
    /// Instructions that may still retire after those of the running block.
    pub(crate) fuel: u64,
    /// Number of the address space, as TLB tags have it.
    pub(crate) asid: u64,
    /// Its top-level table.
    pub(crate) root: PhysAddr,
    /// Why a handler stopped with [`Stop::Fault`] or [`Stop::Trap`].
    pub(crate) trap: Trap,
    /// The frame a handler stopped at with [`Stop::CodeWrite`].
    pub(crate) code_frame: PhysAddr,
    /// What a handler wants with [`Stop::Environment`].
    pub(crate) request: Request,
    /// x87, MMX and SSE registers, the x87 ones in physical order.
    pub(crate) fx: FxState,
    /// The upper halves of the YMM registers.
    pub(crate) ymm_high: [u128; 16],
    /// `CPUID` says that there is FMA.
    pub(crate) announces_fma: bool,
    /// Cached translations.
    pub(crate) tlb: Tlb,
    /// Physical memory.
    pub(crate) memory: Arc<PhysMemory>,
    /// What translated code and we tell each other.
    pub(crate) exchange: Exchange,
    /// Pages as they were before a stretch of translated code that is checked.
    pub(crate) journal: Option<Journal>,
}

impl Core {
    pub(crate) fn new(memory: Arc<PhysMemory>) -> Self {
        Self {
            regs: [0; SLOTS],
            flags: Flags::default(),
            control_flags: 0x202,
            rip: 0,
            fuel: 0,
            asid: 0,
            root: PhysAddr(0),
            trap: Trap::Interrupted,
            code_frame: PhysAddr(0),
            request: Request::Tsc,
            fx: FxState::new(),
            ymm_high: [0; 16],
            announces_fma: false,
            tlb: Tlb::new(),
            memory,
            exchange: Exchange::new(),
            journal: None,
        }
    }

    /// Takes over a program's registers.
    pub(crate) fn load_context(&mut self, cpu: &UserContext) {
        self.regs[..16].copy_from_slice(&cpu.gpr);
        self.set(slot::FS, cpu.fs_base);
        self.set(slot::GS, cpu.gs_base);
        self.rip = cpu.rip;
        self.set_rflags(cpu.rflags);
        self.set_fx_image(&cpu.fx);
        let in_use = cpu.extended.header[0] & ExtendedState::AVX != 0;
        self.ymm_high = if in_use { cpu.extended.ymm_high } else { [0; 16] };
    }

    /// Gives them back.
    pub(crate) fn store_context(&self, cpu: &mut UserContext) {
        cpu.gpr.copy_from_slice(&self.regs[..16]);
        cpu.fs_base = self.get(slot::FS);
        cpu.gs_base = self.get(slot::GS);
        cpu.rip = self.rip;
        cpu.rflags = self.rflags();
        cpu.fx = self.fx_image();
        cpu.extended = ExtendedState::new();
        if self.ymm_high != [0; 16] {
            cpu.extended.header[0] = ExtendedState::X87_SSE | ExtendedState::AVX;
            cpu.extended.ymm_high = self.ymm_high;
        }
    }

    /// The x87 and SSE state as `FXSAVE` has it: the x87 registers in stack order.
    pub(crate) fn fx_image(&self) -> FxState {
        let mut fx = self.fx.clone();
        fx.st.rotate_left(usize::from(fx.fsw >> 11 & 7));
        fx
    }

    /// Takes over such a state.
    pub(crate) fn set_fx_image(&mut self, fx: &FxState) {
        self.fx.clone_from(fx);
        self.registers_to_physical();
    }

    fn registers_to_physical(&mut self) {
        let top = usize::from(self.fx.fsw >> 11 & 7);
        self.fx.st.rotate_right(top);
    }

    /// All flags.
    pub(crate) fn rflags(&self) -> u64 {
        self.flags.bits() | self.control_flags
    }

    /// Sets all flags a program may set.
    pub(crate) fn set_rflags(&mut self, flags: u64) {
        self.flags = Flags::from_bits(flags);
        self.control_flags = flags & UserContext::USER_FLAGS & !STATUS | 0x202;
    }

    /// The 64-bit register at byte offset `at`.
    #[inline(always)]
    pub(crate) fn get(&self, at: u8) -> u64 {
        // SAFETY: `SLOTS` leaves eight bytes past the largest `u8`; the file is aligned and `at` need not be, but every
        // value is a valid integer.
        unsafe { self.regs.as_ptr().cast::<u8>().add(at as usize).cast::<u64>().read_unaligned() }
    }

    /// Sets the 64-bit register at byte offset `at`.
    #[inline(always)]
    pub(crate) fn set(&mut self, at: u8, value: u64) {
        // SAFETY: as in `get`.
        unsafe { self.regs.as_mut_ptr().cast::<u8>().add(at as usize).cast::<u64>().write_unaligned(value) }
    }

    /// The register operand at byte offset `at`, zero-extended. Offset 8n+1 is the second byte of register n.
    #[inline(always)]
    pub(crate) fn reg<W: Width>(&self, at: u8) -> u64 {
        // SAFETY: as in `get`; the host is little-endian, as every host Rust builds BPE/U for is.
        unsafe { self.regs.as_ptr().cast::<u8>().add(at as usize).cast::<W>().read_unaligned().extend() }
    }

    /// Writes a register operand: 32 bits clear the upper half, 8 and 16 leave the rest.
    #[inline(always)]
    pub(crate) fn set_reg<W: Width>(&mut self, at: u8, value: u64) {
        match W::BITS {
            64 => self.set(at, value),
            32 => self.set(at, value & W::MASK),
            // Whole words, because the host forwards a narrow store to a wide load only with a delay.
            _ if at & 1 == 0 => self.set(at, self.get(at) & !W::MASK | value & W::MASK),
            _ => {
                let whole = at & !7;
                self.set(whole, self.get(whole) & !0xff00 | (value & 0xff) << 8);
            }
        }
    }

    /// The address of the memory operand.
    #[inline(always)]
    pub(crate) fn address(&self, op: &Op) -> u64 {
        self.get(op.base).wrapping_add(self.get(op.index) << (op.scale & 63)).wrapping_add(op.disp as i64 as u64)
    }

    /// Virtual address of the page the running block begins in.
    #[inline(always)]
    pub(crate) fn page(&self) -> u64 {
        self.get(slot::PAGE)
    }

    /// The stack pointer.
    #[inline(always)]
    pub(crate) fn rsp(&self) -> u64 {
        self.get(RSP)
    }

    /// Stops with an exception, nothing done.
    #[cold]
    pub(crate) fn exception(&mut self, exception: Exception) -> Stop {
        self.trap = Trap::Exception(exception);
        Stop::Fault
    }

    /// Stops with #GP(0).
    #[cold]
    pub(crate) fn general_protection(&mut self) -> Stop {
        self.exception(Exception::GeneralProtection(0))
    }

    /// Stops with #UD.
    #[cold]
    pub(crate) fn invalid_opcode(&mut self) -> Stop {
        self.exception(Exception::InvalidOpcode)
    }
}
