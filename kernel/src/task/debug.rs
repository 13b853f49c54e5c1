//! Debug registers of a thread as its tracer sets them (`u_debugreg` of `struct user`, ptrace(2)): places where it stops
//! before it executes, or after it writes.
//!
//! No machine needs to have such registers. While one is in force, the thread goes instruction by instruction, and what is
//! watched is compared before and after each. So a write of what was there already goes unnoticed, and whoever wants to
//! hear of reads is refused.

use aurora_abi::Errno;
use aurora_machine::{Exception, Reg, Trap, UserContext, VirtAddr};

use crate::memory::AddressSpace;
use crate::task::Thread;

/// Bit of [`Thread::watched`]: one of the registers is in force.
pub const DEBUGGED: u8 = 8;
/// How many places there are.
const PLACES: usize = 4;
/// `si_code` of the signal.
pub const TRAP_HWBKPT: i32 = 4;

/// The registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DebugRegisters {
    addresses: [u64; PLACES],
    /// DR6: which place was met.
    status: u64,
    /// DR7: which are in force, and for what.
    control: u64,
}

/// A place in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Stops before the instruction there.
    Execute(u64),
    /// Stops after so many bytes there have changed.
    Write(u64, usize),
}

impl DebugRegisters {
    /// What a tracer reads.
    pub fn get(&self, number: usize) -> u64 {
        match number {
            6 => self.status,
            7 => self.control,
            _ => self.addresses.get(number).copied().unwrap_or(0),
        }
    }

    /// Sets one; `EINVAL` for places that cannot be watched so.
    pub fn set(&mut self, number: usize, value: u64) -> Result<(), Errno> {
        let mut new = *self;
        match number {
            6 => new.status = value,
            7 => new.control = value,
            _ => *new.addresses.get_mut(number).ok_or(Errno::EIO)? = value,
        }
        for place in 0..PLACES {
            if new.is_in_force(place) || number == place {
                VirtAddr(new.get(place)).is_user().then_some(()).ok_or(Errno::EINVAL)?;
            }
            if new.is_in_force(place) {
                new.place(place).ok_or(Errno::EINVAL)?;
            }
        }
        *self = new;
        Ok(())
    }

    fn is_in_force(&self, place: usize) -> bool {
        self.control >> (2 * place) & 3 != 0
    }

    /// Whether any is.
    pub fn any(&self) -> bool {
        (0..PLACES).any(|place| self.is_in_force(place))
    }

    /// What one is for; none if that makes no sense.
    fn place(&self, place: usize) -> Option<Place> {
        let address = self.get(place);
        let bits = self.control >> (16 + 4 * place);
        let len = match bits >> 2 & 3 {
            0 => 1,
            1 => 2,
            2 => 8,
            _ => 4,
        };
        match bits & 3 {
            0 if len == 1 => Some(Place::Execute(address)),
            1 if address.is_multiple_of(len) => Some(Place::Write(address, crate::num::to_usize(len))),
            _ => None,
        }
    }

    fn in_force(&self) -> impl Iterator<Item = (usize, Place)> {
        (0..PLACES).filter(|&place| self.is_in_force(place)).filter_map(|place| Some((place, self.place(place)?)))
    }
}

/// What is watched, as it is before an instruction.
pub struct Before {
    registers: DebugRegisters,
    words: [[u8; 8]; PLACES],
    steps_itself: bool,
}

fn words(registers: &DebugRegisters, space: &AddressSpace) -> [[u8; 8]; PLACES] {
    let mut words = [[0; 8]; PLACES];
    for (number, place) in registers.in_force() {
        if let (Place::Write(address, len), Some(word)) = (place, words.get_mut(number)) {
            space.peek(VirtAddr(address), word.get_mut(..len).unwrap_or_default());
        }
    }
    words
}

/// Lets a thread whose registers are in force go on for one instruction.
pub fn before(thread: &Thread, space: &AddressSpace, cpu: &mut UserContext) -> Before {
    let registers = thread.trace.lock().debug;
    let steps_itself = cpu.rflags & UserContext::TRAP_FLAG != 0;
    cpu.rflags |= UserContext::TRAP_FLAG;
    Before { registers, words: words(&registers, space), steps_itself }
}

/// What the instruction did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Nothing anybody waits for.
    Goes,
    /// It met a place: SIGTRAP.
    Met,
    /// Something else happened, too.
    Trapped,
}

/// Looks at what a thread did with its one instruction.
pub fn after(thread: &Thread, space: &AddressSpace, cpu: &mut UserContext, before: &Before, trap: Trap) -> After {
    if !before.steps_itself {
        cpu.rflags &= !UserContext::TRAP_FLAG;
        if trap == Trap::Syscall {
            // Where SYSCALL keeps the flags.
            cpu.set_reg(Reg::R11, cpu.reg(Reg::R11) & !UserContext::TRAP_FLAG);
        }
    }
    if trap != Trap::Exception(Exception::Debug) {
        return After::Trapped;
    }
    let now = words(&before.registers, space);
    let met = before.registers.in_force().filter(|(number, place)| match place {
        Place::Execute(address) => cpu.rip == *address,
        Place::Write(..) => now.get(*number) != before.words.get(*number),
    });
    let status = met.fold(0, |status, (number, _)| status | 1 << number);
    if status != 0 {
        thread.trace.lock().debug.status |= status;
        return After::Met;
    }
    if before.steps_itself { After::Trapped } else { After::Goes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_decoded_as_the_processor_does() {
        let mut registers = DebugRegisters::default();
        registers.set(1, 0x1000).unwrap();
        assert!(!registers.any());
        // Four bytes at place 1, for writing.
        registers.set(7, 1 << 2 | 0b1101 << 20).unwrap();
        assert_eq!(registers.in_force().collect::<alloc::vec::Vec<_>>(), [(1, Place::Write(0x1000, 4))]);
        assert_eq!(registers.set(1, 0x1002), Err(Errno::EINVAL));
        assert_eq!(registers.set(7, 1 << 2 | 0b1111 << 20), Err(Errno::EINVAL));
        assert_eq!(registers.set(0, u64::MAX), Err(Errno::EINVAL));
        assert_eq!(registers.set(5, 1), Err(Errno::EIO));
        registers.set(7, 1).unwrap();
        assert_eq!(registers.in_force().collect::<alloc::vec::Vec<_>>(), [(0, Place::Execute(0))]);
    }
}
