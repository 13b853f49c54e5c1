//! `bench/RESULTS.md`.

use std::fmt::Write as _;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{Column, Figures, Row, first};
use crate::bench::report::{median, short, versions};
use crate::{build, setup};

/// The whole page.
pub(super) fn write(rows: &[Row], columns: &[Column], figures: &Figures) -> Result<String> {
    let mut text = String::from(
        "# Processor-bound programs\n\nWritten by `aurora bench cpu`: slowdown against native (bigger is slower), the \
         median of the rounds after the first; in brackets the first, cold pass. Native is the x86-64 program in every column; \
         v86 runs the same source built for 32 bits with SSE2.\n\n",
    );
    for line in versions() {
        writeln!(text, "- {line}")?;
    }
    text.push_str(&table(rows, columns, figures)?);
    writeln!(text, "\n{}", size()?)?;
    write!(text, "\n{}", first::table(&figures.first)?)?;
    Ok(text)
}

fn table(rows: &[Row], columns: &[Column], figures: &Figures) -> Result<String> {
    let mut text = String::from("\n| test | native /s |");
    columns[1..].iter().try_for_each(|c| write!(text, " {} |", c.name))?;
    writeln!(text, "\n|---|---|{}", "---|".repeat(columns.len() - 1))?;
    let mut means = vec![Mean::default(); columns.len()];
    let (counted, others): (Vec<_>, Vec<_>) = rows.iter().enumerate().partition(|(_, row)| row.counts);
    for (at, row) in counted {
        line(&mut text, figures, columns, (at, row), Some(&mut means))?;
    }
    write!(text, "| **geometric mean** | |")?;
    for mean in &means[1..] {
        write!(text, " **{:.2}** ({:.2}) |", mean.of(mean.warm), mean.of(mean.cold))?;
    }
    writeln!(text)?;
    for (at, row) in others {
        line(&mut text, figures, columns, (at, row), None)?;
    }
    text.push_str(&against_v86(rows, columns, figures)?);
    Ok(text)
}

#[derive(Clone, Default)]
struct Mean {
    warm: f64,
    cold: f64,
    rows: f64,
}

impl Mean {
    fn add(&mut self, warm: f64, cold: f64) {
        (self.warm, self.cold, self.rows) = (self.warm + warm.ln(), self.cold + cold.ln(), self.rows + 1.0);
    }

    fn of(&self, sum: f64) -> f64 {
        (sum / self.rows).exp()
    }
}

fn line(
    text: &mut String,
    figures: &Figures,
    columns: &[Column],
    (at, row): (usize, &Row),
    mut means: Option<&mut Vec<Mean>>,
) -> Result<()> {
    let of = |column: usize| figures.rates.get(&(at, column)).map_or(&[][..], |r| r);
    let native = median(of(0).get(1..).unwrap_or_default());
    write!(text, "| {} | {} |", row.name, short(native))?;
    for column in 1..columns.len() {
        let Some(&first) = of(column).first() else {
            write!(text, " |")?;
            continue;
        };
        let (warm, cold) = (times(of(0), of(column)), native / first);
        if let Some(means) = &mut means {
            means[column].add(warm, cold);
        }
        write!(text, " {warm:.1} ({cold:.1}) |")?;
    }
    Ok(writeln!(text)?)
}

/// How many times as fast the one is as the other: the median of the rounds after the first, the cold one.
fn times(one: &[f64], other: &[f64]) -> f64 {
    let rounds: Vec<f64> = one.iter().zip(other).skip(1).map(|(one, other)| one / other).collect();
    median(&rounds)
}

/// How much faster each column is than v86, on the rows both have.
fn against_v86(rows: &[Row], columns: &[Column], figures: &Figures) -> Result<String> {
    let Some(rival) = columns.iter().position(Column::is_narrow) else { return Ok(String::new()) };
    let mut text = String::new();
    for (at, column) in columns.iter().enumerate().filter(|&(at, _)| at != rival) {
        let mut mean = Mean::default();
        for row in rows.iter().enumerate().filter(|(_, row)| row.counts).map(|(row, _)| row) {
            if let (Some(ours), Some(theirs)) = (figures.rates.get(&(row, at)), figures.rates.get(&(row, rival))) {
                mean.add(times(ours, theirs), 1.0);
            }
        }
        let separator = if text.is_empty() { "\nTimes v86's speed, on the rows it has:" } else { "," };
        write!(text, "{separator} {} {:.1}", column.name, mean.of(mean.warm))?;
    }
    writeln!(text, ".")?;
    Ok(text)
}

/// What a page has to load of us.
fn size() -> Result<String> {
    const SCRIPT: &str = "const b = require('fs').readFileSync(process.argv[1]); \
                          console.log(b.length, require('zlib').brotliCompressSync(b).length)";
    let wasm = build::wasm()?;
    let out = setup::answer(Command::new(setup::node()?).args(["-e", SCRIPT]).arg(&wasm)).context("cannot run node")?;
    let mut sizes = out.split_whitespace().map(|n| n.parse::<f64>().unwrap_or(f64::NAN) / f64::from(1 << 20));
    let (plain, packed) = (sizes.next().unwrap_or(f64::NAN), sizes.next().unwrap_or(f64::NAN));
    Ok(format!("Kernel and JIT are {plain:.2} MiB of WebAssembly, {packed:.2} MiB after Brotli."))
}
