//! `aurora bench`: how long things take.

pub mod cpu;
pub mod disk;
pub mod kernel;
mod linux;
mod report;
pub mod v86;

use std::collections::HashMap;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::{Serialize, Serializer};

use crate::machines::{Kind, Running};
use crate::pc::Pc;
use crate::server::PageServer;
use crate::{build, image, machines, project, setup, ui};

/// How often each thing is measured; the median counts.
const ROUNDS: usize = 5;

/// What was measured. For scripts, times are in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// What it is.
    pub what: &'static str,
    /// The times, sorted.
    #[serde(serialize_with = "milliseconds")]
    pub times: Vec<Duration>,
    /// What it may take.
    #[serde(serialize_with = "in_milliseconds")]
    pub limit: Duration,
    /// What else there is to say.
    pub note: String,
}

fn milliseconds<S: Serializer>(times: &[Duration], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(times.iter().map(|time| time.as_secs_f64() * 1000.0))
}

fn in_milliseconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64() * 1000.0)
}

impl Measured {
    /// The middle one.
    pub fn median(&self) -> Duration {
        self.times.get(self.times.len() / 2).copied().unwrap_or_default()
    }

    /// Whether it is within its limit.
    pub fn passed(&self) -> bool {
        self.median() <= self.limit
    }
}

impl std::fmt::Display for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all: Vec<String> = self.times.iter().map(|t| format!("{} ms", t.as_millis())).collect();
        write!(f, "{}: median {} ms of {}", self.what, self.median().as_millis(), all.join(", "))?;
        write!(f, " (limit {} ms){}", self.limit.as_millis(), self.note)
    }
}

/// Measures all ways to a prompt, and prints what came of it.
pub fn boot(json: bool) -> Result<Vec<Measured>> {
    let mut all = vec![page()?, pc()?];
    for (kind, what) in [
        (Kind::Hosted, "aurora run true on hosted"),
        (Kind::Node, "aurora run true on node"),
        (Kind::Qemu, "aurora run true on qemu"),
    ] {
        all.push(program(kind, what)?);
    }
    if json {
        println!("{}", serde_json::to_string_pretty(&all)?);
    } else {
        all.iter().for_each(|measured| println!("{measured}"));
    }
    Ok(all)
}

/// From navigation to the shell's prompt in Chromium.
fn page() -> Result<Measured> {
    let server = PageServer::start(build::page()?, HashMap::new(), 0)?;
    let mut node = Command::new(setup::node()?);
    node.arg(project::root().join("web/test/page.mjs")).arg(setup::chromium()?);
    node.args([&format!("http://{}/", server.address()), "measure_navigation_to_prompt"]);
    let out = node.output().context("cannot run node")?;
    let said = String::from_utf8_lossy(&out.stdout);
    ensure!(out.status.success(), "{said}{}", String::from_utf8_lossy(&out.stderr));
    let numbers = said.trim().trim_matches(['[', ']']).split(',');
    let mut times: Vec<Duration> =
        numbers.map(|n| Ok(Duration::from_secs_f64(n.trim().parse::<f64>()? / 1000.0))).collect::<Result<_>>()?;
    times.sort();
    let bytes = server.sent() / times.len().max(1) as u64;
    let note = format!(", {:.2} MB transferred", bytes as f64 / 1e6);
    Ok(Measured { what: "navigation to prompt in Chromium", times, limit: Duration::from_millis(1500), note })
}

/// From power-on to the shell's prompt on QEMU's console.
fn pc() -> Result<Measured> {
    let (qemu, kernel) = (setup::qemu()?, build::metal()?);
    let archive = project::made("bench")?.join("image.cpio.gz");
    project::write_whole(&archive, &image::gzip(&image::base()?.to_cpio())?)?;
    let mut arguments = machines::qemu_arguments(
        &kernel.to_string_lossy(),
        &archive.to_string_lossy(),
        "init=/sbin/init TERM=vt100",
        256 << 20,
    )?;
    arguments.extend(["-serial".into(), "stdio".into()]);
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        times.push(power_on_to_prompt(Command::new(&qemu).args(&arguments))?);
    }
    times.sort();
    let limit = Duration::from_secs(2);
    Ok(Measured { what: "power-on to prompt in QEMU", times, limit, note: String::new() })
}

fn power_on_to_prompt(qemu: &mut Command) -> Result<Duration> {
    let start = Instant::now();
    let mut child =
        qemu.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().context("cannot run qemu")?;
    let mut console = child.stdout.take().context("its console is a pipe")?;
    let mut said = Vec::new();
    let mut buffer = [0; 4096];
    let mut found = false;
    while !found {
        let n = console.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        said.extend_from_slice(&buffer[..n]);
        found = said.windows(12).any(|w| w == b"root@aurora:");
    }
    let time = start.elapsed();
    child.kill()?;
    child.wait()?;
    ensure!(found, "no prompt came:\n{}", String::from_utf8_lossy(&said));
    Ok(time)
}

/// From nothing to the end of a small program.
fn program(kind: Kind, what: &'static str) -> Result<Measured> {
    kind.prepare()?;
    let archive = image::base()?.to_cpio();
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let boot = machines::Boot {
            archive: archive.clone(),
            command_line: "link quiet".into(),
            memory: 256 << 20,
            show_console: false,
            ..machines::Boot::default()
        };
        let running = Running::start(kind, boot, Duration::from_secs(60))?;
        let argv = ["busybox", "true"].map(|w| w.as_bytes().to_vec()).to_vec();
        let spawn = crate::link::Spawn { argv, env: crate::link::environment(None), ..Default::default() };
        running.client.output(&spawn, b"", Duration::from_secs(60))?;
        times.push(start.elapsed());
    }
    times.sort();
    Ok(Measured { what, times, limit: Duration::from_secs(2), note: String::new() })
}

/// Pictures of the page for the README: wide and on a phone, dark and light.
pub fn pictures() -> Result<()> {
    let server = PageServer::start(build::page()?, HashMap::new(), 0)?;
    let folder = project::root().join("web/pictures");
    std::fs::create_dir_all(&folder)?;
    let mut node = Command::new(setup::node()?);
    node.arg(project::root().join("web/test/page.mjs")).arg(setup::chromium()?);
    node.args([&format!("http://{}/", server.address()), "pictures"]).arg(&folder);
    let awk = "seq 1 1000 | awk '{ s += $1 } END { print s }'";
    node.args(["uname -srm", "ls /", "ps | head -4", "sha256sum /bin/busybox", awk]);
    let out = node.output().context("cannot run node")?;
    ensure!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    pc_picture(&folder.join("pc.png"))?;
    ui::say(&format!("they are in {}", folder.display()));
    Ok(())
}

/// A PC's screen, started from a disc.
fn pc_picture(file: &Path) -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(60);
    let disc = project::made("pictures")?.join("aurora.iso");
    image::iso::make(&image::base()?.to_cpio(), "init=/sbin/init", &disc)?;
    let mut pc = Pc::start(&["-vga".into(), "std".into(), "-cdrom".into(), disc.display().to_string()])?;
    pc.wait_for("# ", PATIENCE)?;
    pc.keys("uname -a\nls /\nps\nfree\nls /none; echo done >/dev/ttyS0\n")?;
    pc.wait_for("done", PATIENCE)?;
    // The last prompt comes after what was waited for, and stays.
    let (mut before, mut same) = (pc.picture()?, 0);
    while same < 30 {
        let now = pc.picture()?;
        same = if now == before { same + 1 } else { 0 };
        before = now;
    }
    pc.write_picture(file)
}
