//! seccomp(2): which system calls a thread may make, decided by filters it cannot take away again.
//!
//! Filters are classic BPF programs (bpf(4)), checked once and interpreted for every call.

use alloc::sync::Arc;
use alloc::vec::Vec;

use aurora_abi::Errno;
use aurora_abi::types::SockFilter;

use crate::memory::account::Charge;
use crate::num::low32;

/// `AUDIT_ARCH_X86_64`.
pub const ARCH: u32 = 0xc000_003e;
/// Most instructions of one filter.
pub const MAX_INSTRUCTIONS: usize = 4096;
/// Most instructions of all filters of a thread, each filter counting four more.
const MAX_TOTAL: usize = 32768;

/// What a thread may ask for.
#[derive(Clone, Default)]
pub enum Seccomp {
    /// Anything.
    #[default]
    Off,
    /// read, write, exit and sigreturn.
    Strict,
    /// What all of these allow.
    Filtered(Arc<Filter>),
}

impl Seccomp {
    /// As `PR_GET_SECCOMP` and `/proc/PID/status` show it.
    pub fn mode(&self) -> u32 {
        match self {
            Self::Off => 0,
            Self::Strict => 1,
            Self::Filtered(_) => 2,
        }
    }
    /// How many filters there are.
    pub fn count(&self) -> usize {
        let mut count = 0;
        let mut at = if let Self::Filtered(filter) = self { Some(filter) } else { None };
        while let Some(filter) = at {
            count += 1;
            at = filter.previous.as_ref();
        }
        count
    }
}

/// A filter, and those that were there before it.
pub struct Filter {
    program: Vec<SockFilter>,
    previous: Option<Arc<Filter>>,
    total: usize,
    _charge: Charge,
}

impl Drop for Filter {
    /// A long chain is dropped link by link.
    fn drop(&mut self) {
        let mut next = self.previous.take();
        while let Some(filter) = next.and_then(Arc::into_inner) {
            let mut filter = filter;
            next = filter.previous.take();
        }
    }
}

/// What filters see: `struct seccomp_data`.
pub struct Data {
    /// The system call's number.
    pub number: u64,
    /// The instruction after it.
    pub at: u64,
    /// Its arguments.
    pub arguments: [u64; 6],
}

impl Data {
    /// The 32-bit word at an offset that is a multiple of 4 and below 64.
    fn word(&self, offset: u32) -> u32 {
        let half = |value: u64, offset: u32| if offset.is_multiple_of(8) { low32(value) } else { low32(value >> 32) };
        match offset {
            0 => low32(self.number),
            4 => ARCH,
            8 | 12 => half(self.at, offset),
            _ => {
                let index = crate::num::to_usize(u64::from(offset.saturating_sub(16) / 8));
                half(self.arguments.get(index).copied().unwrap_or(0), offset)
            }
        }
    }
}

/// What is to become of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is made.
    Allow,
    /// It is made and noted in the log.
    Log,
    /// It fails with this.
    Errno(u16),
    /// A signal comes in its place.
    Trap(u16),
    /// The tracer decides.
    Trace(u16),
    /// The thread ends.
    KillThread,
    /// The process ends.
    KillProcess,
}

/// An action's number, and what it says with a value of its own.
type Action = (u32, fn(u16) -> Verdict);

/// Actions by value, the strongest first.
pub const ACTIONS: [Action; 7] = [
    (0x8000_0000, |_| Verdict::KillProcess),
    (0, |_| Verdict::KillThread),
    (0x0003_0000, Verdict::Trap),
    (0x0005_0000, Verdict::Errno),
    (0x7ff0_0000, Verdict::Trace),
    (0x7ffc_0000, |_| Verdict::Log),
    (0x7fff_0000, |_| Verdict::Allow),
];

impl Filter {
    /// A filter on top of others.
    pub fn new(program: Vec<SockFilter>, previous: Option<Arc<Filter>>, charge: Charge) -> Result<Arc<Self>, Errno> {
        check(&program)?;
        let total = program.len() + previous.as_ref().map_or(0, |p| p.total + 4);
        if total > MAX_TOTAL {
            return Err(Errno::ENOMEM);
        }
        Ok(Arc::new(Self { program, previous, total, _charge: charge }))
    }

    /// What all filters say: the strongest counts, of equals the newest.
    pub fn decide(&self, data: &Data) -> Verdict {
        let mut strongest = u32::MAX >> 1;
        let mut at = Some(self);
        while let Some(filter) = at {
            let said = run(&filter.program, data);
            let strength = |value: u32| (value & 0xffff_0000).cast_signed();
            if strength(said) < strength(strongest) {
                strongest = said;
            }
            at = filter.previous.as_deref();
        }
        let (action, value) = (strongest & 0xffff_0000, crate::num::low16(u64::from(strongest)));
        let known = ACTIONS.iter().find(|(number, _)| *number == action);
        // As Linux: what is unknown kills, except what nobody listens to.
        known.map_or(Verdict::KillProcess, |(_, verdict)| verdict(value))
    }

    /// Whether `other` is this or was there before it.
    pub fn descends_from(&self, other: &Filter) -> bool {
        let mut at = Some(self);
        while let Some(filter) = at {
            if core::ptr::eq(filter, other) {
                return true;
            }
            at = filter.previous.as_deref();
        }
        false
    }
}

// Classes, modes and operations of an instruction, linux/bpf_common.h.
const LD: u16 = 0;
const LDX: u16 = 1;
const ST: u16 = 2;
const STX: u16 = 3;
const ALU: u16 = 4;
const JMP: u16 = 5;
const RET: u16 = 6;
const MISC: u16 = 7;
const IMM: u16 = 0;
const ABS: u16 = 0x20;
const MEM: u16 = 0x60;
const LEN: u16 = 0x80;
const FROM_X: u16 = 8;
const NEG: u16 = 0x80;
const MEMORY_WORDS: u32 = 16;
const DATA_SIZE: u32 = 64;

/// Whether a program is well formed and uses what seccomp allows.
fn check(program: &[SockFilter]) -> Result<(), Errno> {
    if program.is_empty() || program.len() > MAX_INSTRUCTIONS {
        return Err(Errno::EINVAL);
    }
    let len = program.len() as u64;
    for (at, instruction) in (0u64..).zip(program) {
        let SockFilter { code, jt, jf, k } = *instruction;
        let inside = |skip: u64| at + skip + 1 < len;
        let good = match (code & 7, code & !7) {
            (LD, ABS) => k < DATA_SIZE && k.is_multiple_of(4),
            (LD | LDX, IMM | LEN) | (MISC, 0 | 0x80) => true,
            (LD | LDX, MEM) | (ST | STX, 0) => k < MEMORY_WORDS,
            // Add, subtract, multiply, divide, or, and, shift left, shift right, exclusive or.
            (ALU, 0x30) => k != 0,
            (ALU, 0x60 | 0x70) => k < 32,
            (ALU, 0x00 | 0x10 | 0x20 | 0x40 | 0x50 | 0xa0 | NEG) => true,
            (ALU, 0x08 | 0x18 | 0x28 | 0x38 | 0x48 | 0x58 | 0x68 | 0x78 | 0xa8) => true,
            (JMP, 0) => inside(u64::from(k)),
            (JMP, 0x10 | 0x18 | 0x20 | 0x28 | 0x30 | 0x38 | 0x40 | 0x48) => {
                inside(u64::from(jt)) && inside(u64::from(jf))
            }
            (RET, 0 | 0x10) => true,
            _ => false,
        };
        if !good {
            return Err(Errno::EINVAL);
        }
    }
    if program.last().is_some_and(|i| i.code & 7 == RET) { Ok(()) } else { Err(Errno::EINVAL) }
}

/// Interprets a checked program.
fn run(program: &[SockFilter], data: &Data) -> u32 {
    let (mut a, mut x, mut at) = (0u32, 0u32, 0usize);
    let mut memory = [0u32; 16];
    let cell = |k: u32| crate::num::to_usize(u64::from(k % MEMORY_WORDS));
    while let Some(&SockFilter { code, jt, jf, k }) = program.get(at) {
        at += 1;
        let operand = if code & FROM_X != 0 { x } else { k };
        match (code & 7, code & !7) {
            (LD, ABS) => a = data.word(k),
            (LD, LEN) => a = DATA_SIZE,
            (LD, IMM) => a = k,
            (LD, MEM) => a = memory.get(cell(k)).copied().unwrap_or(0),
            (LDX, LEN) => x = DATA_SIZE,
            (LDX, IMM) => x = k,
            (LDX, MEM) => x = memory.get(cell(k)).copied().unwrap_or(0),
            (ST | STX, _) => {
                if let Some(slot) = memory.get_mut(cell(k)) {
                    *slot = if code & 7 == ST { a } else { x };
                }
            }
            (ALU, NEG) => a = a.wrapping_neg(),
            (ALU, operation) => match calculate(operation & 0xf0, a, operand) {
                Some(value) => a = value,
                None => return 0,
            },
            (JMP, 0) => at = at.saturating_add(crate::num::to_usize(u64::from(k))),
            (JMP, operation) => {
                let holds = match operation & 0xf0 {
                    0x10 => a == operand,
                    0x20 => a > operand,
                    0x30 => a >= operand,
                    _ => a & operand != 0,
                };
                at += usize::from(if holds { jt } else { jf });
            }
            (RET, 0x10) => return a,
            (RET, _) => return k,
            (_, 0) => x = a,
            _ => a = x,
        }
    }
    0
}

/// One step of arithmetic; `None` for a division by zero, which ends the program with 0.
fn calculate(operation: u16, a: u32, b: u32) -> Option<u32> {
    Some(match operation {
        0x00 => a.wrapping_add(b),
        0x10 => a.wrapping_sub(b),
        0x20 => a.wrapping_mul(b),
        0x30 => a.checked_div(b)?,
        0x40 => a | b,
        0x50 => a & b,
        0x60 => a.wrapping_shl(b),
        0x70 => a.wrapping_shr(b),
        _ => a ^ b,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(code: u16, jt: u8, jf: u8, k: u32) -> SockFilter {
        SockFilter { code, jt, jf, k }
    }

    #[test]
    fn a_filter_sees_number_and_arguments() {
        let program = [
            op(0x20, 0, 0, 0),
            op(0x15, 0, 3, 39),
            op(0x20, 0, 0, 20),
            op(0x15, 0, 1, 7),
            op(0x06, 0, 0, 0x5_0001),
            op(0x06, 0, 0, 0x7fff_0000),
        ];
        assert_eq!(check(&program), Ok(()));
        let data = |number, high: u64| Data { number, at: 0, arguments: [high << 32, 0, 0, 0, 0, 0] };
        assert_eq!(run(&program, &data(39, 7)), 0x5_0001);
        assert_eq!(run(&program, &data(39, 8)), 0x7fff_0000);
        assert_eq!(run(&program, &data(40, 7)), 0x7fff_0000);
    }

    #[test]
    fn programs_that_run_out_or_look_outside_are_refused() {
        assert_eq!(check(&[op(0x20, 0, 0, 0)]), Err(Errno::EINVAL));
        assert_eq!(check(&[op(0x20, 0, 0, 64), op(0x06, 0, 0, 0)]), Err(Errno::EINVAL));
        assert_eq!(check(&[op(0x15, 1, 0, 0), op(0x06, 0, 0, 0)]), Err(Errno::EINVAL));
        assert_eq!(check(&[op(0x34, 0, 0, 0), op(0x06, 0, 0, 0)]), Err(Errno::EINVAL));
        assert_eq!(check(&[]), Err(Errno::EINVAL));
    }
}
