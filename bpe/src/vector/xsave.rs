//! `XSAVE` and its kin for the three components there are: x87, SSE and the upper halves of YMM registers (Intel SDM volume 1,
//! chapter 13).

use aurora_machine::{Access, ExtendedState, FxState};

use super::state::MXCSR_MASK;
use crate::access::Span;
use crate::core::Core;
use crate::op::{Flow, Op, RAX, RCX, RDX, Stop};
use crate::x87::control;

/// What `XCR0` says: these components and no more.
pub(crate) const COMPONENTS: u64 = X87 | SSE | AVX;
const X87: u64 = 1;
const SSE: u64 = 2;
const AVX: u64 = ExtendedState::AVX;
/// Bytes of the area: an `FXSAVE` image, the header, and the upper halves.
pub(crate) const AREA: usize = HALVES_AT + HALVES;
/// Where the upper halves are.
pub(crate) const HALVES_AT: usize = IMAGE + HEADER;
/// Bytes of them.
pub(crate) const HALVES: usize = 256;
const IMAGE: usize = 512;
const HEADER: usize = 64;
/// In `XCOMP_BV`: the area is in the compacted format. With these components that has all in the same places.
const COMPACTED: u64 = 1 << 63;
/// What of an image each component is: bytes from, bytes to.
const X87_PARTS: [(usize, usize); 2] = [(0, 24), (32, 160)];
const SSE_PARTS: [(usize, usize); 1] = [(160, 416)];
/// MXCSR and its mask go with SSE.
const MXCSR_PART: (usize, usize) = (24, 32);

/// How an area is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// `XSAVE`: what was asked for.
    Plain,
    /// `XSAVEOPT`: of that what is not in its initial state.
    Optimized,
    /// `XSAVEC`: likewise, and the header says it is compacted.
    Compacted,
}

/// The components EDX:EAX asks for.
fn requested(core: &Core) -> u64 {
    (core.get(RAX) & 0xffff_ffff | core.get(RDX) << 32) & COMPONENTS
}

/// The components that are not in their initial state.
fn in_use(core: &Core, fx: &FxState) -> u64 {
    let initial = FxState::new();
    let x87 = (fx.fcw, fx.fsw, fx.ftw, fx.fop, fx.fip, fx.fdp) == (initial.fcw, 0, 0, 0, 0, 0) && fx.st == initial.st;
    let component = |initial: bool, bit: u64| if initial { 0 } else { bit };
    component(x87, X87) | component(fx.xmm == initial.xmm, SSE) | component(core.ymm_high == [0; 16], AVX)
}

/// The area as far as `components` are in it, which must be aligned; other than for `FXSAVE` that is looked at before whether
/// its address is canonical.
fn area(core: &mut Core, op: &Op, components: u64, access: Access) -> Result<Span, Stop> {
    let addr = core.address(op);
    if !addr.is_multiple_of(64) {
        return Err(core.misaligned());
    }
    core.span(op, addr, length(components), access)
}

/// Bytes of an area with these components.
fn length(components: u64) -> usize {
    if components & AVX != 0 { AREA } else { HALVES_AT }
}

fn save(core: &mut Core, op: &Op, way: Way) -> Flow {
    let (asked, image) = (requested(core), core.fx_image());
    let mut used = in_use(core, &image);
    if way == Way::Compacted && image.mxcsr != FxState::new().mxcsr {
        used |= SSE;
    }
    let written = if way == Way::Plain { asked } else { asked & used };
    // Processors look at all of what was asked for, in use or not.
    let area = area(core, op, asked, Access::Write)?;
    let mut bytes = [0; AREA];
    let bytes = &mut bytes[..length(asked)];
    area.read(bytes);
    let image = image.to_bytes();
    let mut put = |parts: &[(usize, usize)]| {
        for &(from, to) in parts {
            bytes[from..to].copy_from_slice(&image[from..to]);
        }
    };
    if written & X87 != 0 {
        put(&X87_PARTS);
    }
    if written & SSE != 0 {
        put(&SSE_PARTS);
    }
    // Without compaction MXCSR is no part of what may be in its initial state.
    let with_mxcsr = match way {
        Way::Plain | Way::Optimized => asked & (SSE | AVX),
        Way::Compacted => written & SSE,
    };
    if with_mxcsr != 0 {
        put(&[MXCSR_PART]);
    }
    if written & AVX != 0 {
        for (half, place) in core.ymm_high.iter().zip(bytes[HALVES_AT..].chunks_exact_mut(16)) {
            place.copy_from_slice(&half.to_le_bytes());
        }
    }
    let header = word(bytes, IMAGE);
    let present = if way == Way::Compacted { asked & used } else { header & !asked | asked & used };
    bytes[IMAGE..IMAGE + 8].copy_from_slice(&present.to_le_bytes());
    if way == Way::Compacted {
        bytes[IMAGE + 8..IMAGE + 16].copy_from_slice(&(asked | COMPACTED).to_le_bytes());
    }
    area.write(bytes);
    Ok(())
}

fn word(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

/// `XSAVE` and `XSAVE64`.
pub(crate) fn xsave(core: &mut Core, op: &Op) -> Flow {
    save(core, op, Way::Plain)
}
/// `XSAVEOPT` and `XSAVEOPT64`.
pub(crate) fn xsaveopt(core: &mut Core, op: &Op) -> Flow {
    save(core, op, Way::Optimized)
}
/// `XSAVEC` and `XSAVEC64`.
pub(crate) fn xsavec(core: &mut Core, op: &Op) -> Flow {
    save(core, op, Way::Compacted)
}

/// `XRSTOR` and `XRSTOR64`.
pub(crate) fn xrstor(core: &mut Core, op: &Op) -> Flow {
    let mut bytes = [0; AREA];
    area(core, op, 0, Access::Read)?.read(&mut bytes[..HALVES_AT]);
    let (present, format) = (word(&bytes, IMAGE), word(&bytes, IMAGE + 8));
    let compacted = format & COMPACTED != 0;
    // All of the header besides the first two words; without compaction the second must be zero, too.
    let clear = bytes[IMAGE + 16..IMAGE + if compacted { HEADER } else { 24 }].iter().all(|&b| b == 0);
    let known = if compacted { format & !COMPACTED } else { COMPONENTS };
    if !clear || present & !known != 0 || known & !COMPONENTS != 0 || !compacted && format != 0 {
        return Err(core.general_protection());
    }
    let asked = requested(core);
    let loads_halves = asked & present & AVX != 0;
    // Without compaction processors look at all of what was asked for, in use or not.
    if loads_halves || !compacted && asked & AVX != 0 {
        area(core, op, AVX, Access::Read)?.read(&mut bytes);
    }
    let mut image = [0; IMAGE];
    image.copy_from_slice(&bytes[..IMAGE]);
    let mut fx = core.fx_image();
    let mut new = FxState::from_bytes(&image);
    new.fcw = control::effective(new.fcw);
    let mxcsr = u32::from_le_bytes([bytes[24], bytes[25], bytes[26], bytes[27]]);
    let initial = FxState::new();
    // Without compaction MXCSR goes with either.
    let loads_mxcsr = if compacted { asked & present & SSE != 0 } else { asked & (SSE | AVX) != 0 };
    if loads_mxcsr && mxcsr & !MXCSR_MASK != 0 {
        return Err(core.general_protection());
    }
    if loads_mxcsr {
        fx.mxcsr = mxcsr;
    } else if asked & SSE != 0 {
        fx.mxcsr = initial.mxcsr;
    }
    if asked & SSE != 0 {
        fx.xmm = if present & SSE != 0 { new.xmm } else { initial.xmm };
    }
    if asked & X87 != 0 {
        let from = if present & X87 != 0 { &new } else { &initial };
        (fx.fcw, fx.fsw, fx.ftw, fx.fop, fx.fip, fx.fdp) = (from.fcw, from.fsw, from.ftw, from.fop, from.fip, from.fdp);
        fx.st = from.st;
    }
    if asked & AVX != 0 {
        core.ymm_high = [0; 16];
    }
    if loads_halves {
        for (half, bytes) in core.ymm_high.iter_mut().zip(bytes[HALVES_AT..].chunks_exact(16)) {
            *half = u128::from(word(bytes, 0)) | u128::from(word(bytes, 8)) << 64;
        }
    }
    core.set_fx_image(&fx);
    control::update_summary(core);
    Ok(())
}

/// `XGETBV`: `XCR0`, or which of its components are in use.
pub(crate) fn xgetbv(core: &mut Core, _: &Op) -> Flow {
    let value = match core.get(RCX) as u32 {
        0 => COMPONENTS,
        1 => COMPONENTS & in_use(core, &core.fx_image()),
        _ => return Err(core.general_protection()),
    };
    core.set(RAX, value);
    core.set(RDX, 0);
    Ok(())
}
