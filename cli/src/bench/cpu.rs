//! `aurora bench cpu`: the same static programs on the host, in Aurora's machines, in QEMU, and built for 32 bits in v86.
//!
//! What always holds: columns take turns, a test at a time, so that whatever else the host does hits all of them; each
//! round's rates are compared with that round's native ones, and the median of these ratios counts; the first round is the
//! cold pass, and counts for that alone; and every column must come to the result the same file has on the host.

mod first;
mod programs;
mod report;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::v86::V86;
use crate::link::{self, Spawn};
use crate::machines::{Boot, Kind, Running};
use crate::{image, project, setup, ui};

use programs::{Programs, Row, Work};

/// How often each test runs in each column: cold, and then as often as the median of a noisy host's figures needs.
const ROUNDS: usize = 1 + 5;
/// The longest a test may take.
const LIMIT: Duration = Duration::from_secs(300);

/// Where programs run.
enum Place {
    Native,
    Machine(Box<Running>),
    Qemu(PathBuf),
    V86(Box<RefCell<V86>>),
}

struct Column {
    name: &'static str,
    place: Place,
    /// How much of a test's work is done: slow columns would take for ever.
    scale: f64,
}

/// What a test said.
#[derive(Clone, Debug)]
struct Said {
    rate: f64,
    check: String,
}

/// What was measured.
struct Figures {
    /// Rates by row and column, a round after the other.
    rates: BTreeMap<(usize, usize), Vec<f64>>,
    /// What the first runs of short programs took.
    first: Vec<first::Took>,
}

/// Measures and writes the report; or measures the first runs of these programs only.
pub fn run(only: &[String]) -> Result<()> {
    let programs = Programs::make()?;
    let mut rows = programs.rows()?;
    let archive = programs.archive()?;
    if !only.is_empty() {
        rows.retain(|row| matches!(row.work, Work::Test(_)));
        let names: Vec<String> = rows.iter().map(|row| row.name.clone()).collect();
        rows.retain(|row| only.contains(&row.name));
        ensure!(!rows.is_empty(), "there are {}", names.join(", "));
        print!("{}", first::table(&first::measure(&programs, &archive, &rows)?)?);
        return Ok(());
    }
    let columns = columns(&programs, &archive)?;
    let mut rates: BTreeMap<(usize, usize), Vec<f64>> = BTreeMap::new();
    for round in 0..ROUNDS {
        for (at_row, row) in rows.iter().enumerate() {
            for (at, column) in columns.iter().enumerate().filter(|(_, c)| c.runs(row)) {
                let said = column.run(&programs, row)?;
                // Less work has another result.
                if round == 0 {
                    let expected = programs.native(row, column.scale, column.is_narrow())?.check;
                    ensure!(said.check == expected, "{} is wrong in {}", row.name, column.name);
                }
                rates.entry((at_row, at)).or_default().push(said.rate);
            }
        }
        ui::say(&format!("round {} of {ROUNDS}", round + 1));
    }
    let first = first::measure(&programs, &archive, &rows)?;
    let figures = Figures { rates, first };
    let report = report::write(&rows, &columns, &figures)?;
    let path = project::root().join("bench/RESULTS.md");
    project::write_whole(&path, report.as_bytes())?;
    print!("{report}");
    Ok(())
}

fn machine(kind: Kind, archive: &[u8]) -> Result<Running> {
    kind.prepare()?;
    let (archive, command_line) = (archive.to_vec(), "link quiet".into());
    let boot = Boot { archive, command_line, memory: 256 << 20, rehearses: true, ..Boot::default() };
    Running::start(kind, boot, Duration::from_secs(60))
}

fn columns(programs: &Programs, archive: &[u8]) -> Result<Vec<Column>> {
    let place = |kind| -> Result<Place> { Ok(Place::Machine(Box::new(machine(kind, archive)?))) };
    ui::say("v86 boots Debian's kernel");
    let v86 = V86::start(&programs.narrow_files())?;
    Ok(vec![
        Column { name: "native", place: Place::Native, scale: 1.0 },
        Column { name: "Chromium", place: place(Kind::Browser)?, scale: 0.5 },
        Column { name: "Node", place: place(Kind::Node)?, scale: 0.5 },
        Column { name: "interpreter", place: place(Kind::Hosted)?, scale: 0.05 },
        Column { name: "qemu-x86_64", place: Place::Qemu(setup::qemu_user()?), scale: 0.2 },
        Column { name: "v86", place: Place::V86(Box::new(RefCell::new(v86))), scale: 0.1 },
    ])
}

/// What a program in a machine says.
fn in_machine(running: &Running, arguments: &[String]) -> Result<Vec<u8>> {
    let argv = arguments.iter().map(|w| w.clone().into_bytes()).collect();
    let spawn = Spawn { argv, env: link::environment(None), ..Default::default() };
    Ok(running.client.output(&spawn, b"", LIMIT)?.stdout)
}

impl Column {
    /// Whether its programs are those for 32 bits.
    fn is_narrow(&self) -> bool {
        matches!(self.place, Place::V86(_))
    }

    fn runs(&self, row: &Row) -> bool {
        match self.place {
            // Children of a program in QEMU's user mode are the host's own.
            Place::Qemu(_) => !row.has_children(),
            Place::V86(_) => row.has_narrow,
            _ => true,
        }
    }

    fn run(&self, programs: &Programs, row: &Row) -> Result<Said> {
        let arguments = match self.place {
            Place::Native | Place::Qemu(_) => programs.on_host(row, self.scale, false),
            Place::Machine(_) | Place::V86(_) => Programs::inside(row, self.scale),
        };
        let start = Instant::now();
        let out = self.output(&arguments).with_context(|| format!("{} in {}", row.name, self.name))?;
        row.parse(self.scale, &out, start.elapsed()).with_context(|| format!("in {}", self.name))
    }

    /// What a program says.
    fn output(&self, arguments: &[String]) -> Result<Vec<u8>> {
        Ok(match &self.place {
            Place::Native => Command::new(&arguments[0]).args(&arguments[1..]).output()?.stdout,
            Place::Qemu(qemu) => Command::new(qemu).args(arguments).output()?.stdout,
            Place::Machine(running) => in_machine(running, arguments)?,
            Place::V86(machine) => {
                let quoted: Vec<String> = arguments.iter().map(|word| format!("'{word}'")).collect();
                machine.borrow_mut().run(&quoted.join(" "), LIMIT)?.text.into_bytes()
            }
        })
    }
}
