//! Whether what a worker takes of the host's memory levels off while its program keeps making new code.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::Outcome;
use crate::link::{self, Spawn};
use crate::machines::{Boot, Kind, Running};
use crate::{image, project, setup, ui};

/// How long the program runs, unless `AURORA_MEMORY_SECONDS` says otherwise.
const SECONDS: u64 = 30 * 60;
/// How often memory is looked at.
const EVERY: Duration = Duration::from_secs(15);
/// What the last third may take more than the one before.
const GROWTH: f64 = 1.1;

/// Runs the program in both at once and looks at the processes.
pub(super) fn run(_seed: u64) -> Result<Outcome> {
    let program = project::made("bench")?.join("churn");
    let mut gcc = Command::new(setup::program(&["gcc", "cc"], "gcc")?);
    gcc.args(["-O2", "-static", "-o"]).arg(&program).arg(project::root().join("tests/programs/churn.c"));
    ui::run_quietly("compiling tests/programs/churn.c", &mut gcc)?;
    let mut image = image::base()?;
    image.add_file(&program, "/churn")?;
    let seconds = std::env::var("AURORA_MEMORY_SECONDS").ok().and_then(|v| v.parse().ok()).unwrap_or(SECONDS);
    let outcomes = std::thread::scope(|scope| {
        let runs = ENGINES.map(|engine| {
            scope.spawn({
                let image = &image;
                move || watch(&engine, image.to_cpio(), seconds)
            })
        });
        runs.map(|run| run.join().map_err(|_| anyhow::anyhow!("a thread that watched a machine is gone"))?)
            .into_iter()
            .collect::<Result<Vec<_>>>()
    })?;
    let text = outcomes.iter().map(|o| o.text.as_str()).collect();
    Ok(Outcome { passed: outcomes.iter().all(|o| o.passed), text })
}

/// Where the program runs, and what the engine's processes are called.
struct Engine {
    kind: Kind,
    process: &'static str,
}

const ENGINES: [Engine; 2] =
    [Engine { kind: Kind::Node, process: "node" }, Engine { kind: Kind::Browser, process: "chromium" }];

/// Runs the program for so many seconds and says whether the engine's memory levels off.
fn watch(engine: &Engine, archive: Vec<u8>, seconds: u64) -> Result<Outcome> {
    engine.kind.prepare()?;
    let boot = Boot { archive, command_line: "link quiet".into(), memory: 256 << 20, ..Boot::default() };
    let running = Running::start(engine.kind, boot, Duration::from_secs(60))?;
    let argv = ["/churn".to_owned(), seconds.to_string()].map(String::into_bytes).to_vec();
    let spawn = Spawn { argv, env: link::environment(None), ..Default::default() };
    let (done, mut samples) = (AtomicBool::new(false), Vec::new());
    let said = std::thread::scope(|scope| {
        let program = scope.spawn(|| {
            let said = running.client.output(&spawn, b"", Duration::from_secs(seconds * 2));
            done.store(true, Ordering::Relaxed);
            said
        });
        let mut next = Instant::now() + EVERY;
        while !done.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(200));
            if Instant::now() >= next {
                samples.push(resident_below_us(engine.process));
                next += EVERY;
            }
        }
        program.join().map_err(|_| anyhow::anyhow!("the thread that waited for the program is gone"))?
    })?;
    let third = samples.len() / 3;
    let (before, last) = (median(&samples[third..2 * third]), median(&samples[2 * third..]));
    let mut text = String::new();
    write!(text, "{:?}, {seconds} seconds: {}", engine.kind, String::from_utf8_lossy(&said.stdout))?;
    writeln!(text, "Memory of the engine's processes in MiB, a figure for each minute:")?;
    let minutes: Vec<String> = samples.chunks(4).map(|four| format!("{:.0}", median(four))).collect();
    writeln!(text, "{}", minutes.join(" "))?;
    writeln!(text, "The middle third's median is {before:.0} MiB, the last third's {last:.0} MiB.")?;
    let whole = said.status.is_some_and(|s| s.code() == 0) && third > 0;
    Ok(Outcome { passed: whole && last <= before * GROWTH, text })
}

fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Resident MiB of all processes of that name this one started, and those they did.
fn resident_below_us(name: &str) -> f64 {
    let read = |pid: u32| -> Result<(u32, f64)> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let field = |name: &str| {
            let line = text.lines().find_map(|l| l.strip_prefix(name)).context("no such field")?;
            Ok::<u64, anyhow::Error>(line.split_whitespace().next().context("no value")?.parse()?)
        };
        let resident = if text.lines().next().is_some_and(|line| line.contains(name)) {
            field("VmRSS:").unwrap_or(0) as f64 / 1024.0
        } else {
            0.0
        };
        Ok((field("PPid:")? as u32, resident))
    };
    let pids =
        std::fs::read_dir("/proc").into_iter().flatten().filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok());
    let all: BTreeMap<u32, (u32, f64)> = pids.filter_map(|pid| Some((pid, read(pid).ok()?))).collect();
    let is_below = |mut pid: u32| {
        while let Some(&(parent, _)) = all.get(&pid) {
            if parent == std::process::id() {
                return true;
            }
            pid = parent;
        }
        false
    };
    all.iter().filter(|(pid, _)| is_below(**pid)).map(|(_, (_, resident))| resident).sum()
}
