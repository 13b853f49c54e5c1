//! Lowering of BMI1, BMI2 and ADX.

use iced_x86::{Mnemonic as M, OpKind};

use super::{Lowering, register};
use crate::op::Run;
use crate::ops::bmi::{self, Adcx, Adox, Andn, Bextr, Blsi, Blsmsk, Blsr, Bzhi, Pdep, Pext, Sarx, Shlx, Shrx};

impl Lowering<'_> {
    /// The handler, with what it needs filled in; `None` if the instruction is not of this family.
    pub(super) fn bmi(&mut self) -> Option<Run> {
        let mnemonic = self.insn.mnemonic();
        // Which operands ModRM and the other register are.
        let (modrm, other) = match mnemonic {
            M::Andn | M::Mulx | M::Pdep | M::Pext => (2, 1),
            M::Bextr | M::Bzhi | M::Sarx | M::Shlx | M::Shrx => (1, 2),
            M::Adcx | M::Adox | M::Blsi | M::Blsmsk | M::Blsr | M::Rorx => (1, 0),
            _ => return None,
        };
        let (memory, size) = (self.is_memory(modrm), self.size(0));
        self.op.aux = u16::from(register(self.insn.op_register(other)));
        if self.insn.op_kind(modrm) == OpKind::Register {
            self.op.src = register(self.insn.op_register(modrm));
        }
        Some(match mnemonic {
            M::Andn => bmi::handler::<Andn>(memory, size),
            M::Bextr => bmi::handler::<Bextr>(memory, size),
            M::Blsi => bmi::handler::<Blsi>(memory, size),
            M::Blsmsk => bmi::handler::<Blsmsk>(memory, size),
            M::Blsr => bmi::handler::<Blsr>(memory, size),
            M::Bzhi => bmi::handler::<Bzhi>(memory, size),
            M::Sarx => bmi::handler::<Sarx>(memory, size),
            M::Shlx => bmi::handler::<Shlx>(memory, size),
            M::Shrx => bmi::handler::<Shrx>(memory, size),
            M::Pdep => bmi::handler::<Pdep>(memory, size),
            M::Pext => bmi::handler::<Pext>(memory, size),
            M::Adcx => bmi::handler::<Adcx>(memory, size),
            M::Adox => bmi::handler::<Adox>(memory, size),
            M::Rorx => bmi::rorx_handler(memory, size),
            _ => bmi::mulx_handler(memory, size),
        })
    }
}
