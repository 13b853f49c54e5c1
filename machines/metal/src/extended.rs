//! x87, SSE and AVX registers: loaded when a program runs that they do not belong to, saved when another one does or when
//! the kernel wants to see them.
//!
//! What always holds: the kernel itself uses none of them, so what is in the processor is its owner's newest state, and an
//! area that is not the owner's has its own.

use alloc::sync::Arc;
use core::any::Any;
use core::arch::asm;

use aurora_machine::{ExtendedState, FxState, StateHolder, UserContext};
use spin::Mutex;

use crate::trap;

/// Bits of MXCSR that exist; others would make FXRSTOR fault.
const MXCSR: u32 = 0xffff;

/// What `XSAVE64` writes, or `FXSAVE64` the first part of.
#[repr(C, align(64))]
struct Image {
    fx: FxState,
    extended: ExtendedState,
}

/// Where one program's registers are while they are not in the processor.
struct Area(Mutex<Image>);

/// Whose registers are in the processor.
static OWNER: Mutex<Option<Arc<Area>>> = Mutex::new(None);

/// Makes the registers those of `cpu`.
pub(crate) fn enter(cpu: &mut UserContext) {
    let mut owner = OWNER.lock();
    let own = cpu.holder().map(|holder| Arc::as_ptr(holder).addr());
    if own.is_some() && own == owner.as_ref().map(|area| Arc::as_ptr(area).addr()) {
        return;
    }
    // Nobody else knows of it: its context was settled, or is gone.
    let (kept, free): (Option<_>, Option<_>) = match owner.take() {
        Some(area) if Arc::strong_count(&area) == 1 => (None, Some(area)),
        area => (area, None),
    };
    if let Some(area) = kept {
        save(&mut area.0.lock());
    }
    let held = cpu.holder().cloned().and_then(|holder| (holder as Arc<dyn Any + Send + Sync>).downcast::<Area>().ok());
    let area = held.unwrap_or_else(|| {
        let image = Image { fx: cpu.fx.clone(), extended: cpu.extended.clone() };
        let area = match free {
            Some(area) => {
                *area.0.lock() = image;
                area
            }
            None => Arc::new(Area(Mutex::new(image))),
        };
        cpu.hold(area.clone());
        area
    });
    load(&mut area.0.lock());
    *owner = Some(area);
}

impl StateHolder for Area {
    fn read(&self, fx: &mut FxState, extended: &mut ExtendedState) {
        let owner = OWNER.lock();
        let mut image = self.0.lock();
        if owner.as_ref().is_some_and(|area| core::ptr::eq(&**area, self)) {
            save(&mut image);
        }
        *fx = image.fx.clone();
        *extended = image.extended.clone();
    }
}

fn save(image: &mut Image) {
    let at = &raw mut *image;
    if trap::uses_xsave() {
        // SAFETY: the area is as large as the enabled components need and aligned to 64 bytes; CR4.OSXSAVE is set.
        unsafe {
            asm!("xsave64 [{}]", in(reg) at, in("eax") trap::COMPONENTS, in("edx") 0, options(nostack, preserves_flags))
        }
    } else {
        // SAFETY: 512 bytes aligned to 16.
        unsafe { asm!("fxsave64 [{}]", in(reg) at, options(nostack, preserves_flags)) }
    }
}

fn load(image: &mut Image) {
    image.fx.mxcsr &= MXCSR;
    if trap::uses_xsave() {
        // What the kernel put into `fx` counts.
        image.extended.header[0] |= ExtendedState::X87_SSE;
        let at = &raw const *image;
        // SAFETY: as for `save`; MXCSR has only bits that exist, and `ExtendedState` keeps the header to what is enabled.
        unsafe {
            asm!("xrstor64 [{}]", in(reg) at, in("eax") trap::COMPONENTS, in("edx") 0, options(nostack, preserves_flags))
        }
    } else {
        let at = &raw const *image;
        // SAFETY: 512 bytes aligned to 16; MXCSR has only bits that exist.
        unsafe { asm!("fxrstor64 [{}]", in(reg) at, options(nostack, preserves_flags)) }
    }
}
