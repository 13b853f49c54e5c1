//! A fuzzer of the kernel's system calls that runs inside a machine, on `hosted`.
//!
//! `program/` knows what the arguments of every call are (`program/calls.c`). Round after round, as root and as a user,
//! processes and threads make calls in a row that use what earlier ones made. What is found: a kernel that panics, one
//! that hangs (no round ends) or sleeps for ever (nothing in the machine would move again), and one that has not as many
//! frames, heap, open files and tasks after a round as before. A batch is a repeatable run: the seed and the first round
//! are all it takes to see it again, with `--trace syscalls` if need be.
#![forbid(unsafe_code)]

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
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

/// Fuzzes for `duration`, from `seed`. Batches are processes of their own, of the program `batch`: what hangs can be ended.
pub fn fuzz(batch: &Path, duration: Duration, seed: u64) -> Result<Fuzzed> {
    let start = Instant::now();
    let archive = project::made("fuzz")?.join("image.cpio");
    let mut image = image::base()?;
    image.add_file(&program()?, "/fuzzer")?;
    project::write_whole(&archive, &image.to_cpio())?;
    let mut done = Fuzzed { rounds: 0, batches: 0 };
    let mut found = Vec::new();
    while start.elapsed() < duration && found.len() < ENOUGH {
        let first = seed.wrapping_add(done.rounds);
        let mut last = first;
        if let Err(error) = watch(batch, &archive, first, &mut last) {
            found.push(format!(
                "round {last} of aurora run --seed {first} --memory 128M --file …=/fuzzer -- /fuzzer {first} {ROUNDS}: {error:#}"
            ));
        }
        done = Fuzzed { rounds: done.rounds + ROUNDS, batches: done.batches + 1 };
    }
    ensure!(found.is_empty(), "after {} rounds:\n{}", done.rounds, found.join("\n"));
    Ok(done)
}

/// Builds the program that runs inside; it runs on Linux, too.
pub fn program() -> Result<PathBuf> {
    let _lock = project::lock("fuzzer")?;
    let target = project::made("programs")?.join("fuzzer");
    let mut gcc = Command::new(setup::musl_gcc()?);
    gcc.args(["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Wno-missing-field-initializers", "-static", "-o"])
        .arg(&target);
    // In order, so that the program is the same everywhere and a seed does everywhere what it did.
    let files = std::fs::read_dir(project::root().join("fuzz/program"))?.map(|entry| Ok(entry?.path()));
    let mut sources = files.collect::<Result<Vec<_>>>()?;
    sources.retain(|path| path.extension().is_some_and(|e| e == "c"));
    sources.sort();
    gcc.args(sources);
    let out = gcc.output().context("cannot run musl-gcc")?;
    ensure!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    Ok(target)
}

/// Runs a batch and notes its rounds as they come.
fn watch(batch: &Path, archive: &Path, seed: u64, last: &mut u64) -> Result<()> {
    let mut command = Command::new(batch);
    command.arg(archive).arg(seed.to_string()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("cannot run a batch")?;
    let (Some(out), Some(mut complaints)) = (child.stdout.take(), child.stderr.take()) else {
        bail!("a batch has no output")
    };
    let complaints = std::thread::spawn(move || {
        let mut text = String::new();
        complaints.read_to_string(&mut text).map(|_| text).unwrap_or_default()
    });
    let (tell, lines) = channel();
    std::thread::spawn(move || BufReader::new(out).lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
    let hangs = loop {
        match lines.recv_timeout(HANG) {
            Ok(line) => *last = line.parse().unwrap_or(*last),
            Err(RecvTimeoutError::Disconnected) => break false,
            Err(RecvTimeoutError::Timeout) => break true,
        }
    };
    if hangs {
        child.kill()?;
    }
    let status = child.wait()?;
    ensure!(!hangs, "no round ended for {HANG:?}: the kernel hangs");
    ensure!(status.success(), "{}", complaints.join().unwrap_or_default().trim_end());
    Ok(())
}

/// One batch, in this process: says the rounds' numbers as they come.
pub fn batch(archive: Vec<u8>, seed: u64) -> Result<()> {
    let boot = Boot { archive, command_line: "link quiet".into(), memory: 128 << 20, ..Boot::default() };
    let argv = ["/fuzzer".into(), seed.to_string(), ROUNDS.to_string()].map(String::into_bytes).to_vec();
    let spawn = Spawn { argv, env: environment(None), ..Spawn::default() };
    let mut tell = |event: &Event| match event {
        Event::Stdout(bytes) => print!("{}", String::from_utf8_lossy(bytes)),
        Event::Stderr(bytes) => eprint!("{}", String::from_utf8_lossy(bytes)),
        _ => {}
    };
    let (events, replayed) = repeat_watched(boot, spawn, Vec::new(), seed, &mut tell)?;
    ensure!(replayed.end.is_some(), "nothing in the machine would ever have moved again");
    ensure!(events.last() == Some(&Event::Exit(0)), "the fuzzer ended with {:?}", events.last());
    Ok(())
}
