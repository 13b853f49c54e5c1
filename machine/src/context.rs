//! The user-visible state of a processor.

use alloc::sync::Arc;
use core::any::Any;
use core::fmt;

/// General-purpose registers in the order instructions encode them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
#[allow(missing_docs)]
pub enum Reg {
    Rax,
    Rcx,
    Rdx,
    Rbx,
    Rsp,
    Rbp,
    Rsi,
    Rdi,
    R8,
    R9,
    R10,
    R11,
    R12,
    R13,
    R14,
    R15,
}

/// Everything a program can see of its processor. Silicon loads and stores it at the boundary; BPE/U works on it in
/// place.
///
/// Silicon leaves `fx` and `extended` in its registers until someone wants them: most traps are over before. Whoever reads
/// or writes these two after [`crate::Machine::run`] calls [`UserContext::settle`] first; a clone has them anyway.
#[derive(Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct UserContext {
    /// RAX to R15, indexed by [`Reg`].
    pub gpr: [u64; 16],
    /// Next instruction.
    pub rip: u64,
    /// Flags; bit 1 is always set, IF appears set.
    pub rflags: u64,
    /// Base of FS.
    pub fs_base: u64,
    /// Base of GS.
    pub gs_base: u64,
    /// x87, MMX and SSE state.
    pub fx: FxState,
    /// What newer processors have besides; directly behind `fx`, as `XSAVE64` writes both.
    pub extended: ExtendedState,
    /// Who has the newest `fx` and `extended`, if that is not this context.
    held: Held,
}

/// Where a machine keeps the `fx` and `extended` of a context that it does not write back at every trap.
pub trait StateHolder: Any + Send + Sync {
    /// Reads them as they are now.
    fn read(&self, fx: &mut FxState, extended: &mut ExtendedState);
}

#[derive(Default)]
struct Held(Option<Arc<dyn StateHolder>>);

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "elsewhere" } else { "here" })
    }
}

impl PartialEq for Held {
    /// What is elsewhere cannot be compared.
    fn eq(&self, other: &Self) -> bool {
        self.0.is_none() && other.0.is_none()
    }
}

impl Eq for Held {}

impl Clone for UserContext {
    fn clone(&self) -> Self {
        let (mut fx, mut extended) = (self.fx.clone(), self.extended.clone());
        if let Some(holder) = &self.held.0 {
            holder.read(&mut fx, &mut extended);
        }
        let Self { gpr, rip, rflags, fs_base, gs_base, .. } = *self;
        Self { gpr, rip, rflags, fs_base, gs_base, fx, extended, held: Held(None) }
    }
}

const _: () = assert!(core::mem::offset_of!(UserContext, extended) == core::mem::offset_of!(UserContext, fx) + 512);
const _: () = assert!(core::mem::offset_of!(UserContext, fx) % 64 == 0);

/// What `XSAVE64` writes behind the 512 bytes of `FXSAVE64`, in its standard format (Intel SDM volume 1, 13.4). A processor
/// without it leaves all of this zero.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ExtendedState {
    /// `XSTATE_BV`, which components are not in their initial state, and words that are zero.
    pub header: [u64; 8],
    /// The upper halves of YMM0 to YMM15.
    pub ymm_high: [u128; 16],
}

impl ExtendedState {
    /// Bits of `XCR0` and `XSTATE_BV` for x87 and SSE, which `fx` holds.
    pub const X87_SSE: u64 = 3;
    /// The bit for the upper halves of the YMM registers.
    pub const AVX: u64 = 4;
    /// Size of the header and of the upper halves, in bytes.
    pub const SIZE: usize = 64 + 256;

    /// Everything in its initial state.
    pub const fn new() -> Self {
        Self { header: [0; 8], ymm_high: [0; 16] }
    }

    /// The bytes behind an `FXSAVE64` image that holds x87 and SSE state.
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut out = [0; Self::SIZE];
        let present = self.header[0] & Self::AVX | Self::X87_SSE;
        out[..8].copy_from_slice(&present.to_le_bytes());
        for (bytes, high) in out[64..].chunks_exact_mut(16).zip(self.ymm_high) {
            bytes.copy_from_slice(&high.to_le_bytes());
        }
        out
    }

    /// Reads such bytes. What we do not keep, and a header that would fault, is dropped.
    pub fn from_bytes(bytes: &[u8; Self::SIZE]) -> Self {
        let mut state = Self::new();
        if u64::from(bytes[0]) & Self::AVX != 0 {
            state.header[0] = Self::AVX;
            for (high, bytes) in state.ymm_high.iter_mut().zip(bytes[64..].chunks_exact(16)) {
                let mut wide = [0; 16];
                wide.copy_from_slice(bytes);
                *high = u128::from_le_bytes(wide);
            }
        }
        state
    }
}

impl Default for ExtendedState {
    fn default() -> Self {
        Self::new()
    }
}

/// x87 and SSE state, laid out as `FXSAVE64` writes it (Intel SDM volume 1, table 10-2).
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
#[allow(missing_docs)]
pub struct FxState {
    pub fcw: u16,
    pub fsw: u16,
    /// Abridged tag word: bit `i` is set when *physical* register `i` holds a value.
    pub ftw: u8,
    pub reserved0: u8,
    pub fop: u16,
    pub fip: u64,
    pub fdp: u64,
    pub mxcsr: u32,
    pub mxcsr_mask: u32,
    /// ST0 to ST7 in *stack* order: 10 bytes each and 6 of padding.
    pub st: [[u8; 16]; 8],
    pub xmm: [u128; 16],
    pub reserved1: [u8; 96],
}

const _: () = assert!(size_of::<FxState>() == 512);

impl FxState {
    /// The state a new program starts with: all exceptions masked, round to nearest, x87 at 64-bit precision.
    pub const fn new() -> Self {
        Self {
            fcw: 0x37f,
            fsw: 0,
            ftw: 0,
            reserved0: 0,
            fop: 0,
            fip: 0,
            fdp: 0,
            mxcsr: 0x1f80,
            mxcsr_mask: 0xffff,
            st: [[0; 16]; 8],
            xmm: [0; 16],
            reserved1: [0; 96],
        }
    }

    /// The 512 bytes `FXSAVE64` would write.
    pub fn to_bytes(&self) -> [u8; 512] {
        let mut out = [0; 512];
        out[0..2].copy_from_slice(&self.fcw.to_le_bytes());
        out[2..4].copy_from_slice(&self.fsw.to_le_bytes());
        out[4] = self.ftw;
        out[6..8].copy_from_slice(&self.fop.to_le_bytes());
        out[8..16].copy_from_slice(&self.fip.to_le_bytes());
        out[16..24].copy_from_slice(&self.fdp.to_le_bytes());
        out[24..28].copy_from_slice(&self.mxcsr.to_le_bytes());
        out[28..32].copy_from_slice(&self.mxcsr_mask.to_le_bytes());
        for (i, st) in self.st.iter().enumerate() {
            out[32 + i * 16..42 + i * 16].copy_from_slice(&st[..10]);
        }
        for (i, xmm) in self.xmm.iter().enumerate() {
            out[160 + i * 16..176 + i * 16].copy_from_slice(&xmm.to_le_bytes());
        }
        out
    }

    /// Reads what `FXRSTOR64` would load; reserved MXCSR bits are dropped, so loading it cannot fault.
    pub fn from_bytes(bytes: &[u8; 512]) -> Self {
        let u16_at = |i: usize| u16::from_le_bytes([bytes[i], bytes[i + 1]]);
        let mut wide = [0; 16];
        let mut at = |i: usize, n: usize| {
            wide = [0; 16];
            wide[..n].copy_from_slice(&bytes[i..i + n]);
            u128::from_le_bytes(wide)
        };
        let mut fx = Self::new();
        fx.fcw = u16_at(0);
        fx.fsw = u16_at(2);
        fx.ftw = bytes[4];
        fx.fop = u16_at(6);
        fx.fip = at(8, 8) as u64;
        fx.fdp = at(16, 8) as u64;
        fx.mxcsr = at(24, 4) as u32 & 0xffff;
        for i in 0..8 {
            fx.st[i][..10].copy_from_slice(&bytes[32 + i * 16..42 + i * 16]);
        }
        for i in 0..16 {
            fx.xmm[i] = at(160 + i * 16, 16);
        }
        fx
    }
}

impl Default for FxState {
    fn default() -> Self {
        Self::new()
    }
}

impl UserContext {
    /// Flags a program may change with a signal frame or `POPF`: CF PF AF ZF SF TF DF OF NT RF AC ID.
    pub const USER_FLAGS: u64 = 0x0025_4dd5;
    /// The trap flag.
    pub const TRAP_FLAG: u64 = 1 << 8;
    /// The direction flag.
    pub const DIRECTION_FLAG: u64 = 1 << 10;

    /// A context that starts at `rip` with stack `rsp` and everything else as Linux gives it to a new program.
    pub const fn new(rip: u64, rsp: u64) -> Self {
        let mut gpr = [0; 16];
        gpr[Reg::Rsp as usize] = rsp;
        let (fx, extended) = (FxState::new(), ExtendedState::new());
        Self { gpr, rip, rflags: 0x202, fs_base: 0, gs_base: 0, fx, extended, held: Held(None) }
    }
    /// Brings `fx` and `extended` up to date; they are what counts until the next run.
    pub fn settle(&mut self) {
        if let Some(holder) = self.held.0.take() {
            holder.read(&mut self.fx, &mut self.extended);
        }
    }
    /// For machines: who has `fx` and `extended`.
    pub fn holder(&self) -> Option<&Arc<dyn StateHolder>> {
        self.held.0.as_ref()
    }
    /// For machines: from here on `holder` has them.
    pub fn hold(&mut self, holder: Arc<dyn StateHolder>) {
        self.held.0 = Some(holder);
    }
    /// Reads a general-purpose register.
    pub const fn reg(&self, reg: Reg) -> u64 {
        self.gpr[reg as usize]
    }
    /// Writes a general-purpose register.
    pub const fn set_reg(&mut self, reg: Reg, value: u64) {
        self.gpr[reg as usize] = value;
    }
    /// The flags with bit 1 and IF as the processor shows them to a program.
    pub const fn set_flags(&mut self, flags: u64) {
        self.rflags = (flags & Self::USER_FLAGS) | 0x202;
    }
}
