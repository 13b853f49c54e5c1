//! A fuzzer of the kernel's system calls that runs inside a machine, on `hosted`.
//!
//! `program/fuzzer.c` makes calls at random, in children, as root and as a user, round after round, each from a seed of
//! its own that it prints first. What is found: a kernel that panics (the machine ends), one that hangs (no round ends),
//! and one that has lost track of its own (after each batch a shell has to work as before).
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use aurora_cli::link::{Event, Spawn, environment};
use aurora_cli::machines::{Boot, Kind, Running};
use aurora_cli::{image, project, setup};

/// Rounds of one batch, that is of one run of the program.
const ROUNDS: u64 = 200;
/// A round takes well below a second; without one for so long, the kernel hangs.
const HANG: Duration = Duration::from_secs(60);

/// What a run of the fuzzer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fuzzed {
    /// Rounds, each of a few hundred calls.
    pub rounds: u64,
    /// Machines that were booted: each takes a few batches, so that what leaks shows.
    pub batches: u64,
}

/// Fuzzes for `duration`, from `seed`.
pub fn fuzz(duration: Duration, seed: u64) -> Result<Fuzzed> {
    let start = Instant::now();
    let mut machine = boot()?;
    let mut done = Fuzzed { rounds: 0, batches: 0 };
    while start.elapsed() < duration {
        let first = seed.wrapping_add(done.rounds);
        let mut last = first;
        if let Err(error) = batch(&machine, first, &mut last) {
            let said = machine.explain(&error);
            bail!("seed {last} (aurora run … /fuzzer {last} 1): {said}");
        }
        done = Fuzzed { rounds: done.rounds + ROUNDS, batches: done.batches + 1 };
    }
    Ok(done)
}

fn boot() -> Result<Running> {
    let mut image = image::base()?;
    image.add_file(&program()?, "/fuzzer")?;
    let boot = Boot {
        archive: image.to_cpio(),
        command_line: "link quiet".into(),
        memory: 128 << 20,
        show_console: false,
        ..Boot::default()
    };
    Running::start(Kind::Hosted, boot, HANG)
}

/// Builds the program that runs inside.
pub fn program() -> Result<PathBuf> {
    let _lock = project::lock("fuzzer")?;
    let target = project::made("programs")?.join("fuzzer");
    let mut gcc = Command::new(setup::musl_gcc()?);
    gcc.args(["-std=gnu11", "-O2", "-Wall", "-static", "-o"]).arg(&target);
    let out = gcc.arg(project::root().join("fuzz/program/fuzzer.c")).output().context("cannot run musl-gcc")?;
    ensure!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    Ok(target)
}

fn batch(machine: &Running, seed: u64, last: &mut u64) -> Result<()> {
    let argv = ["/fuzzer".into(), seed.to_string(), ROUNDS.to_string()].map(String::into_bytes).to_vec();
    let spawn = Spawn { argv, env: environment(None), ..Spawn::default() };
    let program = machine.client.spawn(&spawn)?;
    let mut said = Vec::new();
    loop {
        match program.next(Instant::now() + HANG).context("no round ended")? {
            Event::Stdout(bytes) => said.extend(bytes),
            Event::Stderr(bytes) => bail!("the fuzzer said: {}", String::from_utf8_lossy(&bytes)),
            Event::Failed(errno) => bail!("the fuzzer does not start: errno {errno}"),
            Event::Exit(0) => break,
            Event::Exit(status) => bail!("the fuzzer itself ended with status {status:#x}"),
        }
        if let Some(number) = String::from_utf8_lossy(&said).lines().last().and_then(|l| l.parse().ok()) {
            *last = number;
        }
    }
    still_works(machine)
}

/// A shell, a pipe, a file: the system is as good as before.
fn still_works(machine: &Running) -> Result<()> {
    // Whatever the rounds wrote is in /tmp: without it there is as much room as before.
    let script = "rm -rf /tmp/* /tmp/.[!.]*; dd if=/dev/zero of=/tmp/x bs=1M count=40 2>/dev/null; rm /tmp/x; \
                  echo a > /tmp/x; cat /tmp/x | tr a b; rm /tmp/x";
    let argv = ["busybox", "sh", "-c", script].map(|w| w.as_bytes().to_vec()).to_vec();
    let spawn = Spawn { argv, env: environment(None), ..Spawn::default() };
    let output = machine.client.output(&spawn, b"", HANG)?;
    ensure!(
        output.stdout == b"b\n" && output.stderr.is_empty(),
        "a shell no longer works: {:?} {:?} {}{}",
        output.status,
        output.errno,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
