//! Making, linking, moving and removing names.

use crate::bytes::put32;
use crate::dir::check_name;
use crate::error::{Error, Result, corrupt};
use crate::fs::Ext4;
use crate::inode::{Inode, encode_device};
use crate::superblock::RoCompat;
use crate::types::{Attributes, By, FileType, Ino, InodeFlags, NewInode, Progress, Rename, Unlinked};

/// How many names an inode has at most.
const MAX_LINKS: u16 = 65000;

impl Ext4 {
    /// A new inode, in its place but without a name.
    fn make_inode(&mut self, dir: &Inode, new: &NewInode<'_>, links: u16, by: By) -> Result<Inode> {
        let is_dir = new.kind == FileType::Directory;
        let ino = self.allocate_inode(dir, is_dir)?;
        let mut flags = dir.flags & InodeFlags::INHERITED;
        if !is_dir {
            flags.remove(InodeFlags::DIR_SYNC);
        }
        if !matches!(new.kind, FileType::Regular | FileType::Directory) {
            flags &= InodeFlags::NO_DUMP | InodeFlags::NO_ATIME;
        }
        let mut inode = Inode {
            ino,
            mode: new.kind.mode_bits() | (new.permissions & 0o7777),
            uid: new.uid,
            gid: new.gid,
            size: 0,
            atime: by.now,
            ctime: by.now,
            mtime: by.now,
            crtime: by.now,
            dtime: 0,
            links,
            sectors: 0,
            flags,
            root: [0; 60],
            generation: self.new_generation(ino, by),
            xattr_block: 0,
            project: if dir.has(InodeFlags::PROJECT_INHERIT) { dir.project } else { 0 },
            extra: self.new_extra(),
        };
        match new.kind {
            FileType::Regular => self.init_map(&mut inode),
            FileType::Directory => {
                self.init_map(&mut inode);
                self.begin_dir(&mut inode, dir.ino, by)?;
            }
            FileType::Symlink => self.write_target(&mut inode, new.target, by)?,
            FileType::CharDevice | FileType::BlockDevice => {
                let (old, large) = encode_device(new.device)?;
                put32(&mut inode.root, 0, old);
                put32(&mut inode.root, 4, large);
            }
            FileType::Fifo | FileType::Socket => {}
        }
        self.put_inode(&mut inode, true)?;
        if !new.xattrs.is_empty() {
            self.set_first_attributes(&mut inode, new.xattrs, by)?;
            self.put_inode(&mut inode, true)?;
        }
        Ok(inode)
    }

    /// A directory where a name is to be made: it must exist still.
    fn dir_for_new(&mut self, dir: Ino, by: By) -> Result<Inode> {
        let dir = self.dir_to_change(dir, by)?;
        if dir.links == 0 { Err(Error::NotFound) } else { Ok(dir) }
    }

    pub(crate) fn do_create(&mut self, dir: Ino, name: &[u8], new: &NewInode<'_>, by: By) -> Result<Attributes> {
        check_name(name)?;
        let mut dir = self.dir_for_new(dir, by)?;
        if name == b"." || name == b".." || self.find_name(&dir, name)?.is_some() {
            return Err(Error::Exists);
        }
        let is_dir = new.kind == FileType::Directory;
        if is_dir {
            self.add_subdirectory(&mut dir)?;
        }
        let inode = self.make_inode(&dir, new, if is_dir { 2 } else { 1 }, by)?;
        self.add_name(&mut dir, name, inode.ino, new.kind, by)?;
        self.touch_dir(&mut dir, by)?;
        Ok(inode.attributes(&self.layout))
    }

    pub(crate) fn do_create_unnamed(&mut self, dir: Ino, new: &NewInode<'_>, by: By) -> Result<Attributes> {
        if new.kind == FileType::Directory {
            return Err(Error::IsDirectory);
        }
        let dir = self.dir_inode(dir)?;
        if dir.links == 0 {
            return Err(Error::NotFound);
        }
        let mut inode = self.make_inode(&dir, new, 0, by)?;
        self.add_orphan(&mut inode)?;
        self.put_inode(&mut inode, true)?;
        Ok(inode.attributes(&self.layout))
    }

    fn touch_dir(&mut self, dir: &mut Inode, by: By) -> Result<()> {
        dir.mtime = by.now;
        dir.ctime = by.now;
        self.put_inode(dir, true)
    }

    /// One more subdirectory. A tree may have more than can be counted; its number of links is 1 then.
    fn add_subdirectory(&self, dir: &mut Inode) -> Result<()> {
        if dir.links == 1 {
            return Ok(());
        }
        if dir.links < MAX_LINKS {
            dir.links += 1;
        } else if self.has_ro(RoCompat::DIR_NLINK) && self.is_indexed(dir) {
            dir.links = 1;
        } else {
            return Err(Error::TooManyLinks);
        }
        Ok(())
    }

    fn remove_subdirectory(dir: &mut Inode) {
        if dir.links > 2 {
            dir.links -= 1;
        }
    }

    pub(crate) fn do_link(&mut self, ino: Ino, dir: Ino, name: &[u8], by: By) -> Result<()> {
        check_name(name)?;
        let mut inode = self.inode(ino)?;
        self.mutable(&inode)?;
        if inode.is_dir() {
            return Err(Error::NotPermitted);
        }
        if inode.links >= MAX_LINKS {
            return Err(Error::TooManyLinks);
        }
        let mut dir = self.dir_for_new(dir, by)?;
        if name == b"." || name == b".." || self.find_name(&dir, name)?.is_some() {
            return Err(Error::Exists);
        }
        let kind = inode.kind().unwrap_or(FileType::Regular);
        self.add_name(&mut dir, name, ino, kind, by)?;
        self.touch_dir(&mut dir, by)?;
        if inode.links == 0 {
            self.remove_orphan(&mut inode)?;
        }
        inode.links += 1;
        inode.ctime = by.now;
        self.put_inode(&mut inode, true)
    }

    /// An inode lost a name.
    fn drop_link(&mut self, inode: &mut Inode, by: By) -> Result<Unlinked> {
        if inode.links == 0 {
            return Err(corrupt("inode: a name of one without names", u64::from(inode.ino)));
        }
        inode.links = if inode.is_dir() { 0 } else { inode.links - 1 };
        inode.ctime = by.now;
        if inode.links == 0 {
            self.add_orphan(inode)?;
        }
        self.put_inode(inode, true)?;
        Ok(Unlinked { ino: inode.ino, links: u32::from(inode.links) })
    }

    pub(crate) fn do_unlink(&mut self, dir: Ino, name: &[u8], by: By) -> Result<Unlinked> {
        let mut dir = self.dir_to_change(dir, by)?;
        let spot = self.find_name(&dir, name)?.ok_or(Error::NotFound)?;
        let mut inode = self.named_inode(spot.ino)?;
        self.mutable(&inode)?;
        if inode.is_dir() {
            return Err(Error::IsDirectory);
        }
        self.remove_name(&dir, &spot)?;
        self.touch_dir(&mut dir, by)?;
        self.drop_link(&mut inode, by)
    }

    /// The inode an entry says: not one of the file system's own.
    fn named_inode(&mut self, ino: Ino) -> Result<Inode> {
        if ino < self.layout.first_inode && ino != Self::ROOT {
            return Err(corrupt("directory entry: an inode that cannot be named", u64::from(ino)));
        }
        match self.inode(ino) {
            Err(Error::Stale) => Err(corrupt("directory entry: an inode that is not in use", u64::from(ino))),
            other => other,
        }
    }

    pub(crate) fn do_remove_dir(&mut self, dir: Ino, name: &[u8], by: By) -> Result<Unlinked> {
        match name {
            b"." => return Err(Error::Invalid),
            b".." => return Err(Error::NotEmpty),
            _ => {}
        }
        let mut dir = self.dir_to_change(dir, by)?;
        let spot = self.find_name(&dir, name)?.ok_or(Error::NotFound)?;
        if spot.ino == dir.ino || spot.ino == Self::ROOT {
            return Err(corrupt("directory: a name of its own", u64::from(dir.ino)));
        }
        let mut inode = self.named_inode(spot.ino)?;
        self.mutable(&inode)?;
        if !inode.is_dir() {
            return Err(Error::NotDirectory);
        }
        if !self.is_empty_dir(&inode)? {
            return Err(Error::NotEmpty);
        }
        self.remove_name(&dir, &spot)?;
        Self::remove_subdirectory(&mut dir);
        self.touch_dir(&mut dir, by)?;
        self.drop_link(&mut inode, by)
    }

    pub(crate) fn do_rename(
        &mut self,
        (from_dir, from): (Ino, &[u8]),
        (to_dir, to): (Ino, &[u8]),
        how: Rename,
        by: By,
    ) -> Result<Option<Unlinked>> {
        check_name(from)?;
        check_name(to)?;
        if [from, to].iter().any(|name| *name == b"." || *name == b"..") {
            return Err(Error::Invalid);
        }
        let old_dir = self.dir_to_change(from_dir, by)?;
        let new_dir = self.dir_for_new(to_dir, by)?;
        let moved = self.find_name(&old_dir, from)?.ok_or(Error::NotFound)?;
        let target = self.find_name(&new_dir, to)?;
        let inode = self.named_inode(moved.ino)?;
        self.mutable(&inode)?;
        if moved.ino == to_dir || moved.ino == Self::ROOT {
            return Err(Error::Invalid);
        }
        match (how, target) {
            (Rename::NoReplace, Some(_)) => return Err(Error::Exists),
            (Rename::Exchange, None) => return Err(Error::NotFound),
            (_, Some(target)) if target.ino == moved.ino => return Ok(None),
            _ => {}
        }
        let other = match target {
            Some(target) => Some(self.named_inode(target.ino)?),
            None => None,
        };
        if how == Rename::Exchange
            && let Some(other) = other
        {
            self.exchange((old_dir.ino, from), (new_dir.ino, to), &inode, &other, by)?;
            return Ok(None);
        }
        if let Some(other) = &other {
            self.mutable(other)?;
            match (inode.is_dir(), other.is_dir()) {
                (false, true) => return Err(Error::IsDirectory),
                (true, false) => return Err(Error::NotDirectory),
                (true, true) if !self.is_empty_dir(other)? => return Err(Error::NotEmpty),
                _ => {}
            }
            if other.ino == from_dir {
                return Err(Error::NotEmpty);
            }
        }
        self.move_name((from_dir, from), (to_dir, to), &inode, other.is_some(), by)?;
        self.moved(&inode, from_dir, to_dir, by)?;
        let Some(mut other) = other else { return Ok(None) };
        if other.is_dir() {
            self.change_dir(to_dir, by, |_, dir| {
                Self::remove_subdirectory(dir);
                Ok(())
            })?;
        }
        self.drop_link(&mut other, by).map(Some)
    }

    /// Changes a directory's inode in one go.
    fn change_dir(&mut self, dir: Ino, by: By, change: impl FnOnce(&mut Self, &mut Inode) -> Result<()>) -> Result<()> {
        let mut inode = self.dir_inode(dir)?;
        change(self, &mut inode)?;
        self.touch_dir(&mut inode, by)
    }

    /// Makes the new name and takes the old one away.
    fn move_name(
        &mut self,
        (from_dir, from): (Ino, &[u8]),
        (to_dir, to): (Ino, &[u8]),
        inode: &Inode,
        replace: bool,
        by: By,
    ) -> Result<()> {
        let kind = inode.kind().unwrap_or(FileType::Regular);
        let ino = inode.ino;
        self.change_dir(to_dir, by, |fs, dir| {
            if replace {
                let spot = fs.find_name(dir, to)?.ok_or(Error::NotFound)?;
                fs.replace_name(dir, &spot, ino, kind)
            } else {
                fs.add_name(dir, to, ino, kind, by)
            }
        })?;
        // It may have moved: the new name may have split its block.
        self.change_dir(from_dir, by, |fs, dir| {
            let spot = fs.find_name(dir, from)?.ok_or(Error::NotFound)?;
            fs.remove_name(dir, &spot)
        })
    }

    /// After an inode's name moved: its change time, and for a directory what its parents count and its `..` says.
    fn moved(&mut self, inode: &Inode, from_dir: Ino, to_dir: Ino, by: By) -> Result<()> {
        let mut inode = self.inode(inode.ino)?;
        inode.ctime = by.now;
        self.put_inode(&mut inode, true)?;
        if !inode.is_dir() || from_dir == to_dir {
            return Ok(());
        }
        self.change_dir(from_dir, by, |_, dir| {
            Self::remove_subdirectory(dir);
            Ok(())
        })?;
        self.change_dir(to_dir, by, |fs, dir| fs.add_subdirectory(dir))?;
        let inode = self.dir_to_change(inode.ino, by)?;
        let spot = self.find_name(&inode, b"..")?.ok_or(corrupt("directory: no parent", u64::from(inode.ino)))?;
        self.replace_name(&inode, &spot, to_dir, FileType::Directory)
    }

    fn exchange(
        &mut self,
        (from_dir, from): (Ino, &[u8]),
        (to_dir, to): (Ino, &[u8]),
        inode: &Inode,
        other: &Inode,
        by: By,
    ) -> Result<()> {
        if other.ino == from_dir {
            return Err(Error::Invalid);
        }
        for (dir, name, new) in [(from_dir, from, other), (to_dir, to, inode)] {
            let kind = new.kind().unwrap_or(FileType::Regular);
            self.change_dir(dir, by, |fs, dir| {
                let spot = fs.find_name(dir, name)?.ok_or(Error::NotFound)?;
                fs.replace_name(dir, &spot, new.ino, kind)
            })?;
        }
        self.moved(inode, from_dir, to_dir, by)?;
        self.moved(other, to_dir, from_dir, by)
    }

    /// One step of freeing an inode without names.
    pub(crate) fn do_evict(&mut self, ino: Ino, by: By) -> Result<Progress> {
        let mut inode = self.inode(ino)?;
        if inode.links != 0 {
            return Err(Error::Invalid);
        }
        let size = core::mem::take(&mut inode.size);
        if self.free_beyond_of(&mut inode, size, by)? == Progress::More {
            self.put_inode(&mut inode, true)?;
            return Ok(Progress::More);
        }
        self.release_attributes(&mut inode)?;
        self.remove_orphan(&mut inode)?;
        self.free_inode(&mut inode, by)?;
        Ok(Progress::Done)
    }

    /// Frees all blocks; a short link has none, which its size tells.
    fn free_beyond_of(&mut self, inode: &mut Inode, size: u64, by: By) -> Result<Progress> {
        let short = inode.kind() == Some(FileType::Symlink) && size > 0 && size < 60;
        if short && inode.is_fast_link() {
            return Ok(Progress::Done);
        }
        if inode.kind() == Some(FileType::Symlink) && !inode.has(InodeFlags::EXTENTS) {
            // A link with a block map: the one block it has is at its first pointer.
            inode.size = 60;
            let progress = self.remove_pointers(inode, 0, 12)?;
            inode.size = 0;
            return Ok(progress);
        }
        self.free_beyond(inode, by)
    }
}
