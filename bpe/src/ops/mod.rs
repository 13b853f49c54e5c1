//! What the instructions do, a file per family.

pub(crate) mod alu;
pub(crate) mod bits;
pub(crate) mod bmi;
pub(crate) mod branch;
pub(crate) mod multiply;
pub(crate) mod operand;
pub(crate) mod shift;
pub(crate) mod stack;
pub(crate) mod string;
pub(crate) mod swap;
pub(crate) mod system;
pub(crate) mod transfer;
