//! The npm package `v86` in headless Chromium, with Debian's kernel for 32-bit PCs and a shell on its serial line: the
//! rival in a page.
//!
//! What always holds: v86 comes from the registry as `web/package-lock.json` names it, the kernel, the firmware and
//! busybox from Debian; the machine runs one command at a time and its answer is complete.

use std::collections::HashMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::image::Image;
use crate::machines::Chromium;
use crate::server::{PageServer, StreamServer, StreamWriter};
use crate::{debian, image, project, setup, ui};

/// It takes v86 some 20 seconds to boot this kernel, and a loaded host longer.
const BOOT: Duration = Duration::from_secs(300);
const MEGABYTES: u32 = 512;
/// `tsc=reliable`: otherwise the kernel spends a while measuring. The mitigations are for processors v86 is not.
const COMMAND_LINE: &str = "console=ttyS0 quiet tsc=reliable mitigations=off random.trust_cpu=on nowatchdog";
/// What the last line of an answer starts with (`bench/v86/init`).
const END: char = '\x1e';

/// Linux in v86. It ends when dropped.
pub struct V86 {
    lines: Receiver<String>,
    writer: StreamWriter,
    errors: Arc<Mutex<String>>,
    /// From opening the page to the first prompt.
    pub boot: Duration,
    _chromium: Chromium,
    _page: PageServer,
}

/// What a command said, and when its end was seen.
pub struct Answer {
    /// Standard output and standard error.
    pub text: String,
    /// Its exit status.
    pub status: i32,
}

impl V86 {
    /// Boots it with these files of the host, at these paths, besides busybox.
    pub fn start(files: &[(PathBuf, String)]) -> Result<Self> {
        Self::start_with(files, None)
    }

    /// The same with a disk of these bytes, which it has in its memory.
    pub fn start_with(files: &[(PathBuf, String)], disk: Option<&[u8]>) -> Result<Self> {
        let mut site = site(files)?;
        if let Some(bytes) = disk {
            site.insert("/disk".to_owned(), image::gzip(bytes)?);
        }
        let page = PageServer::start(project::root().join("bench/v86"), site, 0)?;
        let streams = StreamServer::start()?;
        let command_line = COMMAND_LINE.replace(' ', "%20").replace('=', "%3D");
        let start = Instant::now();
        let chromium = Chromium::open(format!(
            "http://{}/?stream=ws://{}/&memory={MEGABYTES}{}&command-line={command_line}",
            page.address(),
            streams.address(),
            if disk.is_some() { "&disk" } else { "" },
        ))?;
        let [(mut noise, _), (serial, writer)] = streams.streams(BOOT).context("chromium did not start")?;
        let errors = Arc::new(Mutex::new(String::new()));
        let kept = errors.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 1024];
            while let Ok(n @ 1..) = noise.read(&mut buffer) {
                let said = String::from_utf8_lossy(&buffer[..n]);
                kept.lock().unwrap_or_else(PoisonError::into_inner).push_str(&said);
            }
        });
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let whole = |line: io::Result<Vec<u8>>| Some(String::from_utf8_lossy(&line.ok()?).replace('\r', ""));
            for line in BufReader::new(serial).split(b'\n').map_while(whole) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut machine = Self { lines, writer, errors, boot: Duration::ZERO, _chromium: chromium, _page: page };
        machine.answer(BOOT)?;
        machine.boot = start.elapsed();
        Ok(machine)
    }

    /// Runs a line of busybox's shell, without quotes that span lines.
    pub fn run(&mut self, line: &str, patience: Duration) -> Result<Answer> {
        self.writer.write_all(format!("{line}\n").as_bytes()).context("v86 is gone")?;
        self.answer(patience)
    }

    fn answer(&mut self, patience: Duration) -> Result<Answer> {
        let deadline = Instant::now() + patience;
        let mut text = String::new();
        loop {
            let Ok(line) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) else {
                let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
                bail!("v86 did not answer in {} s; it said:\n{text}{errors}", patience.as_secs());
            };
            match line.split_once(END) {
                // What a program printed last may have had no newline.
                Some((rest, status)) => {
                    text.push_str(rest);
                    return Ok(Answer { text, status: status.parse().unwrap_or(0) });
                }
                None => text.extend([line.as_str(), "\n"]),
            }
        }
    }
}

/// Its version, as `web/package-lock.json` has it.
pub fn version() -> Option<String> {
    let text = std::fs::read_to_string(project::root().join("web/node_modules/v86/package.json")).ok()?;
    let value: serde_json::Value = serde_json::from_str(&text).ok()?;
    Some(value.get("version")?.as_str()?.to_owned())
}

/// What the page needs besides itself.
fn site(files: &[(PathBuf, String)]) -> Result<HashMap<String, Vec<u8>>> {
    let package = setup::npm()?.join("v86/build");
    let firmware = debian::package("seabios")?;
    let kernel = debian::i386_package(&debian::i386_current("linux-image-686")?)?;
    let mut image = Image::default();
    image.add_file(&busybox()?, "/bin/busybox")?;
    image.declare(&project::root().join("bench/v86/image.list"))?;
    for (file, path) in files {
        image.add_file(file, path)?;
    }
    let read = |path: PathBuf| std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()));
    let boot = std::fs::read_dir(kernel.root.join("boot"))?.filter_map(|e| Some(e.ok()?.path()));
    let kernel = boot.into_iter().find(|p| p.to_string_lossy().contains("/vmlinuz-")).context("no kernel")?;
    Ok([
        ("libv86.mjs", read(package.join("libv86.mjs"))?),
        ("v86.wasm", read(package.join("v86.wasm"))?),
        ("bios.bin", firmware.read("/usr/share/seabios/bios.bin")?),
        ("vgabios.bin", firmware.read("/usr/share/seabios/vgabios.bin")?),
        ("kernel", read(kernel)?),
        ("image", image::gzip(&image.to_cpio())?),
    ]
    .map(|(name, bytes)| (format!("/{name}"), bytes))
    .into())
}

/// Debian's static busybox for 32-bit PCs.
pub fn busybox() -> Result<PathBuf> {
    Ok(debian::i386_package("busybox-static")?.root.join("bin/busybox"))
}

/// Compiles C for 32-bit PCs with SSE2, statically: `arguments` are the files, and libraries.
pub fn compile(program: &Path, arguments: &[&str]) -> Result<()> {
    let gcc = setup::program(&["gcc", "cc"], "gcc")?;
    let version = setup::answer(Command::new(&gcc).arg("-dumpversion")).context("gcc has no version")?;
    let version = version.split('.').next().unwrap_or_default();
    // Their files are used where they are unpacked: installed, they keep other compilers' packages away.
    let packages = ["libc6-dev-i386", "libc6-i386", &format!("lib32gcc-{version}-dev")];
    let mut command = Command::new(&gcc);
    command.current_dir(project::root()).args(["-m32", "-O2", "-msse2", "-mfpmath=sse", "-static", "-o"]).arg(program);
    command.args(["-idirafter", "/usr/include/x86_64-linux-gnu"]);
    for package in packages {
        let root = debian::whole_package(package)?.root;
        command.arg("-idirafter").arg(root.join("usr/include"));
        for folder in [format!("usr/lib/gcc/x86_64-linux-gnu/{version}/32"), "usr/lib32".into()] {
            let folder = root.join(folder);
            if folder.is_dir() {
                command.arg("-B").arg(format!("{}/", folder.display())).arg("-L").arg(folder);
            }
        }
    }
    ui::run_quietly(&format!("compiling {} for 32-bit PCs", arguments.join(" ")), command.args(arguments))
}
