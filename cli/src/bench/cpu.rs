//! `aurora bench cpu`: the same static program on the host, in Aurora's machines and in QEMU.
//!
//! What always holds: columns take turns, a test at a time, so that whatever else the host does hits all of them; the
//! median of the rounds counts; and every column must come to the same result.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::link::{self, Spawn};
use crate::machines::{Boot, Kind, Running};
use crate::{image, project, setup, ui};

/// How often each test runs in each column. The first time in a machine is its cold pass.
const ROUNDS: usize = 3;
/// The longest a test may take.
const LIMIT: Duration = Duration::from_secs(300);

/// Where programs run.
enum Place {
    Native,
    Machine(Box<Running>),
    Qemu(std::path::PathBuf),
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

/// Measures and writes the report.
pub fn run() -> Result<()> {
    let program = compile()?;
    let names = tests(&program)?;
    let columns = columns(&program)?;
    // Figures by test and column.
    let mut rates: BTreeMap<(usize, usize), Vec<f64>> = BTreeMap::new();
    for round in 0..ROUNDS {
        for (row, name) in names.iter().enumerate() {
            for (at, column) in columns.iter().enumerate() {
                let said = column.run(&program, name)?;
                // Less work has another result.
                if round == 0 {
                    let native = Column { name: "native", place: Place::Native, scale: column.scale };
                    let expected = native.run(&program, name)?.check;
                    ensure!(said.check == expected, "{name} is wrong in {}", column.name);
                }
                rates.entry((row, at)).or_default().push(said.rate);
            }
        }
        ui::say(&format!("round {} of {ROUNDS}", round + 1));
    }
    let report = report(&names, &columns, &rates)?;
    let path = project::root().join("bench/RESULTS.md");
    project::write_whole(&path, report.as_bytes())?;
    print!("{report}");
    Ok(())
}

fn compile() -> Result<std::path::PathBuf> {
    let program = project::made("bench")?.join("bench");
    let source = project::root().join("bench/bench.c");
    let mut gcc = Command::new(setup::program(&["gcc", "cc"], "gcc")?);
    gcc.args(["-O2", "-static", "-o"]).arg(&program).arg(&source).arg("-lm");
    ui::run_quietly("compiling bench/bench.c", &mut gcc)?;
    Ok(program)
}

fn tests(program: &std::path::Path) -> Result<Vec<String>> {
    let out = Command::new(program).arg("list").output().context("cannot run the program")?;
    const KERNEL: [&str; 7] = ["getppid", "write1", "pipe", "fork", "exec", "open", "mmap"];
    let all = String::from_utf8_lossy(&out.stdout).into_owned();
    Ok(all.lines().filter(|n| !KERNEL.contains(n)).map(str::to_owned).collect())
}

fn columns(program: &std::path::Path) -> Result<Vec<Column>> {
    let mut image = image::base()?;
    image.add_file(program, "/bench")?;
    let archive = image.to_cpio();
    let machine = |kind: Kind| -> Result<Place> {
        kind.prepare()?;
        let boot = Boot {
            archive: archive.clone(),
            command_line: "link quiet".into(),
            memory: 256 << 20,
            show_console: false,
        };
        Ok(Place::Machine(Box::new(Running::start(kind, boot, Duration::from_secs(60))?)))
    };
    Ok(vec![
        Column { name: "native", place: Place::Native, scale: 1.0 },
        Column { name: "Chromium", place: machine(Kind::Browser)?, scale: 0.5 },
        Column { name: "Node", place: machine(Kind::Node)?, scale: 0.5 },
        Column { name: "interpreter", place: machine(Kind::Hosted)?, scale: 0.05 },
        Column { name: "qemu-x86_64", place: Place::Qemu(setup::qemu_user()?), scale: 0.2 },
    ])
}

impl Column {
    fn run(&self, program: &std::path::Path, test: &str) -> Result<Said> {
        let scale = self.scale.to_string();
        let out = match &self.place {
            Place::Native => Command::new(program).args(["-s", &scale, test]).output()?.stdout,
            Place::Qemu(qemu) => Command::new(qemu).arg(program).args(["-s", &scale, test]).output()?.stdout,
            Place::Machine(running) => {
                let argv = ["/bench", "-s", &scale, test].map(|w| w.as_bytes().to_vec()).to_vec();
                let spawn = Spawn { argv, env: link::environment(None), ..Default::default() };
                running.client.output(&spawn, b"", LIMIT)?.stdout
            }
        };
        let text = String::from_utf8_lossy(&out).into_owned();
        parse(&text).with_context(|| format!("{test} in {} said: {text}", self.name))
    }
}

fn parse(text: &str) -> Option<Said> {
    let line = text.lines().find(|l| l.starts_with("BENCH "))?;
    let field = |name: &str| line.split_whitespace().find_map(|w| w.strip_prefix(name));
    Some(Said { rate: field("rate=")?.parse().ok()?, check: field("check=")?.to_owned() })
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn report(names: &[String], columns: &[Column], rates: &BTreeMap<(usize, usize), Vec<f64>>) -> Result<String> {
    let mut text = String::from(
        "# Processor-bound programs\n\nWritten by `aurora bench cpu`: slowdown against native (bigger is slower), the \
         median of the rounds; in brackets the machine's first, cold pass.\n\n",
    );
    for line in versions() {
        writeln!(text, "- {line}")?;
    }
    write!(text, "\n| test | native /s |")?;
    columns[1..].iter().try_for_each(|c| write!(text, " {} |", c.name))?;
    writeln!(text, "\n|---|---|{}", "---|".repeat(columns.len() - 1))?;
    let mut sums = vec![(0.0, 0.0); columns.len()];
    for (row, name) in names.iter().enumerate() {
        let of = |at: usize| rates.get(&(row, at)).map_or(&[][..], |r| r);
        let native = median(of(0));
        write!(text, "| {name} | {} |", short(native))?;
        for (at, sum) in sums.iter_mut().enumerate().skip(1) {
            let (warm, cold) = (native / median(of(at)), native / of(at).first().copied().unwrap_or(f64::NAN));
            *sum = (sum.0 + warm.ln(), sum.1 + cold.ln());
            write!(text, " {warm:.1} ({cold:.1}) |")?;
        }
        writeln!(text)?;
    }
    write!(text, "| **geometric mean** | |")?;
    for (warm, cold) in &sums[1..] {
        let mean = |sum: f64| (sum / names.len() as f64).exp();
        write!(text, " **{:.1}** ({:.1}) |", mean(*warm), mean(*cold))?;
    }
    writeln!(text)?;
    Ok(text)
}

fn short(rate: f64) -> String {
    match rate {
        r if r >= 1e6 => format!("{:.0} M", r / 1e6),
        r if r >= 1e3 => format!("{:.0} k", r / 1e3),
        r => format!("{r:.0}"),
    }
}

/// The date, and what took part.
fn versions() -> Vec<String> {
    let said = |program: &str, argument: &str| {
        let out = Command::new(program).arg(argument).output().ok()?;
        String::from_utf8_lossy(&out.stdout).lines().next().map(str::to_owned)
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
        said("gcc", "--version").map(|v| format!("{v}, -O2 -static")),
    ]
    .into_iter()
    .flatten()
    .collect()
}
