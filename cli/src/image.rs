//! Images: what is on the root file system at boot.
//!
//! An image is declared in the syntax of Linux's `gen_init_cpio` (`dir`, `file`, `slink`, `nod`, `pipe`), with lines of our
//! own: `package NAME PATH…` takes files from a Debian package, `debian NAME…` takes whole packages with all they depend
//! on (but not on those given as `-NAME`), `applets PATH` adds the links busybox asks for, and
//! `program NAME PATH` builds one of `user/`. Files named by a declaration are relative to it. What came from where, in
//! which version and under which licence, is in the image, too.

mod command;
pub mod disk;
pub mod iso;
pub mod publish;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::cpio::{self, Member, Owner, Writer};
use crate::{build, debian, project};

pub use command::{ImageCommand, run};

#[derive(Clone)]
struct Entry {
    owner: Owner,
    modified: u32,
    member: Member,
}

/// A root file system, by path without the leading slash.
#[derive(Default)]
pub struct Image {
    entries: BTreeMap<Vec<u8>, Entry>,
    /// Packages the files came from: name, version, and the checksum of each file.
    packages: Vec<String>,
}

/// What `--root` gave.
pub enum Root {
    /// Directories to pack, so that files can be added.
    Tree(Image),
    /// An archive, used as it is.
    Archive(Vec<u8>),
}

fn has_archive_magic(bytes: &[u8]) -> bool {
    bytes.starts_with(b"070701") || bytes.starts_with(b"070702") || bytes.starts_with(&[0x1f, 0x8b])
}

/// Whether a file is an archive, by its first bytes.
pub fn is_archive(path: &Path) -> Result<bool> {
    let mut magic = [0; 6];
    let read = fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?.read(&mut magic)?;
    Ok(has_archive_magic(&magic[..read]))
}

/// Whether a file is the image of a disk with ext2, ext3 or ext4 right on it.
pub fn is_disk(path: &Path) -> bool {
    const MAGIC_AT: u64 = 1024 + 56;
    let mut magic = [0; 2];
    let read = fs::File::open(path).and_then(|file| file.read_exact_at(&mut magic, MAGIC_AT));
    read.is_ok() && magic == 0xef53_u16.to_le_bytes()
}

/// Reads `--root`: a directory is packed, a file is an archive.
pub fn open(path: &Path) -> Result<Root> {
    let meta = fs::metadata(path).with_context(|| format!("no image at {}", path.display()))?;
    if meta.is_dir() {
        let mut image = Image::default();
        image.add_directory(path)?;
        return Ok(Root::Tree(image));
    }
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(
        has_archive_magic(&bytes),
        "{} is neither a cpio newc archive, plain or gzip, nor a directory",
        path.display()
    );
    Ok(Root::Archive(bytes))
}

/// The Debian packages a declaration takes files from, with those files.
pub fn packages_named(list: &Path) -> Result<Vec<(String, Vec<String>)>> {
    let text = fs::read_to_string(list).with_context(|| format!("cannot read {}", list.display()))?;
    let words = |line: &str| -> Vec<String> { line.split_whitespace().map(str::to_owned).collect() };
    let named = text.lines().map(words).filter(|words| words.first().is_some_and(|first| first == "package"));
    Ok(named.filter_map(|words| Some((words.get(1)?.clone(), words.get(2..)?.to_vec()))).collect())
}

/// The image `aurora` boots unless told otherwise: `image/base.list`.
pub fn base() -> Result<Image> {
    let mut image = Image::default();
    image.declare(&project::root().join("image/base.list"))?;
    Ok(image)
}

/// What a machine in WebAssembly runs while it has nothing to do yet.
pub fn rehearsal() -> Result<Image> {
    let mut image = Image::default();
    image.declare(&project::root().join("image/rehearsal.list"))?;
    Ok(image)
}

impl Image {
    fn put(&mut self, path: &str, mode: u32, member: Member) {
        let entry = Entry { owner: Owner { mode, uid: 0, gid: 0 }, modified: 0, member };
        self.entries.insert(path.trim_start_matches('/').as_bytes().to_vec(), entry);
    }

    /// Reads an archive, plain or gzip.
    pub fn from_archive(bytes: Vec<u8>) -> Result<Self> {
        let mut image = Self::default();
        for cpio::Read { path, owner, modified, member } in cpio::read(&unpacked(bytes)?)? {
            // The root itself is always there.
            if !path.is_empty() && path != b"." {
                image.entries.insert(path, Entry { owner, modified, member });
            }
        }
        Ok(image)
    }

    /// Adds a file of the host. Directories on the way that the image lacks are made.
    pub fn add_file(&mut self, host: &Path, guest: &str) -> Result<()> {
        let bytes = fs::read(host).with_context(|| format!("cannot read {}", host.display()))?;
        let mode = fs::metadata(host)?.mode() & 0o7777;
        let guest = guest.trim_start_matches('/').trim_end_matches('/');
        ensure!(!guest.is_empty(), "a file needs a name in the image");
        self.make_parents(guest);
        self.put(guest, mode, Member::File(bytes));
        Ok(())
    }

    /// Adds the directories above a path that are missing.
    fn make_parents(&mut self, path: &str) {
        for (at, _) in path.match_indices('/') {
            if !self.entries.contains_key(&path.as_bytes()[..at]) {
                self.put(&path[..at], 0o755, Member::Directory);
            }
        }
    }

    /// Adds everything below a directory of the host.
    pub fn add_directory(&mut self, root: &Path) -> Result<()> {
        let mut pending = vec![root.to_owned()];
        while let Some(directory) = pending.pop() {
            let list = fs::read_dir(&directory).with_context(|| format!("cannot read {}", directory.display()))?;
            for entry in list {
                let path = entry?.path();
                if self.add_host_entry(root, &path)? {
                    pending.push(path);
                }
            }
        }
        Ok(())
    }

    /// Returns whether it was a directory.
    fn add_host_entry(&mut self, root: &Path, path: &Path) -> Result<bool> {
        let meta = fs::symlink_metadata(path)?;
        let kind = meta.file_type();
        let member = if kind.is_dir() {
            Member::Directory
        } else if kind.is_file() {
            Member::File(fs::read(path).with_context(|| format!("cannot read {}", path.display()))?)
        } else if kind.is_symlink() {
            Member::Link(fs::read_link(path)?.as_os_str().as_bytes().to_vec())
        } else if kind.is_char_device() {
            let device = meta.rdev();
            Member::Device { major: rustix::fs::major(device), minor: rustix::fs::minor(device) }
        } else if kind.is_block_device() {
            let device = meta.rdev();
            Member::BlockDevice { major: rustix::fs::major(device), minor: rustix::fs::minor(device) }
        } else if kind.is_fifo() {
            Member::Pipe
        } else {
            return Ok(false);
        };
        let name = path.strip_prefix(root)?.as_os_str().as_bytes().to_vec();
        let owner = Owner { mode: meta.mode() & 0o7777, uid: meta.uid(), gid: meta.gid() };
        let modified = u32::try_from(meta.mtime()).unwrap_or(0);
        self.entries.insert(name, Entry { owner, modified, member });
        Ok(kind.is_dir())
    }

    /// Adds what a declaration lists.
    pub fn declare(&mut self, list: &Path) -> Result<()> {
        let text = fs::read_to_string(list).with_context(|| format!("cannot read {}", list.display()))?;
        let folder = list.parent().unwrap_or(Path::new("."));
        for (number, line) in text.lines().enumerate() {
            let words: Vec<&str> = line.split_whitespace().collect();
            if words.first().is_some_and(|w| !w.starts_with('#')) {
                self.line(folder, &words).with_context(|| format!("{}:{}", list.display(), number + 1))?;
            }
        }
        let record = self.packages.join("\n") + "\n";
        self.make_parents("usr/share/aurora/packages");
        self.put("usr/share/aurora/packages", 0o644, Member::File(record.into_bytes()));
        Ok(())
    }

    fn line(&mut self, folder: &Path, words: &[&str]) -> Result<()> {
        let mode = |word: &str| u32::from_str_radix(word, 8).with_context(|| format!("{word} is no mode"));
        match *words {
            ["dir", path, bits, ..] => self.put(path, mode(bits)?, Member::Directory),
            ["slink", path, target, ..] => self.put(path, 0o777, Member::Link(target.into())),
            ["pipe", path, bits, ..] => self.put(path, mode(bits)?, Member::Pipe),
            ["nod", path, bits, _, _, "c", major, minor] => {
                self.put(path, mode(bits)?, Member::Device { major: major.parse()?, minor: minor.parse()? });
            }
            ["file", path, source, bits, ..] => {
                let source = folder.join(source);
                let bytes = fs::read(&source).with_context(|| format!("cannot read {}", source.display()))?;
                self.put(path, mode(bits)?, Member::File(bytes));
            }
            ["package", name, ref files @ ..] => self.package(name, files)?,
            ["debian", ref names @ ..] => self.debian(names)?,
            ["applets", path] => self.applets(path)?,
            ["program", name, path] => self.program(name, path)?,
            _ => bail!("not understood: {}", words.join(" ")),
        }
        Ok(())
    }

    /// Takes files from a Debian package, byte for byte.
    fn package(&mut self, name: &str, files: &[&str]) -> Result<()> {
        let package = debian::package(name)?;
        for file in files {
            let bytes = package.read(file)?;
            self.packages.push(record(&package, file, &bytes));
            self.put(file, 0o755, Member::File(bytes));
        }
        Ok(())
    }

    /// Whole Debian packages with all they depend on, in merged directories as Debian has them.
    fn debian(&mut self, names: &[&str]) -> Result<()> {
        for name in ["bin", "sbin", "lib", "lib64"] {
            self.put(&format!("usr/{name}"), 0o755, Member::Directory);
            self.put(name, 0o777, Member::Link(format!("usr/{name}").into()));
        }
        for name in debian::with_dependencies(names)? {
            let package = debian::whole_package(&name)?;
            let mut files = Self::default();
            files.add_directory(&package.root)?;
            files.entries.retain(|path, _| !is_unneeded(path));
            for (path, entry) in files.entries {
                self.merge(path, Entry { owner: Owner { uid: 0, gid: 0, ..entry.owner }, ..entry });
            }
            self.packages.push(format!("{name} {} {}", package.version, package.licences().join(", ")));
        }
        Ok(())
    }

    /// Puts a package's file where it is on a system whose `/bin` is `/usr/bin`.
    fn merge(&mut self, path: Vec<u8>, entry: Entry) {
        let merged = [&b"bin"[..], b"sbin", b"lib", b"lib64"];
        let top = path.split(|&byte| byte == b'/').next().unwrap_or_default();
        let path = if merged.contains(&top) { [b"usr/", &path[..]].concat() } else { path };
        self.make_parents(&String::from_utf8_lossy(&path));
        self.entries.insert(path, entry);
    }

    /// One of our own programs.
    fn program(&mut self, name: &str, path: &str) -> Result<()> {
        let bytes = fs::read(build::user()?.join(name)).with_context(|| format!("user/{name} was not built"))?;
        let (version, licence) = (env!("CARGO_PKG_VERSION"), env!("CARGO_PKG_LICENSE"));
        self.packages.push(format!("aurora-{name} {version} {path} sha256:{} {licence}", sha256(&bytes)));
        self.put(path, 0o755, Member::File(bytes));
        Ok(())
    }

    /// Links for every applet of a busybox that is already in the image, where it wants them.
    fn applets(&mut self, path: &str) -> Result<()> {
        let Some(Entry { member: Member::File(bytes), .. }) = self.entries.get(path.trim_start_matches('/').as_bytes())
        else {
            bail!("{path} is not in the image");
        };
        // It is asked itself: the host runs x86-64 Linux binaries as well.
        let copy = project::made("image")?.join(format!("busybox-{}", &sha256(bytes)[..16]));
        if !copy.exists() {
            project::write_whole(&copy, bytes)?;
            fs::set_permissions(&copy, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        }
        let out = Command::new(&copy).arg("--list-full").output().context("cannot run busybox")?;
        for applet in String::from_utf8(out.stdout)?.lines().filter(|a| a.trim() != path.trim_start_matches('/')) {
            if !self.entries.contains_key(applet.as_bytes()) {
                self.put(applet, 0o777, Member::Link(path.into()));
            }
        }
        Ok(())
    }

    /// The contents of the file at a path.
    pub fn file(&self, path: &str) -> Option<&[u8]> {
        match &self.entries.get(path.trim_start_matches('/').as_bytes())?.member {
            Member::File(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The archive.
    pub fn to_cpio(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        // In order of path, so a directory comes before what is in it.
        for (path, entry) in &self.entries {
            writer.add(path, entry.owner, entry.modified, &entry.member);
        }
        writer.finish()
    }

    /// What is in it from Debian, a line each: package, version, file, checksum, licences.
    pub fn packages(&self) -> &[String] {
        &self.packages
    }

    /// Writes everything below a directory of the host, as root: the tests compare with Linux in it.
    pub fn write_to(&self, root: &Path) -> Result<()> {
        for (path, entry) in &self.entries {
            let path: PathBuf = root.join(std::ffi::OsStr::from_bytes(path));
            match &entry.member {
                Member::Directory => fs::create_dir_all(&path)?,
                Member::File(bytes) => fs::write(&path, bytes)?,
                Member::Link(target) => {
                    std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(target), &path)?;
                    continue;
                }
                // Linux provides its own.
                Member::Device { .. } | Member::BlockDevice { .. } | Member::Pipe => continue,
            }
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(entry.owner.mode))?;
        }
        Ok(())
    }
}

/// What of a package only people read, or other languages' people; its copyright stays.
fn is_unneeded(path: &[u8]) -> bool {
    const FOLDERS: [&str; 9] = [
        "usr/share/doc/",
        "usr/share/man/",
        "usr/share/info/",
        "usr/share/locale/",
        "usr/share/lintian/",
        "usr/share/doc-base/",
        "usr/share/menu/",
        "usr/share/bug/",
        "usr/lib/x86_64-linux-gnu/gconv/",
    ];
    FOLDERS.iter().any(|folder| path.starts_with(folder.as_bytes())) && !path.ends_with(b"/copyright")
}

/// The bytes of an archive that may be compressed.
fn unpacked(bytes: Vec<u8>) -> Result<Vec<u8>> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    let mut plain = Vec::new();
    flate2::read::MultiGzDecoder::new(&*bytes).read_to_end(&mut plain).context("its compression is broken")?;
    Ok(plain)
}

/// What an image says of a file that is not ours: package, version, file, checksum, licences.
pub fn record(package: &debian::Package, file: &str, bytes: &[u8]) -> String {
    let licences = package.licences().join(", ");
    format!("{} {} {file} sha256:{} {licences}", package.name, package.version, sha256(bytes))
}

/// Compresses as gzip does.
pub fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(9));
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

/// The SHA-256 of `bytes`, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}
