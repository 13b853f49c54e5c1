//! The initial archive: cpio in the "newc" format, plain or compressed with gzip (cpio(5), the kernel's
//! initramfs-buffer-format).

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use aurora_abi::Errno;
use aurora_abi::types::Timespec;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

use crate::Kernel;
use crate::memory::IoBuf;
use crate::num::to_usize;
use crate::vfs::inode::DeviceId;
use crate::vfs::{AttributeChange, Dentry, FileKind, Inode, NewInode, SetTime};

/// Unpacks an archive into the root. Returns how many files it held; errors say where the archive is broken.
pub fn unpack(kernel: &Kernel, archive: Vec<u8>) -> Result<u64, String> {
    let archive = if archive.starts_with(&[0x1f, 0x8b]) { gunzip(&archive)? } else { archive };
    let root = kernel.vfs.root().map_err(|e| format!("{e:?}"))?;
    let mut unpacker = Unpacker { kernel, root: root.dentry, links: BTreeMap::new(), files: 0 };
    let mut rest = archive.as_slice();
    loop {
        // Archives may follow one another, padded with zeros.
        let skip = rest.iter().position(|&b| b != 0).unwrap_or(rest.len());
        rest = rest.get(skip..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(unpacker.files);
        }
        let at = archive.len() - rest.len();
        let (entry, after) = Entry::parse(rest).ok_or_else(|| format!("no whole entry at byte {at}"))?;
        rest = after;
        if entry.name == b"TRAILER!!!" {
            unpacker.links.clear();
            continue;
        }
        let name = String::from_utf8_lossy(entry.name).into_owned();
        unpacker.add(&entry).map_err(|e| format!("{name}: {e:?}"))?;
        unpacker.files += 1;
    }
}

/// Unpacks gzip (RFC 1952); the size at its end says how much to expect.
fn gunzip(packed: &[u8]) -> Result<Vec<u8>, String> {
    let broken = || String::from("the gzip data is broken");
    let flags = *packed.get(3).ok_or_else(broken)?;
    let mut at = 10;
    if flags & 4 != 0 {
        let len = packed.get(at..at + 2).and_then(|b| b.first_chunk::<2>()).ok_or_else(broken)?;
        at += 2 + usize::from(u16::from_le_bytes(*len));
    }
    for bit in [8, 16] {
        if flags & bit != 0 {
            let rest = packed.get(at..).ok_or_else(broken)?;
            at += rest.iter().position(|&b| b == 0).ok_or_else(broken)? + 1;
        }
    }
    at += if flags & 2 != 0 { 2 } else { 0 };
    let size = packed.last_chunk::<4>().map(|b| u32::from_le_bytes(*b)).ok_or_else(broken)?;
    let body = packed.get(at..).ok_or_else(broken)?;
    // A ratio no deflate stream reaches: the size is not to be believed.
    if u64::from(size) > (body.len() as u64 + 1) * 1100 {
        return Err(broken());
    }
    let mut out = alloc::vec![0; to_usize(u64::from(size))];
    let mut state = alloc::boxed::Box::new(DecompressorOxide::new());
    let (status, _, written) = decompress(&mut state, body, &mut out, 0, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF);
    if status != miniz_oxide::inflate::TINFLStatus::Done || written != out.len() {
        return Err(broken());
    }
    Ok(out)
}

struct Entry<'a> {
    ino: u32,
    mode: u32,
    uid: u32,
    gid: u32,
    nlink: u32,
    mtime: u32,
    rdev: DeviceId,
    name: &'a [u8],
    data: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Reads one entry; `None` if it is not whole.
    fn parse(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let header = bytes.get(..110)?;
        if !header.starts_with(b"070701") && !header.starts_with(b"070702") {
            return None;
        }
        let field = |i: usize| {
            let digits = core::str::from_utf8(header.get(6 + i * 8..14 + i * 8)?).ok()?;
            u32::from_str_radix(digits, 16).ok()
        };
        let (size, name_size) = (to_usize(u64::from(field(6)?)), to_usize(u64::from(field(11)?)));
        let name_end = name_size.checked_add(110)?;
        let data_start = name_end.checked_next_multiple_of(4)?;
        let data_end = data_start.checked_add(size)?;
        let name = bytes.get(110..name_end)?.strip_suffix(b"\0")?;
        let data = bytes.get(data_start..data_end)?;
        let after = bytes.get(data_end.checked_next_multiple_of(4)?.min(bytes.len())..)?;
        let entry = Self {
            ino: field(0)?,
            mode: field(1)?,
            uid: field(2)?,
            gid: field(3)?,
            nlink: field(4)?,
            mtime: field(5)?,
            rdev: DeviceId::new(field(9)?, field(10)?),
            name,
            data,
        };
        Some((entry, after))
    }
}

struct Unpacker<'a> {
    kernel: &'a Kernel,
    root: Arc<Dentry>,
    /// Files with several names, by their number in the archive.
    links: BTreeMap<u32, Arc<dyn Inode>>,
    files: u64,
}

impl Unpacker<'_> {
    fn add(&mut self, entry: &Entry<'_>) -> Result<(), Errno> {
        let path = entry.name.strip_prefix(b"./").unwrap_or(entry.name);
        let mut parts: Vec<&[u8]> = path.split(|&b| b == b'/').filter(|p| !p.is_empty() && *p != b".").collect();
        let Some(name) = parts.pop() else { return self.set_attributes(self.root.inode(), entry) };
        if name == b".." || parts.contains(&&b".."[..]) {
            return Err(Errno::EINVAL);
        }
        let recent = &self.kernel.vfs.recent;
        let mut directory = self.root.clone();
        for part in parts {
            directory = directory.lookup(part, recent)?;
        }
        let existing = directory.lookup(name, recent).ok();
        if let Some(dentry) = &existing
            && dentry.inode().metadata().is_dir()
            && entry.mode & FileKind::MASK == FileKind::Directory.bits()
        {
            return self.set_attributes(dentry.inode(), entry);
        }
        if let Some(first) = self.links.get(&entry.ino).filter(|_| entry.nlink > 1) {
            directory.inode().link(name, first, self.time(entry))?;
            // The contents come with the last name.
            return self.write(&first.clone(), entry);
        }
        if existing.is_some() {
            directory.inode().unlink(name, false, self.time(entry))?;
            directory.forget(name, recent);
        }
        let is_link = entry.mode & FileKind::MASK == FileKind::Symlink.bits();
        let new = NewInode {
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            rdev: entry.rdev,
            target: if is_link { entry.data } else { &[] },
            now: self.time(entry),
        };
        let inode = directory.inode().create(name, &new)?;
        if entry.nlink > 1 && !inode.metadata().is_dir() {
            self.links.insert(entry.ino, inode.clone());
        }
        self.write(&inode, entry)
    }

    fn write(&self, inode: &Arc<dyn Inode>, entry: &Entry<'_>) -> Result<(), Errno> {
        if let Some(cache) = inode.cache().filter(|_| !entry.data.is_empty()) {
            let written = cache.write_at(0, &mut IoBuf::kernel_in(entry.data));
            if written != Ok(entry.data.len()) {
                return Err(Errno::ENOSPC);
            }
        }
        self.set_attributes(inode, entry)
    }

    fn time(&self, entry: &Entry<'_>) -> Timespec {
        Timespec { sec: i64::from(entry.mtime), nsec: 0 }
    }

    fn set_attributes(&self, inode: &Arc<dyn Inode>, entry: &Entry<'_>) -> Result<(), Errno> {
        let time = self.time(entry);
        inode.change(&AttributeChange {
            mode: Some(entry.mode & 0o7777),
            uid: Some(entry.uid),
            gid: Some(entry.gid),
            atime: SetTime::To(time),
            mtime: SetTime::To(time),
            now: time,
        })
    }
}
