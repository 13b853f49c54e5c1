//! Physical memory: a window through which the kernel reaches RAM, a bitmap of free frames, and owned, counted frames.
//!
//! What always holds: a frame is free, or owned by page tables (typed), or a [`Frame`] (untyped, may be mapped into
//! programs). Only untyped frames are ever mapped for a program, and nobody holds a reference into one.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use crate::{PAGE_SIZE, PhysAddr};

const PAGE: usize = PAGE_SIZE as usize;

/// A run of usable RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryRegion {
    /// First byte; rounded up to a frame.
    pub start: PhysAddr,
    /// First byte past the end; rounded down.
    pub end: PhysAddr,
}

/// No frame is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfFrames;

/// All physical memory of a machine.
pub struct PhysMemory {
    window: *mut u8,
    /// One per frame from address 0, holes included.
    states: Box<[FrameState]>,
    bitmap: spin::Mutex<Bitmap>,
    free: AtomicU64,
    total: u64,
    /// Top-level table whose upper half every address space shares; 0 when the kernel is not in the tables.
    kernel_root: PhysAddr,
    next_space: AtomicU64,
    /// Counts writes to frames that hold translated code; see [`PhysMemory::code_writes`].
    code_writes: AtomicU64,
}

#[derive(Default)]
struct FrameState {
    count: AtomicU32,
    flags: AtomicU8,
}

/// Decoded or translated code was made from this frame.
const HAS_CODE: u8 = 1;
/// ... and the frame was written since.
const CODE_STALE: u8 = 2;

// SAFETY: the window pointer is valid for the life of the value (the constructor's contract), frames are reached only by
// copies through it, and everything else is atomic or behind a lock.
unsafe impl Send for PhysMemory {}
// SAFETY: as above.
unsafe impl Sync for PhysMemory {}

struct Bitmap {
    /// A set bit is a free frame.
    words: Vec<u64>,
    next: usize,
}

impl Bitmap {
    fn take(&mut self) -> Option<u64> {
        let n = self.words.len();
        for i in 0..n {
            let at = (self.next + i) % n;
            let word = self.words[at];
            if word != 0 {
                let bit = word.trailing_zeros();
                self.words[at] = word & (word - 1);
                self.next = at;
                return Some(at as u64 * 64 + u64::from(bit));
            }
        }
        None
    }
    fn put(&mut self, frame: u64) {
        let at = (frame / 64) as usize;
        debug_assert!(self.words[at] & (1 << (frame % 64)) == 0, "frame freed twice");
        self.words[at] |= 1 << (frame % 64);
        if at < self.next {
            self.next = at;
        }
    }
}

impl PhysMemory {
    /// Takes charge of the frames in `usable`. Frame 0 is never handed out. `kernel_root` is the table whose upper half
    /// new address spaces copy, on machines whose kernel lives in the page tables.
    ///
    /// # Safety
    /// For every usable physical address `p`, `window + p` must be valid for reads and writes, through this value only,
    /// for as long as it lives.
    pub unsafe fn new(window: *mut u8, usable: &[MemoryRegion], kernel_root: Option<PhysAddr>) -> Arc<Self> {
        let frames = usable.iter().map(|r| r.end.frame_number()).max().unwrap_or(0);
        let mut words = vec![0u64; frames.div_ceil(64) as usize];
        let mut total = 0;
        for region in usable {
            let first = region.start.0.div_ceil(PAGE_SIZE).max(1);
            for frame in first..region.end.frame_number() {
                let word = &mut words[(frame / 64) as usize];
                if *word & (1 << (frame % 64)) == 0 {
                    *word |= 1 << (frame % 64);
                    total += 1;
                }
            }
        }
        Arc::new(Self {
            window,
            states: (0..frames).map(|_| FrameState::default()).collect(),
            bitmap: spin::Mutex::new(Bitmap { words, next: 0 }),
            free: AtomicU64::new(total),
            total,
            kernel_root: kernel_root.unwrap_or(PhysAddr(0)),
            next_space: AtomicU64::new(1),
            code_writes: AtomicU64::new(0),
        })
    }

    /// Frames under management.
    pub fn total_frames(&self) -> u64 {
        self.total
    }

    /// Frames nobody owns.
    pub fn free_frames(&self) -> u64 {
        self.free.load(Ordering::Relaxed)
    }

    /// Where the window is: what BPE/U's TLB adds to a physical address.
    pub fn window(&self) -> *mut u8 {
        self.window
    }

    pub(crate) fn kernel_root(&self) -> Option<PhysAddr> {
        (self.kernel_root.0 != 0).then_some(self.kernel_root)
    }

    pub(crate) fn new_space_id(&self) -> u64 {
        self.next_space.fetch_add(1, Ordering::Relaxed)
    }

    /// An owned frame of zeros.
    pub fn allocate(self: &Arc<Self>) -> Result<Frame, OutOfFrames> {
        let phys = self.take_raw()?;
        // SAFETY: the frame was free, so it is ours alone.
        unsafe { core::ptr::write_bytes(self.at(phys), 0, PAGE) };
        Ok(Frame { memory: self.clone(), phys })
    }

    /// An owned frame with the contents of `source`.
    pub fn allocate_copy(self: &Arc<Self>, source: &Frame) -> Result<Frame, OutOfFrames> {
        let phys = self.take_raw()?;
        // SAFETY: the target was free, so it is ours alone and does not overlap the source; the source is a frame.
        unsafe { core::ptr::copy_nonoverlapping(self.at(source.phys), self.at(phys), PAGE) };
        Ok(Frame { memory: self.clone(), phys })
    }

    /// Takes a free frame, count 1, contents unknown.
    pub(crate) fn take_raw(&self) -> Result<PhysAddr, OutOfFrames> {
        let number = self.bitmap.lock().take().ok_or(OutOfFrames)?;
        self.free.fetch_sub(1, Ordering::Relaxed);
        let phys = PhysAddr(number * PAGE_SIZE);
        // Whatever code was made from the old contents is about to be wrong.
        self.note_write(phys);
        self.state(phys).count.store(1, Ordering::Relaxed);
        Ok(phys)
    }

    /// Adds an owner.
    pub(crate) fn retain(&self, phys: PhysAddr) {
        self.state(phys).count.fetch_add(1, Ordering::Relaxed);
    }

    /// Removes an owner; the last one frees the frame.
    pub(crate) fn release(&self, phys: PhysAddr) {
        if self.state(phys).count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.bitmap.lock().put(phys.frame_number());
            self.free.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn count(&self, phys: PhysAddr) -> u32 {
        self.state(phys).count.load(Ordering::Acquire)
    }

    fn state(&self, phys: PhysAddr) -> &FrameState {
        &self.states[phys.frame_number() as usize]
    }

    /// The host address of `phys`, which must be inside managed memory.
    pub(crate) fn at(&self, phys: PhysAddr) -> *mut u8 {
        debug_assert!((phys.frame_number() as usize) < self.states.len());
        self.window.wrapping_add(phys.0 as usize)
    }

    /// Reads an aligned 64-bit word, as a page-table walk does. Reads 0 outside managed memory.
    pub fn read_u64(&self, phys: PhysAddr) -> u64 {
        if phys.frame_number() as usize >= self.states.len() {
            return 0;
        }
        let p = self.at(PhysAddr(phys.0 & !7)).cast::<AtomicU64>();
        // SAFETY: inside the window and aligned; atomics may be shared with other processors' walks.
        unsafe { (*p).load(Ordering::Relaxed) }
    }

    /// Writes an aligned 64-bit word of a table.
    pub(crate) fn write_u64(&self, phys: PhysAddr, value: u64) {
        let p = self.at(PhysAddr(phys.0 & !7)).cast::<AtomicU64>();
        // SAFETY: as in `read_u64`.
        unsafe { (*p).store(value, Ordering::Relaxed) }
    }

    /// Sets bits in an aligned 64-bit word: how a walk marks an entry accessed or dirty.
    pub fn set_bits_u64(&self, phys: PhysAddr, bits: u64) {
        if phys.frame_number() as usize >= self.states.len() {
            return;
        }
        let p = self.at(PhysAddr(phys.0 & !7)).cast::<AtomicU64>();
        // SAFETY: as in `read_u64`.
        unsafe {
            (*p).fetch_or(bits, Ordering::Relaxed);
        }
    }

    /// Says that decoded or translated code was made from the frame at `phys`: from now on a write to it is noticed.
    pub fn mark_code(&self, phys: PhysAddr) {
        if let Some(state) = self.states.get(phys.frame_number() as usize) {
            state.flags.store(HAS_CODE, Ordering::Relaxed);
        }
    }

    /// Whether code was made from the frame at `phys` and the frame has not been written since.
    pub fn has_code(&self, phys: PhysAddr) -> bool {
        self.states
            .get(phys.frame_number() as usize)
            .is_some_and(|s| s.flags.load(Ordering::Relaxed) & (HAS_CODE | CODE_STALE) == HAS_CODE)
    }

    /// Whether the frame at `phys` was written after [`PhysMemory::mark_code`].
    pub fn code_is_stale(&self, phys: PhysAddr) -> bool {
        self.states.get(phys.frame_number() as usize).is_none_or(|s| s.flags.load(Ordering::Relaxed) & CODE_STALE != 0)
    }

    /// How often a frame with code was first written after being marked. While this stays the same, no code is stale.
    pub fn code_writes(&self) -> u64 {
        self.code_writes.load(Ordering::Relaxed)
    }

    /// Notices a write to the frame at `phys`. Every writer calls it: copies below, the allocator, and BPE/U's stores.
    pub fn note_write(&self, phys: PhysAddr) {
        let flags = &self.state(phys).flags;
        if flags.load(Ordering::Relaxed) == HAS_CODE {
            flags.store(HAS_CODE | CODE_STALE, Ordering::Relaxed);
            self.code_writes.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Copies out of a frame. The range must stay inside it.
    pub(crate) fn read_bytes(&self, phys: PhysAddr, dst: &mut [u8]) {
        debug_assert!((phys.0 % PAGE_SIZE) as usize + dst.len() <= PAGE);
        // SAFETY: inside one frame of the window. A program on another processor may write the source meanwhile: the
        // copy then holds some mix of bytes, which is what it gets on any kernel; no reference into it exists.
        unsafe { core::ptr::copy_nonoverlapping(self.at(phys), dst.as_mut_ptr(), dst.len()) }
    }

    /// Copies into a frame. The range must stay inside it.
    pub(crate) fn write_bytes(&self, phys: PhysAddr, src: &[u8]) {
        debug_assert!((phys.0 % PAGE_SIZE) as usize + src.len() <= PAGE);
        self.note_write(phys);
        // SAFETY: as in `read_bytes`, the other way.
        unsafe { core::ptr::copy_nonoverlapping(src.as_ptr(), self.at(phys), src.len()) }
    }

    /// Copies between frames; both ranges must stay inside theirs. The frames may be the same.
    pub(crate) fn copy_bytes(&self, from: PhysAddr, to: PhysAddr, len: usize) {
        debug_assert!((from.0 % PAGE_SIZE) as usize + len <= PAGE && (to.0 % PAGE_SIZE) as usize + len <= PAGE);
        self.note_write(to);
        // SAFETY: as above; `copy` allows overlap.
        unsafe { core::ptr::copy(self.at(from), self.at(to), len) }
    }

    /// An aligned 32-bit cell of a frame, for futexes.
    pub(crate) fn atomic_u32(&self, phys: PhysAddr) -> &AtomicU32 {
        debug_assert!(phys.0.is_multiple_of(4));
        // SAFETY: inside the window and aligned; an atomic may be shared with programs.
        unsafe { &*self.at(phys).cast::<AtomicU32>() }
    }
}

/// An owned, counted, untyped frame: page-cache contents or a program's memory. Cloning shares it.
pub struct Frame {
    memory: Arc<PhysMemory>,
    phys: PhysAddr,
}

impl Frame {
    /// Where it is.
    pub fn phys(&self) -> PhysAddr {
        self.phys
    }

    /// Whether this is the only owner: nothing maps it, nothing else holds it.
    pub fn is_unique(&self) -> bool {
        self.memory.count(self.phys) == 1
    }

    /// Owners: holders and mappings.
    pub fn owners(&self) -> u32 {
        self.memory.count(self.phys)
    }

    /// Copies `dst.len()` bytes from `offset` on; what passes the end of the frame is left alone. Returns how many.
    pub fn read(&self, offset: usize, dst: &mut [u8]) -> usize {
        let n = dst.len().min(PAGE.saturating_sub(offset));
        if n > 0 {
            self.memory.read_bytes(PhysAddr(self.phys.0 + offset as u64), &mut dst[..n]);
        }
        n
    }

    /// Copies `src` to `offset` on; what passes the end of the frame is left out. Returns how many.
    pub fn write(&self, offset: usize, src: &[u8]) -> usize {
        let n = src.len().min(PAGE.saturating_sub(offset));
        if n > 0 {
            self.memory.write_bytes(PhysAddr(self.phys.0 + offset as u64), &src[..n]);
        }
        n
    }

    /// Zeroes from `offset` to the end of the frame.
    pub fn zero_from(&self, offset: usize) {
        if offset < PAGE {
            self.memory.note_write(self.phys);
            // SAFETY: inside this frame; see `PhysMemory::read_bytes` on concurrent programs.
            unsafe {
                core::ptr::write_bytes(self.memory.at(PhysAddr(self.phys.0 + offset as u64)), 0, PAGE - offset);
            }
        }
    }

    pub(crate) fn memory(&self) -> &Arc<PhysMemory> {
        &self.memory
    }

    /// Gives the count to a page-table entry.
    pub(crate) fn into_entry(self) -> PhysAddr {
        let phys = self.phys;
        let this = core::mem::ManuallyDrop::new(self);
        // SAFETY: `this` is never dropped, so the Arc is read out exactly once; the frame's own count stays taken.
        drop(unsafe { core::ptr::read(&this.memory) });
        phys
    }

    /// Takes the count back from a page-table entry, which must then forget it.
    pub(crate) fn from_entry(memory: &Arc<PhysMemory>, phys: PhysAddr) -> Self {
        Self { memory: memory.clone(), phys }
    }
}

impl Clone for Frame {
    fn clone(&self) -> Self {
        self.memory.retain(self.phys);
        Self { memory: self.memory.clone(), phys: self.phys }
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        self.memory.release(self.phys);
    }
}

impl core::fmt::Debug for Frame {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Frame({:?})", self.phys)
    }
}

/// Plain memory of the host as physical memory: for tests, `hosted` and `wasm`.
pub struct HostMemory {
    base: *mut u8,
    layout: core::alloc::Layout,
}

// SAFETY: it only owns the allocation; access goes through `PhysMemory`.
unsafe impl Send for HostMemory {}
// SAFETY: as above.
unsafe impl Sync for HostMemory {}

impl HostMemory {
    /// Allocates `bytes` (rounded down to frames) of zeroed host memory, page-aligned. `None` when the host has not so
    /// much.
    pub fn allocate(bytes: u64) -> Option<Self> {
        let bytes = usize::try_from(bytes / PAGE_SIZE * PAGE_SIZE).ok()?;
        let layout = core::alloc::Layout::from_size_align(bytes, PAGE).ok()?;
        if bytes == 0 {
            return None;
        }
        // SAFETY: the layout's size is not zero.
        let base = unsafe { alloc::alloc::alloc_zeroed(layout) };
        (!base.is_null()).then_some(Self { base, layout })
    }

    /// The memory as a machine's RAM. It is leaked: a machine's memory lives as long as its process.
    pub fn into_phys(self) -> Arc<PhysMemory> {
        let this = core::mem::ManuallyDrop::new(self);
        let region = MemoryRegion { start: PhysAddr(0), end: PhysAddr(this.layout.size() as u64) };
        // SAFETY: the allocation covers the region, is never freed, and nobody else has it.
        unsafe { PhysMemory::new(this.base, &[region], None) }
    }
}

impl Drop for HostMemory {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout by `allocate`.
        unsafe { alloc::alloc::dealloc(self.base, self.layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(frames: u64) -> Arc<PhysMemory> {
        HostMemory::allocate(frames * PAGE_SIZE).unwrap().into_phys()
    }

    #[test]
    fn frames_are_zeroed_counted_and_come_back() {
        let memory = memory(8);
        assert_eq!(memory.free_frames(), 7);
        let a = memory.allocate().unwrap();
        a.write(10, b"abc");
        let b = memory.allocate_copy(&a).unwrap();
        let c = a.clone();
        assert!(!a.is_unique() && b.is_unique());
        let mut got = [0; 5];
        b.read(9, &mut got);
        assert_eq!(&got, b"\0abc\0");
        drop((a, b));
        assert_eq!(memory.free_frames(), 6);
        drop(c);
        assert_eq!(memory.free_frames(), 7);
    }

    #[test]
    fn running_out_is_an_error_and_frame_zero_is_never_given() {
        let memory = memory(4);
        let all: Vec<_> = core::iter::from_fn(|| memory.allocate().ok()).collect();
        assert_eq!(all.len(), 3);
        assert!(all.iter().all(|f| f.phys().0 != 0));
        assert_eq!(memory.allocate().err(), Some(OutOfFrames));
    }

    #[test]
    fn a_write_to_a_frame_with_code_is_noticed_once() {
        let memory = memory(4);
        let frame = memory.allocate().unwrap();
        let before = memory.code_writes();
        frame.write(0, &[1]);
        assert_eq!(memory.code_writes(), before);
        memory.mark_code(frame.phys());
        frame.write(0, &[2]);
        frame.write(0, &[3]);
        assert_eq!(memory.code_writes(), before + 1);
        assert!(memory.code_is_stale(frame.phys()));
    }
}
