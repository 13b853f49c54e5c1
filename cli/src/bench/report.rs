//! What the reports have in common.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};

use super::v86;
use crate::{setup, ui};

/// The middle one.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Seconds, or instructions in billions, an operation takes, by row.
pub(super) type Figures = BTreeMap<String, f64>;

/// The medians of several rounds.
fn medians(rounds: &[Figures]) -> Figures {
    let Some(first) = rounds.first() else { return Figures::new() };
    let of = |row: &String| median(&rounds.iter().filter_map(|f| f.get(row)).copied().collect::<Vec<_>>());
    first.keys().map(|row| (row.clone(), of(row))).collect()
}

/// A system that is measured beside others: a column of the report.
pub(super) trait Column: Copy {
    /// The name the command line knows it by.
    fn name(self) -> &'static str;
    /// How often it runs all rows.
    fn rounds(self) -> usize;
}

/// Those named, all if none is.
pub(super) fn chosen<S: Column>(all: &[S], only: &[String]) -> Result<Vec<S>> {
    let chosen: Vec<S> =
        all.iter().copied().filter(|s| only.is_empty() || only.iter().any(|n| n == s.name())).collect();
    let names: Vec<_> = all.iter().map(|s| s.name()).collect();
    ensure!(!chosen.is_empty(), "there are {}", names.join(", "));
    Ok(chosen)
}

/// Measures systems in turns, so that a busy moment of the host is not one system's alone: the medians of at most so many
/// rounds, by name.
pub(super) fn take_turns<S: Column>(
    systems: &[S],
    most: usize,
    measure: impl Fn(S) -> Result<Figures>,
) -> Result<HashMap<&'static str, Figures>> {
    let mut all: HashMap<&'static str, Vec<Figures>> = HashMap::new();
    for round in 0..most {
        for system in systems.iter().filter(|s| round < s.rounds()) {
            let start = Instant::now();
            let figures = measure(*system).with_context(|| format!("in {}", system.name()))?;
            ui::say(&format!("round {} of {most}: {} in {:.0?}", round + 1, system.name(), start.elapsed()));
            all.entry(system.name()).or_default().push(figures);
        }
    }
    Ok(all.iter().map(|(name, rounds)| (*name, medians(rounds))).collect())
}

/// The figures in what the program says, until it says that these are all.
pub(super) fn read(said: impl Read) -> Result<Figures> {
    let (mut figures, mut rest) = (Figures::new(), String::new());
    for line in BufReader::new(said).lines() {
        let line = line?;
        let line = line.trim_end();
        if line == "END" {
            return Ok(figures);
        }
        match line.split_once("BENCH ").and_then(|(_, figure)| parse(figure)) {
            Some((row, seconds)) => drop(figures.insert(row, seconds)),
            None => writeln!(rest, "{line}")?,
        }
    }
    bail!("it stopped after {} rows:\n{rest}", figures.len())
}

fn parse(figure: &str) -> Option<(String, f64)> {
    let mut parts = figure.split('|');
    let (row, ops, seconds) = (parts.next()?, parts.next()?, parts.next()?);
    Some((row.to_owned(), seconds.parse::<f64>().ok()? / ops.parse::<f64>().ok()?))
}

/// A rate as people read it.
pub(super) fn short(rate: f64) -> String {
    match rate {
        r if r >= 1e6 => format!("{:.0} M", r / 1e6),
        r if r >= 1e3 => format!("{:.0} k", r / 1e3),
        r => format!("{r:.0}"),
    }
}

/// The date, and what took part.
pub(super) fn versions() -> Vec<String> {
    let said = |program: &str, argument: &str| {
        let out = setup::answer(Command::new(program).arg(argument))?;
        out.lines().next().map(str::to_owned)
    };
    let processor = std::fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|l| l.starts_with("model name"))?;
        Some(line.split_once(": ")?.1.to_owned())
    });
    let program = |found: Result<std::path::PathBuf>| Some(found.ok()?.to_string_lossy().into_owned());
    [
        said("date", "+%Y-%m-%d"),
        processor,
        program(setup::chromium()).and_then(|p| said(&p, "--version")),
        program(setup::node()).and_then(|p| said(&p, "--version")).map(|v| format!("Node {v}")),
        program(setup::qemu_user()).and_then(|p| said(&p, "--version")),
        v86::version().map(|v| format!("npm v86 {v} with Debian's kernel for 32-bit PCs, in the same Chromium")),
        said("gcc", "--version").map(|v| format!("{v}, -O2 -static")),
    ]
    .into_iter()
    .flatten()
    .collect()
}
