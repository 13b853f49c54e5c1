//! `aurora image`: images made, looked into and changed.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Subcommand;
use serde::Serialize;

use super::disk::DiskImage;
use super::{Entry, Image, gzip};
use crate::cpio::{Member, Owner};
use crate::{project, ui};

/// What to do with images
#[derive(Subcommand, Debug)]
pub enum ImageCommand {
    /// Make an image: of a declaration, of a directory, or of image/base.list
    #[command(
        after_help = "Examples:\n  aurora image build -o image.cpio.gz\n  aurora image build my.list -o my.cpio\n  \
                            aurora image build rootfs/ -o rootfs.cpio.gz"
    )]
    Build {
        /// A declaration in the syntax of gen_init_cpio, or a directory
        #[arg(value_name = "LIST|DIR")]
        from: Option<PathBuf>,
        /// Where to; compressed if the name ends in .gz
        #[arg(short, long, default_value = "image.cpio.gz")]
        output: PathBuf,
    },
    /// Make a disk image with ext4 on it, where a machine's changes stay
    #[command(
        after_help = "Examples:\n  aurora image create disk.img --size 1G\n  aurora run --root disk.img -- busybox sh\n  \
                            aurora image create empty.img --size 100M --empty"
    )]
    Create {
        /// The new image
        image: PathBuf,
        /// How large; it takes only as much room as is used
        #[arg(long, default_value = "1G", value_parser = crate::link::parse_size)]
        size: u64,
        /// What is on it: a declaration, a directory or an archive; image/base.list if nothing is said
        #[arg(long, value_name = "LIST|DIR|CPIO", conflicts_with = "empty")]
        from: Option<PathBuf>,
        /// Nothing is on it
        #[arg(long)]
        empty: bool,
        /// The volume's name
        #[arg(long, default_value = "aurora")]
        label: String,
    },
    /// Check a disk image; the exit status is 1 if something is wrong with it
    Check {
        /// The image, which no machine may be using
        image: PathBuf,
    },
    /// Make an archive of what is on a disk image
    #[command(after_help = "Example:\n  aurora image export disk.img -o backup.cpio.gz")]
    Export {
        /// The disk image
        image: PathBuf,
        /// Where to; compressed if the name ends in .gz
        #[arg(short, long, default_value = "image.cpio.gz")]
        output: PathBuf,
    },
    /// Put what is in an archive or a directory onto a disk image
    #[command(after_help = "Example:\n  aurora image import backup.cpio.gz disk.img")]
    Import {
        /// The archive or directory
        from: PathBuf,
        /// The disk image
        image: PathBuf,
    },
    /// Cut a disk image into signed files for a web server, from which pages fetch what they touch
    #[command(after_help = "Example:\n  aurora image create disk.img --size 1G\n  \
                            aurora image publish disk.img -o site/ --key publisher.key\n\n\
                            Pages boot it with Aurora.boot({ disks: [{ name, base: { url, key } }] }).")]
    Publish {
        /// The disk image, which no machine may be using
        image: PathBuf,
        /// The folder to serve
        #[arg(short, long)]
        output: PathBuf,
        /// The private key to sign with; made if it is not there
        #[arg(long)]
        key: PathBuf,
    },
    /// Make a disc that PCs start from, by BIOS or UEFI
    #[command(
        after_help = "Examples:\n  aurora image iso -o aurora.iso\n  aurora image iso rootfs.cpio.gz -o aurora.iso\n  \
                            qemu-system-x86_64 -m 256M -cdrom aurora.iso"
    )]
    Iso {
        /// The image; image/base.list if there is none
        image: Option<PathBuf>,
        /// Where to
        #[arg(short, long, default_value = "aurora.iso")]
        output: PathBuf,
        /// The kernel's command line
        #[arg(long, default_value = "init=/sbin/init")]
        command_line: String,
    },
    /// List what is in an image
    #[command(after_help = "Examples:\n  aurora image ls image.cpio.gz /etc\n  aurora image ls --json image.cpio.gz")]
    Ls {
        /// The image
        image: PathBuf,
        /// Only this and what is below
        path: Option<String>,
        /// For scripts
        #[arg(long)]
        json: bool,
    },
    /// Print files of an image
    #[command(after_help = "Example:\n  aurora image cat image.cpio.gz /etc/passwd")]
    Cat {
        /// The image
        image: PathBuf,
        /// Which files; links are followed
        #[arg(required = true)]
        path: Vec<String>,
    },
    /// Copy files out of an image or into one, directories with all that is in them
    #[command(after_help = "One side is IMAGE:PATH, the other a path here.\n\nExamples:\n  \
                            aurora image cp image.cpio.gz:/etc etc\n  aurora image cp ./a.out image.cpio.gz:/bin/a.out")]
    Cp {
        /// What to copy
        #[arg(value_name = "FROM")]
        from: String,
        /// Where to: a directory that is there, or a new name
        #[arg(value_name = "TO")]
        to: String,
    },
}

/// Does it.
pub fn run(command: &ImageCommand) -> Result<()> {
    match command {
        ImageCommand::Build { from, output } => build(from.as_deref(), output),
        ImageCommand::Iso { image, output, command_line } => {
            let image = image.as_deref().map_or_else(super::base, read)?;
            super::iso::make(&image.to_cpio(), command_line, output)
        }
        ImageCommand::Create { image, size, from, empty, label } => {
            let tree = match (from, empty) {
                (_, true) => Image::default(),
                (Some(from), _) => read_tree(from)?,
                (None, _) => super::base()?,
            };
            let mut disk = DiskImage::create(image, *size, label)?;
            disk.add(&tree)?;
            disk.finish()?;
            ui::say(&format!("{}: {} files on {} MiB", image.display(), tree.entries.len(), size >> 20));
            Ok(())
        }
        ImageCommand::Publish { image, output, key } => {
            ensure!(super::is_disk(image), "{} is no disk image", image.display());
            let done = super::publish::publish(image, output, key)?;
            let (chunks, mb) = (done.chunks, done.bytes as f64 / 1e6);
            ui::say(&format!("{}: {chunks} pieces, {mb:.1} MB", output.display()));
            println!("{}", done.key);
            Ok(())
        }
        ImageCommand::Check { image } => check(image),
        ImageCommand::Export { image, output } => write(&DiskImage::open(image, true)?.tree()?, output),
        ImageCommand::Import { from, image } => {
            let tree = read_tree(from)?;
            let mut disk = DiskImage::open(image, false)?;
            disk.add(&tree)?;
            disk.finish()
        }
        ImageCommand::Ls { image, path, json } => list(image, path.as_deref().unwrap_or(""), *json),
        ImageCommand::Cat { image, path } => cat(image, path),
        ImageCommand::Cp { from, to } => match (split(from), split(to)) {
            (Some((image, path)), None) => copy_out(&image, path, Path::new(to)),
            (None, Some((image, path))) => copy_in(Path::new(from), &image, path),
            _ => bail!("one of {from} and {to} has to be IMAGE:PATH"),
        },
    }
}

/// `IMAGE:PATH`, unless it is a path with a colon in it.
fn split(word: &str) -> Option<(PathBuf, &str)> {
    let (image, path) = word.split_once(':')?;
    (!Path::new(word).exists() && !image.contains("//")).then(|| (image.into(), path))
}

/// What a new disk is to have on it.
fn read_tree(from: &Path) -> Result<Image> {
    let mut image = Image::default();
    if from.is_dir() {
        image.add_directory(from)?;
    } else if super::is_archive(from)? {
        return read(from);
    } else {
        image.declare(from)?;
    }
    Ok(image)
}

fn check(path: &Path) -> Result<()> {
    let problems = DiskImage::open(path, true)?.check()?;
    problems.iter().for_each(|problem| println!("{problem}"));
    ensure!(problems.is_empty(), "{}: {} problems", path.display(), problems.len());
    ui::say(&format!("{}: clean", path.display()));
    Ok(())
}

fn read(path: &Path) -> Result<Image> {
    if super::is_disk(path) {
        return DiskImage::open(path, true)?.tree();
    }
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Image::from_archive(bytes).with_context(|| format!("{} is no image", path.display()))
}

fn write(image: &Image, path: &Path) -> Result<()> {
    let archive = image.to_cpio();
    let compress = path.extension().is_some_and(|e| e == "gz");
    let bytes = if compress { gzip(&archive)? } else { archive };
    project::write_whole(path, &bytes)?;
    ui::say(&format!("{}: {} files, {} KiB", path.display(), image.entries.len(), bytes.len().div_ceil(1024)));
    Ok(())
}

fn build(from: Option<&Path>, output: &Path) -> Result<()> {
    let mut image = Image::default();
    match from {
        Some(directory) if directory.is_dir() => image.add_directory(directory)?,
        Some(list) => image.declare(list)?,
        None => image = super::base()?,
    }
    image.packages().iter().for_each(|package| ui::say(package));
    write(&image, output)
}

/// A path as the image has it: without slashes at its ends.
fn inside(path: &str) -> &[u8] {
    path.trim_matches('/').as_bytes()
}

impl Image {
    /// What is at `path` and below it, by the path's rest.
    fn below<'a>(&'a self, path: &'a [u8]) -> impl Iterator<Item = (&'a [u8], &'a [u8], &'a Entry)> {
        self.entries.iter().filter_map(move |(name, entry)| {
            let rest = name.strip_prefix(path)?;
            let is_below = path.is_empty() || rest.is_empty() || rest.starts_with(b"/");
            is_below.then(|| (name.as_slice(), rest.strip_prefix(b"/").unwrap_or(rest), entry))
        })
    }

    /// The entry a path leads to, through links as in a running system.
    fn resolve(&self, path: &[u8]) -> Result<&Entry> {
        let shown = String::from_utf8_lossy(path).into_owned();
        let mut rest: Vec<Vec<u8>> = path.split(|&b| b == b'/').rev().map(<[u8]>::to_vec).collect();
        let mut at: Vec<Vec<u8>> = Vec::new();
        for _ in 0..4096 {
            let Some(name) = rest.pop() else {
                return self.entries.get(&at.join(&b'/')).with_context(|| format!("/{shown} is not in the image"));
            };
            match name.as_slice() {
                b"" | b"." => continue,
                b".." => drop(at.pop()),
                _ => at.push(name),
            }
            if let Some(Entry { member: Member::Link(target), .. }) = self.entries.get(&at.join(&b'/')) {
                at.pop();
                if target.starts_with(b"/") {
                    at.clear();
                }
                rest.extend(target.split(|&b| b == b'/').rev().map(<[u8]>::to_vec));
            }
        }
        bail!("/{shown} leads in a circle")
    }
}

/// A line of `ls --json`.
#[derive(Serialize)]
struct Listed {
    path: String,
    kind: &'static str,
    mode: String,
    uid: u32,
    gid: u32,
    size: usize,
    modified: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
}

impl Listed {
    fn new(path: &[u8], entry: &Entry) -> Self {
        let (kind, size) = match &entry.member {
            Member::Directory => ("directory", 0),
            Member::File(data) => ("file", data.len()),
            Member::Link(target) => ("link", target.len()),
            Member::Device { .. } => ("character device", 0),
            Member::BlockDevice { .. } => ("block device", 0),
            Member::Pipe => ("pipe", 0),
        };
        let target = match &entry.member {
            Member::Link(target) => Some(String::from_utf8_lossy(target).into_owned()),
            _ => None,
        };
        let Owner { mode, uid, gid } = entry.owner;
        let path = format!("/{}", String::from_utf8_lossy(path));
        Self { path, kind, mode: format!("{mode:04o}"), uid, gid, size, modified: entry.modified, target }
    }

    /// As `ls -l` shows it.
    fn line(&self) -> String {
        let letter = match self.kind {
            "file" => '-',
            kind => kind.chars().next().unwrap_or('-'),
        };
        let bits = u32::from_str_radix(&self.mode, 8).unwrap_or(0);
        let rights: String =
            (0..9).map(|i| if bits >> (8 - i) & 1 != 0 { ['r', 'w', 'x'][i % 3] } else { '-' }).collect();
        let arrow = self.target.as_ref().map_or(String::new(), |target| format!(" -> {target}"));
        format!("{letter}{rights} {:>4} {:>4} {:>9} {}{arrow}", self.uid, self.gid, self.size, self.path)
    }
}

fn list(path: &Path, below: &str, json: bool) -> Result<()> {
    let image = read(path)?;
    let listed: Vec<Listed> = image.below(inside(below)).map(|(name, _, entry)| Listed::new(name, entry)).collect();
    ensure!(!listed.is_empty() || below.is_empty(), "{below} is not in {}", path.display());
    let text = if json {
        serde_json::to_string_pretty(&listed)? + "\n"
    } else {
        listed.iter().map(|entry| entry.line() + "\n").collect()
    };
    show(text.as_bytes())
}

/// Prints; a reader that has seen enough is no error.
fn show(bytes: &[u8]) -> Result<()> {
    match std::io::stdout().write_all(bytes) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(e.into()),
        _ => Ok(()),
    }
}

fn cat(path: &Path, files: &[String]) -> Result<()> {
    let image = read(path)?;
    for file in files {
        match &image.resolve(inside(file))?.member {
            Member::File(data) => show(data)?,
            _ => bail!("{file} is not a file"),
        }
    }
    Ok(())
}

/// The last name of a path, to be put into a directory.
fn last(path: &[u8]) -> &[u8] {
    path.rsplit(|&b| b == b'/').next().unwrap_or_default()
}

fn copy_out(image: &Path, path: &str, to: &Path) -> Result<()> {
    let tree = read(image)?;
    let from = inside(path);
    let to = if to.is_dir() { to.join(OsStr::from_bytes(last(from))) } else { to.to_owned() };
    let mut copied = 0;
    for (name, rest, entry) in tree.below(from) {
        // A name in an archive is not to be trusted with the host's folders.
        let safe = !rest.split(|&b| b == b'/').any(|part| part == b"..");
        ensure!(safe, "{} leads out of the image", String::from_utf8_lossy(name));
        let target = if rest.is_empty() { to.clone() } else { to.join(OsStr::from_bytes(rest)) };
        // Written through a link that was written before, a file could land anywhere.
        let mut above = target.ancestors().skip(1).take_while(|above| above.starts_with(&to));
        ensure!(!above.any(Path::is_symlink), "{} is below a link", target.display());
        copied += usize::from(write_out(entry, &target)?);
    }
    ensure!(copied > 0, "{path} is not in {}", image.display());
    Ok(())
}

/// Writes one entry; devices and pipes are left out. Returns whether it was written.
fn write_out(entry: &Entry, target: &Path) -> Result<bool> {
    let failed = || format!("cannot write {}", target.display());
    match &entry.member {
        Member::Directory => fs::create_dir_all(target).with_context(failed)?,
        Member::File(data) => {
            let _ = fs::remove_file(target);
            fs::write(target, data).with_context(failed)?;
        }
        Member::Link(to) => {
            let _ = fs::remove_file(target);
            std::os::unix::fs::symlink(OsStr::from_bytes(to), target).with_context(failed)?;
            return Ok(true);
        }
        Member::Device { .. } | Member::BlockDevice { .. } | Member::Pipe => return Ok(false),
    }
    fs::set_permissions(target, fs::Permissions::from_mode(entry.owner.mode & 0o777)).with_context(failed)?;
    Ok(true)
}

fn copy_in(from: &Path, image: &Path, path: &str) -> Result<()> {
    let mut tree = read(image)?;
    let added = add_tree(&tree, from, path)?;
    if super::is_disk(image) {
        let mut disk = DiskImage::open(image, false)?;
        disk.add(&added)?;
        return disk.finish();
    }
    tree.entries.extend(added.entries);
    // As it was: an image is recognised by its first bytes, not by its name.
    let was_compressed = fs::read(image)?.starts_with(&[0x1f, 0x8b]);
    let archive = tree.to_cpio();
    project::write_whole(image, &if was_compressed { gzip(&archive)? } else { archive })
}

/// What copying `from` to `path` adds to a tree.
fn add_tree(tree: &Image, from: &Path, path: &str) -> Result<Image> {
    let meta = fs::metadata(from).with_context(|| format!("cannot read {}", from.display()))?;
    let mut to = inside(path).to_vec();
    let is_directory = matches!(tree.entries.get(&to), Some(Entry { member: Member::Directory, .. }));
    if is_directory || to.is_empty() {
        let name = from.file_name().with_context(|| format!("{} has no name", from.display()))?;
        to = [to.as_slice(), b"/", name.as_bytes()].concat();
    }
    let to = String::from_utf8(to).context("the name is not UTF-8")?;
    let to = to.trim_matches('/');
    let mut added = Image::default();
    for (at, _) in to.match_indices('/').filter(|(at, _)| !tree.entries.contains_key(&to.as_bytes()[..*at])) {
        added.put(&to[..at], 0o755, Member::Directory);
    }
    if meta.is_dir() {
        let mut part = Image::default();
        part.add_directory(from)?;
        let owner = Owner { mode: meta.mode() & 0o7777, uid: 0, gid: 0 };
        added.entries.insert(to.into(), Entry { owner, modified: 0, member: Member::Directory });
        let below = part.entries.into_iter().map(|(name, entry)| ([to.as_bytes(), b"/", &name].concat(), entry));
        added.entries.extend(below);
    } else {
        let bytes = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        added.put(to, meta.mode() & 0o7777, Member::File(bytes));
    }
    Ok(added)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_in_an_image_lead_through_links_and_circles_are_noticed() {
        let mut image = Image::default();
        image.put("bin", 0o777, Member::Link(b"usr/bin".to_vec()));
        image.put("usr/bin/a", 0o755, Member::File(b"a".to_vec()));
        image.put("usr/bin/b", 0o777, Member::Link(b"../../bin/./a".to_vec()));
        image.put("circle", 0o777, Member::Link(b"/circle".to_vec()));
        assert!(matches!(&image.resolve(b"bin/b").unwrap().member, Member::File(data) if data == b"a"));
        assert!(image.resolve(b"circle").is_err() && image.resolve(b"none").is_err());
        assert!(super::super::unpacked(vec![0x1f, 0x8b, 0, 0]).is_err());
    }
}
