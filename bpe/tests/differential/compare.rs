//! What counts as equal. The README has the same list in words.

use iced_x86::{Instruction, Mnemonic as M, RflagsBits};

use super::state::Outcome;

/// Flags the manuals leave undefined after `insn`.
fn undefined_flags(insn: &Instruction, before: u64, count: u64) -> u64 {
    let bits = insn.rflags_undefined();
    let table = [
        (RflagsBits::OF, 1 << 11),
        (RflagsBits::SF, 1 << 7),
        (RflagsBits::ZF, 1 << 6),
        (RflagsBits::AF, 1 << 4),
        (RflagsBits::CF, 1),
        (RflagsBits::PF, 1 << 2),
    ];
    let mut mask: u64 = table.iter().filter(|(bit, _)| bits & bit != 0).map(|&(_, flag)| flag).sum();
    let _ = (before, count);
    if matches!(
        insn.mnemonic(),
        M::Shl | M::Sal | M::Shr | M::Sar | M::Rol | M::Ror | M::Rcl | M::Rcr | M::Shld | M::Shrd
    ) {
        // OF is defined for a count of 1 only, AF never.
        mask |= 1 << 11 | 1 << 4;
    }
    mask
}

/// Results that are approximations by definition.
fn is_approximate(insn: &Instruction) -> bool {
    matches!(
        insn.mnemonic(),
        M::Rcpps
            | M::Rcpss
            | M::Rsqrtps
            | M::Rsqrtss
            | M::Vrcpps
            | M::Vrcpss
            | M::Vrsqrtps
            | M::Vrsqrtss
            | M::Fsin
            | M::Fcos
            | M::Fsincos
            | M::Fptan
            | M::Fpatan
            | M::Fyl2x
            | M::Fyl2xp1
            | M::F2xm1
    )
}

/// Within twice the error that is documented. What comes out too small for a normal number is zero, and beside the least
/// of them that is a question of the error.
fn approximately(a: f32, b: f32) -> bool {
    const ERROR: f32 = 3.0 * 1.5 / 4096.0;
    let is_least = |x: f32| x.abs() <= f32::MIN_POSITIVE * (1.0 + ERROR);
    let is_flushed = || (a == 0.0 || b == 0.0) && a.is_sign_negative() == b.is_sign_negative();
    a == b || a.is_nan() && b.is_nan() || ((a - b) / b).abs() < ERROR || is_flushed() && is_least(a) && is_least(b)
}

/// Instructions that read or write a long image.
fn in_operand(insn: &Instruction) -> bool {
    use M::*;
    matches!(insn.mnemonic(), Fxsave | Fxsave64 | Fxrstor | Fxrstor64 | Fnsave | Frstor | Fnstenv | Fldenv)
        || super::operands::is_extended_state(insn)
}

/// Both faults are CMPS's, each in one of its operands: which it reads first differs between processors.
fn are_both_of_a_comparison(insn: &Instruction, host: &Outcome, bpe: &Outcome) -> bool {
    let operands = [host.state.gpr[6], host.state.gpr[7]];
    // Addresses may have 32 bits.
    let in_operands = |address: u64| operands.iter().any(|at| address.wrapping_sub(*at) & 0xffff_ffff < 8);
    matches!(insn.mnemonic(), M::Cmpsb | M::Cmpsw | M::Cmpsd | M::Cmpsq)
        && host.error == bpe.error
        && in_operands(host.address)
        && in_operands(bpe.address)
}

/// The first difference, in words.
pub fn difference(insn: &Instruction, host: &Outcome, bpe: &Outcome) -> Option<String> {
    let ran = host.vector == 3;
    let mut expected = host.clone();
    if ran {
        expected.state.rip = expected.state.rip.wrapping_sub(1);
    }
    // A branch to where nothing can be fetched: BPE/U stops before the fetch.
    let jumped = bpe.vector == 3 && host.vector == 14 && host.error & 16 != 0 && bpe.state.rip == host.state.rip;
    if !jumped {
        if host.vector != bpe.vector {
            return Some(format!("vector {} (error {:x}), got {}", host.vector, host.error, bpe.vector));
        }
        if host.vector == 14 && (in_operand(insn) || are_both_of_a_comparison(insn, host, bpe)) {
            // Which byte of a long image is tried first is the processor's choice.
        } else if host.vector == 14 && (host.address != bpe.address || host.error != bpe.error) {
            return Some(format!(
                "fault {:x} error {:x}, got {:x} error {:x}",
                host.address, host.error, bpe.address, bpe.error
            ));
        }
        if host.vector == 13 && host.error != bpe.error {
            return Some(format!("error code {:x}, got {:x}", host.error, bpe.error));
        }
    }
    let (h, b) = (&expected.state, &bpe.state);
    if h.rip != b.rip {
        return Some(format!("rip {:x}, got {:x}", h.rip, b.rip));
    }
    for (i, (x, y)) in h.gpr.iter().zip(&b.gpr).enumerate() {
        if x != y {
            return Some(format!("register {i} {x:x}, got {y:x}"));
        }
    }
    const COMPARED: u64 = 0xcd5;
    let flags = COMPARED & if ran { !undefined_flags(insn, 0, 0) } else { !0 };
    if (h.rflags ^ b.rflags) & flags != 0 {
        return Some(format!("flags {:x}, got {:x} (mask {flags:x})", h.rflags, b.rflags));
    }
    vectors(insn, &expected, bpe).or_else(|| x87(insn, &expected, bpe))
}

fn vectors(insn: &Instruction, host: &Outcome, bpe: &Outcome) -> Option<String> {
    let (h, b) = (&host.state.fx, &bpe.state.fx);
    let low = h.xmm.iter().zip(&b.xmm).enumerate().map(|pair| ("xmm", "", pair));
    let high = host.state.ymm_high.iter().zip(&bpe.state.ymm_high).enumerate().map(|pair| ("ymm", " upper", pair));
    for (name, half, (i, (&x, &y))) in low.chain(high) {
        let lanes = |v: u128| [0, 32, 64, 96].map(|s| f32::from_bits((v >> s) as u32));
        let close = || lanes(x).into_iter().zip(lanes(y)).all(|(x, y)| approximately(x, y));
        if x != y && !(is_approximate(insn) && close()) {
            return Some(format!("{name}{i}{half} {x:032x}, got {y:032x}"));
        }
    }
    (h.mxcsr != b.mxcsr).then(|| format!("mxcsr {:x}, got {:x}", h.mxcsr, b.mxcsr))
}

fn x87(insn: &Instruction, host: &Outcome, bpe: &Outcome) -> Option<String> {
    let (h, b) = (&host.state.fx, &bpe.state.fx);
    if h.fcw != b.fcw {
        return Some(format!("fcw {:x}, got {:x}", h.fcw, b.fcw));
    }
    // Whether an approximation counts as rounded, and which way, is the processor's choice, and so whether that traps.
    let mask = if is_approximate(insn) { !0x82b2 } else { !0 };
    if (h.fsw ^ b.fsw) & mask != 0 {
        return Some(format!("fsw {:x}, got {:x}", h.fsw, b.fsw));
    }
    if h.ftw != b.ftw {
        return Some(format!("ftw {:x}, got {:x}", h.ftw, b.ftw));
    }
    for (i, (x, y)) in h.st.iter().zip(&b.st).enumerate() {
        let number = |v: &[u8; 16]| u128::from_le_bytes(*v) & ((1 << 80) - 1);
        let (x, y) = (number(x), number(y));
        // Without the integer bit neighbours are neighbours across powers of two. 18 bits of significand may differ.
        let dense = |v: u128| v >> 64 << 63 | v & (u128::MAX >> 65);
        let close = || dense(x).abs_diff(dense(y)) < 1 << 18;
        if x != y && !(is_approximate(insn) && close()) {
            return Some(format!("st{i} {x:020x}, got {y:020x}"));
        }
    }
    None
}

/// Bytes of a stored x87 image whose contents the two may choose: the pointers to the last instruction and operand.
pub fn unspecified(insn: &Instruction) -> Vec<std::ops::Range<u64>> {
    match insn.mnemonic() {
        // MXCSR's mask, too: AMD's has a bit more.
        M::Fxsave | M::Fxsave64 => vec![6..24, 28..32],
        _ if super::operands::is_extended_state(insn) => vec![6..24, 28..32],
        M::Fnstenv | M::Fnsave => {
            let narrow = insn.memory_size().size() == 14 || insn.memory_size().size() == 94;
            vec![if narrow { 6..14 } else { 12..28 }]
        }
        _ => Vec::new(),
    }
}
