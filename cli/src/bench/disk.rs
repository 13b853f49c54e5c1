//! `aurora bench disk`: what files on a disk take, beside Linux.
//!
//! Under QEMU's TCG, Aurora and Debian's Linux 6.1 on a virtio disk with the same image; in Chromium, Aurora on the page's
//! own disk and Linux in v86 on an IDE disk of its own; the host's Linux, for scale. `bench/disk.c` is the same program
//! everywhere, the first process of each PC. What always holds: systems take turns, each begins with an image nobody has
//! written to since mke2fs(8) made it, and the median of the rounds counts.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::report::{Column, Figures, chosen, median, read, take_turns, versions};
use super::v86::{self, V86};
use super::{ROUNDS, linux};
use crate::image::Image;
use crate::link::{self, Spawn};
use crate::machines::{Boot, Kind, Running, disk_arguments, qemu_arguments};
use crate::server::PageServer;
use crate::{build, debian, image, project, setup, ui};

/// How often each system runs all rows.
const TURNS: usize = 3;
/// The longest all rows may take, under v86 with its boot.
const LIMIT: Duration = Duration::from_secs(1800);
/// Bytes of the disk.
const SIZE: u64 = 512 << 20;
/// Bytes of the disk whose system is reloaded.
const LARGE: u64 = 1 << 30;
/// The reload of a page whose disk has [`LARGE`] bytes may take this long, in milliseconds.
const RELOAD: f64 = 1500.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum System {
    Native,
    Aurora,
    Linux,
    Chromium,
    V86,
}

const SYSTEMS: [System; 5] = [System::Native, System::Aurora, System::Linux, System::Chromium, System::V86];

impl Column for System {
    fn rounds(self) -> usize {
        TURNS
    }

    fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Aurora => "aurora",
            Self::Linux => "linux",
            Self::Chromium => "chromium",
            Self::V86 => "v86",
        }
    }
}

/// What is needed to run them.
struct Prepared {
    folder: PathBuf,
    /// The program, the tree it unpacks, and busybox, on the host.
    program: PathBuf,
    tree: PathBuf,
    busybox: PathBuf,
    /// The image of the disk, as mke2fs made it.
    disk: PathBuf,
    /// What both PCs start with; Linux also has its modules.
    archive: PathBuf,
    linux_archive: PathBuf,
    linux: PathBuf,
    /// What v86 has besides busybox.
    small: Vec<(PathBuf, String)>,
}

/// Measures, all systems or those named, and writes the report if it was all.
pub fn run(only: &[String]) -> Result<()> {
    let chosen = chosen(&SYSTEMS, only)?;
    let prepared = prepare(chosen.contains(&System::V86))?;
    // Who asks for some of them wants to see what a change did.
    let turns = if only.is_empty() { TURNS } else { 1 };
    let medians = take_turns(&chosen, turns, |system| measure(system, &prepared))?;
    let reload = if chosen.contains(&System::Chromium) { Some(reload_to_prompt(&prepared.folder)?) } else { None };
    let report = report(&medians, reload)?;
    if only.is_empty() {
        project::write_whole(&project::root().join("bench/DISK.md"), report.as_bytes())?;
    }
    print!("{report}");
    Ok(())
}

fn prepare(with_v86: bool) -> Result<Prepared> {
    let folder = project::made("bench")?.join("disk");
    fs::create_dir_all(&folder)?;
    let program = folder.join("disk");
    compile(&program)?;
    let tree = folder.join("tree.tar");
    let made = Command::new(&program).arg("tar").stdout(File::create(&tree)?).status();
    ensure!(made.context("cannot run the program")?.success(), "the tree cannot be made");

    let mut root = image::base()?;
    let busybox = folder.join("busybox");
    project::write_whole(&busybox, root.file("/bin/busybox").context("the image has no busybox")?)?;
    fs::set_permissions(&busybox, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    root.add_file(&program, "/bench/disk")?;
    root.add_file(&tree, "/bench/tree.tar")?;
    let archive = folder.join("aurora.cpio");
    project::write_whole(&archive, &root.to_cpio())?;

    let package = debian::whole_package(&debian::dependency("linux-image-amd64")?)?;
    let modules = linux::modules(&package, &["virtio_pci", "virtio_blk", "crc32c_generic", "ext4"])?;
    add_modules(&mut root, &modules)?;
    let linux_archive = folder.join("linux.cpio");
    project::write_whole(&linux_archive, &root.to_cpio())?;

    let disk = folder.join("disk.img");
    make_disk(&disk, SIZE)?;
    let linux = linux::vmlinuz(&package)?;
    let small = if with_v86 { small(&folder, &tree)? } else { Vec::new() };
    Ok(Prepared { folder, program, tree, busybox, disk, archive, linux_archive, linux, small })
}

fn compile(program: &Path) -> Result<()> {
    let sqlite = debian::whole_package("libsqlite3-dev")?.root.join("usr");
    let mut gcc = Command::new(setup::program(&["gcc", "cc"], "gcc")?);
    gcc.current_dir(project::root()).args(["-O2", "-static", "-o"]).arg(program).arg("bench/disk.c");
    gcc.arg("-I").arg(sqlite.join("include")).arg(sqlite.join("lib/x86_64-linux-gnu/libsqlite3.a"));
    ui::run_quietly("compiling bench/disk.c", gcc.arg("-lm"))
}

/// The program for 32-bit PCs, the tree, and the modules of a kernel for these.
fn small(folder: &Path, tree: &Path) -> Result<Vec<(PathBuf, String)>> {
    let include = format!("-I{}", debian::whole_package("libsqlite3-dev")?.root.join("usr/include").display());
    let archive = debian::i386_package("libsqlite3-dev")?.root.join("usr/lib/i386-linux-gnu/libsqlite3.a");
    let program = folder.join("disk-32");
    v86::compile(&program, &["bench/disk.c", &include, &archive.to_string_lossy(), "-lm"])?;
    let package = debian::i386_package(&debian::i386_current("linux-image-686")?)?;
    let modules = linux::modules(&package, &["ata_piix", "sd_mod", "crc32c_generic", "ext4"])?;
    let mut files = vec![(program, "/bench/disk".to_owned()), (tree.to_owned(), "/bench/tree.tar".to_owned())];
    files.extend(modules.into_iter().zip(0..).map(|(module, number)| place(module, number)));
    Ok(files)
}

/// Where the program looks for modules, in the order they are loaded.
fn place(module: PathBuf, number: usize) -> (PathBuf, String) {
    let name = format!("/modules/{number:02}-{}", module.file_name().unwrap_or_default().to_string_lossy());
    (module, name)
}

fn add_modules(root: &mut Image, modules: &[PathBuf]) -> Result<()> {
    for (number, module) in modules.iter().enumerate() {
        let (module, path) = place(module.clone(), number);
        root.add_file(&module, &path)?;
    }
    Ok(())
}

/// An empty file system whose tables nobody has to finish later.
fn make_disk(path: &Path, size: u64) -> Result<()> {
    File::create(path)?.set_len(size)?;
    let mut mke2fs = Command::new(setup::e2fsprogs("mke2fs")?);
    mke2fs.args(["-q", "-F", "-t", "ext4", "-b", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0"]);
    ui::run_quietly("making a disk", mke2fs.arg(path))
}

fn measure(system: System, prepared: &Prepared) -> Result<Figures> {
    match system {
        System::Native => native(prepared),
        System::Aurora => pc(&build::metal()?, &prepared.archive, "init=/bench/disk", prepared),
        System::Linux => {
            let line = "console=ttyS0 quiet rdinit=/bench/disk mitigations=off";
            pc(&prepared.linux, &prepared.linux_archive, line, prepared)
        }
        System::Chromium => chromium(prepared),
        System::V86 => {
            let mut linux = V86::start_with(&prepared.small, Some(&fs::read(&prepared.disk)?))?;
            read(linux.run("/bench/disk /dev/sda /mnt", LIMIT)?.text.as_bytes())
        }
    }
}

/// In a folder of the host's, on whatever it has for a disk.
fn native(prepared: &Prepared) -> Result<Figures> {
    let folder = prepared.folder.join("native");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    let mut program = Command::new(&prepared.program);
    program.env("busybox", &prepared.busybox).env("archive", &prepared.tree).arg(&folder);
    let out = program.output().context("cannot run the program")?;
    fs::remove_dir_all(&folder)?;
    read(out.stdout.as_slice())
}

/// A copy of the disk nobody has used, with the holes it has.
fn fresh(prepared: &Prepared) -> Result<PathBuf> {
    let copy = prepared.folder.join("used.img");
    let mut cp = Command::new("cp");
    ui::run_quietly("copying the disk", cp.arg("--sparse=always").arg(&prepared.disk).arg(&copy))?;
    Ok(copy)
}

/// Runs a kernel as the only thing on a PC; what it says on the serial line is the answer.
fn pc(kernel: &Path, archive: &Path, command_line: &str, prepared: &Prepared) -> Result<Figures> {
    let disk = fresh(prepared)?;
    let mut arguments = qemu_arguments(&kernel.to_string_lossy(), &archive.to_string_lossy(), command_line, 1 << 30)?;
    arguments.extend(["-serial".into(), "stdio".into()]);
    arguments.extend(disk_arguments(0, &disk, false));
    let mut qemu = Command::new(setup::qemu()?);
    let mut child = qemu.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let figures = read(child.stdout.take().context("its output is a pipe")?);
    child.kill()?;
    child.wait()?;
    check(&disk)?;
    fs::remove_file(disk)?;
    figures
}

/// A system that loses files is not fast.
fn check(disk: &Path) -> Result<()> {
    let mut e2fsck = Command::new(setup::e2fsprogs("e2fsck")?);
    ui::run_quietly("checking the disk", e2fsck.arg("-fn").arg(disk))
}

fn chromium(prepared: &Prepared) -> Result<Figures> {
    Kind::Browser.prepare()?;
    let boot = Boot {
        archive: fs::read(&prepared.archive)?,
        command_line: "link quiet".into(),
        memory: 1 << 30,
        disks: vec![prepared.disk.clone()],
        copies_disks: true,
        ..Boot::default()
    };
    let running = Running::start(Kind::Browser, boot, Duration::from_secs(300))?;
    let argv = ["/bench/disk", "/dev/vda", "/mnt"].map(|word| word.as_bytes().to_vec()).to_vec();
    let spawn = Spawn { argv, env: link::environment(None), ..Spawn::default() };
    read(running.client.output(&spawn, b"", LIMIT)?.stdout.as_slice())
}

/// How long a page whose disk is large takes from a reload to its prompt, in milliseconds.
fn reload_to_prompt(folder: &Path) -> Result<f64> {
    let page = build::page()?;
    let plain = folder.join("large.img");
    let mut disk = image::disk::DiskImage::create(&plain, LARGE, "aurora")?;
    disk.add(&image::base()?)?;
    disk.finish()?;
    let site = folder.join("large");
    let published = image::publish::publish(&plain, &site, &folder.join("large.key"))?;
    fs::remove_file(plain)?;
    let mut files: HashMap<String, Vec<u8>> =
        image::publish::files(&site)?.into_iter().map(|(name, bytes)| (format!("/disk/{name}"), bytes)).collect();
    files.insert(format!("/{}", build::BASE_SCRIPT), build::base_script(&published.key));
    let server = PageServer::start(page, files, 0)?;
    let mut node = Command::new(setup::node()?);
    node.arg(project::root().join("web/test/disk.mjs")).arg(setup::chromium()?);
    node.args([&format!("http://{}/", server.address()), "measure_reload_to_prompt", &ROUNDS.to_string()]);
    let out = node.output().context("cannot run node")?;
    let said = String::from_utf8_lossy(&out.stdout);
    ensure!(out.status.success(), "{said}{}", String::from_utf8_lossy(&out.stderr));
    let times: Vec<f64> = serde_json::from_str(said.trim())?;
    Ok(median(&times))
}

/// What a row's figures are shown as: rates for megabytes, microseconds for what is done once in a while, else seconds.
fn show(row: &str, seconds: Option<f64>) -> String {
    let Some(seconds) = seconds else { return String::new() };
    match row {
        _ if row.ends_with("(MB)") => format!("{:.0} MB/s", 1.0 / seconds),
        _ if row.contains("20,000") => format!("{:.2} s", seconds * 20_000.0),
        _ if seconds < 1e-3 => format!("{:.0} µs", seconds * 1e6),
        _ => format!("{:.2} ms", seconds * 1e3),
    }
}

fn report(medians: &HashMap<&str, Figures>, reload: Option<f64>) -> Result<String> {
    let mut text = String::from(
        "# What a disk takes\n\nWritten by `aurora bench disk`: `bench/disk.c` on ext4 under Aurora and under Linux, medians \
         of 3 runs that take turns. A factor says how many times as fast Aurora is: more is better.\n\n",
    );
    for line in versions() {
        writeln!(text, "- {line}")?;
    }
    let of = |system: System, row: &str| medians.get(system.name()).and_then(|f| f.get(row)).copied();
    let rows: Vec<&String> = medians.values().max_by_key(|f| f.len()).map_or(Vec::new(), |f| f.keys().collect());
    text += "\n## On a PC: QEMU's TCG, a virtio disk, beside Debian's Linux 6.1 with `mitigations=off`\n\n\
             | row | Linux | Aurora | factor |\n|---|---|---|---|\n";
    compare(&mut text, &rows, |row| (of(System::Linux, row), of(System::Aurora, row)), |_| None)?;
    text += "\n## In Chromium: Aurora on a file of the private file system, v86 on a disk in its memory\n\n\
             | row | the host | v86 | Aurora | factor |\n|---|---|---|---|---|\n";
    let native = |row: &str| Some(show(row, of(System::Native, row)));
    compare(&mut text, &rows, |row| (of(System::V86, row), of(System::Chromium, row)), native)?;
    if let Some(reload) = reload {
        writeln!(text, "\nReload to prompt with a disk of 1 GiB: {reload:.0} ms (limit {RELOAD:.0} ms).")?;
    }
    Ok(text)
}

/// A line for each row, and the geometric mean of the factors.
fn compare(
    text: &mut String,
    rows: &[&String],
    figures: impl Fn(&str) -> (Option<f64>, Option<f64>),
    first: impl Fn(&str) -> Option<String>,
) -> Result<()> {
    let mut factors: Vec<f64> = Vec::new();
    let mut has_first = false;
    for row in rows {
        let (theirs, ours) = figures(row);
        let factor = theirs.zip(ours).map(|(theirs, ours)| theirs / ours);
        factors.extend(factor);
        write!(text, "| {row} |")?;
        if let Some(first) = first(row) {
            has_first = true;
            write!(text, " {first} |")?;
        }
        let factor = factor.map_or(String::new(), |f| format!("{f:.2}"));
        writeln!(text, " {} | {} | {factor} |", show(row, theirs), show(row, ours))?;
    }
    if factors.is_empty() {
        return Ok(());
    }
    let mean = (factors.iter().map(|f| f.ln()).sum::<f64>() / factors.len() as f64).exp();
    let least = factors.iter().copied().fold(f64::INFINITY, f64::min);
    let empty = if has_first { " |" } else { "" };
    writeln!(text, "| **geometric mean** |{empty} | | **{mean:.2}** (least {least:.2}) |")?;
    Ok(())
}
