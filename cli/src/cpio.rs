//! The archive format the kernel unpacks: cpio "newc" (the kernel's Documentation/driver-api/early-userspace/
//! buffer-format.rst).

use std::collections::HashMap;

use anyhow::{Context as _, Result, bail, ensure};

/// What an archive member is, with what the format stores for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Member {
    /// A directory.
    Directory,
    /// A regular file and its contents.
    File(Vec<u8>),
    /// A symbolic link and its target.
    Link(Vec<u8>),
    /// A character device.
    Device {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Pipe,
}

impl Member {
    fn type_bits(&self) -> u32 {
        match self {
            Self::Directory => 0o040_000,
            Self::File(_) => 0o100_000,
            Self::Link(_) => 0o120_000,
            Self::Device { .. } => 0o020_000,
            Self::BlockDevice { .. } => 0o060_000,
            Self::Pipe => 0o010_000,
        }
    }
}

/// Permissions and owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Permission bits.
    pub mode: u32,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// An archive being written.
#[derive(Default)]
pub struct Writer {
    bytes: Vec<u8>,
    members: u32,
}

impl Writer {
    /// Appends a member; `path` has no leading slash.
    pub fn add(&mut self, path: &[u8], owner: Owner, modified: u32, member: &Member) {
        self.members += 1;
        let data: &[u8] = match member {
            Member::File(data) | Member::Link(data) => data,
            _ => &[],
        };
        let (major, minor) = match *member {
            Member::Device { major, minor } | Member::BlockDevice { major, minor } => (major, minor),
            _ => (0, 0),
        };
        let links = if *member == Member::Directory { 2 } else { 1 };
        self.header(
            [
                self.members,
                member.type_bits() | owner.mode,
                owner.uid,
                owner.gid,
                links,
                modified,
                data.len() as u32,
                0,
                0,
                major,
                minor,
            ],
            path,
        );
        self.bytes.extend_from_slice(data);
        self.pad();
    }

    /// The whole archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.header([0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0], b"TRAILER!!!");
        self.bytes
    }

    fn header(&mut self, fields: [u32; 11], path: &[u8]) {
        self.bytes.extend_from_slice(b"070701");
        for field in fields.into_iter().chain([path.len() as u32 + 1, 0]) {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(path);
        self.bytes.push(0);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// A member as it stands in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Where, without a leading slash.
    pub path: Vec<u8>,
    /// Permissions and owner.
    pub owner: Owner,
    /// Seconds since 1970.
    pub modified: u32,
    /// What.
    pub member: Member,
}

/// Bytes of a member's header.
const HEADER: usize = 110;

/// Reads all members of an archive. Names of one file (hard links) each get its contents.
pub fn read(archive: &[u8]) -> Result<Vec<Read>> {
    let mut members = Vec::new();
    // By inode: the contents stand with one of the names, and which members have that inode.
    let mut linked: HashMap<u32, (Vec<u8>, Vec<usize>)> = HashMap::new();
    let mut at = 0;
    loop {
        let header = archive.get(at..at + HEADER).context("the archive ends before its trailer")?;
        ensure!(header.starts_with(b"070701") || header.starts_with(b"070702"), "no cpio newc header at byte {at}");
        let here = at;
        let field = |index: usize| -> Result<u32> {
            let text = std::str::from_utf8(&header[6 + 8 * index..14 + 8 * index])?;
            u32::from_str_radix(text, 16).with_context(|| format!("{text} is no number in the header at byte {here}"))
        };
        let (size, name_size) = (field(6)? as usize, field(11)? as usize);
        let path = slice(archive, at + HEADER, name_size)?.strip_suffix(b"\0").context("a name has no end")?;
        if path == b"TRAILER!!!" {
            break;
        }
        let start = (at + HEADER + name_size).next_multiple_of(4);
        let data = slice(archive, start, size)?.to_vec();
        at = (start + size).next_multiple_of(4);
        let (mode, links) = (field(1)?, field(4)?);
        let (major, minor) = (field(9)?, field(10)?);
        let member = match mode & 0o170_000 {
            0o040_000 => Member::Directory,
            0o100_000 => {
                if links > 1 {
                    let (contents, names) = linked.entry(field(0)?).or_default();
                    names.push(members.len());
                    if !data.is_empty() {
                        contents.clone_from(&data);
                    }
                }
                Member::File(data)
            }
            0o120_000 => Member::Link(data),
            0o020_000 => Member::Device { major, minor },
            0o060_000 => Member::BlockDevice { major, minor },
            0o010_000 => Member::Pipe,
            kind => bail!("{} is of an unknown kind, {kind:o}", String::from_utf8_lossy(path)),
        };
        let owner = Owner { mode: mode & 0o7777, uid: field(2)?, gid: field(3)? };
        let path = path.strip_prefix(b"./").unwrap_or(path);
        let path = path.strip_prefix(b"/").unwrap_or(path).to_vec();
        members.push(Read { path, owner, modified: field(5)?, member });
    }
    for (contents, names) in linked.into_values() {
        for index in names {
            members[index].member = Member::File(contents.clone());
        }
    }
    Ok(members)
}

fn slice(archive: &[u8], at: usize, len: usize) -> Result<&[u8]> {
    archive.get(at..).and_then(|rest| rest.get(..len)).context("the archive ends in the middle of a member")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_a_cut_archive_is_refused() {
        let owner = Owner { mode: 0o640, uid: 7, gid: 8 };
        let all = [
            ("d", Member::Directory),
            ("d/f", Member::File(b"contents".to_vec())),
            ("d/l", Member::Link(b"f".to_vec())),
            ("d/c", Member::Device { major: 1, minor: 3 }),
            ("d/b", Member::BlockDevice { major: 8, minor: 1 }),
            ("d/p", Member::Pipe),
        ];
        let mut writer = Writer::default();
        for (path, member) in &all {
            writer.add(path.as_bytes(), owner, 99, member);
        }
        let archive = writer.finish();
        let expected: Vec<Read> =
            all.into_iter().map(|(path, member)| Read { path: path.into(), owner, modified: 99, member }).collect();
        assert_eq!(read(&archive).unwrap(), expected);
        for end in [0, 50, 300, archive.len() - 130] {
            assert!(read(&archive[..end]).is_err(), "{end}");
        }
    }
}
