//! Random sequences of instructions: a main part with a loop, jumps forward and calls, and a function.
//!
//! Some registers keep pointing into memory (RBX, R12, RSP) or count the loop (R15). What flags mean is followed from
//! instruction to instruction, so that nothing depends on those the manuals leave undefined.

use std::fmt;

use iced_x86::{
    CpuidFeature, Decoder, FlowControl, Instruction, InstructionInfoFactory, Mnemonic as M, OpAccess, OpKind, Register,
};

use super::compare;
use super::floats::is_float;
use super::generate::{Case, OPTIONS, Template};
use super::kept::Kept;
use super::layout::{CODE, DATA, ENTRY};
use super::operands::{has_avx, is_extended_state};
use super::random::Random;
use super::state::{Outcome, State};

/// The status flags.
const STATUS: u64 = 0x8d5;

#[derive(Clone)]
pub struct Sequence {
    pub bytes: Vec<u8>,
    pub state: State,
    pub data: Vec<(u64, Vec<u8>)>,
    pub memory_counts: bool,
    /// Offset, instruction, and the flags undefined before it.
    insns: Vec<(u64, Instruction, u64)>,
    /// Made of one form: compared as such.
    one: Option<Instruction>,
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, insn, _) in &self.insns {
            let bytes: Vec<String> =
                self.bytes[*at as usize..*at as usize + insn.len()].iter().map(|b| format!("{b:02x}")).collect();
            writeln!(f, "  {:x}: {:?} {}", CODE + ENTRY + at, insn.code(), bytes.join(" "))?;
        }
        Ok(())
    }
}

impl Sequence {
    /// A case of a single instruction, if its result depends on nothing but the state.
    pub fn of_one(case: Case) -> Option<Self> {
        let insns = vec![(0, case.insn, 0)];
        let memory_counts = compare::unspecified(&case.insn).is_empty();
        let Case { bytes, insn, state, data } = case;
        Some(Self { bytes, state, data, memory_counts, insns, one: Some(insn) })
    }

    /// One that was kept.
    pub fn of_kept(kept: &Kept) -> Self {
        let Kept { code, state, data, places, .. } = kept.clone();
        let decode = |&(at, undefined): &(u64, u64)| {
            let bytes = &code[at as usize..];
            (at, Decoder::with_ip(64, bytes, CODE + ENTRY + at, OPTIONS).decode(), undefined)
        };
        let insns: Vec<_> = places.iter().map(decode).collect();
        let one = (insns.len() == 1).then(|| insns[0].1);
        let memory_counts = one.is_none_or(|insn| compare::unspecified(&insn).is_empty());
        Self { bytes: code, state, data, memory_counts, insns, one }
    }

    /// To keep it; `memory` is the seed of what is in memory.
    pub fn kept(&self, memory: u64) -> Kept {
        let places = self.insns.iter().map(|&(at, _, undefined)| (at, undefined)).collect();
        Kept { code: self.bytes.clone(), state: self.state.clone(), data: self.data.clone(), memory, places }
    }

    /// The same with nothing where instruction `n` was: `NOP`, or `CMP` where flags were defined. `None` if there is no
    /// room for that, or nothing is there already.
    pub fn without(&self, n: usize) -> Option<Self> {
        let (at, insn, _) = *self.insns.get(n).filter(|_| self.one.is_none())?;
        let defines = flags(insn.rflags_modified()) & !flags(insn.rflags_undefined()) != 0;
        let mut nothing = vec![0x90; insn.len()];
        if defines {
            nothing.get_mut(..2)?.copy_from_slice(&[0x39, 0xc0]);
        }
        let place = at as usize..at as usize + insn.len();
        if insn.mnemonic() == M::Int3 || self.bytes[place.clone()] == nothing[..] {
            return None;
        }
        let mut kept = self.kept(0);
        kept.code[place].copy_from_slice(&nothing);
        Some(Self::of_kept(&kept))
    }

    /// The bytes of instruction `n`.
    pub fn instruction(&self, n: usize) -> &[u8] {
        let (at, insn, _) = &self.insns[n];
        &self.bytes[*at as usize..*at as usize + insn.len()]
    }

    /// How many instructions it has.
    pub fn len(&self) -> usize {
        self.insns.len()
    }

    /// What failures of the same kind have in common.
    pub fn name(&self, what: &str) -> String {
        match &self.one {
            Some(insn) => format!("{:?}", insn.code()),
            None => what.split_whitespace().take(2).collect::<Vec<_>>().join(" "),
        }
    }

    /// The first difference, in words.
    pub fn difference(&self, host: &Outcome, bpe: &Outcome) -> Option<String> {
        if let Some(insn) = &self.one {
            return compare::difference(insn, host, bpe);
        }
        let nop = Instruction::default();
        // Flags are compared with what is known of them where it ended.
        let ended = if host.vector == 3 { host.state.rip.wrapping_sub(1) } else { host.state.rip };
        let place = ended.wrapping_sub(CODE + ENTRY);
        let undefined = self.insns.iter().find(|i| i.0 == place).map_or(STATUS, |i| i.2);
        let (mut host, mut bpe) = (host.clone(), bpe.clone());
        host.state.rflags &= !undefined;
        bpe.state.rflags &= !undefined;
        compare::difference(&nop, &host, &bpe)
    }
}

/// Registers that keep their meaning: RBX, RSP, R12, R15.
const KEPT: [usize; 4] = [3, 4, 12, 15];

/// A displacement to fill in.
struct Jump {
    at: usize,
    bytes: usize,
    /// The instruction it leads to, by number.
    target: u64,
    /// Flags undefined on the way.
    undefined: u64,
}

struct Builder<'a> {
    r: &'a mut Random,
    templates: &'a [Template],
    info: InstructionInfoFactory,
    bytes: Vec<u8>,
    insns: Vec<(u64, Instruction, u64)>,
    /// Flags undefined here.
    undefined: u64,
    /// Inside the function, whose return address must stay where it is.
    called: bool,
    /// Nothing but floats, in few registers: what is known of them then matters.
    floats: bool,
}

/// A random sequence of 4 to 64 instructions.
pub fn random(r: &mut Random, templates: &[Template]) -> Sequence {
    let floats = r.one_in(4);
    let state = start(r, floats);
    let length = 4 + r.below(60);
    let mut b = Builder {
        r,
        templates,
        info: InstructionInfoFactory::new(),
        bytes: Vec::new(),
        insns: Vec::new(),
        undefined: 0,
        called: false,
        floats,
    };
    b.main(length);
    let Builder { bytes, insns, .. } = b;
    Sequence { bytes, state, data: Vec::new(), memory_counts: true, insns, one: None }
}

fn start(r: &mut Random, floats: bool) -> State {
    let mut state = State::default();
    state.gpr.fill_with(|| r.integer());
    state.gpr[3] = DATA + 1024 + (r.below(2048) & !31);
    state.gpr[12] = DATA + 5120 + (r.below(512) & if r.one_in(4) { !0 } else { !31 });
    // Apart from the others: an overwritten return address could lead anywhere, and on for ever.
    state.gpr[4] = DATA + 7008 + (r.below(900) & if r.one_in(2) { !7 } else { !31 });
    state.gpr[13] = r.below(64);
    state.gpr[15] = 1 + r.below(6);
    state.rflags = 0x20_0202 | r.next() & STATUS;
    state.rip = CODE + ENTRY;
    let numbers = r.below(if floats { 2 } else { 3 });
    let mut half = || match numbers {
        // Numbers arithmetic is easy with, so that it goes on being so for a while.
        0 => {
            let mut number = || u128::from(((r.next() % 1_000_000) as f64 / 64.0 - 5000.0).to_bits());
            number() | number() << 64
        }
        1 => {
            let mut number = || u128::from(((r.next() % 100_000) as f32 / 16.0 - 500.0).to_bits());
            number() | number() << 32 | number() << 64 | number() << 96
        }
        _ => r.vector(),
    };
    state.fx.xmm.fill_with(&mut half);
    if has_avx() {
        state.ymm_high.fill_with(half);
    }
    if floats && r.one_in(3) {
        state.fx.xmm[r.below(4) as usize] = r.vector();
    }
    state.fx.mxcsr = 0x1f80 | if r.one_in(4) { r.next() as u32 & 0x3f } else { 0x20 };
    if r.one_in(10) {
        state.fx.mxcsr ^= r.pick(&[0x40, 0x8000, 0x2000, 0x6000]);
    }
    state
}

impl Builder<'_> {
    fn main(&mut self, length: u64) {
        // Calls to patch: where the displacement is.
        let mut calls = Vec::new();
        let mut jumps: Vec<Jump> = Vec::new();
        let head = self.r.below(length / 2 + 1);
        let tail = head + 1 + self.r.below(length - head);
        let mut loop_start = None;
        for n in 0..length {
            self.land(&mut jumps, n);
            if n == head {
                self.define_flags();
                loop_start = Some(self.bytes.len());
            }
            match self.r.below(14) {
                0 | 1 => {
                    let skip = 1 + self.r.below(5);
                    // No jump into or out of the loop.
                    let limit = if n < head {
                        head
                    } else if n < tail {
                        tail
                    } else {
                        length
                    };
                    if n + skip < limit {
                        self.jump_forward(&mut jumps, n + skip);
                    }
                    // Two places, one of which an address says.
                    let other = 1 + self.r.below(3);
                    if self.r.one_in(3) && n + skip + other < limit {
                        self.jump_indirect(&mut jumps, [n + skip, n + skip + other]);
                    }
                }
                2 if self.r.one_in(3) => {
                    self.raw(&[0xe8, 0, 0, 0, 0]);
                    calls.push(self.bytes.len());
                    self.undefined = STATUS;
                    self.define_flags();
                }
                _ => self.instruction(),
            }
            if n + 1 == tail
                && let Some(start) = loop_start.take()
            {
                self.land(&mut jumps, tail);
                // SUB R15D, 1; JNZ.
                self.raw(&[0x41, 0x83, 0xef, 0x01]);
                let back = start as i64 - (self.bytes.len() as i64 + 6);
                let mut jump = vec![0x0f, 0x85];
                jump.extend((back as i32).to_le_bytes());
                self.raw(&jump);
            }
        }
        self.land(&mut jumps, u64::MAX);
        self.raw(&[0xcc]);
        let function = self.bytes.len();
        self.undefined = 0;
        self.called = true;
        self.define_flags();
        for _ in 0..self.r.below(6) {
            self.instruction();
        }
        self.raw(&[0xc3]);
        for call in calls {
            let distance = function as i64 - call as i64;
            self.bytes[call - 4..call].copy_from_slice(&(distance as i32).to_le_bytes());
        }
        self.decode_again();
    }

    /// Displacements were filled in since.
    fn decode_again(&mut self) {
        for (at, insn, _) in &mut self.insns {
            let bytes = &self.bytes[*at as usize..];
            *insn = Decoder::with_ip(64, bytes, CODE + ENTRY + *at, OPTIONS).decode();
        }
    }

    /// Jumps to here are told so; what is undefined on their way is undefined here.
    fn land(&mut self, jumps: &mut Vec<Jump>, n: u64) {
        let here = self.bytes.len();
        let mut arrived = 0;
        jumps.retain(|jump| {
            if jump.target > n {
                return true;
            }
            arrived |= jump.undefined;
            let place = jump.at..jump.at + jump.bytes;
            let distance = ((here - place.end) as u32).to_le_bytes();
            self.bytes[place].copy_from_slice(&distance[..jump.bytes]);
            false
        });
        self.undefined |= arrived;
    }

    fn jump_forward(&mut self, jumps: &mut Vec<Jump>, target: u64) {
        let cc = self.r.below(16) as u8;
        let insn = self.decode(&[0x70 | cc, 0]);
        if reads_flags(&insn) & self.undefined != 0 {
            return self.instruction();
        }
        self.raw(&[0x70 | cc, 0]);
        jumps.push(Jump { at: self.bytes.len() - 1, bytes: 1, target, undefined: self.undefined });
    }

    /// LEA R14, first; LEA R11, second; CMOVcc R14, R11; JMP R14.
    fn jump_indirect(&mut self, jumps: &mut Vec<Jump>, targets: [u64; 2]) {
        let cc = self.r.below(16) as u8;
        let choose = [0x4d, 0x0f, 0x40 | cc, 0xf3];
        if reads_flags(&self.decode(&choose)) & self.undefined != 0 {
            return self.instruction();
        }
        for (target, lea) in targets.into_iter().zip([[0x4c, 0x8d, 0x35], [0x4c, 0x8d, 0x1d]]) {
            self.raw(&[&lea[..], &[0; 4]].concat());
            jumps.push(Jump { at: self.bytes.len() - 4, bytes: 4, target, undefined: self.undefined });
        }
        self.raw(&choose);
        self.raw(&[0x41, 0xff, 0xe6]);
    }

    /// CMP R8, R9: from here on all flags are defined.
    fn define_flags(&mut self) {
        self.raw(&[0x4d, 0x39, 0xc8]);
        self.undefined = 0;
    }

    fn decode(&self, bytes: &[u8]) -> Instruction {
        Decoder::with_ip(64, bytes, CODE + ENTRY + self.bytes.len() as u64, OPTIONS).decode()
    }

    fn raw(&mut self, bytes: &[u8]) {
        let insn = self.decode(bytes);
        self.insns.push((self.bytes.len() as u64, insn, self.undefined));
        self.bytes.extend(bytes);
    }

    /// Some instruction that may stand here.
    fn instruction(&mut self) {
        for _ in 0..1000 {
            let template = self.r.pick(self.templates);
            let bytes = template.random(self.r);
            let insn = self.decode(&bytes);
            if insn.is_invalid() || insn.code() != template.code || !self.may_stand(&insn) {
                continue;
            }
            if insn.is_vsib() && !self.r.one_in(8) {
                self.shrink(insn.memory_index().number() as u8, insn.is_vsib32());
            }
            self.raw(&bytes[..insn.len()]);
            self.undefined |= flags(insn.rflags_undefined());
            if is_shift(&insn) {
                // By zero they change nothing, so nothing becomes defined; OF is for counts of 1 only.
                self.undefined |= 1 << 11;
            } else {
                self.undefined &= !(flags(insn.rflags_modified()) & !flags(insn.rflags_undefined()));
            }
            return;
        }
    }

    /// VPSRLD or VPSRLQ of a register by so much that its elements are small indices.
    fn shrink(&mut self, register: u8, narrow: bool) {
        let (opcode, count) = if narrow { (0x72, 24) } else { (0x73, 56) };
        let extended = if register < 8 { 0xe1 } else { 0xc1 };
        self.raw(&[0xc4, extended, !register << 3 & 0x78 | 5, opcode, 0xd0 | register & 7, count]);
    }

    fn may_stand(&mut self, insn: &Instruction) -> bool {
        let old = insn
            .cpuid_features()
            .iter()
            .any(|f| matches!(f, CpuidFeature::FPU | CpuidFeature::FPU287 | CpuidFeature::FPU387 | CpuidFeature::MMX));
        let mmx = (0..insn.op_count()).any(|i| insn.op_kind(i) == OpKind::Register && insn.op_register(i).is_mm());
        let left_out = matches!(
            insn.mnemonic(),
            M::Rcpps
                | M::Rcpss
                | M::Rsqrtps
                | M::Rsqrtss
                | M::Vrcpps
                | M::Vrcpss
                | M::Vrsqrtps
                | M::Vrsqrtss
                | M::Fxsave
                | M::Fxsave64
                | M::Fxrstor
                | M::Fxrstor64
                | M::Emms
                | M::Pushf
                | M::Pushfq
                | M::Popf
                | M::Popfq
                | M::Lahf
                | M::Enter
                | M::Leave
                | M::Xlatb
                | M::Maskmovdqu
                | M::Vmaskmovdqu
                | M::Std
                | M::Ldmxcsr
                | M::Vldmxcsr
                | M::Rdrand
                | M::Rdseed
        );
        if self.floats && !is_float(insn) {
            return false;
        }
        if self.called && (insn.is_stack_instruction() || insn.memory_base() == Register::RSP) {
            return false;
        }
        let odd = insn.is_string_instruction() || insn.flow_control() != FlowControl::Next;
        // Nothing would come after what is refused, and single instructions try that.
        let refused = insn.is_privileged() || insn.memory_displ_size() == 8 && insn.memory_base() == Register::None;
        // Like other images of the state it has parts that are the processor's own.
        let left_out = left_out || is_extended_state(insn);
        if old || mmx || left_out || odd || refused || reads_flags(insn) & self.undefined != 0 {
            return false;
        }
        // A scan of zero and a shift of 16 bits by more leave what nobody defined.
        if matches!(insn.mnemonic(), M::Bsf | M::Bsr | M::Shld | M::Shrd) {
            return false;
        }
        self.info.info(insn).used_registers().iter().all(|used| {
            let register = used.register();
            let writes = !matches!(used.access(), OpAccess::Read | OpAccess::CondRead | OpAccess::None);
            !(writes && register.is_gpr() && KEPT.contains(&register.full_register().number()))
                && register != Register::DS
                && register != Register::FS
                || insn.is_stack_instruction() && register == Register::RSP
        })
    }
}

fn is_shift(insn: &Instruction) -> bool {
    matches!(insn.mnemonic(), M::Shl | M::Sal | M::Shr | M::Sar | M::Rol | M::Ror | M::Rcl | M::Rcr | M::Shld | M::Shrd)
}

/// iced's flags as RFLAGS has them.
fn flags(bits: u32) -> u64 {
    use iced_x86::RflagsBits as F;
    [(F::OF, 1 << 11), (F::SF, 1 << 7), (F::ZF, 1 << 6), (F::AF, 1 << 4), (F::CF, 1), (F::PF, 1 << 2)]
        .iter()
        .filter(|(bit, _)| bits & bit != 0)
        .map(|&(_, flag)| flag)
        .sum()
}

fn reads_flags(insn: &Instruction) -> u64 {
    flags(insn.rflags_read())
}
