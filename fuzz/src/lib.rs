//! A fuzzer of the kernel's system calls that runs inside a machine, on `hosted`.
//!
//! `program/` knows what the arguments of every call are (`program/calls.c`). Round after round, as root and as a user,
//! processes and threads make calls in a row that use what earlier ones made. What is found: a kernel that panics, one
//! that hangs (no round ends) or sleeps for ever (nothing in the machine would move again), and one that has not as many
//! frames, heap, open files and tasks after a round as before. A batch is a repeatable run: the seed and the first round
//! are all it takes to see it again, with `--trace syscalls` if need be.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use aurora_cli::link::{Event, Spawn, environment};
use aurora_cli::machines::Boot;
use aurora_cli::run::repeat_watched;
use aurora_cli::{image, project, setup};

/// Rounds of one batch, that is of one machine.
const ROUNDS: u64 = 500;
/// A round takes well below a second; without one for so long, the kernel hangs.
const HANG: Duration = Duration::from_secs(120);

/// So many batches that went wrong end a run.
const ENOUGH: usize = 8;

/// What a run of the fuzzer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fuzzed {
    /// Rounds, each of some hundred calls.
    pub rounds: u64,
    /// Machines they ran in.
    pub batches: u64,
}

/// Fuzzes for `duration`, from `seed`.
pub fn fuzz(duration: Duration, seed: u64) -> Result<Fuzzed> {
    let (start, archive) = (Instant::now(), archive()?);
    let mut done = Fuzzed { rounds: 0, batches: 0 };
    let mut found = Vec::new();
    while start.elapsed() < duration && found.len() < ENOUGH {
        let first = seed.wrapping_add(done.rounds);
        let mut last = first;
        if let Err(error) = batch(&archive, first, &mut last) {
            found.push(format!(
                "round {last} of aurora run --seed {first} --memory 128M --file …=/fuzzer -- /fuzzer {first} {ROUNDS}: {error:#}"
            ));
        }
        done = Fuzzed { rounds: done.rounds + ROUNDS, batches: done.batches + 1 };
    }
    ensure!(found.is_empty(), "after {} rounds:\n{}", done.rounds, found.join("\n"));
    Ok(done)
}

fn archive() -> Result<Vec<u8>> {
    let mut image = image::base()?;
    image.add_file(&program()?, "/fuzzer")?;
    Ok(image.to_cpio())
}

/// Builds the program that runs inside; it runs on Linux, too.
pub fn program() -> Result<PathBuf> {
    let _lock = project::lock("fuzzer")?;
    let target = project::made("programs")?.join("fuzzer");
    let mut gcc = Command::new(setup::musl_gcc()?);
    gcc.args(["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Wno-missing-field-initializers", "-static", "-o"])
        .arg(&target);
    for entry in std::fs::read_dir(project::root().join("fuzz/program"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "c") {
            gcc.arg(path);
        }
    }
    let out = gcc.output().context("cannot run musl-gcc")?;
    ensure!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    Ok(target)
}

/// Runs a batch in a thread of its own, which is left to itself should the kernel hang.
fn batch(archive: &[u8], seed: u64, last: &mut u64) -> Result<()> {
    let command_line = "link quiet".into();
    let boot = Boot { archive: archive.to_vec(), command_line, memory: 128 << 20, ..Boot::default() };
    let (told, events) = channel();
    let machine = std::thread::spawn(move || run(boot, seed, &told));
    let (mut said, mut complaint) = (Vec::new(), String::new());
    loop {
        match events.recv_timeout(HANG) {
            Ok(Event::Stdout(bytes)) => said.extend(bytes),
            Ok(Event::Stderr(bytes)) => complaint.push_str(&String::from_utf8_lossy(&bytes)),
            Ok(Event::Failed(errno)) => bail!("the fuzzer does not start: errno {errno}"),
            Ok(Event::Exit(status)) => ensure!(status == 0, "the fuzzer ended with status {status:#x}: {complaint}"),
            Err(RecvTimeoutError::Timeout) => bail!("no round ended for {HANG:?}: the kernel hangs"),
            Err(RecvTimeoutError::Disconnected) => break,
        }
        let whole = String::from_utf8_lossy(&said);
        *last = whole.lines().last().and_then(|l| l.parse().ok()).unwrap_or(*last);
    }
    machine.join().map_err(|_| anyhow!("the kernel panicked"))?
}

fn run(boot: Boot, seed: u64, told: &Sender<Event>) -> Result<()> {
    let argv = ["/fuzzer".into(), seed.to_string(), ROUNDS.to_string()].map(String::into_bytes).to_vec();
    let spawn = Spawn { argv, env: environment(None), ..Spawn::default() };
    // Whoever listened may have given up.
    let mut tell = |event: &Event| drop(told.send(event.clone()));
    let (_, replayed) = repeat_watched(boot, spawn, Vec::new(), seed, &mut tell)?;
    ensure!(replayed.end.is_some(), "nothing in the machine would ever have moved again");
    Ok(())
}
