//! `REP MOVS` and `REP STOS`.
//!
//! What always holds: what is done in place goes upwards and, on each side, stays in one page, which the TLB has, so that
//! nothing can stop it halfway. Everything else is the interpreter's, which goes from page to page.

use aurora_machine::{PAGE_SIZE, UserContext};
use iced_x86::{Instruction, Mnemonic as M, OpKind, Register};
use wasm_encoder::{InstructionSink, ValType};

use super::emit::{Emitter, Temp, at, param};
use super::memory::type_of;

/// Bytes of a vector.
const VECTOR: i32 = 16;

/// log2 of the bytes of an element, if the instruction is one of those with addresses of 64 bits.
fn element(insn: &Instruction) -> Option<u8> {
    let repeats = insn.has_rep_prefix() || insn.has_repne_prefix();
    let flat = !matches!(insn.segment_prefix(), Register::FS | Register::GS);
    if !repeats || !flat || insn.op_kind(0) != OpKind::MemoryESRDI {
        return None;
    }
    Some(match insn.mnemonic() {
        M::Movsb | M::Stosb => 0,
        M::Movsw | M::Stosw => 1,
        M::Movsd | M::Stosd => 2,
        M::Movsq | M::Stosq => 3,
        _ => return None,
    })
}

pub(super) fn is_translated(insn: &Instruction) -> bool {
    element(insn).is_some()
}

/// What bytes in our memory become.
#[derive(Clone, Copy)]
enum Bytes {
    /// This number, over and over.
    Fill { pattern: Temp, vector: Temp },
    /// Those from there on.
    Copy { from: u32 },
}

impl Emitter<'_> {
    pub(super) fn repeat(&mut self, insn: &Instruction) {
        let Some(width) = element(insn) else { return };
        let [count, from, to] = [Register::RCX, Register::RSI, Register::RDI].map(|r| self.gpr(r.number()));
        let done = self.open();
        let rare = self.open();
        let label = self.label(rare);
        let control = at(self.layout.control_flags);
        self.i().i32_const(0).i32_load(control).i32_const(UserContext::DIRECTION_FLAG as i32).i32_and();
        self.branch_rarely(label);
        self.i().local_get(count).i64_const(PAGE_SIZE as i64 >> width).i64_gt_u();
        self.branch_rarely(label);
        self.i().local_get(count).i64_const(width.into()).i64_shl();
        let size = self.take(ValType::I64);
        let target = self.range(to, size, true, label);
        if insn.op_kind(1) == OpKind::MemorySegRSI {
            let source = self.range(from, size, false, label);
            // An overlap upwards spreads what was just written.
            self.i().local_get(target).local_get(source).i32_sub();
            self.i().local_get(size.index).i32_wrap_i64().i32_lt_u();
            self.branch_rarely(label);
            self.put(target, size, width, Bytes::Copy { from: source });
            self.i().local_get(from).local_get(size.index).i64_add().local_set(from);
        } else {
            let pattern = self.pattern(width);
            self.i().local_get(pattern.index).i64x2_splat();
            let vector = self.take(ValType::V128);
            self.put(target, size, width, Bytes::Fill { pattern, vector });
        }
        self.i().local_get(to).local_get(size.index).i64_add().local_set(to);
        // The first element is paid for as the instruction.
        self.i().local_get(param::FUEL).local_get(count).i64_sub();
        self.i().local_get(count).i64_const(0).i64_ne().i64_extend_i32_u().i64_add().local_set(param::FUEL);
        self.i().i64_const(0).local_set(count);
        let label = self.label(done);
        self.i().br(label);
        self.close();
        self.call_out(true);
        self.close();
    }

    /// The local of where `size` bytes, at most a page's, from the address in a register on are in our memory. Goes to
    /// `label` unless they are in one page that the TLB has.
    fn range(&mut self, register: u32, size: Temp, writes: bool, label: u32) -> u32 {
        self.i().local_get(register);
        let addr = self.take(ValType::I64);
        let entry = self.push_entry(addr);
        let (tag, host) = self.entry_fields(writes);
        self.i().local_get(entry.index).i64_load(tag).local_get(addr.index).i64_add();
        self.i().i64_const(PAGE_SIZE as i64).local_get(size.index).i64_sub().i64_gt_u();
        self.branch_rarely(label);
        self.push_sum(addr, entry.index, host);
        self.take(ValType::I32).index
    }

    /// RAX's low bytes, over and over.
    fn pattern(&mut self, width: u8) -> Temp {
        let rax = self.gpr(0);
        self.i().local_get(rax);
        let bits = 8_u32 << width;
        if bits < 64 {
            let mask = u64::MAX >> (64 - bits);
            self.i().i64_const(mask as i64).i64_and().i64_const((u64::MAX / mask) as i64).i64_mul();
        }
        self.take(ValType::I64)
    }

    /// Writes `size` bytes: vectors, the last of which may overlap the one before; or, if there are fewer, two of the largest
    /// numbers that fit, likewise.
    fn put(&mut self, to: u32, size: Temp, width: u8, bytes: Bytes) {
        self.i().local_get(size.index).i32_wrap_i64();
        let size = self.take(ValType::I32);
        let done = self.open();
        for log in (width..=super::memory::VECTOR).rev() {
            let less = self.open();
            let label = self.label(less);
            self.i().local_get(size.index).i32_const(1 << log).i32_lt_u().br_if(label);
            self.put_ends(to, size, log, bytes);
            let label = self.label(done);
            self.i().br(label);
            self.close();
        }
        self.close();
    }

    /// The first and last `1 << log` bytes, and for vectors all in between.
    fn put_ends(&mut self, to: u32, size: Temp, log: u8, bytes: Bytes) {
        // The end first, for what is copied may be overwritten.
        self.i().local_get(to).local_get(size.index).i32_add().i32_const(1 << log).i32_sub();
        let last = self.take(ValType::I32);
        self.push_bytes(bytes, log, Some((last, to)));
        let end = self.take(type_of(log));
        if log == super::memory::VECTOR {
            self.put_vectors(to, last, bytes);
        } else {
            self.i().local_get(to);
            self.push_bytes(bytes, log, None);
            store(&mut self.i(), log);
        }
        self.i().local_get(last.index).local_get(end.index);
        store(&mut self.i(), log);
    }

    /// Vectors from `to` up to the last.
    fn put_vectors(&mut self, to: u32, last: Temp, bytes: Bytes) {
        let log = super::memory::VECTOR;
        let again = self.open_loop();
        self.i().local_get(to);
        self.push_bytes(bytes, log, None);
        store(&mut self.i(), log);
        if let Bytes::Copy { from } = bytes {
            self.i().local_get(from).i32_const(VECTOR).i32_add().local_set(from);
        }
        self.i().local_get(to).i32_const(VECTOR).i32_add().local_tee(to).local_get(last.index).i32_lt_u();
        let label = self.label(again);
        self.i().br_if(label);
        self.close();
    }

    /// Pushes `1 << log` bytes: the next; or those for `last`, if the next are for `to`.
    fn push_bytes(&mut self, bytes: Bytes, log: u8, last: Option<(Temp, u32)>) {
        match bytes {
            Bytes::Fill { vector, .. } if log == super::memory::VECTOR => self.get(vector),
            Bytes::Fill { pattern, .. } => {
                self.get(pattern);
                if log < 3 {
                    self.i().i32_wrap_i64();
                }
            }
            Bytes::Copy { from } => {
                self.i().local_get(from);
                if let Some((last, to)) = last {
                    self.i().local_get(last.index).i32_add().local_get(to).i32_sub();
                }
                load(&mut self.i(), log);
            }
        }
    }
}

fn load(sink: &mut InstructionSink<'_>, log: u8) {
    match log {
        0 => sink.i32_load8_u(at(0)),
        1 => sink.i32_load16_u(at(0)),
        2 => sink.i32_load(at(0)),
        3 => sink.i64_load(at(0)),
        _ => sink.v128_load(at(0)),
    };
}

fn store(sink: &mut InstructionSink<'_>, log: u8) {
    match log {
        0 => sink.i32_store8(at(0)),
        1 => sink.i32_store16(at(0)),
        2 => sink.i32_store(at(0)),
        3 => sink.i64_store(at(0)),
        _ => sink.v128_store(at(0)),
    };
}
