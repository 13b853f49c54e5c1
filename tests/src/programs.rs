//! The test programs in other languages than the shell's: built once, under `target/`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, ensure};
use aurora_cli::{project, setup};

/// Builds them; returns the name and place of each.
pub fn build() -> Result<&'static [(&'static str, PathBuf)]> {
    static BUILT: OnceLock<Vec<(&'static str, PathBuf)>> = OnceLock::new();
    if let Some(built) = BUILT.get() {
        return Ok(built);
    }
    let _lock = project::lock("programs")?;
    // Another thread may have built them while we waited, and runs them now.
    if let Some(built) = BUILT.get() {
        return Ok(built);
    }
    let made = project::made("programs")?;
    let source = project::root().join("tests/programs");
    let (threads, musl, hot) = (made.join("threads"), made.join("musl"), made.join("hot"));
    let mut rustc = Command::new("rustc");
    rustc.current_dir(project::root()).args(["--edition", "2024", "-O", "-Cstrip=debuginfo"]);
    rustc.args(["-Ctarget-feature=+crt-static", "-o"]).arg(&threads).arg(source.join("threads.rs"));
    compile(rustc)?;
    let mut gcc = Command::new(setup::musl_gcc()?);
    gcc.args(["-std=gnu11", "-O2", "-Wall", "-Wno-unused-result", "-static", "-o"]).arg(&musl);
    gcc.args(files(&source.join("musl"), "c")?);
    compile(gcc)?;
    let (gate, greeting) = (made.join("gate"), made.join("greeting"));
    let mut gcc = Command::new(setup::musl_gcc()?);
    gcc.args(["-std=gnu11", "-O2", "-Wall", "-static", "-o"]).arg(&gate).arg(source.join("gate.c"));
    compile(gcc)?;
    let mut gcc = Command::new(setup::musl_gcc()?);
    gcc.args(["-nostdlib", "-static", "-o"]).arg(&greeting).arg(source.join("gate.s"));
    compile(gcc)?;
    let stress = made.join("stress");
    let mut gcc = Command::new(setup::musl_gcc()?);
    gcc.args(["-std=gnu11", "-O2", "-Wall", "-Wextra", "-static", "-o"]).arg(&stress);
    compile({
        gcc.arg(source.join("stress/stress.c"));
        gcc
    })?;
    let trees = made.join("trees");
    let mut gcc = Command::new(setup::musl_gcc()?);
    gcc.args(["-std=gnu11", "-O2", "-Wall", "-Wextra", "-static", "-o"]).arg(&trees).arg(source.join("trees.c"));
    compile(gcc)?;
    // Stacks of its own are what musl has no calls for.
    let mut gcc = Command::new(setup::program(&["gcc"], "gcc")?);
    gcc.args(["-std=gnu11", "-O2", "-Wall", "-static", "-o"]).arg(&hot).arg(source.join("hot.c"));
    compile(gcc)?;
    let (plugin, dynamic) = (made.join("plugin.so"), made.join("dynamic"));
    let folder = source.join("dynamic");
    for (arguments, program, source) in
        [(["-shared", "-fPIC"], &plugin, "plugin.c"), (["-rdynamic", "-fPIE"], &dynamic, "main.c")]
    {
        let mut gcc = Command::new(setup::musl_gcc()?);
        gcc.args(["-std=gnu11", "-O2", "-Wall", "-Wextra"]).args(arguments).arg("-o").arg(program);
        compile({
            gcc.arg(folder.join(source));
            gcc
        })?;
    }
    let calls = calls(&source.join("calls"), &made)?;
    let screen = screen(&source.join("screen"))?;
    let all = [
        ("threads", threads),
        ("musl", musl),
        ("stress", stress),
        ("trees", trees),
        ("gate", gate),
        ("greeting", greeting),
        ("hot", hot),
        ("plugin.so", plugin),
        ("dynamic", dynamic),
        ("calls", calls),
        ("screen", screen),
    ];
    Ok(BUILT.get_or_init(|| all.into()))
}

/// What gdb looks at, once with and once without the C library in it, with its symbols; the name and place of each.
pub fn debuggees() -> Result<[(&'static str, PathBuf); 2]> {
    let _lock = project::lock("programs")?;
    let made = project::made("programs")?;
    let gcc = setup::program(&["gcc"], "gcc")?;
    let made = [("debuggee-static", "-static"), ("debuggee", "-pie")].map(|(name, how)| (name, how, made.join(name)));
    for (_, how, program) in &made {
        let mut gcc = Command::new(&gcc);
        // From its folder, so that no other path is in it.
        gcc.current_dir(project::root().join("tests/programs/debuggee"));
        gcc.args(["-std=gnu11", "-O1", "-g", "-fno-omit-frame-pointer", "-Wall", "-Wextra", "-pthread", how, "-o"]);
        compile({
            gcc.arg(program).args(["-ffile-prefix-map=.=.", "debuggee.c"]);
            gcc
        })?;
    }
    Ok(made.map(|(name, _, program)| (name, program)))
}

/// The one that uses crates: a workspace of its own, because it is linked statically.
fn screen(folder: &Path) -> Result<PathBuf> {
    const TARGET: &str = "x86_64-unknown-linux-gnu";
    let made = project::made("screen")?;
    let mut cargo = Command::new("cargo");
    cargo.current_dir(folder).env("CARGO_TARGET_DIR", &made).env("RUSTFLAGS", "-Ctarget-feature=+crt-static");
    cargo.args(["build", "--release", "--locked", "--quiet", "--target", TARGET]);
    cargo.env_remove("CARGO_ENCODED_RUSTFLAGS");
    compile(cargo)?;
    Ok(made.join(TARGET).join("release/screen"))
}

/// The conformance table. Its files are compiled one by one, and only when they or a header are newer than what they were
/// made into.
fn calls(folder: &Path, made: &Path) -> Result<PathBuf> {
    let gcc = setup::program(&["gcc"], "gcc")?;
    let headers = files(folder, "h")?;
    let program = made.join("calls");
    let mut objects = Vec::new();
    for source in files(folder, "c")? {
        let object = made.join(source.with_extension("o").file_name().context("a source has a name")?);
        if !is_newer(&object, &headers) || !is_newer(&object, &[&source]) {
            let mut gcc = Command::new(&gcc);
            gcc.args([
                "-std=gnu11",
                "-O1",
                "-Wall",
                "-Wextra",
                "-Wno-unused-result",
                "-Wno-nonnull",
                "-pthread",
                "-c",
                "-o",
            ]);
            compile({
                gcc.arg(&object).arg(&source);
                gcc
            })?;
        }
        objects.push(object);
    }
    if !is_newer(&program, &objects) {
        let mut gcc = Command::new(&gcc);
        gcc.args(["-static", "-pthread", "-o"]).arg(&program).args(&objects);
        compile(gcc)?;
    }
    Ok(program)
}

/// Whether a file is there and was made after all of these.
fn is_newer(made: &Path, from: &[impl AsRef<Path>]) -> bool {
    let time = |path: &Path| path.metadata().and_then(|about| about.modified()).ok();
    let Some(made) = time(made) else { return false };
    from.iter().all(|path| time(path.as_ref()).is_some_and(|from| from < made))
}

/// The files of a folder with this extension, in order.
fn files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut all: Vec<PathBuf> = std::fs::read_dir(folder)?.filter_map(|e| Some(e.ok()?.path())).collect();
    all.retain(|p| p.extension().is_some_and(|e| e == extension));
    all.sort();
    Ok(all)
}

fn compile(mut command: Command) -> Result<()> {
    let out = command.output().with_context(|| format!("cannot run {:?}", command.get_program()))?;
    ensure!(out.status.success(), "{command:?} failed:\n{}", String::from_utf8_lossy(&out.stderr));
    Ok(())
}
