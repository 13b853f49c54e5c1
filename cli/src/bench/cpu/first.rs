//! What a first run costs: programs of some 50 ms, each in a machine that has run nothing yet.
//!
//! What always holds: a program does as much in a machine as on the host; the machine has had time to come to rest, and to
//! rehearse, as one has before a person has typed a command; and the program then runs there again, which tells what only a first run takes.

use std::fmt::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::programs::{Programs, Row, Work};
use super::{in_machine, machine, ui};
use crate::bench::report::median;
use crate::machines::Kind;

/// In how many fresh machines each program runs.
const MACHINES: usize = 3;
/// How often it runs there again, and on the host.
const AGAIN: usize = 3;
/// What it is to take on the host, in milliseconds.
const TAKES: f64 = 50.0;
/// How much of the tests' work is done to find out how much that is.
const TRIED: f64 = 0.1;
/// Until a machine is at rest: what starts it keeps the engine busy for a while after it can be used.
const REST: Duration = Duration::from_secs(2);

/// What a person may run first: many things, each briefly.
const MANY: [&str; 6] = ["interp", "sha256", "qsort", "strings", "nbody", "core"];

/// Tests of a program that run one after the other.
struct Short {
    name: String,
    program: &'static str,
    tests: Vec<String>,
}

/// How long they took, in milliseconds.
pub(super) struct Took {
    name: String,
    native: f64,
    first: f64,
    again: f64,
}

/// Measures the rows that are tests of programs, and one of many parts.
pub(super) fn measure(programs: &Programs, archive: &[u8], rows: &[Row]) -> Result<Vec<Took>> {
    let mut all: Vec<Short> = rows
        .iter()
        .filter_map(|row| match row.work {
            Work::Test(program) => Some(Short { name: row.name.clone(), program, tests: vec![row.name.clone()] }),
            Work::Script(..) => None,
        })
        .collect();
    if MANY.iter().all(|name| rows.iter().any(|row| row.name == *name)) {
        all.push(Short { name: MANY.join(", "), program: "bench", tests: MANY.map(str::to_owned).to_vec() });
    }
    all.iter()
        .map(|short| {
            let took = short.measure(programs, archive)?;
            ui::say(&format!("first run of {}: {:.0} ms", took.name, took.first));
            Ok(took)
        })
        .collect()
}

impl Short {
    fn measure(&self, programs: &Programs, archive: &[u8]) -> Result<Took> {
        let scale = TRIED * TAKES / self.natively(programs, TRIED)?;
        let native = self.natively(programs, scale)?;
        let (mut first, mut again) = (Vec::new(), Vec::new());
        for _ in 0..MACHINES {
            let machine = machine(Kind::Browser, archive)?;
            std::thread::sleep(REST);
            let arguments = self.arguments(format!("/{}", self.program), scale);
            let run = || milliseconds(|| in_machine(&machine, &arguments).map(drop));
            first.push(run()?);
            for _ in 0..AGAIN {
                again.push(run()?);
            }
        }
        Ok(Took { name: self.name.clone(), native, first: median(&first), again: median(&again) })
    }

    fn natively(&self, programs: &Programs, scale: f64) -> Result<f64> {
        let arguments = self.arguments(programs.path(self.program), scale);
        let run = || {
            let status = Command::new(&arguments[0]).args(&arguments[1..]).output()?.status;
            ensure!(status.success(), "{} failed: {status}", self.name);
            Ok(())
        };
        let all = (0..AGAIN).map(|_| milliseconds(run)).collect::<Result<Vec<f64>>>()?;
        Ok(median(&all))
    }

    fn arguments(&self, path: String, scale: f64) -> Vec<String> {
        [vec![path, "-s".into(), scale.to_string()], self.tests.clone()].concat()
    }
}

fn milliseconds(run: impl FnOnce() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    run()?;
    Ok(start.elapsed().as_secs_f64() * 1000.0)
}

/// A table of them, and what a first run takes more than others.
pub(super) fn table(all: &[Took]) -> Result<String> {
    let mut text = format!(
        "## First runs\n\nPrograms of some {TAKES} ms, each in {MACHINES} machines in Chromium that had run nothing yet \
         and were at rest, so they had rehearsed: milliseconds from asking for it to its end, then and when it runs there again; medians.\n\n\
         | program | native | first | again |\n|---|---|---|---|\n"
    );
    for Took { name, native, first, again } in all {
        writeln!(text, "| {name} | {native:.0} | {first:.0} | {again:.0} |")?;
    }
    let beyond = |what: fn(&Took) -> f64| {
        let more: Vec<f64> = all.iter().map(|took| took.first - what(took)).collect();
        let most = more.iter().copied().fold(f64::MIN, f64::max);
        format!("{:.0} ms (median; at most {most:.0})", median(&more))
    };
    writeln!(
        text,
        "\nA first run takes {} longer than native, {} longer than one after it.",
        beyond(|took| took.native),
        beyond(|took| took.again)
    )?;
    Ok(text)
}
