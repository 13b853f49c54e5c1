//! `aurora bench kernel`: what a kernel takes for what programs ask of it, beside Linux.
//!
//! Under QEMU's TCG, Aurora's kernel for the PC and Debian's, by time and by instructions; in Chromium, Aurora and Linux in
//! v86; and the host's Linux, for scale. `bench/kernel.c` is the same program everywhere, the first process of each PC.
//! What always holds: systems take turns, the median of the rounds counts, and Linux counts as its faster self, with or
//! without its mitigations.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::linux::vmlinuz;
use super::report::{Column, Figures, chosen, read, short, take_turns, versions};
use super::v86::V86;
use crate::image::Image;
use crate::link::{self, Spawn};
use crate::machines::{Boot, Kind, Running, qemu_arguments};
use crate::{build, debian, project, setup, ui};

/// How often each system runs all rows.
const ROUNDS: usize = 3;
/// The longest all rows may take, under v86 with its boot.
const LIMIT: Duration = Duration::from_secs(900);

/// How a PC's clock goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clock {
    /// As the host's.
    Real,
    /// A nanosecond an instruction, and waiting takes none: times are counts of instructions.
    Instructions,
}

/// A kernel on a PC, or the host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum System {
    Native,
    Aurora(Clock),
    Linux(Clock),
    /// With `mitigations=off`.
    Unmitigated(Clock),
    AuroraInChromium,
    V86,
}

const SYSTEMS: [System; 9] = [
    System::Native,
    System::Aurora(Clock::Real),
    System::Linux(Clock::Real),
    System::Unmitigated(Clock::Real),
    System::Aurora(Clock::Instructions),
    System::Linux(Clock::Instructions),
    System::Unmitigated(Clock::Instructions),
    System::AuroraInChromium,
    System::V86,
];

impl Column for System {
    /// Instructions do not vary: once is enough.
    fn rounds(self) -> usize {
        match self {
            Self::Aurora(Clock::Instructions) | Self::Linux(Clock::Instructions) => 1,
            Self::Unmitigated(Clock::Instructions) => 1,
            _ => ROUNDS,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Aurora(Clock::Real) => "aurora",
            Self::Linux(Clock::Real) => "linux",
            Self::Unmitigated(Clock::Real) => "unmitigated",
            Self::Aurora(Clock::Instructions) => "aurora-instructions",
            Self::Linux(Clock::Instructions) => "linux-instructions",
            Self::Unmitigated(Clock::Instructions) => "unmitigated-instructions",
            Self::AuroraInChromium => "chromium",
            Self::V86 => "v86",
        }
    }
}

/// What is needed to run them.
struct Prepared {
    folder: PathBuf,
    archive: PathBuf,
    linux: PathBuf,
    /// The programs for 32-bit PCs, and where v86 has them.
    small: Vec<(PathBuf, String)>,
}

/// Measures, all systems or those named, and writes the report if it was all.
pub fn run(only: &[String]) -> Result<()> {
    let chosen = chosen(&SYSTEMS, only)?;
    let prepared = prepare(chosen.contains(&System::V86))?;
    let medians = take_turns(&chosen, ROUNDS, |system| measure(system, &prepared))?;
    let rows = rows(&prepared.folder.join("kernel"))?;
    let report = report(&rows, &medians)?;
    if only.is_empty() {
        project::write_whole(&project::root().join("bench/KERNEL.md"), report.as_bytes())?;
    }
    print!("{report}");
    Ok(())
}

fn prepare(with_v86: bool) -> Result<Prepared> {
    let made = project::made("bench")?;
    let folder = made.join("kernel");
    let files = [
        ("/lib64/ld-linux-x86-64.so.2", "libc6", "lib64/ld-linux-x86-64.so.2"),
        ("/lib/x86_64-linux-gnu/libc.so.6", "libc6", "lib/x86_64-linux-gnu/libc.so.6"),
    ];
    let mut image = Image::default();
    for (file, path) in programs(&folder, &[], &["-no-pie".into()], &files)? {
        image.add_file(&file, &path)?;
    }
    let archive = made.join("kernel.cpio");
    project::write_whole(&archive, &image.to_cpio())?;
    let linux = vmlinuz(&debian::whole_package(&debian::dependency("linux-image-amd64")?)?)?;
    let small = if with_v86 { small(&made)? } else { Vec::new() };
    Ok(Prepared { folder, archive, linux, small })
}

/// Compiles the programs; returns them with the files a dynamically linked one needs, and where each goes. Of those files
/// are given: where they go, their packages and where they are in these.
fn programs(
    folder: &Path,
    flags: &[String],
    dynamic: &[String],
    files: &[(&str, &str, &str)],
) -> Result<Vec<(PathBuf, String)>> {
    std::fs::create_dir_all(folder)?;
    let source = project::root().join("bench");
    let gcc = setup::program(&["gcc", "cc"], "gcc")?;
    let fixed = ["-static".to_owned(), "-pthread".to_owned()];
    let mut made = Vec::new();
    for (name, source, link) in [
        ("kernel", source.join("kernel.c"), &fixed[..]),
        ("true-static", source.join("true.c"), &fixed[..]),
        ("true-dynamic", source.join("true.c"), dynamic),
    ] {
        let program = folder.join(name);
        let mut command = Command::new(&gcc);
        command.args(flags).args(["-O2", "-s", "-std=gnu11", "-o"]).arg(&program).arg(&source).args(link);
        ui::run_quietly(&format!("compiling {name}"), &mut command)?;
        made.push((program, format!("/bench/{name}")));
    }
    for (path, package, inside) in files {
        let package = debian::package(package)?;
        made.push((std::fs::canonicalize(package.root.join(inside))?, (*path).to_owned()));
    }
    Ok(made)
}

/// The programs for 32-bit PCs.
fn small(made: &Path) -> Result<Vec<(PathBuf, String)>> {
    // Debian's compiler makes 32-bit programs once these packages' files are where it looks.
    let (library, development) = (debian::package("libc6-i386")?, debian::package("libc6-dev-i386")?);
    let gcc = debian::package("lib32gcc-12-dev")?;
    let inside = |root: &Path, path: &str| root.join(path).to_string_lossy().into_owned();
    let headers = inside(&development.root, "usr/include/x86_64-linux-gnu");
    let (start, own) =
        (inside(&development.root, "usr/lib32/"), inside(&gcc.root, "usr/lib/gcc/x86_64-linux-gnu/12/32/"));
    let mut flags: Vec<String> = ["-m32", "-march=i686"].map(str::to_owned).to_vec();
    flags.extend(["-idirafter".into(), headers, "-idirafter".into(), "/usr/include/x86_64-linux-gnu".into()]);
    flags.extend([format!("-B{start}"), format!("-B{own}"), format!("-L{start}"), format!("-L{own}")]);
    // The library's linker script names files by the places they have when installed: these are named here.
    let mut dynamic: Vec<String> = ["-no-pie", "-nostdlib"].map(str::to_owned).to_vec();
    dynamic.extend(["crt1.o", "crti.o"].map(|file| format!("{start}{file}")));
    dynamic.extend(["lib32/libc.so.6", "lib32/ld-linux.so.2"].map(|file| inside(&library.root, file)));
    dynamic.extend(["libc_nonshared.a", "crtn.o"].map(|file| format!("{start}{file}")));
    dynamic.push("-Wl,-dynamic-linker,/lib/ld-linux.so.2".into());
    let files = [
        ("/lib/ld-linux.so.2", "libc6-i386", "lib32/ld-linux.so.2"),
        ("/lib/libc.so.6", "libc6-i386", "lib32/libc.so.6"),
    ];
    programs(&made.join("kernel-32"), &flags, &dynamic, &files)
}

fn rows(program: &Path) -> Result<Vec<String>> {
    let out = Command::new(program).arg("list").output().context("cannot run the program")?;
    Ok(String::from_utf8_lossy(&out.stdout).lines().map(str::to_owned).collect())
}

fn measure(system: System, prepared: &Prepared) -> Result<Figures> {
    match system {
        System::Native => {
            let out = Command::new(prepared.folder.join("kernel")).output().context("cannot run the program")?;
            read(out.stdout.as_slice())
        }
        System::Aurora(clock) => pc(&build::metal()?, "init=/bench/kernel", clock, prepared),
        System::Linux(clock) => pc(&prepared.linux, "console=ttyS0 quiet rdinit=/bench/kernel", clock, prepared),
        System::Unmitigated(clock) => {
            pc(&prepared.linux, "console=ttyS0 quiet rdinit=/bench/kernel mitigations=off", clock, prepared)
        }
        System::AuroraInChromium => chromium(prepared),
        System::V86 => {
            let mut linux = V86::start(&prepared.small)?;
            read(linux.run("scale=0.2 /bench/kernel", LIMIT)?.text.as_bytes())
        }
    }
}

/// Runs a kernel as the only thing on a PC; what it says on the serial line is the answer.
fn pc(kernel: &Path, command_line: &str, clock: Clock, prepared: &Prepared) -> Result<Figures> {
    let (kernel, archive) = (kernel.to_string_lossy(), prepared.archive.to_string_lossy());
    let mut arguments = qemu_arguments(&kernel, &archive, command_line, 1 << 30)?;
    arguments.extend(["-serial".into(), "stdio".into()]);
    if clock == Clock::Instructions {
        arguments.extend(["-icount".into(), "shift=0,sleep=off".into()]);
    }
    let mut qemu = Command::new(setup::qemu()?);
    let mut child = qemu.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let said = child.stdout.take().context("its output is a pipe")?;
    let figures = read(said);
    child.kill()?;
    child.wait()?;
    figures
}

fn chromium(prepared: &Prepared) -> Result<Figures> {
    Kind::Browser.prepare()?;
    let boot = Boot {
        archive: std::fs::read(&prepared.archive)?,
        command_line: "link quiet".into(),
        memory: 512 << 20,
        ..Boot::default()
    };
    let running = Running::start(Kind::Browser, boot, Duration::from_secs(120))?;
    let argv = vec![b"/bench/kernel".to_vec()];
    let spawn = Spawn { argv, env: link::environment(None), ..Spawn::default() };
    read(running.client.output(&spawn, b"", LIMIT)?.stdout.as_slice())
}

/// The smaller of both Linuxes' figures.
fn linux(medians: &HashMap<&str, Figures>, clock: Clock, row: &str) -> Option<f64> {
    let of = |system: System| medians.get(system.name())?.get(row).copied();
    [of(System::Linux(clock)), of(System::Unmitigated(clock))].into_iter().flatten().reduce(f64::min)
}

fn report(rows: &[String], medians: &HashMap<&str, Figures>) -> Result<String> {
    let mut text = String::from(
        "# What a kernel takes\n\nWritten by `aurora bench kernel`: `bench/kernel.c` under Aurora and under Linux. A factor says \
         how many times as fast Aurora is (more is better), or, of instructions, how many times fewer it takes.\n\n",
    );
    for line in versions() {
        writeln!(text, "- {line}")?;
    }
    text += "\n## On a PC: QEMU's TCG, beside Debian's Linux 6.1, the faster of default and `mitigations=off`\n\n\
             | row | Linux /s | Aurora /s | factor | Linux, instructions | Aurora, instructions | factor |\n\
             |---|---|---|---|---|---|---|\n";
    let of = |system: System, row: &str| medians.get(system.name()).and_then(|f| f.get(row)).copied();
    let mut factors = [Vec::new(), Vec::new(), Vec::new()];
    for row in rows {
        write!(text, "| {row} |")?;
        for (at, clock) in [Clock::Real, Clock::Instructions].into_iter().enumerate() {
            let show = |seconds: f64| match clock {
                Clock::Real => short(1.0 / seconds),
                Clock::Instructions => format!("{:.0}", seconds * 1e9),
            };
            match (linux(medians, clock, row), of(System::Aurora(clock), row)) {
                (Some(theirs), Some(ours)) => {
                    factors[at].push(theirs / ours);
                    write!(text, " {} | {} | {:.2} |", show(theirs), show(ours), theirs / ours)?;
                }
                _ => write!(text, " | | |")?,
            }
        }
        writeln!(text)?;
    }
    let summary = |factors: &[f64]| {
        let worst = factors.iter().copied().fold(f64::INFINITY, f64::min);
        let mean = (factors.iter().map(|f| f.ln()).sum::<f64>() / factors.len() as f64).exp();
        format!("**{mean:.2}** (least {worst:.2})")
    };
    writeln!(text, "| **geometric mean** | | | {} | | | {} |", summary(&factors[0]), summary(&factors[1]))?;
    text += "\n## In Chromium, beside Debian's Linux 6.1 for the 686 in v86\n\n\
             | row | the host's Linux /s | v86 /s | Aurora /s | factor |\n|---|---|---|---|---|\n";
    for row in rows {
        let show = |seconds: Option<f64>| seconds.map_or(String::new(), |s| short(1.0 / s));
        let (theirs, ours) = (of(System::V86, row), of(System::AuroraInChromium, row));
        let factor = theirs.zip(ours).map(|(theirs, ours)| theirs / ours);
        factors[2].extend(factor);
        let factor = factor.map_or(String::new(), |f| format!("{f:.1}"));
        writeln!(text, "| {row} | {} | {} | {} | {factor} |", show(of(System::Native, row)), show(theirs), show(ours))?;
    }
    writeln!(text, "| **geometric mean** | | | | {} |", summary(&factors[2]))?;
    Ok(text)
}
