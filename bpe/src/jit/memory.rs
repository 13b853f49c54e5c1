//! Guest memory in translated code: the TLB is looked at in place, and what it does not have goes through a call.
//!
//! What always holds: a page is found by one subtraction and one comparison. The tag is the page's address, so an address
//! less the tag is below the page's size less the operand's only if the whole operand is in that page.

use aurora_machine::PAGE_SIZE;
use iced_x86::{Instruction, Mnemonic, Register};
use wasm_encoder::{BlockType, ValType};

use super::emit::{Emitter, Temp, at, param};
use super::layout::function;
use crate::tlb::FAST;

/// How a place in memory is reached after the TLB was asked.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    addr: Temp,
    /// The TLB has it.
    hit: Temp,
    entry: Temp,
    pub(crate) spec: i32,
}

/// [`Place::spec`]: a non-canonical address is a stack fault.
pub(crate) const STACK: i32 = 1 << 8;
/// The place will be written.
pub(crate) const WRITE: i32 = 1 << 9;

/// The width of a vector: log2 of 16 bytes.
pub(crate) const VECTOR: u8 = 4;

pub(crate) fn type_of(width: u8) -> ValType {
    match width {
        0..3 => ValType::I32,
        3 => ValType::I64,
        _ => ValType::V128,
    }
}

impl Emitter<'_> {
    /// Pushes the address of the memory operand.
    pub(crate) fn push_operand_address(&mut self, insn: &Instruction) {
        let disp = insn.memory_displacement64() as i64;
        let base = insn.memory_base();
        let index = insn.memory_index();
        let mut some = false;
        if matches!(base, Register::RIP | Register::EIP) {
            self.push_address(disp);
            some = true;
        } else {
            if base != Register::None {
                let local = self.gpr(base.full_register().number());
                self.i().local_get(local);
                some = true;
            }
            if index != Register::None {
                let local = self.gpr(index.full_register().number());
                let shift = i64::from(insn.memory_index_scale().trailing_zeros());
                self.i().local_get(local);
                if shift != 0 {
                    self.i().i64_const(shift).i64_shl();
                }
                if some {
                    self.i().i64_add();
                }
                some = true;
            }
            if !some {
                self.i().i64_const(disp);
            } else if disp != 0 {
                self.i().i64_const(disp).i64_add();
            }
        }
        if is_narrow(insn) {
            self.i().i64_const(0xffff_ffff).i64_and();
        }
        let segment = match insn.memory_segment() {
            _ if insn.mnemonic() == Mnemonic::Lea => return,
            Register::FS => self.layout.fs,
            Register::GS => self.layout.gs,
            _ => return,
        };
        self.i().i32_const(0).i64_load(at(segment)).i64_add();
    }

    /// What slow accesses of this operand need to know.
    pub(crate) fn operand_spec(insn: &Instruction) -> i32 {
        let stack = matches!(insn.memory_base(), Register::RSP | Register::RBP | Register::ESP | Register::EBP);
        let plain = !matches!(insn.memory_segment(), Register::FS | Register::GS);
        if stack && plain && insn.segment_prefix() != Register::DS { STACK } else { 0 }
    }

    /// Asks the TLB for `1 << width` bytes at the address on the stack.
    fn probe(&mut self, width: u8, spec: i32) -> Place {
        let addr = self.take(ValType::I64);
        let (entry, hit) = (self.temp(ValType::I32), self.temp(ValType::I32));
        let tag = self.layout.fast + if spec & WRITE != 0 { FAST.write } else { FAST.read };
        let room = (PAGE_SIZE as i64) - (1 << width) + 1;
        self.i()
            .local_get(addr.index)
            .local_get(addr.index)
            .i32_wrap_i64()
            .i32_const(12 - FAST.shift as i32)
            .i32_shr_u()
            .i32_const(((FAST.entries - 1) << FAST.shift) as i32)
            .i32_and()
            .local_tee(entry.index)
            .i64_load(at(tag))
            .i64_sub()
            .i64_const(room)
            .i64_lt_u()
            .local_tee(hit.index);
        Place { addr, hit, entry, spec: spec | 1 << width }
    }

    /// Pushes the host address of a place the TLB has.
    fn push_host(&mut self, place: Place) {
        let host = at(self.layout.fast + FAST.host);
        self.i().local_get(place.addr.index).i32_wrap_i64().local_get(place.entry.index).i32_load(host).i32_add();
    }

    /// Loads an operand of `1 << width` bytes from the address on the stack; it replaces the address, of
    /// [`type_of`] its width.
    pub(crate) fn load(&mut self, width: u8, spec: i32) {
        let place = self.probe(width, spec);
        self.load_place(place, width);
    }

    fn load_place(&mut self, place: Place, width: u8) {
        self.open_if(BlockType::Result(type_of(width)));
        self.push_host(place);
        let zero = at(0);
        match width {
            0 => self.i().i32_load8_u(zero),
            1 => self.i().i32_load16_u(zero),
            2 => self.i().i32_load(zero),
            3 => self.i().i64_load(zero),
            _ => self.i().v128_load(zero),
        };
        self.or_else();
        self.i().local_get(place.addr.index).i32_const(place.spec).call(function::LOAD);
        self.leave_if_stopped();
        match width {
            0..3 => _ = self.i().i32_wrap_i64(),
            3 => {}
            _ => {
                let wide = at(self.layout.wide);
                self.i().drop().i32_const(0).v128_load(wide);
            }
        }
        self.close();
    }

    /// Leaves if the number on the stack says that an access was refused.
    fn leave_if_stopped(&mut self) {
        self.open_if(BlockType::Empty);
        self.leave();
        self.close();
    }

    /// Stores `value` at the address on the stack.
    pub(crate) fn store(&mut self, value: Temp, width: u8, spec: i32) {
        let place = self.probe(width, spec | WRITE);
        self.store_place(place, value, width, true);
    }

    fn store_place(&mut self, place: Place, value: Temp, width: u8, may_fault: bool) {
        self.open_if(BlockType::Empty);
        self.push_host(place);
        self.get(value);
        self.store_to_host(width);
        self.or_else();
        if width == 4 {
            let wide = at(self.layout.wide);
            self.i().i32_const(0).local_get(value.index).v128_store(wide);
        }
        self.i().local_get(place.addr.index);
        match width {
            0..3 => _ = self.i().local_get(value.index).i64_extend_i32_u(),
            3 => _ = self.i().local_get(value.index),
            _ => _ = self.i().i64_const(0),
        }
        self.i().i32_const(place.spec).call(function::STORE);
        if may_fault {
            self.leave_if_stopped();
        } else {
            self.i().drop();
        }
        self.close();
    }

    fn store_to_host(&mut self, width: u8) {
        let zero = at(0);
        match width {
            0 => self.i().i32_store8(zero),
            1 => self.i().i32_store16(zero),
            2 => self.i().i32_store(zero),
            3 => self.i().i64_store(zero),
            _ => self.i().v128_store(zero),
        };
    }

    /// Loads the operand at the address on the stack, which will be written.
    pub(crate) fn load_for_change(&mut self, width: u8, spec: i32) -> Place {
        let place = self.probe(width, spec | WRITE);
        self.load_place(place, width);
        place
    }

    /// Stores what became of it, which cannot fault any more.
    pub(crate) fn store_changed(&mut self, place: Place, value: Temp, width: u8) {
        self.get(place.hit);
        self.store_place(place, value, width, false);
    }

    /// Pushes the address of a stack slot `offset` bytes from RSP.
    pub(crate) fn push_stack_address(&mut self, offset: i64) {
        let rsp = self.gpr(4);
        self.i().local_get(rsp);
        if offset != 0 {
            self.i().i64_const(offset).i64_add();
        }
    }

    /// Pushes the fuel parameter's local; here to keep its number in one place.
    pub(crate) fn is_out_of_fuel(&mut self) {
        self.i().local_get(param::FUEL).i64_const(0).i64_lt_s();
    }
}

/// Whether the address has 32 bits.
fn is_narrow(insn: &Instruction) -> bool {
    insn.memory_base().size() == 4
        || insn.memory_index().size() == 4
        || insn.memory_displ_size() == 4
            && insn.memory_base() == Register::None
            && insn.memory_index() == Register::None
}
