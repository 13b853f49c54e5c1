//! Bytes on their way between a file and whoever reads or writes: a program's buffers, or the kernel's own.
//!
//! Moving never blocks. Where a page of the program is missing, it stops there and remembers the fault; the caller
//! drops its locks, has the page brought in, and tries again from where it stopped.

use alloc::vec::Vec;

use aurora_abi::Errno;
use aurora_machine::{CopyFault, Frame, VirtAddr};

use crate::memory::AddressSpace;
use crate::num::to_usize;

/// Why a file did not move all bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoError {
    /// Nothing could be moved now; wait for readiness.
    WouldBlock,
    /// Nothing was moved because a page of the program is missing; see [`IoBuf::take_fault`].
    Fault,
    /// Something that is on a disk is not in memory; see [`crate::block::Misses`].
    Missing,
    /// It failed.
    Errno(Errno),
}

impl From<Errno> for IoError {
    fn from(errno: Errno) -> Self {
        if errno == Errno::EMISSING { Self::Missing } else { Self::Errno(errno) }
    }
}

impl IoError {
    /// The error of a call that cannot do about it what [`crate::syscall`]'s loop over a file does.
    pub fn errno(self) -> Errno {
        match self {
            Self::WouldBlock => Errno::EAGAIN,
            Self::Fault => Errno::EFAULT,
            Self::Missing => Errno::EMISSING,
            Self::Errno(errno) => errno,
        }
    }
}

/// A run of a program's memory.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// Where.
    pub base: VirtAddr,
    /// How many bytes.
    pub len: u64,
}

enum Side<'a> {
    User { space: &'a AddressSpace, segments: &'a [Segment] },
    KernelOut(&'a mut [u8]),
    KernelIn(&'a [u8]),
}

/// A cursor over the bytes to move.
pub struct IoBuf<'a> {
    side: Side<'a>,
    done: usize,
    total: usize,
    fault: Option<CopyFault>,
}

impl<'a> IoBuf<'a> {
    /// A program's buffers. At most 2 GiB less a page are moved, as on Linux.
    pub fn user(space: &'a AddressSpace, segments: &'a [Segment]) -> Self {
        let total: u64 = segments.iter().fold(0, |sum, s| sum.saturating_add(s.len));
        let total = to_usize(total.min(0x7fff_f000));
        Self { side: Side::User { space, segments }, done: 0, total, fault: None }
    }
    /// The kernel reads into `out`.
    pub fn kernel_out(out: &'a mut [u8]) -> Self {
        let total = out.len();
        Self { side: Side::KernelOut(out), done: 0, total, fault: None }
    }
    /// The kernel writes `input`.
    pub fn kernel_in(input: &'a [u8]) -> Self {
        Self { side: Side::KernelIn(input), done: 0, total: input.len(), fault: None }
    }
    /// Bytes moved so far.
    pub fn done(&self) -> usize {
        self.done
    }
    /// Bytes still to move.
    pub fn remaining(&self) -> usize {
        self.total - self.done
    }
    /// Puts back the last `bytes` taken: they could not be used yet.
    pub fn untake(&mut self, bytes: usize) {
        self.done = self.done.saturating_sub(bytes);
    }
    /// Lets at most `limit` more bytes move.
    pub fn limit(&mut self, limit: usize) {
        self.total = self.total.min(self.done.saturating_add(limit));
    }
    /// Whether a missing page stopped the last move.
    pub fn has_fault(&self) -> bool {
        self.fault.is_some()
    }
    /// The missing page that stopped the last move.
    pub fn take_fault(&mut self) -> Option<CopyFault> {
        self.fault.take()
    }
    /// What a file returns after moving stopped at a fault: what it moved since `start`, or the fault.
    pub fn stopped(&self, start: usize) -> Result<usize, IoError> {
        if self.done > start { Ok(self.done - start) } else { Err(IoError::Fault) }
    }
    /// What a file returns after an error: what it moved since `start`, or the error.
    pub fn or_error(&self, start: usize, errno: Errno) -> Result<usize, IoError> {
        if self.done > start { Ok(self.done - start) } else { Err(errno.into()) }
    }

    /// Gives bytes to the reader. Returns how many it took; fewer means a fault, or no more room.
    pub fn put(&mut self, bytes: &[u8]) -> usize {
        self.each(bytes.len(), |side, at, moved, run| match side {
            Target::User(space, addr) => space.try_copy_out(addr, bytes.get(moved..moved + run).unwrap_or_default()),
            Target::Out(out) => copy_slice(out.get_mut(at..at + run), bytes.get(moved..moved + run)),
            Target::In(_) => Ok(()),
        })
    }

    /// Gives `len` bytes of `frame` from `offset` on to the reader.
    pub fn put_frame(&mut self, frame: &Frame, offset: usize, len: usize) -> usize {
        self.each(len, |side, at, moved, run| match side {
            Target::User(space, addr) => space.try_copy_out_frame(addr, frame, offset + moved, run),
            Target::Out(out) => {
                frame.read(offset + moved, out.get_mut(at..at + run).unwrap_or_default());
                Ok(())
            }
            Target::In(_) => Ok(()),
        })
    }

    /// Gives `len` zeros to the reader.
    pub fn put_zeros(&mut self, len: usize) -> usize {
        self.each(len, |side, at, _, run| match side {
            Target::User(space, addr) => space.try_zero_out(addr, run),
            Target::Out(out) => {
                out.get_mut(at..at + run).unwrap_or_default().fill(0);
                Ok(())
            }
            Target::In(_) => Ok(()),
        })
    }

    /// Takes bytes from the writer. Returns how many came; fewer means a fault, or no more to take.
    pub fn take(&mut self, out: &mut [u8]) -> usize {
        self.each(out.len(), |side, at, moved, run| match side {
            Target::User(space, addr) => space.try_copy_in(addr, out.get_mut(moved..moved + run).unwrap_or_default()),
            Target::In(input) => copy_slice(out.get_mut(moved..moved + run), input.get(at..at + run)),
            Target::Out(_) => Ok(()),
        })
    }

    /// Takes `len` bytes from the writer into `frame` from `offset` on.
    pub fn take_frame(&mut self, frame: &Frame, offset: usize, len: usize) -> usize {
        self.each(len, |side, at, moved, run| match side {
            Target::User(space, addr) => space.try_copy_in_frame(addr, frame, offset + moved, run),
            Target::In(input) => {
                frame.write(offset + moved, input.get(at..at + run).unwrap_or_default());
                Ok(())
            }
            Target::Out(_) => Ok(()),
        })
    }

    /// Splits `len` bytes into runs that are in one place and moves each.
    fn each(
        &mut self,
        len: usize,
        mut step: impl FnMut(Target<'_>, usize, usize, usize) -> Result<(), CopyFault>,
    ) -> usize {
        let len = len.min(self.remaining());
        let mut moved = 0;
        while moved < len {
            let at = self.done;
            let (result, run) = match &mut self.side {
                Side::User { space, segments } => {
                    let Some((addr, left)) = locate(segments, at) else { break };
                    let run = left.min(len - moved);
                    (step(Target::User(space, addr), at, moved, run), run)
                }
                Side::KernelOut(out) => (step(Target::Out(out), at, moved, len - moved), len - moved),
                Side::KernelIn(input) => (step(Target::In(input), at, moved, len - moved), len - moved),
            };
            match result {
                Ok(()) => {
                    moved += run;
                    self.done += run;
                }
                Err(fault) => {
                    moved += fault.done;
                    self.done += fault.done;
                    self.fault = Some(fault);
                    break;
                }
            }
        }
        moved
    }
}

enum Target<'b> {
    User(&'b AddressSpace, VirtAddr),
    Out(&'b mut [u8]),
    In(&'b [u8]),
}

fn copy_slice(to: Option<&mut [u8]>, from: Option<&[u8]>) -> Result<(), CopyFault> {
    for (to, from) in to.unwrap_or_default().iter_mut().zip(from.unwrap_or_default()) {
        *to = *from;
    }
    Ok(())
}

/// The address of byte `at` of all segments together, and how many follow it in its segment.
fn locate(segments: &[Segment], at: usize) -> Option<(VirtAddr, usize)> {
    let mut skip = at as u64;
    for segment in segments {
        if skip < segment.len {
            return Some((segment.base + skip, to_usize(segment.len - skip)));
        }
        skip -= segment.len;
    }
    None
}

/// Segments of a `readv`, few of them without allocating.
pub enum Segments {
    /// One.
    One([Segment; 1]),
    /// Several.
    Many(Vec<Segment>),
}

impl Segments {
    /// All of them.
    pub fn as_slice(&self) -> &[Segment] {
        match self {
            Self::One(one) => one,
            Self::Many(many) => many,
        }
    }
}
