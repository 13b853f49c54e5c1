//! Lowering of everything but vectors and x87.

use iced_x86::{Code, ConditionCode, Instruction, Mnemonic as M, OpKind, Register};

use super::{Form, Lowering};
use crate::op::{Op, RBX, Run, slot};
use crate::ops::alu::{self, Adc, Add, And, Dec, Inc, Neg, Not, Or, Sbb, Sub, Xor};
use crate::ops::bits::{self, Bsf, Bsr, Complement, Keep, Lzcnt, Popcnt, Reset, Set, Tzcnt};
use crate::ops::multiply::{self, Wide};
use crate::ops::operand::{Dst, Mem, Src, by_width};
use crate::ops::shift::{self, Rcl, Rcr, Rol, Ror, Sar, Shl, Shr};
use crate::ops::stack::{self, PushKind};
use crate::ops::string::{self, Cmps, Element, Lods, Movs, Scas, Stos};
use crate::ops::{branch, swap, system, transfer};

impl Lowering<'_> {
    /// The handler, with what it needs filled in; `None` if the instruction is not of this family.
    pub(super) fn integer(&mut self) -> Option<Run> {
        self.arithmetic()
            .or_else(|| self.bit_operation())
            .or_else(|| self.bmi())
            .or_else(|| self.transfer())
            .or_else(|| self.control())
            .or_else(|| self.stack())
            .or_else(|| self.string())
            .or_else(|| self.system())
    }

    fn arithmetic(&mut self) -> Option<Run> {
        let (memory, size) = (self.is_memory(0), self.size(0));
        let binary = |f: fn(Form, usize) -> Run, this: &Self| Some(f(this.form(), size));
        match self.insn.mnemonic() {
            M::Add => binary(alu::binary_handler::<Add>, self),
            M::Adc => binary(alu::binary_handler::<Adc>, self),
            M::Sub => binary(alu::binary_handler::<Sub>, self),
            M::Sbb => binary(alu::binary_handler::<Sbb>, self),
            M::And => binary(alu::binary_handler::<And>, self),
            M::Or => binary(alu::binary_handler::<Or>, self),
            M::Xor => binary(alu::binary_handler::<Xor>, self),
            M::Cmp => binary(alu::compare_handler::<Sub>, self),
            M::Test => binary(alu::compare_handler::<And>, self),
            M::Inc => Some(alu::unary_handler::<Inc>(memory, size)),
            M::Dec => Some(alu::unary_handler::<Dec>(memory, size)),
            M::Neg => Some(alu::unary_handler::<Neg>(memory, size)),
            M::Not => Some(alu::unary_handler::<Not>(memory, size)),
            M::Mul => Some(multiply::wide_handler(Wide::Mul, memory, size)),
            M::Div => Some(multiply::wide_handler(Wide::Div, memory, size)),
            M::Idiv => Some(multiply::wide_handler(Wide::Idiv, memory, size)),
            M::Imul if self.insn.op_count() == 1 => Some(multiply::wide_handler(Wide::Imul, memory, size)),
            M::Imul => Some(multiply::imul_handler(self.is_memory(1), self.insn.op_count() == 3, size)),
            M::Shl | M::Sal => Some(self.shift(shift::shift_handler::<Shl>)),
            M::Shr => Some(self.shift(shift::shift_handler::<Shr>)),
            M::Sar => Some(self.shift(shift::shift_handler::<Sar>)),
            M::Rol => Some(self.shift(shift::shift_handler::<Rol>)),
            M::Ror => Some(self.shift(shift::shift_handler::<Ror>)),
            M::Rcl => Some(self.shift(shift::shift_handler::<Rcl>)),
            M::Rcr => Some(self.shift(shift::shift_handler::<Rcr>)),
            M::Shld | M::Shrd => {
                let left = self.insn.mnemonic() == M::Shld;
                Some(shift::double_handler(left, memory, self.insn.op_kind(2) == OpKind::Register, size))
            }
            _ => None,
        }
    }

    fn shift(&self, handler: fn(bool, bool, usize) -> Run) -> Run {
        handler(self.is_memory(0), self.insn.op_kind(1) == OpKind::Register, self.size(0))
    }

    fn bit_operation(&mut self) -> Option<Run> {
        let (memory, size) = (self.is_memory(1), self.size(0));
        if self.insn.op_count() == 2 && self.insn.op_kind(1) == OpKind::Register && self.is_memory(0) {
            // What a bit string with 32-bit addresses starts from.
            self.op.aux = u16::from(self.segment());
        }
        Some(match self.insn.mnemonic() {
            M::Bt => bits::bit_handler::<Keep>(self.form(), size),
            M::Bts => bits::bit_handler::<Set>(self.form(), size),
            M::Btr => bits::bit_handler::<Reset>(self.form(), size),
            M::Btc => bits::bit_handler::<Complement>(self.form(), size),
            M::Bsf => bits::scan_handler::<Bsf>(memory, size),
            M::Bsr => bits::scan_handler::<Bsr>(memory, size),
            M::Tzcnt => bits::scan_handler::<Tzcnt>(memory, size),
            M::Lzcnt => bits::scan_handler::<Lzcnt>(memory, size),
            M::Popcnt => bits::scan_handler::<Popcnt>(memory, size),
            M::Crc32 => bits::crc32_handler(memory, self.size(1)),
            M::Bswap => by_width!(size, transfer::bswap),
            M::Xchg => swap::xchg_handler(memory_operand_first(self), size),
            M::Xadd => swap::xadd_handler(self.is_memory(0), size),
            M::Cmpxchg => swap::cmpxchg_handler(self.is_memory(0), size),
            M::Cmpxchg8b => swap::cmpxchg8b,
            M::Cmpxchg16b => swap::cmpxchg16b,
            _ => return None,
        })
    }

    fn transfer(&mut self) -> Option<Run> {
        let (memory, size) = (self.is_memory(1), self.size(0));
        let mnemonic = self.insn.mnemonic();
        Some(match mnemonic {
            M::Mov => return self.mov(),
            M::Movzx => transfer::zero_extend_handler(memory, size, self.size(1)),
            M::Movsx | M::Movsxd => match (size, self.size(1)) {
                // MOVSXD with a 32- or 16-bit destination only moves.
                (to, from) if to <= from => transfer::mov_handler(self.form(), to),
                (to, from) => transfer::sign_extend_handler(memory, to, from),
            },
            M::Lea => by_width!(size, transfer::lea),
            M::Cbw => transfer::extend_accumulator::<u16, u8>,
            M::Cwde => transfer::extend_accumulator::<u32, u16>,
            M::Cdqe => transfer::extend_accumulator::<u64, u32>,
            M::Cwd => transfer::extend_into_rdx::<u16>,
            M::Cdq => transfer::extend_into_rdx::<u32>,
            M::Cqo => transfer::extend_into_rdx::<u64>,
            M::Movbe if memory => by_width!(size, transfer::movbe, Dst, Mem),
            M::Movbe => by_width!(size, transfer::movbe, Mem, Src),
            M::Movnti => by_width!(size, system::store_register),
            M::Xlatb => {
                self.op.base = RBX;
                self.segment_into_index();
                if self.insn.memory_base() == Register::EBX {
                    self.op.attributes |= Op::NARROW;
                }
                transfer::xlat
            }
            _ if self.insn.condition_code() == ConditionCode::None || self.insn.is_jcc_short_or_near() => return None,
            _ if self.insn.op_count() == 1 && size == 1 => transfer::setcc_handler(self.is_memory(0), self.condition()),
            _ if self.insn.op_count() == 2 && self.insn.op_register(0).is_gpr() => {
                transfer::cmov_handler(memory, size, self.condition())
            }
            _ => return None,
        })
    }

    fn is_segment(&self, i: u32) -> bool {
        self.insn.op_kind(i) == OpKind::Register && self.insn.op_register(i).is_segment_register()
    }

    fn mov(&mut self) -> Option<Run> {
        if self.is_segment(1) {
            self.op.imm = selector(self.insn.op_register(1));
            let store = system::store_selector as Run;
            return Some(if self.is_memory(0) { store } else { transfer::mov_handler(Form::RegImm, self.size(0)) });
        }
        if self.is_segment(0) {
            return Some(match self.insn.op_register(0) {
                Register::CS => system::invalid,
                _ if self.is_memory(1) => system::load_selector_memory,
                _ => system::load_selector,
            });
        }
        let special = |i| self.insn.op_kind(i) == OpKind::Register && !self.insn.op_register(i).is_gpr();
        if special(0) || special(1) {
            return Some(system::general_protection);
        }
        Some(transfer::mov_handler(self.form(), self.size(0)))
    }

    /// The condition in the low four bits of the opcode.
    fn condition(&self) -> u8 {
        use ConditionCode as C;
        match self.insn.condition_code() {
            C::o => 0,
            C::no => 1,
            C::b => 2,
            C::ae => 3,
            C::e => 4,
            C::ne => 5,
            C::be => 6,
            C::a => 7,
            C::s => 8,
            C::ns => 9,
            C::p => 10,
            C::np => 11,
            C::l => 12,
            C::ge => 13,
            C::le => 14,
            _ => 15,
        }
    }

    fn control(&mut self) -> Option<Run> {
        let indirect_memory = self.is_memory(0);
        Some(match self.insn.mnemonic() {
            M::Jmp if self.insn.is_jmp_short_or_near() => branch::jmp,
            M::Jmp if self.insn.is_jmp_near_indirect() => branch::jump_handler(indirect_memory),
            M::Call if self.insn.is_call_near() => branch::call,
            M::Call if self.insn.is_call_near_indirect() => branch::call_handler(indirect_memory),
            M::Jmp | M::Call | M::Retf | M::Iret | M::Iretd | M::Iretq => system::general_protection,
            M::Ret => branch::ret,
            M::Jrcxz => branch::jump_if_rcx_zero_handler(8),
            M::Jecxz => branch::jump_if_rcx_zero_handler(4),
            M::Loop | M::Loope | M::Loopne => {
                self.op.aux = match self.insn.mnemonic() {
                    M::Loop => 0,
                    M::Loope => 1,
                    _ => 2,
                };
                let narrow = matches!(
                    self.insn.code(),
                    Code::Loop_rel8_64_ECX | Code::Loope_rel8_64_ECX | Code::Loopne_rel8_64_ECX
                );
                if narrow { branch::loop_rcx::<u32> } else { branch::loop_rcx::<u64> }
            }
            _ if self.insn.is_jcc_short_or_near() => return self.conditional_jump(),
            _ => return None,
        })
    }

    /// `Jcc`, made one op with a comparison just before it if the target is near.
    fn conditional_jump(&mut self) -> Option<Run> {
        let cc = self.condition();
        let near = i16::try_from(self.op.imm as i64).ok().filter(|t| (0..4096).contains(t));
        if let (Some(target), Some(last)) = (near, self.ops.last())
            && last.count + 1 == self.op.count
            && last.next() == u64::from(self.op.ip)
            && let Some(run) = self.previous.and_then(|comparison| comparison.with_jump(cc))
        {
            let fused = Op { run, aux: target as u16, len: last.len + self.op.len, ..*last };
            self.ops.pop();
            self.op = fused;
            return Some(run);
        }
        Some(branch::jcc_handler(cc))
    }

    fn stack(&mut self) -> Option<Run> {
        // What has no operand to tell the size from has it in the change of RSP.
        let size = self.insn.stack_pointer_increment().unsigned_abs() as usize;
        let narrow = size == 2;
        Some(match self.insn.mnemonic() {
            M::Push if self.is_segment(0) => {
                self.op.imm = selector(self.insn.op_register(0));
                stack::push_constant_handler(size)
            }
            M::Push => {
                let kind = match self.insn.op_kind(0) {
                    OpKind::Register => PushKind::Register,
                    OpKind::Memory => PushKind::Memory,
                    _ => PushKind::Immediate,
                };
                stack::push_handler(kind, size)
            }
            M::Pop if self.is_segment(0) && narrow => stack::pop_segment::<u16>,
            M::Pop if self.is_segment(0) => stack::pop_segment::<u64>,
            M::Pop => stack::pop_handler(self.is_memory(0), size),
            M::Pushf => stack::push_flags::<u16>,
            M::Pushfq => stack::push_flags::<u64>,
            M::Popf => stack::pop_flags::<u16>,
            M::Popfq => stack::pop_flags::<u64>,
            M::Lahf => stack::lahf,
            M::Sahf => stack::sahf,
            M::Leave if self.insn.code() == Code::Leavew => stack::leave::<u16>,
            M::Leave => stack::leave::<u64>,
            M::Enter => {
                self.op.imm = u64::from(self.insn.immediate16());
                self.op.aux = u16::from(self.insn.immediate8_2nd() & 31);
                self.op.attributes |= Op::STACK;
                if self.insn.code() == Code::Enterw_imm16_imm8 { stack::enter::<u16> } else { stack::enter::<u64> }
            }
            _ => return None,
        })
    }

    fn string(&mut self) -> Option<Run> {
        // CMPSD and MOVSD are vector instructions too.
        if !self.insn.is_string_instruction() {
            return None;
        }
        let size = self.insn.memory_size().size();
        Some(match self.insn.mnemonic() {
            M::Movsb | M::Movsw | M::Movsd | M::Movsq => self.string_of::<Movs>(size),
            M::Stosb | M::Stosw | M::Stosd | M::Stosq => self.string_of::<Stos>(size),
            M::Lodsb | M::Lodsw | M::Lodsd | M::Lodsq => self.string_of::<Lods>(size),
            M::Cmpsb | M::Cmpsw | M::Cmpsd | M::Cmpsq => self.string_of::<Cmps>(size),
            M::Scasb | M::Scasw | M::Scasd | M::Scasq => self.string_of::<Scas>(size),
            _ => system::general_protection,
        })
    }

    fn string_of<E: Element>(&mut self, size: usize) -> Run {
        let narrow = (0..self.insn.op_count())
            .any(|i| matches!(self.insn.op_kind(i), OpKind::MemorySegESI | OpKind::MemoryESEDI));
        let (rep, repne) = (self.insn.has_rep_prefix(), self.insn.has_repne_prefix());
        if narrow {
            self.op.aux |= string::NARROW;
        }
        // Where nothing is compared both prefixes mean the same.
        if rep || repne && !E::COMPARES {
            self.op.aux |= string::REPEAT;
        } else if repne {
            self.op.aux |= string::REPEAT_NOT;
        }
        self.segment_into_base();
        string::string_handler::<E>(rep || repne, size)
    }

    fn segment(&self) -> u8 {
        match self.insn.segment_prefix() {
            Register::FS => slot::FS,
            Register::GS => slot::GS,
            _ => slot::ZERO,
        }
    }
    fn segment_into_base(&mut self) {
        self.op.base = self.segment();
    }
    fn segment_into_index(&mut self) {
        self.op.index = self.segment();
    }

    fn system(&mut self) -> Option<Run> {
        let size = self.size(0);
        Some(match self.insn.mnemonic() {
            M::Nop | M::Pause | M::Endbr64 | M::Endbr32 | M::Rdsspd | M::Rdsspq | M::Lfence | M::Mfence | M::Sfence => {
                system::nop
            }
            M::Prefetch | M::Prefetchw | M::Prefetchwt1 | M::Prefetchnta => system::nop,
            // AMD's processors have nothing where Intel's have another NOP.
            M::Reservednop if is_0f0d(self.insn) => system::invalid,
            M::Prefetcht0 | M::Prefetcht1 | M::Prefetcht2 | M::Reservednop => system::nop,
            M::Syscall => system::syscall,
            M::Int => system::int,
            M::Int3 => {
                self.op.imm = 3;
                system::int
            }
            M::Int1 => system::int1,
            M::Clc => system::clc,
            M::Stc => system::stc,
            M::Cmc => system::cmc,
            M::Cld => system::cld,
            M::Std => system::std,
            M::Cpuid => system::cpuid,
            M::Rdtsc => self.ask(0),
            M::Rdtscp => self.ask(1),
            M::Rdrand | M::Rdseed => self.ask(size as u16 * 8),
            M::Clflush => system::touch,
            M::Verr | M::Verw | M::Lar | M::Lsl => system::no_descriptor,
            M::Hlt | M::Cli | M::Sti | M::In | M::Out | M::Lgdt | M::Lidt | M::Lldt | M::Ltr | M::Lmsw | M::Clts => {
                system::general_protection
            }
            M::Invlpg | M::Invd | M::Wbinvd | M::Rdmsr | M::Wrmsr | M::Rdpmc | M::Swapgs | M::Xsetbv => {
                system::general_protection
            }
            M::Sgdt | M::Sidt | M::Sldt | M::Str | M::Smsw | M::Sysret | M::Sysretq => system::general_protection,
            _ => return None,
        })
    }

    fn ask(&mut self, what: u16) -> Run {
        self.op.aux = what;
        system::ask
    }
}

/// `XCHG` may have its memory operand on either side; the register is then `src`.
fn memory_operand_first(lowering: &mut Lowering<'_>) -> bool {
    if lowering.is_memory(1) {
        lowering.op.src = lowering.op.dst;
        return true;
    }
    lowering.is_memory(0)
}

/// What a segment register reads as.
fn selector(register: Register) -> u64 {
    match register {
        Register::CS => system::USER_CS,
        Register::SS => system::USER_SS,
        _ => 0,
    }
}

fn is_0f0d(insn: &Instruction) -> bool {
    use Code as C;
    matches!(insn.code(), C::Reservednop_rm16_r16_0F0D | C::Reservednop_rm32_r32_0F0D | C::Reservednop_rm64_r64_0F0D)
}
