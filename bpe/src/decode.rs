//! From bytes to blocks.

use alloc::vec::Vec;

use aurora_machine::{PAGE_SIZE, PhysAddr};
use iced_x86::{Decoder, DecoderError, DecoderOptions, FlowControl, Instruction};

use crate::blocks::Block;
use crate::core::Core;
use crate::lower;
use crate::op::Stop;
use crate::ops::{branch, system};

/// Most instructions in a block.
pub(crate) const LONGEST_BLOCK: usize = 64;
/// Longest instruction the architecture allows.
pub(crate) const LONGEST: usize = 15;
/// `PAUSE` is `NOP` here; and with REX.B processors exchange registers, which is what that option leaves it to be.
pub(crate) const OPTIONS: u32 = DecoderOptions::NO_PAUSE;
const BUFFER: usize = LONGEST_BLOCK * LONGEST + LONGEST;

/// Decodes at most `limit` instructions from `at`, which is where RIP of `core` is mapped. Fails as the fetch does when
/// the first instruction reaches into a page that cannot be fetched.
///
/// A block ends before an instruction that reaches into the next page; such an instruction is a block of its own.
pub(crate) fn block(core: &mut Core, at: PhysAddr, limit: usize) -> Result<Block, Stop> {
    let mut buffer = [0u8; BUFFER];
    let offset = (at.0 % PAGE_SIZE) as usize;
    let here = (PAGE_SIZE as usize - offset).min(limit * LONGEST);
    copy_code(core, at, &mut buffer[..here]);
    let mut ops = Vec::with_capacity(16);
    let mut decoder = Decoder::with_ip(64, &buffer[..here], offset as u64, OPTIONS);
    let mut insn = Instruction::default();
    let mut count = 0;
    let mut previous = None;
    let mut start = 0;
    while count < limit && start < here {
        decoder.decode_out(&mut insn);
        if insn.is_invalid() {
            let cut_off = here - start < LONGEST && decoder.last_error() == DecoderError::NoMoreBytes;
            if cut_off && here + offset == PAGE_SIZE as usize {
                if count > 0 {
                    break;
                }
                return crossing_block(core, at, &mut buffer, here);
            }
            system::lower_invalid(&mut ops, (offset + start) as u16, count as u8, &buffer[start..]);
            return Ok(Block::new(ops, count as u64 + 1, None));
        }
        previous = lower::instruction(&insn, count as u8, previous, &mut ops);
        count += 1;
        start = decoder.position();
        if ends_block(&insn) {
            let indirect = matches!(insn.flow_control(), FlowControl::IndirectBranch | FlowControl::IndirectCall);
            return Ok(Block { indirect, ..Block::new(ops, count as u64, None) });
        }
    }
    branch::lower_fall_through(&mut ops, (offset + start) as u16, count as u8);
    Ok(Block::new(ops, count as u64, None))
}

/// A block of the one instruction that begins at `at`, `here` bytes before its page ends.
fn crossing_block(core: &mut Core, at: PhysAddr, buffer: &mut [u8], here: usize) -> Result<Block, Stop> {
    let offset = at.0 % PAGE_SIZE;
    let next = (core.rip & !(PAGE_SIZE - 1)).wrapping_add(PAGE_SIZE);
    let frame = core.fetch_frame(next)?;
    copy_code(core, frame, &mut buffer[here..here + LONGEST]);
    let mut ops = Vec::with_capacity(2);
    let mut decoder = Decoder::with_ip(64, &buffer[..here + LONGEST], offset, OPTIONS);
    let insn = decoder.decode();
    if insn.is_invalid() {
        system::lower_invalid(&mut ops, offset as u16, 0, buffer);
    } else {
        lower::instruction(&insn, 0, None, &mut ops);
        if !ends_block(&insn) {
            branch::lower_fall_through(&mut ops, (offset + insn.len() as u64) as u16, 1);
        }
    }
    Ok(Block::new(ops, 1, Some(frame)))
}

pub(crate) fn copy_code(core: &Core, at: PhysAddr, out: &mut [u8]) {
    let host = core.memory.window().wrapping_add(at.0 as usize);
    // SAFETY: the frame is mapped for the guest, hence inside the window, and the caller stays inside the frame.
    unsafe { out.as_mut_ptr().copy_from_nonoverlapping(host, out.len()) }
}

/// Whether nothing after `insn` may be in its block, because RIP or what the loop looks at between blocks changes.
fn ends_block(insn: &Instruction) -> bool {
    insn.flow_control() != FlowControl::Next || system::ends_block(insn)
}
