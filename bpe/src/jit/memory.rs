//! Guest memory in translated code: the TLB is looked at in place, once for accesses that belong together, and what it
//! does not have goes through a call.
//!
//! What always holds: a page is found by one addition and one comparison. The tag is the negative of the page's address, so
//! an address and the tag add up to less than the page's size less the range's only if the whole range is in that page.
//! (An engine needs an instruction less for a sum than for a difference of what it loads.)

use aurora_machine::PAGE_SIZE;
use iced_x86::{Instruction, Mnemonic, Register};
use wasm_encoder::{BlockType, Lane, MemArg, ValType};

use super::code::Set;
use super::emit::{Emitter, Temp, at, param};
use super::graph::NONE;
use super::layout::function;
use super::plan::Address;
use super::stack::{Page, RSP, StackPage};
use crate::tlb::FAST;

/// How a place in memory is reached after the TLB was asked.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    address: Address<'a>,
    /// The local that is not 0 if the TLB has it.
    hit: u32,
    /// The local of where it is in our memory then, and what to add to that.
    host: u32,
    offset: u32,
    looked: Option<Looked>,
    /// What slow accesses need to know.
    spec: i32,
}

/// From what its address can be had again, where a look at the TLB was for this place: the tag, and the sum of both.
#[derive(Clone, Copy)]
struct Looked {
    tag: Temp,
    sum: Temp,
}

/// Bytes the TLB is asked for.
#[derive(Clone, Copy)]
struct Range {
    addr: Temp,
    /// In how many of a page's places they may begin.
    room: i64,
    writes: bool,
    /// Where the answer goes: whether the TLB has them, and where they are in our memory.
    hit: u32,
    host: u32,
    /// The latter is to be 0 if the TLB does not have them, for those who ask again: what an engine saw to be a constant on
    /// each way is one for the first who asks only.
    asked_again: bool,
}

/// [`Place::spec`]: a non-canonical address is a stack fault.
pub(crate) const STACK: i32 = 1 << 8;
/// The place will be written.
pub(crate) const WRITE: i32 = 1 << 9;

/// What becomes of bytes that are loaded, or were what is stored.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum As {
    /// An integer, or with the width of one a vector.
    Whole,
    /// A floating-point number.
    Float,
    /// A lane of a vector: the lowest, if loaded, and the others are zero.
    Lane(Lane),
}

impl As {
    fn type_of(self, width: u8) -> ValType {
        match (self, width) {
            (Self::Whole, _) => type_of(width),
            (Self::Float, 2) => ValType::F32,
            (Self::Float, _) => ValType::F64,
            (Self::Lane(_), _) => ValType::V128,
        }
    }
}

/// The width of a vector: log2 of 16 bytes.
pub(crate) const VECTOR: u8 = 4;
/// That of two.
const WIDE: u8 = 5;

pub(crate) fn type_of(width: u8) -> ValType {
    match width {
        0..3 => ValType::I32,
        3 => ValType::I64,
        _ => ValType::V128,
    }
}

impl Emitter<'_> {
    /// Pushes an address.
    pub(crate) fn push_place(&mut self, address: Address<'_>) {
        let (register, offset) = match address {
            Address::Operand(insn) => return self.push_operand_address(insn),
            Address::Stack(offset) => (4, offset),
            Address::Frame => (5, 0),
        };
        let local = self.gpr(register);
        self.i().local_get(local);
        if offset != 0 {
            self.i().i64_const(offset).i64_add();
        }
    }

    /// Pushes the address of the memory operand.
    pub(crate) fn push_operand_address(&mut self, insn: &Instruction) {
        let disp = insn.memory_displacement64() as i64;
        let (base, index) = (insn.memory_base(), insn.memory_index());
        if matches!(base, Register::RIP | Register::EIP) {
            self.push_address(disp);
        } else {
            let mut terms = 0;
            if base != Register::None {
                let local = self.gpr(base.full_register().number());
                self.i().local_get(local);
                terms += 1;
            }
            if index != Register::None {
                let local = self.gpr(index.full_register().number());
                let shift = i64::from(insn.memory_index_scale().trailing_zeros());
                self.i().local_get(local);
                if shift != 0 {
                    self.i().i64_const(shift).i64_shl();
                }
                terms += 1;
            }
            if terms == 0 || disp != 0 {
                self.i().i64_const(disp);
                terms += 1;
            }
            for _ in 1..terms {
                self.i().i64_add();
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

    /// What slow accesses of this address need to know.
    fn spec_of(address: Address<'_>) -> i32 {
        let Address::Operand(insn) = address else { return STACK };
        let stack = matches!(insn.memory_base(), Register::RSP | Register::RBP | Register::ESP | Register::EBP);
        let plain = !matches!(insn.memory_segment(), Register::FS | Register::GS);
        if stack && plain && insn.segment_prefix() != Register::DS { STACK } else { 0 }
    }

    /// Asks the TLB for `1 << width` bytes, unless a look shared with others has already.
    #[inline(never)]
    fn place<'a>(&mut self, address: Address<'a>, width: u8, writes: bool, asked_again: bool) -> Place<'a> {
        let spec = Self::spec_of(address) | 1 << width | if writes { WRITE } else { 0 };
        let hit = self.temp(ValType::I32).index;
        let Some(member) = self.plan.member(self.block, self.index, address) else {
            let host = self.temp(ValType::I32).index;
            self.push_place(address);
            let addr = self.take(ValType::I64);
            let room = PAGE_SIZE as i64 - (1 << width) + 1;
            let looked = self.probe(address, Range { addr, room, writes, hit, host, asked_again });
            return Place { address, hit, host, offset: 0, looked, spec };
        };
        let group = self.plan.groups[member.group];
        let host = self.group_local(member.group);
        let offset = (member.offset - group.low) as u32;
        // What a block asked for is known in those it dominates.
        let asked = self.looked_in[member.group];
        if asked != NONE && self.graph.dominates(asked, self.block) {
            return Place { address, hit: host, host, offset, looked: None, spec };
        }
        self.looked_in[member.group] = self.block;
        self.push_place(address);
        if offset != 0 {
            self.i().i64_const(offset.into()).i64_sub();
        }
        let addr = self.take(ValType::I64);
        let room = PAGE_SIZE as i64 - group.span + 1;
        let looked = self.probe(address, Range { addr, room, writes: group.writes, hit, host, asked_again: true });
        Place { address, hit, host, offset, looked, spec }
    }

    /// Asks the TLB.
    fn probe(&mut self, address: Address<'_>, range: Range) -> Option<Looked> {
        if self.stack.holds(address) {
            self.probe_stack(range, is_by_rsp(address));
            return None;
        }
        // In a small loop the page found last is most likely the one again.
        let near = registers_of(address) & self.far == 0;
        if let Some(page) = self.pages.get_mut(&self.small_loop).and_then(|all| all.pop_if(|_| near)) {
            self.probe_page(page, range);
            return None;
        }
        let Range { addr, room, writes, hit, host, asked_again } = range;
        let entry = self.push_entry(addr);
        let (tag, from) = self.entry_fields(writes);
        let looked = Looked { tag: self.temp(ValType::I64), sum: self.temp(ValType::I64) };
        self.i().local_get(entry.index).i64_load(tag).local_tee(looked.tag.index).local_get(addr.index).i64_add();
        self.i().local_tee(looked.sum.index).i64_const(room).i64_lt_u();
        if asked_again {
            self.open_usual(BlockType::Empty);
            self.i().i32_const(1).local_set(hit);
            self.push_sum(addr, entry.index, from);
            self.i().local_set(host);
            self.or_else();
            self.i().i32_const(0).local_set(hit).i32_const(0).local_set(host);
            self.close();
        } else {
            self.i().local_set(hit);
            self.push_sum(addr, entry.index, from);
            self.i().local_set(host);
        }
        Some(looked)
    }

    /// Pushes an address plus what is at `from`.
    pub(super) fn push_sum(&mut self, addr: Temp, base: u32, from: MemArg) {
        self.i().local_get(addr.index).i32_wrap_i64().local_get(base).i32_load(from).i32_add();
    }

    /// Sets `host`, after a look at the TLB whose success is in `hit`, to the number on the stack, or to 0 if need be.
    fn settle(&mut self, Range { hit, host, asked_again, .. }: Range) {
        if asked_again {
            self.i().i32_const(0).local_get(hit).i32_sub().i32_and();
        }
        self.i().local_set(host);
    }

    /// The same for what is most likely in the page of the stack. Where it is in another, that is remembered; of a frame
    /// that lies across pages, which is reached through RSP, the lower.
    #[inline(never)]
    fn probe_stack(&mut self, range: Range, by_rsp: bool) {
        let StackPage { tag: remembered, host: remembered_host, .. } = self.stack;
        let Range { addr, room, hit, host, .. } = range;
        let (tag, sum) = (self.temp(ValType::I64), self.temp(ValType::I64));
        self.i().i32_const(1).local_set(hit);
        self.i().i32_const(0).i64_load(at(remembered)).local_tee(tag.index).local_get(addr.index).i64_add();
        self.i().local_tee(sum.index).i64_const(room).i64_ge_u();
        self.open_rare(BlockType::Empty);
        // An engine that sees the tag used once loads it twice: into a register and as an operand.
        self.i().local_get(sum.index).local_get(tag.index).i64_sub();
        let again = self.take(ValType::I64);
        let entry = self.push_entry(again);
        let (found, from) = self.entry_fields(true);
        self.i().local_get(entry.index).i64_load(found).local_tee(tag.index).local_get(again.index).i64_add();
        self.i().i64_const(room).i64_lt_u().local_tee(hit);
        if by_rsp {
            let rsp = self.gpr(4);
            self.i().local_get(rsp).local_get(tag.index).i64_add().i64_const(PAGE_SIZE as i64).i64_lt_u().i32_and();
        }
        self.open_usual(BlockType::Empty);
        self.i().i32_const(0).local_get(tag.index).i64_store(at(remembered));
        self.i().i32_const(0).local_get(entry.index).i32_load(from).i32_store(at(remembered_host));
        self.close();
        self.push_sum(again, entry.index, from);
        self.settle(range);
        self.or_else();
        self.i().local_get(addr.index).i32_wrap_i64().i32_const(0).i32_load(at(remembered_host)).i32_add();
        self.i().local_set(host);
        self.close();
    }

    /// The same for what is most likely in a page found before; if it is in another, that is remembered instead.
    #[inline(never)]
    fn probe_page(&mut self, page: Page, range: Range) {
        let Range { addr, room, writes, hit, host, asked_again } = range;
        let push_host = |this: &mut Self| {
            this.i().local_get(addr.index).i32_wrap_i64().local_get(page.delta).i32_add();
        };
        self.i().i32_const(1).local_set(hit);
        self.i().local_get(page.tag).local_get(addr.index).i64_add().i64_const(room).i64_ge_u();
        self.open_rare(BlockType::Empty);
        let entry = self.push_entry(addr);
        let (tag, from) = self.entry_fields(writes);
        self.i().local_get(entry.index).i64_load(tag);
        let found = self.take(ValType::I64);
        self.i().local_get(found.index).local_get(addr.index).i64_add().i64_const(room).i64_lt_u().local_tee(hit);
        self.open_usual(BlockType::Empty);
        self.i().local_get(found.index).local_set(page.tag);
        self.i().local_get(entry.index).i32_load(from).local_set(page.delta);
        self.close();
        if asked_again {
            push_host(self);
            self.settle(range);
            self.or_else();
            push_host(self);
            self.i().local_set(host);
            self.close();
        } else {
            self.close();
            push_host(self);
            self.i().local_set(host);
        }
    }

    /// Works out which of the TLB's entries an address has.
    pub(super) fn push_entry(&mut self, addr: Temp) -> Temp {
        let mask = (FAST.entries - 1) << FAST.shift;
        self.i().local_get(addr.index).i32_wrap_i64().i32_const(12 - FAST.shift as i32).i32_shr_u();
        self.i().i32_const(mask as i32).i32_and();
        self.take(ValType::I32)
    }

    /// Where an entry's tag and host address are.
    pub(super) fn entry_fields(&self, writes: bool) -> (MemArg, MemArg) {
        let tag = if writes { FAST.write } else { FAST.read };
        (at(self.layout.fast + tag), at(self.layout.fast + FAST.host))
    }

    /// Pushes the address of a place, for a slow access.
    fn push_slow_address(&mut self, place: Place<'_>) {
        let Some(Looked { tag, sum }) = place.looked else { return self.push_place(place.address) };
        // An engine that sees the tag used once loads it twice: into a register and as an operand.
        self.i().local_get(sum.index).local_get(tag.index).i64_sub();
        if place.offset != 0 {
            self.i().i64_const(place.offset.into()).i64_add();
        }
    }

    /// Pushes an operand of `1 << width` bytes, of [`type_of`] its width.
    pub(crate) fn load(&mut self, address: Address<'_>, width: u8) {
        let place = self.place(address, width, false, false);
        self.load_place(place, width, As::Whole);
    }

    /// The same for the memory operand.
    pub(crate) fn load_operand(&mut self, insn: &Instruction, width: u8) {
        self.load(Address::Operand(insn), width);
    }

    /// The same for the memory operand, of 4 or 8 bytes, as something else than an integer.
    pub(crate) fn load_operand_as(&mut self, insn: &Instruction, width: u8, what: As) {
        let place = self.place(Address::Operand(insn), width, false, false);
        self.load_place(place, width, what);
    }

    #[inline(never)]
    fn load_place(&mut self, place: Place<'_>, width: u8, what: As) {
        self.i().local_get(place.hit);
        self.open_usual(BlockType::Result(what.type_of(width)));
        let offset = at(place.offset);
        self.i().local_get(place.host);
        match (what, width) {
            (As::Whole, 0) => self.i().i32_load8_u(offset),
            (As::Whole, 1) => self.i().i32_load16_u(offset),
            (As::Whole, 2) => self.i().i32_load(offset),
            (As::Whole, 3) => self.i().i64_load(offset),
            (As::Whole, _) => self.i().v128_load(offset),
            (As::Float, 2) => self.i().f32_load(offset),
            (As::Float, _) => self.i().f64_load(offset),
            (As::Lane(_), 2) => self.i().v128_load32_zero(offset),
            (As::Lane(_), _) => self.i().v128_load64_zero(offset),
        };
        self.or_else();
        self.push_slow_address(place);
        self.i().i32_const(place.spec).call(function::LOAD);
        self.leave_if_stopped();
        match (what, width) {
            (As::Whole, 0..3) => _ = self.i().i32_wrap_i64(),
            (As::Whole, 3) => {}
            (As::Whole, _) => {
                let wide = at(self.layout.wide);
                self.i().drop().i32_const(0).v128_load(wide);
            }
            (As::Float, 2) => _ = self.i().i32_wrap_i64().f32_reinterpret_i32(),
            (As::Float, _) => _ = self.i().f64_reinterpret_i64(),
            (As::Lane(_), _) => {
                let low = self.take(ValType::I64);
                self.i().v128_const(0).local_get(low.index).i64x2_replace_lane(0);
            }
        }
        self.close();
    }

    /// Leaves if the number on the stack says that an access was refused.
    fn leave_if_stopped(&mut self) {
        self.open_rare(BlockType::Empty);
        self.leave();
        self.close();
    }

    /// Stores `value`.
    pub(crate) fn store(&mut self, address: Address<'_>, value: Temp, width: u8) {
        let place = self.place(address, width, true, false);
        self.store_place(place, value, (width, As::Whole), true);
    }

    /// The same to the memory operand.
    pub(crate) fn store_operand(&mut self, insn: &Instruction, value: Temp, width: u8) {
        self.store(Address::Operand(insn), value, width);
    }

    /// Stores a lane of a vector to it.
    pub(crate) fn store_operand_lane(&mut self, insn: &Instruction, vector: Temp, width: u8, lane: Lane) {
        let place = self.place(Address::Operand(insn), width, true, false);
        self.store_place(place, vector, (width, As::Lane(lane)), true);
    }

    #[inline(never)]
    fn store_place(&mut self, place: Place<'_>, value: Temp, (width, what): (u8, As), may_fault: bool) {
        self.i().local_get(place.hit);
        self.open_usual(BlockType::Empty);
        let offset = at(place.offset);
        self.i().local_get(place.host);
        self.get(value);
        match (what, width) {
            (As::Lane(lane), 0) => self.i().v128_store8_lane(offset, lane),
            (As::Lane(lane), 1) => self.i().v128_store16_lane(offset, lane),
            (As::Lane(lane), 2) => self.i().v128_store32_lane(offset, lane),
            (As::Lane(lane), _) => self.i().v128_store64_lane(offset, lane),
            (_, 0) => self.i().i32_store8(offset),
            (_, 1) => self.i().i32_store16(offset),
            (_, 2) => self.i().i32_store(offset),
            (_, 3) => self.i().i64_store(offset),
            (_, _) => self.i().v128_store(offset),
        };
        self.or_else();
        if width == VECTOR {
            let wide = at(self.layout.wide);
            self.i().i32_const(0).local_get(value.index).v128_store(wide);
        }
        self.push_slow_address(place);
        match (what, width) {
            (As::Lane(lane), _) => {
                self.get(value);
                self.extract_lane(width, lane);
                if width < 3 {
                    self.i().i64_extend_i32_u();
                }
            }
            (_, 0..3) => _ = self.i().local_get(value.index).i64_extend_i32_u(),
            (_, 3) => _ = self.i().local_get(value.index),
            (_, _) => _ = self.i().i64_const(0),
        }
        self.i().i32_const(place.spec).call(function::STORE);
        if may_fault {
            self.leave_if_stopped();
        } else {
            self.i().drop();
        }
        self.close();
    }

    /// Where 32 bytes are.
    pub(super) fn wide_place<'a>(&mut self, insn: &'a Instruction, writes: bool) -> Place<'a> {
        self.place(Address::Operand(insn), WIDE, writes, false)
    }

    pub(super) fn push_hit(&mut self, place: Place<'_>) {
        self.i().local_get(place.hit);
    }

    pub(super) fn push_host(&mut self, place: Place<'_>) {
        self.i().local_get(place.host);
    }

    /// So many bytes on from there.
    pub(super) fn further(place: Place<'_>, bytes: u32) -> MemArg {
        at(place.offset + bytes)
    }

    /// Where slow accesses have what they loaded or are to store.
    pub(super) fn exchanged(&self, bytes: u32) -> MemArg {
        at(self.layout.wide + bytes)
    }

    /// Loads what is wide into the exchange.
    pub(super) fn load_slowly(&mut self, place: Place<'_>) {
        self.push_slow_address(place);
        self.i().i32_const(place.spec).call(function::LOAD);
        self.leave_if_stopped();
        self.i().drop();
    }

    /// Stores what is there.
    pub(super) fn store_slowly(&mut self, place: Place<'_>) {
        self.push_slow_address(place);
        self.i().i64_const(0).i32_const(place.spec).call(function::STORE);
        self.leave_if_stopped();
    }

    /// Pushes the memory operand, which will be changed.
    pub(crate) fn load_for_change<'a>(&mut self, insn: &'a Instruction, width: u8) -> Place<'a> {
        let place = self.place(Address::Operand(insn), width, true, true);
        self.load_place(place, width, As::Whole);
        Place { hit: place.host, ..place }
    }

    /// Stores what became of it, which cannot fault any more. The registers of its address must still be the same.
    pub(crate) fn store_changed(&mut self, place: Place<'_>, value: Temp, width: u8) {
        self.store_place(place, value, (width, As::Whole), false);
    }

    /// Pushes whether the fuel is used up.
    pub(crate) fn is_out_of_fuel(&mut self) {
        self.i().local_get(param::FUEL).i64_const(0).i64_lt_s();
    }
}

/// Whether RSP is part of an address.
fn is_by_rsp(address: Address<'_>) -> bool {
    match address {
        Address::Operand(insn) => insn.memory_base() == Register::RSP,
        Address::Stack(_) => true,
        Address::Frame => false,
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

/// The registers an address depends on.
fn registers_of(address: Address<'_>) -> Set {
    let Address::Operand(insn) = address else { return RSP };
    let of = |register: Register| if register.is_gpr() { 1 << register.full_register().number() } else { 0 };
    of(insn.memory_base()) | of(insn.memory_index())
}
