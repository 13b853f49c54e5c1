//! Comparisons, tests and conditional moves.

use super::arithmetic::{operand, place};
use super::{C0, C1, C2, C3, CONDITIONS, Operand};
use crate::core::Core;
use crate::flags::{CF, Flags, PF, ZF};
use crate::float::{Class, Env, Float};
use crate::op::{Flow, Op};
use core::cmp::Ordering;

/// `op.imm` bit: quiet NaNs are not invalid.
pub(crate) const QUIET: u64 = 1;
/// `op.imm` bit: the order goes to RFLAGS.
pub(crate) const TO_FLAGS: u64 = 2;

/// `FCOM`, `FUCOM`, `FCOMI`, `FICOM` and the popping ones: ST(0) with the operand.
pub(crate) fn compare(core: &mut Core, op: &Op) -> Flow {
    core.check_x87()?;
    let mut env = core.fpu_env();
    let b = operand(core, op, &env)?;
    let a = core.fpu_operand(0);
    let to_flags = op.imm & TO_FLAGS != 0;
    let (order, finished) = ordered(core, &mut env, a, b, op.imm & QUIET != 0, to_flags);
    if op.imm & TO_FLAGS != 0 {
        core.flags = Flags::from_bits(match order {
            None => ZF | PF | CF,
            Some(Ordering::Less) => CF,
            Some(Ordering::Equal) => ZF,
            Some(Ordering::Greater) => 0,
        });
    } else {
        set_conditions(core, order);
    }
    if !finished {
        return Ok(());
    }
    if op.aux & (place::POP | place::POP_TWICE) != 0 {
        core.fpu_pop();
    }
    if op.aux & place::POP_TWICE != 0 {
        core.fpu_pop();
    }
    Ok(())
}

/// The order, and whether no unmasked exception keeps the stack from being popped. C1 stays if `keep`.
fn ordered(
    core: &mut Core,
    env: &mut Env,
    a: Operand,
    b: Operand,
    quiet: bool,
    keep: bool,
) -> (Option<Ordering>, bool) {
    let kept = if keep { core.fx.fsw & C1 } else { 0 };
    let order = match (a, b) {
        (Operand::Empty, _) | (_, Operand::Empty) => return (None, core.fpu_stack_fault(false)),
        (Operand::Value(a), Operand::Value(b)) => env.compare(a, b, quiet),
        _ => {
            env.invalid();
            None
        }
    };
    let finished = core.fpu_finish(env);
    core.fx.fsw |= kept;
    (order, finished)
}

fn set_conditions(core: &mut Core, order: Option<Ordering>) {
    core.fx.fsw &= !CONDITIONS;
    core.fx.fsw |= match order {
        None => C3 | C2 | C0,
        Some(Ordering::Less) => C0,
        Some(Ordering::Equal) => C3,
        Some(Ordering::Greater) => 0,
    };
}

/// `FTST`: ST(0) with zero.
pub(crate) fn test(core: &mut Core, _: &Op) -> Flow {
    core.check_x87()?;
    let mut env = core.fpu_env();
    let a = core.fpu_operand(0);
    let (order, _) = ordered(core, &mut env, a, Operand::Value(Float::zero(false)), false, false);
    set_conditions(core, order);
    Ok(())
}

/// `FXAM`: the class of ST(0), and its sign in C1.
pub(crate) fn examine(core: &mut Core, _: &Op) -> Flow {
    core.check_x87()?;
    let negative = core.fpu_raw(0).1 & 0x8000 != 0;
    let class = match core.fpu_operand(0) {
        Operand::Empty => C3 | C0,
        Operand::Unsupported => 0,
        Operand::Value(value) => match value.class {
            Class::Nan => C0,
            Class::Infinity => C2 | C0,
            Class::Zero => C3,
            Class::Finite if value.denormal => C3 | C2,
            Class::Finite => C2,
        },
    };
    core.fx.fsw = core.fx.fsw & !CONDITIONS | class | if negative { C1 } else { 0 };
    Ok(())
}

/// `FCMOVcc`: the condition's number is in `op.imm`.
pub(crate) fn conditional_move(core: &mut Core, op: &Op) -> Flow {
    core.check_x87()?;
    let flags = core.flags;
    let holds = match op.imm >> 1 {
        0 => flags.cf(),
        1 => flags.zf(),
        2 => flags.cf() || flags.zf(),
        _ => flags.pf(),
    };
    if core.fpu_is_empty(op.src) || core.fpu_is_empty(0) {
        if core.fpu_stack_fault(false) {
            core.set_fpu(0, Float::INDEFINITE);
        }
        return Ok(());
    }
    if holds != (op.imm & 1 != 0) {
        let raw = core.fpu_raw(op.src);
        core.set_fpu_raw(0, raw);
    }
    Ok(())
}
