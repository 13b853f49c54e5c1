//! FMA, and F16C's conversions.

use core::marker::PhantomData;

use aurora_machine::Access;

use super::calculate::{Calculate, Calculator};
use super::float::Native;
use super::lanes::{build, lane, with_lane};
use super::vex::Vex;
use crate::core::Core;
use crate::float::{Env, F16, F32, Rounding, pack, unpack};
use crate::op::{Flow, Op};

/// What a fused operation does, as the immediate of its op has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fused {
    /// Which of the destination, the second operand and the third are multiplied, and which is added: from 0 on.
    pub(crate) order: [u8; 3],
    /// The product is negated.
    pub(crate) negates: bool,
    /// What is added is subtracted in even lanes, in odd ones.
    pub(crate) subtracts: [bool; 2],
}

impl Fused {
    pub(crate) fn encode(self) -> u8 {
        let order = match self.order {
            [0, 2, 1] => 0,
            [1, 0, 2] => 1,
            _ => 2,
        };
        let [even, odd] = self.subtracts.map(u8::from);
        order | u8::from(self.negates) << 2 | even << 3 | odd << 4
    }

    fn decode(imm: u8) -> Self {
        let order = match imm & 3 {
            0 => [0, 2, 1],
            1 => [1, 0, 2],
            _ => [1, 2, 0],
        };
        Self { order, negates: imm & 4 != 0, subtracts: [imm & 8 != 0, imm & 16 != 0] }
    }

    fn lane<P: Native>(self, env: &mut Env, sources: [u128; 3], i: usize) -> P {
        let [a, b, c] = self.order.map(|n| unpack(env, lane::<P>(sources[usize::from(n)], i)));
        pack(env.multiply_add(P::FORMAT, [a, b, c], self.negates, self.subtracts[i % 2]))
    }
}

/// `VFMADD213PS` and its kin.
pub(crate) struct MultiplyAdd<P, const SCALAR: bool>(PhantomData<P>);
impl<P: Native, const SCALAR: bool> Calculate for MultiplyAdd<P, SCALAR> {
    fn calculate(Calculator { env, .. }: &mut Calculator, [second, third, first]: [u128; 3], imm: u8) -> u128 {
        let (fused, sources) = (Fused::decode(imm), [first, second, third]);
        match SCALAR {
            true => with_lane(first, 0, fused.lane::<P>(env, sources, 0)),
            false => build::<P, 16>(|i| fused.lane::<P>(env, sources, i)),
        }
    }
}

/// `VCVTPH2PS`: exact, and denormals are numbers like others.
pub(crate) struct HalfToSingle;
impl Calculate for HalfToSingle {
    fn calculate(Calculator { env, .. }: &mut Calculator, [_, b, _]: [u128; 3], _: u8) -> u128 {
        env.denormals_are_zero = false;
        build::<u32, 16>(|i| {
            let value = unpack(env, lane::<u16>(b, i));
            pack(env.convert(F32, value))
        })
    }
}

/// The lower 8 bytes: four numbers made halves, rounded as the immediate says.
fn halved(env: &mut Env, v: u128, imm: u8) -> u64 {
    if imm & 4 == 0 {
        env.rounding = Rounding::from_bits(imm.into());
    }
    env.flush = false;
    build::<u16, 8>(|i| {
        let value = unpack(env, lane::<u32>(v, i));
        if !value.is_nan() {
            env.operands(value, value);
        }
        pack(env.convert(F16, value))
    }) as u64
}

/// `VCVTPS2PH`, to a register or memory.
pub(crate) fn single_to_half(core: &mut Core, op: &Op) -> Flow {
    let (vex, mut env) = (Vex { narrows: true, ..Vex::of(op) }, core.sse_env());
    let from = core.ymm(op.src);
    let value = vex.result(|half| halved(&mut env, from[half], vex.imm[0]).into());
    if op.aux == 0 {
        core.sse_raise(&env)?;
        core.set_ymm(op.dst, value);
        return Ok(());
    }
    let addr = core.address(op);
    // Nothing is noted if memory faults.
    core.span(op, addr, usize::from(op.aux), Access::Write)?;
    core.sse_raise(&env)?;
    if vex.wide { core.store(op, addr, value[0]) } else { core.store(op, addr, value[0] as u64) }
}
