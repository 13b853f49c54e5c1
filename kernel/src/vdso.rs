//! The vDSO, vdso(7): a small shared library that every program finds mapped, so that reading a clock is no system call.
//!
//! Its code is `vdso/vdso.S`. In the page before it, `[vvar]`, is what the code computes by: how the machine's counter
//! becomes the monotonic clock, which stays as it is while the system is up, and how far that is from the real-time clock.
//! That is one word of 64 bits, so whoever reads it while it changes reads one or the other, and there is no lock. A
//! program's reading is exactly what the system call would have given; where a machine's counter tells programs nothing
//! the functions make the call.

use alloc::sync::Arc;
use alloc::vec::Vec;

use aurora_abi::Errno;
use aurora_machine::{Access, Frame, PAGE_SIZE, UserClock, VirtAddr};

use crate::memory::area::Label;
use crate::memory::map::{Place, Request};
use crate::memory::{AddressSpace, Backing, MemoryControl, Prot};
use crate::num::to_usize;
use crate::task::limits::UNLIMITED;

/// The library as `build.rs` made it.
const IMAGE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/vdso.so"));

/// Places in the data page, which `vdso.S` knows by the same names.
const START: usize = 0;
const NS_PER_STEP: usize = 8;
const REAL: usize = 16;

/// The frames every program's mapping shows.
pub(crate) struct Vdso {
    code: Arc<[Frame]>,
    data: Arc<[Frame]>,
}

impl Vdso {
    /// Lays code and data out in memory.
    pub(crate) fn new(control: &MemoryControl, clock: Option<UserClock>) -> Result<Self, Errno> {
        let page_with = |bytes: &[u8]| {
            let frame = control.frame()?;
            frame.write(0, bytes);
            Ok(frame)
        };
        let code: Result<Vec<Frame>, Errno> = IMAGE.chunks(to_usize(PAGE_SIZE)).map(page_with).collect();
        let data = control.frame()?;
        if let Some(clock) = clock {
            data.write(START, &clock.start.to_le_bytes());
            data.write(NS_PER_STEP, &clock.ns_per_step.to_le_bytes());
        }
        Ok(Self { code: code?.into(), data: [data].into() })
    }

    /// Tells programs how many nanoseconds the real-time clock is ahead of the monotonic one.
    pub(crate) fn set_real(&self, ahead: u64) {
        for page in self.data.iter() {
            page.write(REAL, &ahead.to_le_bytes());
        }
    }

    /// Maps it, there or where there is room; returns where its ELF header is, for `AT_SYSINFO_EHDR`.
    pub(crate) async fn map(&self, space: &Arc<AddressSpace>, near: VirtAddr) -> Result<VirtAddr, Errno> {
        let request = |place, frames: &Arc<[Frame]>, len, prot, label| Request {
            place,
            len,
            prot,
            shared: false,
            grows_down: false,
            no_reserve: false,
            backing: Backing::Kernel { frames: frames.clone(), first: 0 },
            label,
            limit: UNLIMITED,
        };
        let code_len = self.code.len() as u64 * PAGE_SIZE;
        let len = PAGE_SIZE + code_len;
        let data = space.map(request(Place::Near(near), &self.data, len, Prot::READ, Label::Vvar))?;
        let code = data + PAGE_SIZE;
        space.map(request(Place::Fixed(code), &self.code, code_len, Prot::READ | Prot::EXEC, Label::Vdso))?;
        // A C library looks for the functions as it starts: two entries are cheaper than a fault.
        for page in [data, code] {
            let _ = space.fault(page, Access::Read).await;
        }
        Ok(code)
    }
}
