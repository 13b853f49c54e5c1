//! Directories whose entries are in the inode (`inline_data`): four bytes of the parent's number, entries in the rest of
//! the inode's sixty, and more in the attribute `system.data`. They are read; the first change moves them into a block.

use alloc::vec::Vec;

use super::{Names, entry};
use crate::bytes::le32;
use crate::error::Result;
use crate::fs::Ext4;
use crate::inode::Inode;
use crate::types::{By, FileType, InodeFlags};

impl Ext4 {
    pub(crate) fn inline_parent(&self, dir: &Inode) -> u32 {
        le32(&dir.root, 0)
    }

    /// Names, inodes and type codes.
    pub(crate) fn inline_entries(&mut self, dir: &Inode) -> Result<Names> {
        let more = self.inline_rest(dir)?;
        let inodes = self.layout.inodes;
        let mut out = Vec::new();
        for (data, start) in [(dir.root.as_slice(), 4), (more.as_slice(), 0)] {
            if data.is_empty() {
                continue;
            }
            entry::check_range(data, start, data.len(), inodes, u64::from(dir.ino))?;
            let names = entry::records(data, start, data.len()).filter(|e| e.ino != 0);
            out.extend(names.map(|e| (e.name.to_vec(), e.ino, e.code)));
        }
        Ok(out)
    }

    pub(crate) fn find_inline(&mut self, dir: &Inode, name: &[u8]) -> Result<Option<(u32, Option<FileType>)>> {
        match name {
            b"." => return Ok(Some((dir.ino, Some(FileType::Directory)))),
            b".." => return Ok(Some((self.inline_parent(dir), Some(FileType::Directory)))),
            _ => {}
        }
        let entries = self.inline_entries(dir)?;
        Ok(entries.iter().find(|(n, ..)| n == name).map(|(_, ino, code)| (*ino, FileType::from_entry_code(*code))))
    }

    /// A directory to change: one in the inode moves into a block first.
    pub(crate) fn dir_to_change(&mut self, ino: u32, by: By) -> Result<Inode> {
        let mut dir = self.dir_inode(ino)?;
        self.mutable(&dir)?;
        if dir.has(InodeFlags::INLINE_DATA) {
            let (parent, entries) = (self.inline_parent(&dir), self.inline_entries(&dir)?);
            self.drop_inline(&mut dir)?;
            dir.size = 0;
            self.put_inode(&mut dir, true)?;
            self.begin_dir(&mut dir, parent, by)?;
            for (name, child, code) in entries {
                let kind = FileType::from_entry_code(code).unwrap_or(FileType::Regular);
                self.add_name(&mut dir, &name, child, kind, by)?;
            }
            self.put_inode(&mut dir, true)?;
        }
        Ok(dir)
    }
}
