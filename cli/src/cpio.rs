//! Writing the archive format the kernel unpacks: cpio "newc" (the kernel's Documentation/driver-api/early-userspace/
//! buffer-format.rst).

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
            Member::Device { major, minor } => (major, minor),
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
