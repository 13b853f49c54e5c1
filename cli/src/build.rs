//! Building what is not part of the workspace: the WebAssembly and the bare-metal machine, and the page's files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::setup::{self, Compiler};
use crate::{image, project, ui};

/// A machine that is a workspace of its own: its target and flags are in its `.cargo/config.toml`.
struct Target {
    name: &'static str,
    folder: &'static str,
    product: &'static str,
}

const WASM: Target = Target { name: "wasm32-unknown-unknown", folder: "machines/wasm", product: "aurora_wasm.wasm" };
const METAL: Target = Target { name: "x86_64-unknown-none", folder: "machines/metal", product: "aurora-metal" };

const ENGINE: Target = Target { name: "wasm32-unknown-unknown", folder: "tests/engine", product: "aurora_engine.wasm" };

/// BPE/U alone for WebAssembly engines, as a test of its translator uses it.
pub fn engine() -> Result<PathBuf> {
    build(&ENGINE)
}

/// The kernel for WebAssembly engines.
pub fn wasm() -> Result<PathBuf> {
    build(&WASM)
}

/// The kernel for bare x86-64.
pub fn metal() -> Result<PathBuf> {
    build(&METAL)
}

fn build(target: &Target) -> Result<PathBuf> {
    let compiler = setup::compiler(target.name)?;
    let _lock = project::lock(target.name)?;
    let made = project::made(target.name)?;
    let mut cargo = cargo();
    cargo.current_dir(project::root().join(target.folder)).env("CARGO_TARGET_DIR", &made);
    cargo.args(["build", "--release"]);
    if let Compiler::Debian { linker } = compiler {
        // The only way a stable compiler builds its own library.
        cargo.env("RUSTC_BOOTSTRAP", "1").env("RUSTC", "/usr/bin/rustc");
        let variable = target.name.to_uppercase().replace('-', "_");
        cargo.env(format!("CARGO_TARGET_{variable}_LINKER"), linker);
    }
    ui::run_quietly(&format!("building {}", target.folder), &mut cargo)?;
    Ok(made.join(target.name).join("release").join(target.product))
}

/// Cargo, without the settings it was itself called with: they are for another target.
fn cargo() -> Command {
    let mut cargo = Command::new("cargo");
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET", "RUSTC", "RUSTC_WRAPPER"] {
        cargo.env_remove(name);
    }
    cargo
}

/// The page's files, in a folder a server can serve as it is.
pub fn page() -> Result<PathBuf> {
    let wasm = wasm()?;
    let modules = setup::npm()?;
    let _lock = project::lock("page")?;
    let folder = project::made("page")?;
    let source = project::root().join("web/src");
    for entry in fs::read_dir(&source)? {
        let path = entry?.path();
        place(&path, &folder)?;
    }
    let vendor = project::made("page/vendor")?;
    for file in ["xterm/lib/xterm.mjs", "xterm/css/xterm.css", "addon-fit/lib/addon-fit.mjs"] {
        place(&modules.join("@xterm").join(file), &vendor)?;
    }
    let module = fs::read(&wasm)?;
    put(&folder.join("aurora.wasm"), &module)?;
    let archive = image::base()?.to_cpio();
    // Compressed for the kernel, so the server sends it as it is.
    let target = folder.join("image.cpio.gz");
    let stamp = folder.join(".image");
    let sum = image::sha256(&archive);
    if !target.exists() || fs::read_to_string(&stamp).is_ok_and(|s| s != sum) || !stamp.exists() {
        project::write_whole(&target, &image::gzip(&archive)?)?;
        project::write_whole(&stamp, sum.as_bytes())?;
    }
    Ok(folder)
}

fn place(file: &Path, folder: &Path) -> Result<()> {
    let name = file.file_name().context("a file has a name")?;
    put(&folder.join(name), &fs::read(file).with_context(|| format!("cannot read {}", file.display()))?)
}

/// Writes a file of the page, with its compressed form beside it, unless it is there already.
fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|have| have == bytes) {
        return Ok(());
    }
    let mut compressed = path.as_os_str().to_owned();
    compressed.push(".gz");
    project::write_whole(Path::new(&compressed), &image::gzip(bytes)?)?;
    project::write_whole(path, bytes)
}
