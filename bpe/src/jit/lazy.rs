//! The status flags as translated code keeps them: what the last instruction that set them worked on, so that only what
//! is read is ever worked out.
//!
//! What always holds: [`Lazy::flags`] gives what the interpreter would have for the same instructions. Operands are
//! zero-extended from their width; a result is too.

use crate::flags::{CF, Flags, PF, ZF};
use crate::op::Stop;
use crate::width::Width;

/// What set the flags last. `a`, `b`, `c` are the fields of [`Lazy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Setter {
    /// The interpreter: its result in `a`, its carries in `b`.
    Interpreter,
    /// `a - b`.
    Subtract,
    /// Result `a` of subtracting `b`.
    Difference,
    /// Result `a` of adding `b`.
    Add,
    /// Result `a`, no carries.
    Logic,
    /// Result `a`; CF stays what `c` says.
    Increment,
    /// Result `a`; CF stays what `c` says.
    Decrement,
    /// Result `a` of shifting `c` left by `b`, which is not 0.
    ShiftLeft,
    /// Result `a` of shifting `c` right by `b`, which is not 0.
    ShiftRight,
    /// Result `a` of shifting `c` right by `b` with its sign, which is not 0.
    ShiftSigned,
    /// Result `a` of adding `b` and the carry `c`.
    AddCarry,
    /// `a - b` less the borrow `c`.
    SubtractBorrow,
    /// The signed product of `a` and `b`.
    Multiply,
    /// Low half `a` and high half `b` of an unsigned product.
    MultiplyUnsigned,
    /// The comparison of the floating-point numbers with the bits `a` and `b`.
    Order,
    /// RFLAGS in `a`.
    Bits,
}

impl Setter {
    const ALL: [Self; 16] = [
        Self::Interpreter,
        Self::Subtract,
        Self::Difference,
        Self::Add,
        Self::Logic,
        Self::Increment,
        Self::Decrement,
        Self::ShiftLeft,
        Self::ShiftRight,
        Self::ShiftSigned,
        Self::AddCarry,
        Self::SubtractBorrow,
        Self::Multiply,
        Self::MultiplyUnsigned,
        Self::Order,
        Self::Bits,
    ];
}

/// What came after the setter and changed the carries only. `o` is the field of [`Lazy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Over {
    /// Nothing.
    None,
    /// CF is bit 0 of `o`.
    Carry,
    /// A rotation to the left gave `o`.
    RotateLeft,
    /// A rotation to the right gave `o`.
    RotateRight,
}

impl Over {
    const ALL: [Self; 4] = [Self::None, Self::Carry, Self::RotateLeft, Self::RotateRight];
}

/// Where an operand of what set the flags is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// In its field of [`Lazy`].
    Kept,
    /// In a general-purpose register, which has not changed since.
    Register(u8),
    /// It is this number.
    Number(i32),
}

impl Source {
    /// Two bits that say which, and four with the register.
    fn encode(self) -> u64 {
        match self {
            Self::Kept => 0,
            Self::Register(n) => 1 | u64::from(n & 15) << 2,
            Self::Number(_) => 2,
        }
    }

    fn decode(bits: u64, number: i32) -> Self {
        match bits & 3 {
            1 => Self::Register((bits >> 2) as u8 & 15),
            2 => Self::Number(number),
            _ => Self::Kept,
        }
    }
}

/// How to work out the flags. At most one of the sources is a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) setter: Setter,
    /// log2 of the operands' bytes.
    pub(crate) width: u8,
    pub(crate) over: Over,
    /// The same for what `over` says.
    pub(crate) over_width: u8,
    /// Where `a` and `b` are.
    pub(crate) sources: [Source; 2],
}

/// Where the sources are in the number that stands for a [`Kind`]: one after the other, and the number in the top half.
const A_FROM: u32 = 12;
const B_FROM: u32 = 20;

impl Kind {
    /// The bits of [`Kind::encode`] that say what set the flags, and what came over that.
    pub(crate) const SETTER_AND_OVER: i32 = 15 | 3 << 8;

    /// In the local of the kind: the flags are those of [`Lazy`], and the other locals say nothing. It is no kind's number.
    pub(crate) const STORED: i64 = Setter::Bits as i64 | 3 << A_FROM;

    pub(crate) const fn new(setter: Setter, width: u8) -> Self {
        Self { setter, width, over: Over::None, over_width: 0, sources: [Source::Kept; 2] }
    }

    /// Which of the fields of [`Lazy`] it looks at: `a`, `b`, `c`, `o`.
    pub(crate) fn words(self) -> [bool; 4] {
        use Setter as S;
        let [a, b] = self.sources.map(|source| source == Source::Kept);
        let one = matches!(self.setter, S::Logic | S::Increment | S::Decrement | S::Bits);
        let third = matches!(
            self.setter,
            S::Increment
                | S::Decrement
                | S::ShiftLeft
                | S::ShiftRight
                | S::ShiftSigned
                | S::AddCarry
                | S::SubtractBorrow
        );
        [a, b && !one, third, self.over != Over::None]
    }

    /// As a number that translated code stores.
    pub(crate) fn encode(self) -> i64 {
        let [a, b] = self.sources;
        let number = match (a, b) {
            (Source::Number(n), _) | (_, Source::Number(n)) => u64::from(n as u32),
            _ => 0,
        };
        let over = self.over as u64 | u64::from(self.over_width) << 2;
        let bits = self.setter as u64 | u64::from(self.width) << 4 | over << 8;
        (bits | a.encode() << A_FROM | b.encode() << B_FROM | number << 32) as i64
    }

    fn decode(bits: u64) -> Self {
        let four = |n: u32| (bits >> n) as usize & 15;
        let number = (bits >> 32) as u32 as i32;
        Self {
            setter: Setter::ALL.get(four(0)).copied().unwrap_or(Setter::Bits),
            width: four(4) as u8 & 3,
            over: Over::ALL.get(four(8) & 3).copied().unwrap_or(Over::None),
            over_width: four(10) as u8 & 3,
            sources: [A_FROM, B_FROM].map(|n| Source::decode(bits >> n, number)),
        }
    }
}

/// The flags between translated code and everything else.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct Lazy {
    pub(crate) a: u64,
    pub(crate) b: u64,
    pub(crate) c: u64,
    pub(crate) o: u64,
    /// [`Kind::encode`].
    pub(crate) kind: u64,
}

impl Lazy {
    /// The same flags in the interpreter's form. `regs` are the general-purpose registers.
    pub(crate) fn flags(&self, regs: &[u64]) -> Flags {
        let kind = Kind::decode(self.kind);
        let mask = u64::MAX >> (64 - (8 << kind.width));
        let operand = |source: Source, kept: u64| match source {
            Source::Kept => kept,
            Source::Register(n) => regs.get(usize::from(n)).copied().unwrap_or(0) & mask,
            Source::Number(n) => i64::from(n) as u64 & mask,
        };
        let [a, b] = kind.sources;
        let found = Self { a: operand(a, self.a), b: operand(b, self.b), ..*self };
        let mut flags = match kind.width {
            0 => found.set::<u8>(kind.setter),
            1 => found.set::<u16>(kind.setter),
            2 => found.set::<u32>(kind.setter),
            _ => found.set::<u64>(kind.setter),
        };
        let bits = 8u32 << kind.over_width;
        let (low, top, second) = (self.o & 1 != 0, self.o >> (bits - 1) & 1 != 0, self.o >> (bits - 2) & 1 != 0);
        match kind.over {
            Over::None => {}
            Over::Carry => flags.set_cf(low),
            Over::RotateLeft => flags.set_cf_of(low, top != low),
            Over::RotateRight => flags.set_cf_of(top, top != second),
        }
        flags
    }

    /// Takes over the interpreter's.
    pub(crate) fn take(&mut self, flags: Flags) {
        (self.a, self.b) = flags.parts();
        self.kind = 0;
    }

    fn set<W: Width>(&self, setter: Setter) -> Flags {
        use crate::ops::alu::{add, subtract};
        use crate::ops::shift::{Sar, Shift as _, Shl, Shr};
        let (a, b, c) = (self.a, self.b, self.c);
        let mut flags = Flags::default();
        match setter {
            Setter::Interpreter => return Flags::from_parts(a, b),
            Setter::Subtract => _ = subtract::<W>(&mut flags, a, b, 0),
            Setter::Difference => _ = subtract::<W>(&mut flags, a.wrapping_add(b) & W::MASK, b, 0),
            Setter::SubtractBorrow => _ = subtract::<W>(&mut flags, a, b, c & 1),
            Setter::Add => _ = add::<W>(&mut flags, a.wrapping_sub(b) & W::MASK, b, 0),
            Setter::AddCarry => _ = add::<W>(&mut flags, a.wrapping_sub(b).wrapping_sub(c & 1) & W::MASK, b, c & 1),
            Setter::Logic => flags = Flags::logic::<W>(a),
            Setter::Increment => _ = add::<W>(&mut flags, a.wrapping_sub(1) & W::MASK, 1, 0),
            Setter::Decrement => _ = subtract::<W>(&mut flags, a.wrapping_add(1) & W::MASK, 1, 0),
            Setter::ShiftLeft => _ = Shl::apply::<W>(&mut flags, c, (b & 63).max(1) as u32),
            Setter::ShiftRight => _ = Shr::apply::<W>(&mut flags, c, (b & 63).max(1) as u32),
            Setter::ShiftSigned => _ = Sar::apply::<W>(&mut flags, c, (b & 63).max(1) as u32),
            Setter::Multiply => {
                let (wide, overflow) = crate::ops::multiply::signed_product::<W>(a, b);
                flags = Flags::shifted::<W>(wide as u64, overflow, overflow);
            }
            Setter::MultiplyUnsigned => flags = Flags::shifted::<W>(a, b != 0, b != 0),
            Setter::Order => flags = Flags::from_bits(order::<W>(a, b)),
            Setter::Bits => flags = Flags::from_bits(a),
        }
        if matches!(setter, Setter::Increment | Setter::Decrement) {
            flags.set_cf(c & 1 != 0);
        }
        flags
    }
}

fn order<W: Width>(a: u64, b: u64) -> u64 {
    let order = match W::BITS {
        32 => f32::from_bits(a as u32).partial_cmp(&f32::from_bits(b as u32)),
        _ => f64::from_bits(a).partial_cmp(&f64::from_bits(b)),
    };
    match order {
        None => ZF | PF | CF,
        Some(core::cmp::Ordering::Less) => CF,
        Some(core::cmp::Ordering::Equal) => ZF,
        Some(core::cmp::Ordering::Greater) => 0,
    }
}

/// What translated code and everything else tell each other; a part of the processor's state at a fixed address.
#[repr(C, align(16))]
pub(crate) struct Exchange {
    /// A 16-byte operand on its way.
    pub(crate) wide: [u8; super::WIDEST],
    /// Operands of a [`crate::vector::Pure`].
    pub(crate) operands: [u128; 3],
    pub(crate) lazy: Lazy,
    /// Where translated code left off; all ones when `stop` says why it stopped.
    pub(crate) rip: u64,
    /// Fuel left, below zero if a little more was used.
    pub(crate) fuel: i64,
    /// Set against the addresses in the jump table; changes whenever what the table says may be wrong.
    pub(crate) key: u64,
    /// 0, or why translated code stopped: one of [`STOPS`].
    pub(crate) stop: u32,
    /// The op that stopped, if it was one.
    pub(crate) op: usize,
    /// The last indirect jump to a place its function did not know, and that place.
    pub(crate) missed: [u64; 2],
}

impl Exchange {
    pub(crate) const fn new() -> Self {
        Self {
            wide: [0; super::WIDEST],
            operands: [0; 3],
            lazy: Lazy { a: 1, b: 0, c: 0, o: 0, kind: 0 },
            rip: 0,
            fuel: 0,
            key: 0,
            stop: 0,
            op: 0,
            missed: [0; 2],
        }
    }
}

/// [`Exchange::stop`]: the fuel is used up.
pub(crate) const STOP_FUEL: u32 = 1;
/// The interpreter is to execute the instruction at RIP.
pub(crate) const STOP_INTERPRET: u32 = 2;
/// An access of the instruction at RIP faulted.
pub(crate) const STOP_FAULT: u32 = 3;
/// The instruction at RIP wants to write code.
pub(crate) const STOP_CODE_WRITE: u32 = 4;
/// An op stopped; add the [`Stop`].
pub(crate) const STOP_OP: u32 = 16;

/// What stopped an op.
pub(crate) fn stop_of(code: u32) -> Stop {
    const STOPS: [Stop; 8] =
        [Stop::Link0, Stop::Link1, Stop::Jump, Stop::Fault, Stop::Trap, Stop::CodeWrite, Stop::Environment, Stop::Fuel];
    STOPS.get(code.wrapping_sub(STOP_OP) as usize).copied().unwrap_or(Stop::Jump)
}
