//! WebAssembly modules around translated functions.

use alloc::string::ToString as _;
use alloc::vec::Vec;

use aurora_machine::PAGE_SIZE;
use wasm_encoder::{
    BlockType, BranchHint, BranchHints, CodeSection, EntityType, ExportKind, ExportSection, Function, FunctionSection,
    ImportSection, InstructionSink, MemoryType, Module, RefType, TableType, TypeSection, ValType,
};

use super::emit::at;
use super::layout::{Layout, function, signature};
use super::memory::WRITE;
use crate::tlb::FAST;

/// Entries of the jump table.
pub(crate) const JUMPS: usize = 4096;
/// log2 of the bytes of one.
pub(crate) const JUMP_SHIFT: u32 = 5;

/// An entry of the jump table: where translated code for an address is.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub(crate) struct Jump {
    /// The address, with the key applied.
    pub(crate) address: u64,
    /// The cluster's first page.
    pub(crate) base: u64,
    pub(crate) slot: u32,
    pub(crate) entry: u32,
}

impl Jump {
    pub(crate) const EMPTY: Self = Self { address: u64::MAX, base: 0, slot: 0, entry: 0 };
}

/// Which entry of the jump table an address has.
pub(crate) fn jump_index(address: u64) -> usize {
    (address ^ address >> 12) as usize % JUMPS
}

/// Parameters and results, in the order of [`signature`].
const TYPES: [(&[ValType], &[ValType]); signature::ALL as usize] = {
    use ValType::{I32, I64};
    [
        (&[I64, I64, I32, I32], &[I64, I64]),
        (&[], &[I64, I64]),
        (&[I64, I32], &[I64, I32]),
        (&[I64, I64, I32], &[I32]),
        (&[I32, I32, I64], &[I64]),
        (&[I32, I32], &[I32]),
        (&[I32, I32, I32], &[]),
        (&[I32, I64, I32], &[I64]),
        (&[I32, I64, I64, I32], &[]),
        (&[I32, I32], &[]),
        (&[I32, I32, I64], &[]),
    ]
};

/// The first `count` types.
fn types(count: u32) -> TypeSection {
    let mut types = TypeSection::new();
    for (params, results) in &TYPES[..count as usize] {
        types.ty().function(params.iter().copied(), results.iter().copied());
    }
    types
}

/// What only the entrance has: V8 never lets go of an instance that imports a table, as long as that lives.
fn import_table(imports: &mut ImportSection) {
    let table = TableType { element_type: RefType::FUNCREF, table64: false, minimum: 0, maximum: None, shared: false };
    imports.import("m", "t", EntityType::Table(table));
}

fn import_memory(imports: &mut ImportSection) {
    let memory = MemoryType { minimum: 0, maximum: None, memory64: false, shared: false, page_size_log2: None };
    imports.import("m", "m", EntityType::Memory(memory));
}

/// The functions of the entrance's other modules have: their names, in the order of [`function`], and their types.
const SHARED: [(&str, u32); function::SHARED as usize] = [
    ("dispatch", signature::TRANSLATED),
    ("load", signature::LOAD),
    ("store", signature::STORE),
    ("call_out", signature::CALL_OUT),
    ("condition", signature::CONDITION),
    ("pure", signature::PURE),
];

/// A function's locals, code, and which way branches in that mostly go.
pub(crate) type Code<'a> = (&'a [ValType], &'a [u8], &'a [BranchHint]);

/// A module with these functions, to be put into these slots of the table: that is what their exports' names say. It imports
/// the functions in the slots `linked`.
pub(crate) fn module(linked: &[u32], slots: &[u32], functions: &[Code<'_>]) -> Vec<u8> {
    let mut imports = ImportSection::new();
    import_memory(&mut imports);
    for (name, ty) in SHARED {
        imports.import("e", name, EntityType::Function(ty));
    }
    for slot in linked {
        imports.import("s", &slot.to_string(), EntityType::Function(signature::TRANSLATED));
    }
    let first = function::SHARED + linked.len() as u32;
    let (mut declared, mut code) = (FunctionSection::new(), CodeSection::new());
    let (mut exports, mut hints) = (ExportSection::new(), BranchHints::new());
    for ((n, &(locals, bytes, own)), slot) in (first..).zip(functions).zip(slots) {
        declared.function(signature::TRANSLATED);
        exports.export(&slot.to_string(), ExportKind::Func, n);
        let mut function = Function::new_with_locals_types(locals.iter().copied());
        let start = function.byte_len() as u32;
        function.raw(bytes.iter().copied());
        code.function(&function);
        let moved = |h: &BranchHint| BranchHint { branch_func_offset: start + h.branch_func_offset, ..*h };
        hints.function_hints(n, own.iter().map(moved));
    }
    let mut module = Module::new();
    module.section(&types(signature::OTHERS)).section(&imports).section(&declared).section(&exports);
    if !hints.is_empty() {
        module.section(&hints);
    }
    module.section(&code);
    module.finish()
}

/// The first module: through it we call translated code, from the table at `slot`, and the others reach us and each other.
pub(crate) fn entrance(layout: &Layout, slot: u32) -> Vec<u8> {
    let mut imports = ImportSection::new();
    import_memory(&mut imports);
    import_table(&mut imports);
    let (mut declared, mut code, mut exports) = (FunctionSection::new(), CodeSection::new(), ExportSection::new());
    let bodies = [
        dispatch(layout),
        load(layout),
        store(layout),
        forward(3, signature::CALL_OUT, Some(layout.call_out)),
        forward(2, signature::CONDITION, Some(layout.condition)),
        forward(2, signature::PURE_HELPER, None),
    ];
    for ((n, (name, ty)), body) in (0..).zip(SHARED).zip(&bodies) {
        declared.function(ty);
        exports.export(name, ExportKind::Func, n);
        code.function(body);
    }
    declared.function(signature::ENTER);
    exports.export(&slot.to_string(), ExportKind::Func, function::SHARED);
    code.function(&enter(layout));
    let mut module = Module::new();
    module.section(&types(signature::ALL)).section(&imports).section(&declared).section(&exports).section(&code);
    module.finish()
}

/// A module with one function, to be put into a slot: of each pair of numbers at its first parameter it makes what is left of
/// the first's square and the second by relaxed instructions, and of both negated; the second pair is done as singles.
pub(crate) fn fused_probe(slot: u32) -> Vec<u8> {
    let mut imports = ImportSection::new();
    import_memory(&mut imports);
    let (mut declared, mut code, mut exports) = (FunctionSection::new(), CodeSection::new(), ExportSection::new());
    declared.function(signature::ENTER);
    exports.export(&slot.to_string(), ExportKind::Func, 0);
    let (number, rest, c) = (3, 4, 5);
    let mut f = Function::new([(3, ValType::V128)]);
    let mut s = f.instructions();
    for (offset, double) in [(0, true), (16, false)] {
        for (from, to) in [(offset, number), (offset + 8, c)] {
            s.local_get(0).f64_load(at(from));
            if double {
                s.f64x2_splat()
            } else {
                s.f32_demote_f64().f32x4_splat()
            };
            s.local_set(to);
        }
        for (to, negated) in [(offset, false), (offset + 8, true)] {
            s.local_get(number).local_get(number).local_get(c);
            match (negated, double) {
                (false, true) => s.f64x2_relaxed_madd(),
                (false, false) => s.f32x4_relaxed_madd(),
                (true, true) => s.f64x2_neg().f64x2_relaxed_nmadd(),
                (true, false) => s.f32x4_neg().f32x4_relaxed_nmadd(),
            };
            s.local_set(rest).local_get(0).local_get(rest);
            if double {
                s.f64x2_extract_lane(0)
            } else {
                s.f32x4_extract_lane(0).f64_promote_f32()
            };
            s.f64_store(at(to));
        }
    }
    s.end();
    code.function(&f);
    let mut module = Module::new();
    module.section(&types(signature::ALL)).section(&imports).section(&declared).section(&exports).section(&code);
    module.finish()
}

/// Calls a function of ours with the first `count` parameters: the one in this slot, or the one the next parameter names.
fn forward(count: u32, ty: u32, slot: Option<u32>) -> Function {
    let mut f = Function::new([]);
    let mut s = f.instructions();
    (0..count).for_each(|n| _ = s.local_get(n));
    match slot {
        Some(slot) => s.i32_const(slot as i32),
        None => s.local_get(count),
    };
    s.call_indirect(0, ty).end();
    f
}

/// Calls that may nest in the engine's stack: a frame of code not yet optimised has all its registers on it.
const DEPTH: i32 = 200;

/// Slot, entry, base: fuel comes from the exchange, and what comes back goes there.
fn enter(layout: &Layout) -> Function {
    let mut f = Function::new([(1, ValType::I64)]);
    f.instructions()
        .local_get(2)
        .i32_const(0)
        .i64_load(at(layout.fuel))
        .local_get(1)
        .i32_const(DEPTH)
        .local_get(0)
        .call_indirect(0, signature::TRANSLATED)
        .local_set(2)
        .local_set(3)
        .i32_const(0)
        .local_get(2)
        .i64_store(at(layout.fuel))
        .local_get(3)
        .i64_const(-1)
        .i64_ne()
        .if_(wasm_encoder::BlockType::Empty)
        .i32_const(0)
        .local_get(3)
        .i64_store(at(layout.rip))
        .end()
        .end();
    f
}

/// Parameters as a translated function's, but the first is the address to go to. Without fuel that is where control stays:
/// an entry inside loops is reached through their headers, which must not stop there.
fn dispatch(layout: &Layout) -> Function {
    let entry = 4;
    let mut f = Function::new([(1, ValType::I32)]);
    let mut s = f.instructions();
    s.local_get(0).local_get(0).i64_const(12).i64_shr_u().i64_xor().i32_wrap_i64();
    s.i32_const(JUMPS as i32 - 1).i32_and().i32_const(JUMP_SHIFT as i32).i32_shl().local_tee(entry);
    s.i64_load(at(layout.jumps)).i32_const(0).i64_load(at(layout.key)).i64_xor().local_get(0).i64_eq();
    s.local_get(1).i64_const(0).i64_ge_s().i32_and();
    s.if_(wasm_encoder::BlockType::Empty);
    s.local_get(entry).i64_load(at(layout.jumps + 8)).local_get(1);
    s.local_get(entry).i32_load(at(layout.jumps + 20)).local_get(3);
    s.local_get(entry).i32_load(at(layout.jumps + 16)).return_call_indirect(0, signature::TRANSLATED);
    s.end();
    s.local_get(0).local_get(1).end();
    f
}

/// Looks at the TLB for as many bytes as parameter `spec` says at the address in parameter 0: pushes the host address to
/// `host` and whether it is there.
fn probe(s: &mut InstructionSink<'_>, layout: &Layout, spec: u32, entry: u32, writes: bool) {
    let tag = layout.fast + if writes { FAST.write } else { FAST.read };
    s.local_get(0).i32_wrap_i64().i32_const(12 - FAST.shift as i32).i32_shr_u();
    s.i32_const(((FAST.entries - 1) << FAST.shift) as i32).i32_and().local_set(entry);
    s.local_get(0).local_get(entry).i64_load(at(tag)).i64_add();
    s.i64_const(PAGE_SIZE as i64 + 1).local_get(spec).i32_const(0xff).i32_and().i64_extend_i32_u().i64_sub();
    s.i64_lt_u().if_(BlockType::Empty);
    s.local_get(0).i32_wrap_i64().local_get(entry).i32_load(at(layout.fast + FAST.host)).i32_add().local_set(entry);
}

/// For each size writes what `with` does for it, if the spec says that size.
fn by_size(s: &mut InstructionSink<'_>, spec: u32, with: impl Fn(&mut InstructionSink<'_>, i32)) {
    for size in [8, 4, 1, 2, 16, 32] {
        s.local_get(spec).i32_const(size).i32_and().if_(BlockType::Empty);
        with(s, size);
        s.end();
    }
}

/// Address and spec. Places that will be written are looked up by the helper.
fn load(layout: &Layout) -> Function {
    let (spec, entry) = (1, 2);
    let mut f = Function::new([(1, ValType::I32)]);
    let mut s = f.instructions();
    s.local_get(spec).i32_const(WRITE).i32_and().i32_eqz().if_(BlockType::Empty);
    probe(&mut s, layout, spec, entry, false);
    by_size(&mut s, spec, |s, size| {
        match size {
            8 => s.local_get(entry).i64_load(at(0)),
            4 => s.local_get(entry).i64_load32_u(at(0)),
            2 => s.local_get(entry).i64_load16_u(at(0)),
            1 => s.local_get(entry).i64_load8_u(at(0)),
            _ => {
                for part in (0..size as u32).step_by(16) {
                    s.i32_const(0).local_get(entry).v128_load(at(part)).v128_store(at(layout.wide + part));
                }
                s.i64_const(0)
            }
        };
        s.i32_const(0).return_();
    });
    s.end().end();
    s.i32_const(layout.core as i32).local_get(0).local_get(spec);
    s.i32_const(layout.load as i32).call_indirect(0, signature::LOAD_HELPER);
    s.i32_const(0).i32_load(at(layout.stop)).end();
    f
}

/// Address, value and spec.
fn store(layout: &Layout) -> Function {
    let (spec, entry) = (2, 3);
    let mut f = Function::new([(1, ValType::I32)]);
    let mut s = f.instructions();
    probe(&mut s, layout, spec, entry, true);
    by_size(&mut s, spec, |s, size| {
        match size {
            8 => _ = s.local_get(entry).local_get(1).i64_store(at(0)),
            4 => _ = s.local_get(entry).local_get(1).i64_store32(at(0)),
            2 => _ = s.local_get(entry).local_get(1).i64_store16(at(0)),
            1 => _ = s.local_get(entry).local_get(1).i64_store8(at(0)),
            _ => {
                for part in (0..size as u32).step_by(16) {
                    s.local_get(entry).i32_const(0).v128_load(at(layout.wide + part)).v128_store(at(part));
                }
            }
        }
        s.i32_const(0).return_();
    });
    s.end();
    s.i32_const(layout.core as i32).local_get(0).local_get(1).local_get(spec);
    s.i32_const(layout.store as i32).call_indirect(0, signature::STORE_HELPER);
    s.i32_const(0).i32_load(at(layout.stop)).end();
    f
}
