//! The floating-point part of a signal frame, and what debuggers see of it: an `FXSAVE` image and, where the processor has more, an `XSAVE` area around
//! it, marked as Linux marks it (`arch/x86/include/uapi/asm/sigcontext.h`), which handlers and debuggers look for.

use alloc::vec::Vec;

use aurora_abi::{Abi as _, Errno};
use aurora_machine::{ExtendedState, FxState, UserContext, VirtAddr};

use crate::memory::AddressSpace;

/// Bytes of an `FXSAVE` image.
const FX_SIZE: usize = 512;
/// The image and what is behind it.
const EXTENDED_SIZE: usize = FX_SIZE + ExtendedState::SIZE;
/// In the image's last 48 bytes, which the processor leaves to software: there is more behind it.
const MAGIC_1: u32 = 0x4650_5853;
const MAGIC_1_AT: usize = 464;
/// Behind it all: and it is whole.
const MAGIC_2: u32 = 0x4650_5845;

/// What a debugger sees of it (`NT_X86_XSTATE`): the image, with the components where frames have their marks, and what is
/// behind it.
pub(crate) fn regset(cpu: &UserContext, features: u64) -> Vec<u8> {
    let mut bytes = cpu.fx.to_bytes().to_vec();
    if let Some(place) = bytes.get_mut(MAGIC_1_AT..MAGIC_1_AT + 8) {
        place.copy_from_slice(&features.to_le_bytes());
    }
    bytes.extend(cpu.extended.to_bytes());
    bytes
}

/// Takes over what a debugger made of it, which has to be all of it and have no component we have not.
pub(crate) fn set_regset(cpu: &mut UserContext, bytes: &[u8], features: u64) -> Result<(), Errno> {
    let whole = (bytes.first_chunk(), bytes.get(FX_SIZE..).and_then(|behind| behind.first_chunk()));
    let (Some(image), Some(behind)) = whole else { return Err(Errno::EFAULT) };
    let mxcsr = bytes.get(24..).map_or(0, u32::load);
    let (present, reserved) = (u64::load(behind), behind.get(8..64).unwrap_or_default());
    if present & !features != 0 || reserved.iter().any(|&byte| byte != 0) || mxcsr > 0xffff {
        return Err(Errno::EINVAL);
    }
    (cpu.fx, cpu.extended) = (FxState::from_bytes(image), ExtendedState::from_bytes(behind));
    Ok(())
}

/// The most it takes.
pub(super) const MOST: usize = EXTENDED_SIZE + 4;

/// How many bytes it takes on a machine with these components.
pub(super) fn size(features: u64) -> u64 {
    if features == 0 { FX_SIZE as u64 } else { EXTENDED_SIZE as u64 + 4 }
}

/// Writes it to the start of `out`.
pub(super) fn store(out: &mut [u8], cpu: &UserContext, features: u64) {
    let mut image = cpu.fx.to_bytes();
    if features != 0 {
        mark(&mut image, features);
        if let Some(behind) = out.get_mut(FX_SIZE..).and_then(|b| b.first_chunk_mut()) {
            *behind = cpu.extended.to_bytes();
        }
        MAGIC_2.store(out.get_mut(EXTENDED_SIZE..).unwrap_or_default());
    }
    if let Some(first) = out.first_chunk_mut() {
        *first = image;
    }
}

/// `struct _fpx_sw_bytes`: magic, size with the second magic, components, size without.
fn mark(image: &mut [u8; FX_SIZE], features: u64) {
    let size = crate::num::low32(EXTENDED_SIZE as u64);
    let words = [MAGIC_1, size + 4, crate::num::low32(features), 0, size];
    let place = image.get_mut(MAGIC_1_AT..).unwrap_or_default();
    for (bytes, word) in place.chunks_exact_mut(4).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
}

/// Reads it back; an area that is not marked as whole is an image only, and the rest is in its initial state.
pub(super) async fn load(space: &AddressSpace, at: u64, cpu: &mut UserContext, features: u64) -> Result<(), Errno> {
    let mut image = [0; FX_SIZE];
    space.copy_in(VirtAddr(at), &mut image).await?;
    cpu.fx = FxState::from_bytes(&image);
    cpu.extended = ExtendedState::new();
    let mut magic = [0; 4];
    magic.copy_from_slice(image.get(MAGIC_1_AT..MAGIC_1_AT + 4).unwrap_or(&[0; 4]));
    if features == 0 || u32::from_le_bytes(magic) != MAGIC_1 {
        return Ok(());
    }
    let end: u32 = space.load(VirtAddr(at.wrapping_add(EXTENDED_SIZE as u64))).await?;
    if end == MAGIC_2 {
        let mut bytes = [0; ExtendedState::SIZE];
        space.copy_in(VirtAddr(at.wrapping_add(FX_SIZE as u64)), &mut bytes).await?;
        cpu.extended = ExtendedState::from_bytes(&bytes);
    }
    Ok(())
}
