//! `aurora test --long`: the tests that take longer than a person wants to wait. Each leaves its report in
//! `tests/reports/`: commit, seed, duration, result.

mod memory;

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};

use crate::{bench, project, ui};

/// Cases of the long differential run on the interpreter.
const DIFFERENTIAL_CASES: u64 = 50_000_000;
/// Lines of what a test said that its report keeps, the last.
const LAST_LINES: usize = 80;
/// How long the fuzzer runs.
const FUZZ_SECONDS: u64 = 2 * 60 * 60;

/// One long test.
struct Test {
    name: &'static str,
    about: &'static str,
    run: fn(u64) -> Result<Outcome>,
}

struct Outcome {
    passed: bool,
    text: String,
}

const TESTS: [Test; 12] = [
    Test { name: "boot", about: "Time to a prompt, and bytes transferred", run: boot },
    Test { name: "differential", about: "BPE/U against the real processor, 50 million cases", run: differential },
    Test { name: "translator", about: "Translated code against the real processor, 700,000 cases", run: translator },
    Test {
        name: "memory",
        about: "A worker whose program makes new code for 30 minutes, in Node and Chromium",
        run: memory::run,
    },
    Test { name: "fuzz", about: "System calls at random from inside, 2 hours on hosted", run: fuzz },
    Test { name: "stress", about: "Much of everything, on all machines, and everything given back", run: stress },
    Test { name: "ext4-trees", about: "ext4: long random work in every format, 200,000 names", run: ext4_trees },
    Test { name: "ext4-power", about: "ext4: 2,000 power cuts of each recording", run: ext4_power },
    Test { name: "ext4-damage", about: "ext4: a million damaged images", run: ext4_damage },
    Test {
        name: "disk-trees",
        about: "Large and wild trees on every machine, for e2fsck and debugfs",
        run: disk_trees,
    },
    Test { name: "disk-power", about: "2,000 power cuts of each recording under the kernel", run: disk_power },
    Test { name: "disk-kills", about: "QEMU killed and the tab closed, 200 times each", run: disk_kills },
];

/// Runs the long tests, or those named.
pub fn run(only: &[String]) -> Result<()> {
    if let Some(unknown) = only.iter().find(|n| TESTS.iter().all(|t| t.name != **n)) {
        let names = TESTS.map(|test| test.name).join(", ");
        bail!("no long test is called {unknown}: there are {names}");
    }
    let mut failed = Vec::new();
    for test in TESTS.iter().filter(|t| only.is_empty() || only.iter().any(|n| n == t.name)) {
        let seed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |d| d.as_secs());
        ui::say(&format!("{}: {}", test.name, test.about));
        // What is changed while it runs is not what ran.
        let commit = commit()?;
        let start = Instant::now();
        let outcome = (test.run)(seed)?;
        report(test, seed, &commit, start.elapsed(), &outcome)?;
        if !outcome.passed {
            failed.push(test.name);
        }
    }
    if !failed.is_empty() {
        bail!("failed: {}; see tests/reports", failed.join(", "));
    }
    Ok(())
}

fn report(test: &Test, seed: u64, commit: &str, duration: Duration, outcome: &Outcome) -> Result<()> {
    let folder = project::root().join("tests/reports");
    std::fs::create_dir_all(&folder)?;
    let result = if outcome.passed { "passed" } else { "failed" };
    let mut text = format!("# {}: {}\n\n", test.name, test.about);
    writeln!(text, "| commit | seed | duration | result |\n|---|---|---|---|")?;
    writeln!(text, "| {commit} | {seed} | {:.1} s | {result} |\n", duration.as_secs_f64())?;
    writeln!(text, "```\n{}\n```", outcome.text.trim_end())?;
    let path = folder.join(format!("{}.md", test.name));
    project::write_whole(&path, text.as_bytes())?;
    ui::say(&format!("{}: {result}; {}", test.name, path.display()));
    Ok(())
}

/// The commit the tests ran on, marked if the files differ from it.
fn commit() -> Result<String> {
    let git = |arguments: &[&str]| -> Result<String> {
        let out =
            Command::new("git").current_dir(project::root()).args(arguments).output().context("cannot run git")?;
        Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned())
    };
    let changed = !git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    Ok(git(&["rev-parse", "--short=12", "HEAD"])? + if changed { " with changes" } else { "" })
}

fn boot(_seed: u64) -> Result<Outcome> {
    let all = bench::boot(false)?;
    let text = all.iter().map(|m| format!("{m}\n")).collect();
    Ok(Outcome { passed: all.iter().all(bench::Measured::passed), text })
}

fn differential(seed: u64) -> Result<Outcome> {
    let mut cargo = Command::new("cargo");
    cargo.args(["test", "--release", "-p", "aurora-bpe", "--test", "differential", "--", "--nocapture"]);
    cargo.env("AURORA_CASES", DIFFERENTIAL_CASES.to_string()).env("AURORA_SEED", seed.to_string());
    finish(cargo)
}

fn translator(seed: u64) -> Result<Outcome> {
    whole_system(
        "translator",
        1,
        &[("AURORA_CASES", "500000"), ("AURORA_SEQUENCES", "200000"), ("AURORA_SEED", &seed.to_string())],
    )
}

fn fuzz(seed: u64) -> Result<Outcome> {
    let mut cargo = Command::new("cargo");
    cargo.args(["test", "--release", "-p", "aurora-fuzz", "--test", "system_calls", "--", "--nocapture"]);
    let seconds = std::env::var("AURORA_FUZZ_SECONDS").unwrap_or_else(|_| FUZZ_SECONDS.to_string());
    cargo.env("AURORA_FUZZ_SECONDS", seconds).env("AURORA_SEED", seed.to_string());
    finish(cargo)
}

fn ext4_trees(seed: u64) -> Result<Outcome> {
    ext4("writing", seed, &[("AURORA_STEPS", "30000"), ("AURORA_NAMES", "200000")])
}

fn ext4_power(seed: u64) -> Result<Outcome> {
    ext4("power", seed, &[("AURORA_STATES", "2000")])
}

fn ext4_damage(seed: u64) -> Result<Outcome> {
    ext4("corrupt", seed, &[("AURORA_CASES", "1000000")])
}

/// One of the tests of the ext4 crate, with more to do.
fn ext4(test: &str, seed: u64, sizes: &[(&str, &str)]) -> Result<Outcome> {
    let mut cargo = Command::new("cargo");
    cargo.args(["test", "--release", "-p", "aurora-ext4", "--test", test, "--", "--nocapture"]);
    cargo.envs(sizes.iter().copied()).env("AURORA_SEED", seed.to_string());
    finish(cargo)
}

fn stress(_seed: u64) -> Result<Outcome> {
    whole_system("stress", 1, &[("AURORA_STRESS", "long")])
}

fn disk_trees(_seed: u64) -> Result<Outcome> {
    // Hours one after the other; nothing in it is a matter of time, and each machine leaves half a computer idle.
    whole_system("disk_trees", 2, &[("AURORA_TREES", "long")])
}

fn disk_power(_seed: u64) -> Result<Outcome> {
    whole_system("power_cut", 1, &[("AURORA_STATES", "2000")])
}

fn disk_kills(_seed: u64) -> Result<Outcome> {
    whole_system("disk_kills", 2, &[("AURORA_KILLS", "200")])
}

/// One of the tests of whole systems, with more to do, on so many machines at once.
fn whole_system(test: &str, at_once: usize, sizes: &[(&str, &str)]) -> Result<Outcome> {
    let mut cargo = Command::new("cargo");
    cargo.args(["test", "--release", "-p", "aurora-tests", "--test", test, "--", "--nocapture", "--test-threads"]);
    cargo.arg(at_once.to_string()).envs(sizes.iter().copied());
    finish(cargo)
}

/// Runs a test to its end; the last lines it says are the report. Where the repository lies is no part of it.
///
/// What it finds is seen at once, for hours pass until it ends; what cargo and a failure say comes after it.
fn finish(mut command: Command) -> Result<Outcome> {
    // What was found fits a report; where in our own code it was noticed is the same each time.
    command.current_dir(project::root()).env("RUST_BACKTRACE", "0");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("cannot run cargo")?;
    let (found, failure) = (child.stdout.take().context("no output")?, child.stderr.take().context("no errors")?);
    let failure = thread::spawn(move || lines(failure, |_| ()));
    let mut said = lines(found, |line| println!("{line}"));
    said.extend(failure.join().ok().context("what cargo says cannot be read")?);
    let passed = child.wait()?.success();
    let text = said[said.len().saturating_sub(LAST_LINES)..].join("\n");
    let root = std::fs::canonicalize(project::root())?;
    Ok(Outcome { passed, text: text.replace(&*root.to_string_lossy(), ".") })
}

/// All lines of `from`, each told as it comes.
fn lines(from: impl Read, mut tell: impl FnMut(&str)) -> Vec<String> {
    let line = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    BufReader::new(from).split(b'\n').map_while(Result::ok).map(line).inspect(|line| tell(line)).collect()
}
