//! Guest memory in translated code: the TLB is looked at in place, once for accesses that belong together, and what it
//! does not have goes through a call.
//!
//! What always holds: a page is found by one subtraction and one comparison. The tag is the page's address, so an address
//! less the tag is below the page's size less the range's only if the whole range is in that page.

use aurora_machine::PAGE_SIZE;
use iced_x86::{Instruction, Mnemonic, Register};
use wasm_encoder::{BlockType, MemArg, ValType};

use super::emit::{Emitter, Temp, at, param};
use super::layout::function;
use super::plan::Address;
use super::stack::{Page, StackPage};
use crate::tlb::FAST;

/// How a place in memory is reached after the TLB was asked.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    address: Address<'a>,
    /// The local that says that the TLB has it.
    hit: u32,
    host: Host,
    /// What slow accesses need to know.
    spec: i32,
}

/// Where in our memory a place is.
#[derive(Clone, Copy)]
enum Host {
    /// The address, the local of what to add to it, and the page looked at where that was the TLB's.
    Page { addr: Temp, delta: u32, looked: Option<Looked> },
    /// So many bytes after what the local says; for the first of a group, where the TLB was looked at.
    Group { local: u32, offset: u32, looked: Option<Looked> },
}

/// What a look at the TLB found: a page, and the address less that.
#[derive(Clone, Copy)]
struct Looked {
    tag: Temp,
    distance: Temp,
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
    fn place<'a>(&mut self, address: Address<'a>, width: u8, writes: bool) -> Place<'a> {
        let spec = Self::spec_of(address) | 1 << width | if writes { WRITE } else { 0 };
        let which = usize::from(!matches!(address, Address::Operand(_)));
        if let Some(member) = self.plan.members.get(self.index).and_then(|m| m[which]) {
            let group = self.plan.groups[member.group];
            let (hit, host) = self.group_locals(member.group);
            let mut first = None;
            if !self.groups_open[member.group] {
                self.groups_open[member.group] = true;
                self.push_place(address);
                let down = member.offset - group.low;
                if down != 0 {
                    self.i().i64_const(down).i64_sub();
                }
                let (addr, delta, looked) = self.probe(address, group.span, group.writes, hit);
                first = looked;
                self.i().local_get(addr.index).i32_wrap_i64().local_get(delta).i32_add().local_set(host);
            }
            let offset = (member.offset - group.low) as u32;
            return Place { address, hit, host: Host::Group { local: host, offset, looked: first }, spec };
        }
        self.push_place(address);
        let hit = self.temp(ValType::I32).index;
        let (addr, delta, looked) = self.probe(address, 1 << width, writes, hit);
        Place { address, hit, host: Host::Page { addr, delta, looked }, spec }
    }

    /// Asks the TLB for so many bytes at the address on the stack; whether it has them goes to `hit`. Returns the address
    /// and the local of what to add to it.
    fn probe(&mut self, address: Address<'_>, bytes: i64, writes: bool, hit: u32) -> (Temp, u32, Option<Looked>) {
        let addr = self.take(ValType::I64);
        let room = PAGE_SIZE as i64 - bytes + 1;
        if let Some(StackPage { page, .. }) = self.stack.filter(|s| s.holds(address)) {
            let delta = self.probe_stack(page, addr, room, hit);
            return (addr, delta, None);
        }
        // In a small loop the page found last is most likely the one again.
        if let Some(page) = self.pages.get_mut(&self.small_loop).and_then(|all| all.pop()) {
            self.probe_page(page, addr, room, writes, hit);
            return (addr, page.delta, None);
        }
        let entry = self.push_entry(addr);
        let delta = self.temp(ValType::I32).index;
        let (tag, host) = self.entry_fields(writes);
        let looked = Looked { tag: self.temp(ValType::I64), distance: self.temp(ValType::I64) };
        self.i().local_get(addr.index).local_get(entry.index).i64_load(tag).local_tee(looked.tag.index).i64_sub();
        self.i().local_tee(looked.distance.index).i64_const(room).i64_lt_u().local_set(hit);
        self.i().local_get(entry.index).i32_load(host).local_set(delta);
        (addr, delta, Some(looked))
    }

    /// The same for what is most likely in the page of the stack. Returns the local of what to add to the address.
    ///
    /// Another page it is in is not remembered: what may change would be carried along wherever ways meet, and few frames
    /// lie across pages.
    #[inline(never)]
    fn probe_stack(&mut self, page: Page, addr: Temp, room: i64, hit: u32) -> u32 {
        let delta = self.temp(ValType::I32).index;
        self.i().i32_const(1).local_set(hit).local_get(page.delta).local_set(delta);
        self.i().local_get(addr.index).local_get(page.tag).i64_sub().i64_const(room).i64_ge_u();
        self.open_rare(BlockType::Empty);
        let entry = self.push_entry(addr);
        let (tag, host) = self.entry_fields(true);
        self.i().local_get(addr.index).local_get(entry.index).i64_load(tag).i64_sub().i64_const(room).i64_lt_u();
        self.i().local_set(hit).local_get(entry.index).i32_load(host).local_set(delta);
        self.close();
        delta
    }

    /// The same for what is most likely in a page found before; if it is in another, that is remembered instead.
    #[inline(never)]
    fn probe_page(&mut self, page: Page, addr: Temp, room: i64, writes: bool, hit: u32) {
        self.i().i32_const(1).local_set(hit);
        self.i().local_get(addr.index).local_get(page.tag).i64_sub().i64_const(room).i64_ge_u();
        self.open_rare(BlockType::Empty);
        let entry = self.push_entry(addr);
        let (tag, host) = self.entry_fields(writes);
        self.i().local_get(entry.index).i64_load(tag);
        let found = self.take(ValType::I64);
        self.i().local_get(addr.index).local_get(found.index).i64_sub().i64_const(room).i64_lt_u().local_tee(hit);
        self.open_usual(BlockType::Empty);
        self.i().local_get(found.index).local_set(page.tag);
        self.i().local_get(entry.index).i32_load(host).local_set(page.delta);
        self.close();
        self.close();
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

    /// Pushes the host address of a place the TLB has, and returns what to add to it.
    fn push_host(&mut self, host: Host) -> u32 {
        match host {
            Host::Page { addr, delta, .. } => {
                self.i().local_get(addr.index).i32_wrap_i64().local_get(delta).i32_add();
                0
            }
            Host::Group { local, offset, .. } => {
                self.i().local_get(local);
                offset
            }
        }
    }

    /// Pushes the address of a place, for a slow access.
    fn push_slow_address(&mut self, place: Place<'_>) {
        match place.host {
            // An engine that sees the tag used once loads it twice: into a register and as an operand.
            Host::Page { looked: Some(Looked { tag, distance }), .. } => {
                self.i().local_get(distance.index).local_get(tag.index).i64_add();
            }
            Host::Page { addr, .. } => self.get(addr),
            Host::Group { looked: Some(Looked { tag, distance }), offset, .. } => {
                self.i().local_get(distance.index).local_get(tag.index).i64_add();
                if offset != 0 {
                    self.i().i64_const(offset.into()).i64_add();
                }
            }
            Host::Group { .. } => self.push_place(place.address),
        }
    }

    /// Pushes an operand of `1 << width` bytes, of [`type_of`] its width.
    pub(crate) fn load(&mut self, address: Address<'_>, width: u8) {
        let place = self.place(address, width, false);
        self.load_place(place, width);
    }

    /// The same for the memory operand.
    pub(crate) fn load_operand(&mut self, insn: &Instruction, width: u8) {
        self.load(Address::Operand(insn), width);
    }

    #[inline(never)]
    fn load_place(&mut self, place: Place<'_>, width: u8) {
        self.i().local_get(place.hit);
        self.open_usual(BlockType::Result(type_of(width)));
        let offset = at(self.push_host(place.host));
        match width {
            0 => self.i().i32_load8_u(offset),
            1 => self.i().i32_load16_u(offset),
            2 => self.i().i32_load(offset),
            3 => self.i().i64_load(offset),
            _ => self.i().v128_load(offset),
        };
        self.or_else();
        self.push_slow_address(place);
        self.i().i32_const(place.spec).call(function::LOAD);
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
        self.open_rare(BlockType::Empty);
        self.leave();
        self.close();
    }

    /// Stores `value`.
    pub(crate) fn store(&mut self, address: Address<'_>, value: Temp, width: u8) {
        let place = self.place(address, width, true);
        self.store_place(place, value, width, true);
    }

    /// The same to the memory operand.
    pub(crate) fn store_operand(&mut self, insn: &Instruction, value: Temp, width: u8) {
        self.store(Address::Operand(insn), value, width);
    }

    #[inline(never)]
    fn store_place(&mut self, place: Place<'_>, value: Temp, width: u8, may_fault: bool) {
        self.i().local_get(place.hit);
        self.open_usual(BlockType::Empty);
        let offset = at(self.push_host(place.host));
        self.get(value);
        match width {
            0 => self.i().i32_store8(offset),
            1 => self.i().i32_store16(offset),
            2 => self.i().i32_store(offset),
            3 => self.i().i64_store(offset),
            _ => self.i().v128_store(offset),
        };
        self.or_else();
        if width == VECTOR {
            let wide = at(self.layout.wide);
            self.i().i32_const(0).local_get(value.index).v128_store(wide);
        }
        self.push_slow_address(place);
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

    /// Pushes the memory operand, which will be changed.
    pub(crate) fn load_for_change<'a>(&mut self, insn: &'a Instruction, width: u8) -> Place<'a> {
        let place = self.place(Address::Operand(insn), width, true);
        self.load_place(place, width);
        place
    }

    /// Stores what became of it, which cannot fault any more. The registers of its address must still be the same.
    pub(crate) fn store_changed(&mut self, place: Place<'_>, value: Temp, width: u8) {
        self.store_place(place, value, width, false);
    }

    /// Pushes whether the fuel is used up.
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
