//! `aurora bench cpu`: the same static program on the host, in Aurora's machines and in QEMU.
//!
//! What always holds: columns take turns, a test at a time, so that whatever else the host does hits all of them; the
//! median of the rounds counts; and every column must come to the same result.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

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
    Qemu(PathBuf),
}

struct Column {
    name: &'static str,
    place: Place,
    /// How much of a test's work is done: slow columns would take for ever.
    scale: f64,
}

/// A row of the table.
struct Row {
    name: String,
    /// What busybox's shell runs, `$0` being busybox and `$1` how much; otherwise it is a test of `bench.c`.
    script: Option<Script>,
}

struct Script {
    text: &'static str,
    /// How much all of it is.
    all: f64,
}

impl Script {
    fn much(&self, scale: f64) -> f64 {
        (self.all * scale).round().max(1.0)
    }
}

/// Programs as people run them. Their children are the host's own in QEMU's user mode, so it has no figure.
const SCRIPTS: [(&str, Script); 2] = [
    (
        "gzip of 32 MiB",
        Script { text: "i=0; while [ $i -lt $1 ]; do $0 cat $0; i=$((i+1)); done | $0 gzip -c | $0 md5sum", all: 17.0 },
    ),
    (
        "fork and exec, 2,000 times",
        Script { text: "i=0; while [ $i -lt $1 ]; do $0 true; i=$((i+1)); done; echo $i", all: 2000.0 },
    ),
];

/// The program with the tests, and busybox: the same files in all columns.
struct Programs {
    bench: PathBuf,
    busybox: PathBuf,
}

/// What a test said.
#[derive(Clone, Debug)]
struct Said {
    rate: f64,
    check: String,
}

/// Measures and writes the report.
pub fn run() -> Result<()> {
    let mut image = image::base()?;
    let root = project::made("bench")?.join("root");
    if root.exists() {
        std::fs::remove_dir_all(&root)?;
    }
    image.write_to(&root)?;
    let programs = Programs { bench: compile()?, busybox: root.join("bin/busybox") };
    image.add_file(&programs.bench, "/bench")?;
    let rows = rows(&programs.bench)?;
    let columns = columns(&image.to_cpio())?;
    // Figures by test and column.
    let mut rates: BTreeMap<(usize, usize), Vec<f64>> = BTreeMap::new();
    for round in 0..ROUNDS {
        for (at_row, row) in rows.iter().enumerate() {
            for (at, column) in columns.iter().enumerate().filter(|(_, c)| c.runs(row)) {
                let said = column.run(&programs, row)?;
                // Less work has another result.
                if round == 0 {
                    let native = Column { name: "native", place: Place::Native, scale: column.scale };
                    let expected = native.run(&programs, row)?.check;
                    ensure!(said.check == expected, "{} is wrong in {}", row.name, column.name);
                }
                rates.entry((at_row, at)).or_default().push(said.rate);
            }
        }
        ui::say(&format!("round {} of {ROUNDS}", round + 1));
    }
    let report = report(&rows, &columns, &rates)?;
    let path = project::root().join("bench/RESULTS.md");
    project::write_whole(&path, report.as_bytes())?;
    print!("{report}");
    Ok(())
}

fn compile() -> Result<PathBuf> {
    let program = project::made("bench")?.join("bench");
    let source = project::root().join("bench/bench.c");
    let mut gcc = Command::new(setup::program(&["gcc", "cc"], "gcc")?);
    gcc.args(["-O2", "-static", "-o"]).arg(&program).arg(&source).arg("-lm");
    ui::run_quietly("compiling bench/bench.c", &mut gcc)?;
    Ok(program)
}

fn rows(program: &Path) -> Result<Vec<Row>> {
    let out = Command::new(program).arg("list").output().context("cannot run the program")?;
    const KERNEL: [&str; 7] = ["getppid", "write1", "pipe", "fork", "exec", "open", "mmap"];
    let all = String::from_utf8_lossy(&out.stdout).into_owned();
    let tests = all.lines().filter(|n| !KERNEL.contains(n)).map(|n| Row { name: n.to_owned(), script: None });
    let scripts = SCRIPTS.map(|(name, script)| Row { name: name.to_owned(), script: Some(script) });
    Ok(tests.chain(scripts).collect())
}

fn columns(archive: &[u8]) -> Result<Vec<Column>> {
    let machine = |kind: Kind| -> Result<Place> {
        kind.prepare()?;
        let boot = Boot {
            archive: archive.to_vec(),
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
    fn runs(&self, row: &Row) -> bool {
        row.script.is_none() || !matches!(self.place, Place::Qemu(_))
    }

    fn run(&self, programs: &Programs, row: &Row) -> Result<Said> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let here = matches!(self.place, Place::Machine(_));
        let arguments = match &row.script {
            None => {
                let program = if here { "/bench".into() } else { text(&programs.bench) };
                vec![program, "-s".into(), self.scale.to_string(), row.name.clone()]
            }
            Some(script) => {
                let busybox = if here { "/bin/busybox".into() } else { text(&programs.busybox) };
                let much = script.much(self.scale).to_string();
                vec![busybox.clone(), "sh".into(), "-c".into(), script.text.into(), busybox, much]
            }
        };
        let start = Instant::now();
        let out = self.output(&arguments)?;
        let seconds = start.elapsed().as_secs_f64();
        let said = String::from_utf8_lossy(&out).into_owned();
        match &row.script {
            None => parse(&said),
            Some(script) => Some(Said { rate: script.much(self.scale) / seconds, check: said.clone() }),
        }
        .with_context(|| format!("{} in {} said: {said}", row.name, self.name))
    }

    /// What a program says.
    fn output(&self, arguments: &[String]) -> Result<Vec<u8>> {
        Ok(match &self.place {
            Place::Native => Command::new(&arguments[0]).args(&arguments[1..]).output()?.stdout,
            Place::Qemu(qemu) => Command::new(qemu).args(arguments).output()?.stdout,
            Place::Machine(running) => {
                let argv = arguments.iter().map(|w| w.clone().into_bytes()).collect();
                let spawn = Spawn { argv, env: link::environment(None), ..Default::default() };
                running.client.output(&spawn, b"", LIMIT)?.stdout
            }
        })
    }
}

fn parse(text: &str) -> Option<Said> {
    let line = text.lines().find(|l| l.starts_with("BENCH "))?;
    let field = |name: &str| line.split_whitespace().find_map(|w| w.strip_prefix(name));
    Some(Said { rate: field("rate=")?.parse().ok()?, check: field("check=")?.to_owned() })
}

pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn report(rows: &[Row], columns: &[Column], rates: &BTreeMap<(usize, usize), Vec<f64>>) -> Result<String> {
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
    let (tests, scripts): (Vec<_>, Vec<_>) = rows.iter().enumerate().partition(|(_, row)| row.script.is_none());
    let line = |text: &mut String, sums: &mut [(f64, f64)], row: usize, name: &str| -> Result<()> {
        let of = |at: usize| rates.get(&(row, at)).map_or(&[][..], |r| r);
        let native = median(of(0));
        write!(text, "| {name} | {} |", short(native))?;
        for (at, sum) in sums.iter_mut().enumerate().skip(1) {
            if of(at).is_empty() {
                write!(text, " |")?;
                continue;
            }
            let (warm, cold) = (native / median(of(at)), native / of(at).first().copied().unwrap_or(f64::NAN));
            *sum = (sum.0 + warm.ln(), sum.1 + cold.ln());
            write!(text, " {warm:.1} ({cold:.1}) |")?;
        }
        Ok(writeln!(text)?)
    };
    for (at, row) in &tests {
        line(&mut text, &mut sums, *at, &row.name)?;
    }
    write!(text, "| **geometric mean** | |")?;
    for (warm, cold) in &sums[1..] {
        let mean = |sum: f64| (sum / tests.len() as f64).exp();
        write!(text, " **{:.1}** ({:.1}) |", mean(*warm), mean(*cold))?;
    }
    writeln!(text)?;
    // Programs of many parts, not in the mean.
    for (at, row) in &scripts {
        line(&mut text, &mut sums, *at, &row.name)?;
    }
    Ok(text)
}

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
