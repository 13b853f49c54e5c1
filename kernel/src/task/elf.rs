//! Reading executables: ELF64 headers, checked before anything is mapped (elf(5), the gABI and the x86-64 psABI).

use alloc::sync::Arc;
use alloc::vec::Vec;

use aurora_abi::{Abi, Errno, abi_struct};
use aurora_machine::{PAGE_SIZE, VirtAddr};

use crate::memory::io::IoError;
use crate::memory::{IoBuf, PageCache, Prot};

abi_struct! {
    /// `Elf64_Ehdr`.
    pub struct FileHeader(64) {
        pub ident: [u8; 16], pub kind: u16, pub machine: u16, pub version: u32, pub entry: u64, pub phoff: u64,
        pub shoff: u64, pub flags: u32, pub ehsize: u16, pub phentsize: u16, pub phnum: u16, pub shentsize: u16,
        pub shnum: u16, pub shstrndx: u16,
    }
}
abi_struct! {
    /// `Elf64_Phdr`.
    pub struct ProgramHeader(56) {
        pub kind: u32, pub flags: u32, pub offset: u64, pub vaddr: u64, pub paddr: u64, pub filesz: u64,
        pub memsz: u64, pub align: u64,
    }
}

const MAGIC_64_LE: [u8; 7] = [0x7f, b'E', b'L', b'F', 2, 1, 1];
const ET_EXEC: u16 = 2;
const ET_DYN: u16 = 3;
const EM_X86_64: u16 = 62;
const PT_LOAD: u32 = 1;
const PT_INTERP: u32 = 3;
const PT_NOTE: u32 = 4;
const PT_PHDR: u32 = 6;
const PT_GNU_STACK: u32 = 0x6474_e551;
/// Linux reads at most a page of program headers and so do we, a little more generously.
const MAX_HEADERS: u16 = 1024;

/// One `PT_LOAD`.
#[derive(Clone, Copy, Debug)]
pub struct LoadSegment {
    /// Where it wants to be.
    pub vaddr: u64,
    /// Bytes in memory.
    pub memsz: u64,
    /// Bytes in the file.
    pub filesz: u64,
    /// Where in the file.
    pub offset: u64,
    /// What may be done there.
    pub prot: Prot,
}

/// A checked executable.
#[derive(Debug)]
pub struct Elf {
    /// First instruction.
    pub entry: u64,
    /// Can be placed anywhere.
    pub is_position_independent: bool,
    /// What to map, in order of address.
    pub segments: Vec<LoadSegment>,
    /// The dynamic linker it asks for.
    pub interpreter: Option<Vec<u8>>,
    /// Where the program headers will be in memory, before relocation.
    pub headers_at: u64,
    /// How many there are.
    pub header_count: u16,
    /// Carries the note that opens `INT 0x80`, see [`opens_aurora_gate`].
    pub opens_aurora_gate: bool,
    /// Wants an executable stack.
    pub executable_stack: bool,
}

/// Reads bytes of a file; fewer at its end.
pub fn read_file(cache: &Arc<PageCache>, offset: u64, out: &mut [u8]) -> Result<usize, Errno> {
    let (mut done, want) = (0, out.len());
    while done < want {
        let mut rest = IoBuf::kernel_out(out.get_mut(done..).unwrap_or_default());
        match cache.read_at(offset.saturating_add(done as u64), &mut rest).map_err(IoError::errno)? {
            0 => break,
            read => done += read,
        }
    }
    Ok(done)
}

fn read_exact(cache: &Arc<PageCache>, offset: u64, out: &mut [u8]) -> Result<(), Errno> {
    if read_file(cache, offset, out)? == out.len() { Ok(()) } else { Err(Errno::ENOEXEC) }
}

impl Elf {
    /// Reads and checks the headers; `ENOEXEC` for anything that is not a whole x86-64 executable.
    pub fn read(cache: &Arc<PageCache>) -> Result<Self, Errno> {
        let mut bytes = [0; FileHeader::SIZE];
        read_exact(cache, 0, &mut bytes)?;
        let header = FileHeader::load(&bytes);
        let is_ours = header.ident.starts_with(&MAGIC_64_LE)
            && matches!(header.kind, ET_EXEC | ET_DYN)
            && header.machine == EM_X86_64
            && usize::from(header.phentsize) == ProgramHeader::SIZE
            && (1..=MAX_HEADERS).contains(&header.phnum);
        if !is_ours {
            return Err(Errno::ENOEXEC);
        }
        let mut table = alloc::vec![0; usize::from(header.phnum) * ProgramHeader::SIZE];
        read_exact(cache, header.phoff, &mut table)?;
        let headers: Vec<_> = table.chunks(ProgramHeader::SIZE).map(ProgramHeader::load).collect();
        let segments = load_segments(&headers)?;
        let first = segments.first().ok_or(Errno::ENOEXEC)?;
        let self_at = headers.iter().find(|h| h.kind == PT_PHDR).map(|h| h.vaddr);
        Ok(Self {
            entry: header.entry,
            is_position_independent: header.kind == ET_DYN,
            interpreter: interpreter(cache, &headers)?,
            headers_at: self_at.unwrap_or(first.vaddr.wrapping_sub(first.offset).wrapping_add(header.phoff)),
            header_count: header.phnum,
            opens_aurora_gate: notes(cache, &headers)?.iter().any(|notes| opens_aurora_gate(notes)),
            executable_stack: headers.iter().find(|h| h.kind == PT_GNU_STACK).is_none_or(|h| h.flags & 1 != 0),
            segments,
        })
    }

    /// From the lowest address to the end of the highest segment, in whole pages.
    pub fn extent(&self) -> (VirtAddr, u64) {
        let start = self.segments.first().map_or(0, |s| s.vaddr) & !(PAGE_SIZE - 1);
        let end = self.segments.iter().map(|s| s.vaddr.saturating_add(s.memsz)).max().unwrap_or(0);
        (VirtAddr(start), end.saturating_sub(start))
    }
}

fn load_segments(headers: &[ProgramHeader]) -> Result<Vec<LoadSegment>, Errno> {
    let mut segments = Vec::new();
    let mut last_end = 0;
    for header in headers.iter().filter(|h| h.kind == PT_LOAD && h.memsz > 0) {
        let end = header.vaddr.checked_add(header.memsz).ok_or(Errno::ENOEXEC)?;
        let congruent = header.vaddr % PAGE_SIZE == header.offset % PAGE_SIZE;
        let in_order = header.vaddr >= last_end;
        let in_file = header.offset.checked_add(header.filesz).is_some();
        if !congruent || !in_order || !in_file || header.filesz > header.memsz || end > aurora_machine::USER_END.0 {
            return Err(Errno::ENOEXEC);
        }
        last_end = end;
        let mut prot = Prot::empty();
        for (bit, right) in [(4, Prot::READ), (2, Prot::WRITE), (1, Prot::EXEC)] {
            if header.flags & bit != 0 {
                prot |= right;
            }
        }
        segments.push(LoadSegment {
            vaddr: header.vaddr,
            memsz: header.memsz,
            filesz: header.filesz,
            offset: header.offset,
            prot,
        });
    }
    Ok(segments)
}

/// Most bytes of notes that are looked at.
const MAX_NOTES: u64 = 4096;

/// The note segments.
fn notes(cache: &Arc<PageCache>, headers: &[ProgramHeader]) -> Result<Vec<Vec<u8>>, Errno> {
    let segments = headers.iter().filter(|h| h.kind == PT_NOTE && h.filesz <= MAX_NOTES);
    let read = |header: &ProgramHeader| {
        let mut bytes = alloc::vec![0; crate::num::to_usize(header.filesz)];
        let n = read_file(cache, header.offset, &mut bytes)?;
        bytes.truncate(n);
        Ok(bytes)
    };
    segments.map(read).collect()
}

/// The owner of our notes, with the NUL the format wants.
const NOTE_OWNER: &[u8] = b"Aurora\0";
/// The type of the note that opens `INT 0x80`. Its descriptor is the version of the table as a 32-bit number: 1.
const NOTE_GATE: u32 = 1;
const GATE_VERSION: u32 = 1;

/// Whether notes (elf(5), "Notes") have the one that opens `INT 0x80`.
fn opens_aurora_gate(mut notes: &[u8]) -> bool {
    let word = |at: usize, notes: &[u8]| notes.get(at..at + 4).map(u32::load);
    let padded = |len: u32| usize::try_from(len).ok().and_then(|n| n.checked_next_multiple_of(4));
    while let (Some(owner_len), Some(len), Some(kind)) = (word(0, notes), word(4, notes), word(8, notes)) {
        let (Some(owner_room), Some(room)) = (padded(owner_len), padded(len)) else { return false };
        let rest = notes.get(12..).unwrap_or_default();
        let (Some(owner), Some(descriptor)) = (rest.get(..owner_room), rest.get(owner_room..)) else { return false };
        if owner.starts_with(NOTE_OWNER) && owner_len == 7 && kind == NOTE_GATE {
            return len == 4 && word(0, descriptor) == Some(GATE_VERSION);
        }
        notes = descriptor.get(room..).unwrap_or_default();
    }
    false
}

fn interpreter(cache: &Arc<PageCache>, headers: &[ProgramHeader]) -> Result<Option<Vec<u8>>, Errno> {
    let Some(header) = headers.iter().find(|h| h.kind == PT_INTERP) else { return Ok(None) };
    if !(2..=4096).contains(&header.filesz) {
        return Err(Errno::ENOEXEC);
    }
    let mut path = alloc::vec![0; crate::num::to_usize(header.filesz)];
    read_exact(cache, header.offset, &mut path)?;
    match path.pop() {
        Some(0) => Ok(Some(path)),
        _ => Err(Errno::ENOEXEC),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(owner: &[u8], kind: u32, descriptor: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let length = |part: &[u8]| u32::try_from(part.len()).unwrap();
        for number in [length(owner), length(descriptor), kind] {
            bytes.extend(number.to_le_bytes());
        }
        for part in [owner, descriptor] {
            bytes.extend(part);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    #[test]
    fn only_our_note_of_this_version_opens_the_gate() {
        let ours = note(b"Aurora\0", 1, &[1, 0, 0, 0]);
        assert!(opens_aurora_gate(&ours));
        assert!(opens_aurora_gate(&[note(b"GNU\0", 1, &[9; 13]), ours.clone()].concat()));
        assert!(!opens_aurora_gate(&note(b"Aurora\0", 1, &[2, 0, 0, 0])));
        assert!(!opens_aurora_gate(&note(b"Aurora\0", 2, &[1, 0, 0, 0])));
        assert!(!opens_aurora_gate(&note(b"Aurorae\0", 1, &[1, 0, 0, 0])));
        for len in 0..ours.len() {
            assert!(!opens_aurora_gate(&ours[..len]));
        }
        assert!(!opens_aurora_gate(&[0xff; 64]));
    }
}
