//! What a process has mapped: `maps`, `smaps`, `statm`, `mem`.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Write;

use aurora_abi::Errno;
use aurora_machine::{PAGE_SIZE, VirtAddr};

use crate::fs::procfs::Subject;
use crate::memory::area::{Label, Traits};
use crate::memory::{AddressSpace, Area, Backing, IoBuf, IoError, Prot};
use crate::task::Process;
use crate::vfs::{FileOps, OpenFile, PathRef};

pub(super) fn statm(subject: &Subject) -> Result<Vec<u8>, Errno> {
    let Some(space) = subject.process.space() else { return Ok(b"0 0 0 0 0 0 0\n".to_vec()) };
    let usage = space.usage();
    let (data, shared) = (usage.data + usage.stack, space.shared_pages());
    Ok(format!("{} {} {shared} {} 0 {data} 0\n", usage.total, usage.resident, usage.code).into_bytes())
}

pub(super) fn maps(subject: &Subject) -> Result<Vec<u8>, Errno> {
    maps_in(&subject.process, subject.space())
}

/// The text of a process's `maps`.
pub(crate) fn maps_of(process: &Process) -> Result<Vec<u8>, Errno> {
    maps_in(process, process.space())
}

fn maps_in(process: &Process, space: Option<Arc<AddressSpace>>) -> Result<Vec<u8>, Errno> {
    let mut text = Vec::new();
    let Some(space) = space else { return Ok(text) };
    let root = process.kernel.vfs.root()?;
    space.for_each_area(|area| text.extend_from_slice(&map_line(process, area, &root)));
    Ok(text)
}

/// One line of `maps`.
fn map_line(process: &Process, area: &Area, root: &PathRef) -> Vec<u8> {
    let (offset, dev, ino, name) = map_source(process, area, root);
    let bit = |prot, letter| if area.prot.contains(prot) { letter } else { '-' };
    let mut line = format!(
        "{:08x}-{:08x} {}{}{}{} {offset:08x} {:02x}:{:02x} {ino} ",
        area.range.start,
        area.range.end,
        bit(Prot::READ, 'r'),
        bit(Prot::WRITE, 'w'),
        bit(Prot::EXEC, 'x'),
        if area.shared { 's' } else { 'p' },
        dev >> 8,
        dev & 0xff,
    )
    .into_bytes();
    if !name.is_empty() {
        line.resize(line.len().max(73), b' ');
        line.extend_from_slice(&name);
    }
    line.push(b'\n');
    line
}

fn map_source(process: &Process, area: &Area, root: &PathRef) -> (u64, u64, u64, Vec<u8>) {
    let label = match area.label {
        Label::None => Vec::new(),
        Label::Heap => b"[heap]".to_vec(),
        Label::Stack => b"[stack]".to_vec(),
        Label::Vdso => b"[vdso]".to_vec(),
        Label::Vvar => b"[vvar]".to_vec(),
    };
    match &area.backing {
        Backing::Cache { first, file: Some(file), .. } => {
            let metadata = file.inode.metadata();
            let name = file.path.as_ref().and_then(|p| process.kernel.vfs.path_of(p, root));
            (first * PAGE_SIZE, metadata.dev, metadata.ino, name.unwrap_or_default())
        }
        Backing::Cache { .. } => (0, 1, 1, b"/dev/zero (deleted)".to_vec()),
        Backing::Anonymous | Backing::Kernel { .. } => (0, 0, 0, label),
    }
}

/// Pages of an area that are there, by what they are.
#[derive(Clone, Copy, Default)]
struct Counts {
    resident: u64,
    /// Nobody else has them.
    private: u64,
    anonymous: u64,
    locked: u64,
}

fn counts(area: &Area, pages: crate::memory::space::PageCounts) -> Counts {
    let locked = area.traits.contains(Traits::LOCKED);
    Counts {
        resident: pages.resident,
        private: pages.unshared,
        anonymous: pages.anonymous,
        locked: if locked { pages.resident } else { 0 },
    }
}

fn smap_text(text: &mut Vec<u8>, size: Option<u64>, c: Counts) {
    let kib = |pages: u64| pages * PAGE_SIZE / 1024;
    let shared = c.resident - c.private;
    let mut lines = String::new();
    let mut line = |name: &str, value: u64| {
        let _ = writeln!(lines, "{:<16}{value:>8} kB", format!("{name}:"));
    };
    if let Some(pages) = size {
        line("Size", kib(pages));
        line("KernelPageSize", 4);
        line("MMUPageSize", 4);
    }
    line("Rss", kib(c.resident));
    // Shared pages count half: by how many they are shared is not kept.
    line("Pss", kib(c.private) + kib(shared) / 2);
    line("Pss_Dirty", kib(c.anonymous));
    line("Shared_Clean", kib(shared));
    line("Shared_Dirty", 0);
    line("Private_Clean", kib(c.private.saturating_sub(c.anonymous)));
    line("Private_Dirty", kib(c.private.min(c.anonymous)));
    line("Referenced", kib(c.resident));
    line("Anonymous", kib(c.anonymous));
    for name in ["KSM", "LazyFree", "AnonHugePages", "ShmemPmdMapped", "FilePmdMapped", "Shared_Hugetlb"] {
        line(name, 0);
    }
    for name in ["Private_Hugetlb", "Swap", "SwapPss"] {
        line(name, 0);
    }
    line("Locked", kib(c.locked));
    text.extend_from_slice(lines.as_bytes());
}

/// `VmFlags` of smaps.
fn vm_flags(area: &Area) -> String {
    let shown = [
        (area.prot.contains(Prot::READ), "rd"),
        (area.prot.contains(Prot::WRITE), "wr"),
        (area.prot.contains(Prot::EXEC), "ex"),
        (area.shared, "sh"),
        (true, "mr"),
        (area.allows(Prot::WRITE), "mw"),
        (true, "me"),
        (area.shared, "ms"),
        (area.grows_down, "gd"),
        (area.traits.contains(Traits::LOCKED), "lo"),
        (area.traits.contains(Traits::DONT_FORK), "dc"),
        (area.traits.contains(Traits::DONT_DUMP), "dd"),
        (area.traits.contains(Traits::WIPE_ON_FORK), "wf"),
    ];
    shown.iter().filter(|(on, _)| *on).fold(String::from("VmFlags: "), |text, (_, name)| text + name + " ")
}

pub(super) fn smaps(subject: &Subject) -> Result<Vec<u8>, Errno> {
    let mut text = Vec::new();
    let Some(space) = subject.space() else { return Ok(text) };
    let root = subject.process.kernel.vfs.root()?;
    space.for_each_counted(|area, pages| {
        text.extend_from_slice(&map_line(&subject.process, area, &root));
        smap_text(&mut text, Some(area.range.pages()), counts(area, pages));
        text.extend_from_slice(format!("THPeligible:           0\n{}\n", vm_flags(area)).as_bytes());
    });
    Ok(text)
}

pub(super) fn smaps_rollup(subject: &Subject) -> Result<Vec<u8>, Errno> {
    let space = subject.space().ok_or(Errno::ESRCH)?;
    let (mut sum, mut ends) = (Counts::default(), None);
    space.for_each_counted(|area, pages| {
        let c = counts(area, pages);
        sum.resident += c.resident;
        sum.private += c.private;
        sum.anonymous += c.anonymous;
        sum.locked += c.locked;
        let (start, _) = ends.unwrap_or((area.range.start, area.range.end));
        ends = Some((start, area.range.end));
    });
    let (start, end) = ends.unwrap_or_default();
    let mut text = format!("{start:08x}-{end:08x} ---p 00000000 00:00 0 ").into_bytes();
    text.resize(73, b' ');
    text.extend_from_slice(b"[rollup]\n");
    smap_text(&mut text, None, sum);
    Ok(text)
}

/// An open `/proc/PID/mem`: the process's memory, offsets being addresses.
pub(super) struct MemoryFile {
    pub(super) subject: Subject,
}

/// Bytes that pass through the kernel at a time.
const CHUNK: usize = 1024;

impl FileOps for MemoryFile {
    fn read_at(&self, _: &OpenFile, offset: u64, out: &mut IoBuf<'_>) -> Result<usize, IoError> {
        let Some(space) = self.subject.space() else { return Ok(0) };
        let mut bytes = [0; CHUNK];
        let part = bytes.get_mut(..out.remaining().min(CHUNK)).unwrap_or_default();
        if part.is_empty() {
            return Ok(0);
        }
        let start = out.done();
        let n = space.look(VirtAddr(offset), part);
        if n == 0 {
            return Err(Errno::EIO.into());
        }
        if out.put(part.get(..n).unwrap_or_default()) < n { out.stopped(start) } else { Ok(n) }
    }
    fn write_at(&self, _: &OpenFile, offset: u64, input: &mut IoBuf<'_>) -> Result<usize, IoError> {
        let Some(space) = self.subject.space() else { return Ok(0) };
        let mut bytes = [0; CHUNK];
        let part = bytes.get_mut(..input.remaining().min(CHUNK)).unwrap_or_default();
        let start = input.done();
        let n = input.take(part);
        if n == 0 {
            return input.stopped(start);
        }
        let written = space.poke(VirtAddr(offset), part.get(..n).unwrap_or_default());
        if written == 0 { Err(Errno::EIO.into()) } else { Ok(written) }
    }
    fn seekable(&self) -> bool {
        true
    }
    fn size(&self, _: &OpenFile) -> u64 {
        0
    }
}
