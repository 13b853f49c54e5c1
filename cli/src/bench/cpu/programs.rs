//! The programs that are measured: how they are built, and how one is told what to do.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::{Said, image, project, setup, ui};
use crate::bench::v86;
use crate::debian;

/// A row of the table.
pub(super) struct Row {
    pub(super) name: String,
    pub(super) work: Work,
    /// It counts in the geometric mean.
    pub(super) counts: bool,
    /// There is a 32-bit build.
    pub(super) has_narrow: bool,
}

/// What a row runs.
pub(super) enum Work {
    /// A test of one of our programs.
    Test(&'static str),
    /// What busybox's shell runs, `$0` being busybox and `$1` how much; and how much all of it is.
    Script(&'static str, f64),
}

const GZIP: &str = "i=0; while [ $i -lt $1 ]; do $0 cat $0; i=$((i+1)); done | $0 gzip -c | $0 md5sum";
const FORK: &str = "i=0; while [ $i -lt $1 ]; do $0 true; i=$((i+1)); done; echo $i";
const SHELL: &str = "i=0; while [ $i -lt $1 ]; do $0 sh -c :; i=$((i+1)); done; echo $i";
/// Programs as people run them: name, script, how much all of it is, whether it counts in the mean.
const SCRIPTS: [(&str, &str, f64, bool); 3] = [
    ("gzip of 32 MiB", GZIP, 17.0, true),
    ("fork and exec, 2,000 times", FORK, 2000.0, false),
    ("busybox sh, 500 times", SHELL, 500.0, false),
];

/// Tests of `bench.c` that measure kernels.
const KERNEL: [&str; 7] = ["getppid", "write1", "pipe", "fork", "exec", "open", "mmap"];

/// Where the programs are on the host. Inside they are in the root, and busybox in `/bin`.
pub(super) struct Programs {
    wide: PathBuf,
    narrow: PathBuf,
}

impl Programs {
    /// Builds them.
    pub(super) fn make() -> Result<Self> {
        let folder = project::made("bench")?;
        let all = Self { wide: folder.join("64"), narrow: folder.join("32") };
        for folder in [&all.wide, &all.narrow] {
            std::fs::create_dir_all(folder)?;
        }
        let gcc = setup::program(&["gcc", "cc"], "gcc")?;
        let lua = debian::whole_package("liblua5.4-dev")?.root.join("usr");
        let includes = [lua.join("include"), lua.join("include/x86_64-linux-gnu")];
        for (name, source) in [("bench", "bench/bench.c"), ("lua", "bench/lua.c")] {
            let mut gcc = Command::new(&gcc);
            gcc.current_dir(project::root()).args(["-O2", "-static", "-o"]).arg(all.wide.join(name)).arg(source);
            for folder in &includes {
                gcc.arg("-I").arg(folder);
            }
            if name == "lua" {
                gcc.arg(lua.join("lib/x86_64-linux-gnu/liblua5.4.a"));
            }
            ui::run_quietly(&format!("compiling {source}"), gcc.arg("-lm"))?;
        }
        std::fs::copy(rust()?, all.wide.join("rust"))?;
        v86::compile(&all.narrow.join("bench"), &["bench/bench.c", "-lm"])?;
        let archive = debian::i386_package("liblua5.4-dev")?.root.join("usr/lib/i386-linux-gnu/liblua5.4.a");
        let [include, multiarch] = includes.map(|folder| format!("-I{}", folder.display()));
        let archive = archive.to_string_lossy();
        v86::compile(&all.narrow.join("lua"), &["bench/lua.c", &include, &multiarch, &archive, "-lm"])?;
        std::fs::copy(v86::busybox()?, all.narrow.join("busybox"))?;
        let root = folder.join("root");
        if root.exists() {
            std::fs::remove_dir_all(&root)?;
        }
        image::base()?.write_to(&root)?;
        std::fs::copy(root.join("bin/busybox"), all.wide.join("busybox"))?;
        Ok(all)
    }

    /// The image Aurora's machines boot.
    pub(super) fn archive(&self) -> Result<Vec<u8>> {
        let mut image = image::base()?;
        for name in ["bench", "lua", "rust"] {
            image.add_file(&self.wide.join(name), &format!("/{name}"))?;
        }
        Ok(image.to_cpio())
    }

    /// What v86 needs of them.
    pub(super) fn narrow_files(&self) -> Vec<(PathBuf, String)> {
        ["bench", "lua"].map(|name| (self.narrow.join(name), format!("/{name}"))).to_vec()
    }

    /// All rows.
    pub(super) fn rows(&self) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        for program in ["bench", "rust", "lua"] {
            let out = Command::new(self.wide.join(program)).arg("list").output().context("cannot run the program")?;
            let has_narrow = self.narrow.join(program).exists();
            let listed = String::from_utf8_lossy(&out.stdout).into_owned();
            rows.extend(listed.lines().filter(|name| !KERNEL.contains(name)).map(|name| Row {
                name: name.to_owned(),
                work: Work::Test(program),
                counts: true,
                has_narrow,
            }));
        }
        rows.extend(SCRIPTS.map(|(name, text, all, counts)| Row {
            name: name.to_owned(),
            work: Work::Script(text, all),
            counts,
            has_narrow: true,
        }));
        Ok(rows)
    }

    /// The command for a row on the host.
    pub(super) fn on_host(&self, row: &Row, scale: f64, narrow: bool) -> Vec<String> {
        let folder = if narrow { &self.narrow } else { &self.wide };
        let text = |path: &Path| path.to_string_lossy().into_owned();
        row.arguments(scale, |program| text(&folder.join(program)), &text(&folder.join("busybox")))
    }

    /// The command for a row inside a machine.
    pub(super) fn inside(row: &Row, scale: f64) -> Vec<String> {
        row.arguments(scale, |program| format!("/{program}"), "/bin/busybox")
    }

    /// What a row says on the host.
    pub(super) fn native(&self, row: &Row, scale: f64, narrow: bool) -> Result<Said> {
        let arguments = self.on_host(row, scale, narrow);
        let start = Instant::now();
        let out = Command::new(&arguments[0]).args(&arguments[1..]).output()?;
        row.parse(scale, &out.stdout, start.elapsed())
    }

    /// Where one of our programs is on the host.
    pub(super) fn path(&self, program: &str) -> String {
        self.wide.join(program).to_string_lossy().into_owned()
    }
}

impl Row {
    /// Whether most of the work is done by children of the program that is started.
    pub(super) fn has_children(&self) -> bool {
        matches!(self.work, Work::Script(..))
    }

    fn arguments(&self, scale: f64, program: impl Fn(&str) -> String, busybox: &str) -> Vec<String> {
        match self.work {
            Work::Test(name) => vec![program(name), "-s".into(), scale.to_string(), self.name.clone()],
            Work::Script(text, all) => {
                let much = much(all, scale).to_string();
                vec![busybox.into(), "sh".into(), "-c".into(), text.into(), busybox.into(), much]
            }
        }
    }

    /// The rate and the result in what a run printed.
    pub(super) fn parse(&self, scale: f64, out: &[u8], took: Duration) -> Result<Said> {
        let said = String::from_utf8_lossy(out).into_owned();
        match self.work {
            Work::Script(_, all) => Some(Said { rate: much(all, scale) / took.as_secs_f64(), check: said.clone() }),
            Work::Test(_) => said.lines().find(|l| l.starts_with("BENCH ")).and_then(|line| {
                let field = |name: &str| line.split_whitespace().find_map(|w| w.strip_prefix(name));
                Some(Said { rate: field("rate=")?.parse().ok()?, check: field("check=")?.to_owned() })
            }),
        }
        .with_context(|| format!("{} said: {said}", self.name))
    }
}

/// How much of a script's work is done.
fn much(all: f64, scale: f64) -> f64 {
    (all * scale).round().max(1.0)
}

/// Builds the programs in Rust, with crates, statically.
fn rust() -> Result<PathBuf> {
    const TARGET: &str = "x86_64-unknown-linux-gnu";
    let made = project::made("bench-rust")?;
    let mut cargo = Command::new("cargo");
    cargo.current_dir(project::root().join("bench/rust")).env("CARGO_TARGET_DIR", &made);
    cargo.env("RUSTFLAGS", "-Ctarget-feature=+crt-static").env_remove("CARGO_ENCODED_RUSTFLAGS");
    cargo.args(["build", "--release", "--locked", "--quiet", "--target", TARGET]);
    ui::run_quietly("compiling bench/rust", &mut cargo)?;
    Ok(made.join(TARGET).join("release/rust"))
}
