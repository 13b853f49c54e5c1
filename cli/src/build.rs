//! Building what is not part of the workspace: the WebAssembly and the bare-metal machine, and the page's files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::setup::{self, Compiler};
use crate::{image, project, symbols, ui};

/// A machine that is a workspace of its own: its target and flags are in its `.cargo/config.toml`.
struct Target {
    name: &'static str,
    folder: &'static str,
    /// What is built, in Cargo's folder for it.
    product: &'static str,
    /// Where Cargo builds, under `target/aurora`.
    made: &'static str,
}

const WASM: Target = Target {
    name: "wasm32-unknown-unknown",
    folder: "machines/wasm",
    product: "aurora_wasm.wasm",
    made: "wasm32-unknown-unknown",
};
const METAL: Target = Target {
    name: "x86_64-unknown-none",
    folder: "machines/metal",
    product: "aurora-metal",
    made: "x86_64-unknown-none",
};
/// Our own programs: static, with musl.
const USER: Target = Target { name: "x86_64-unknown-linux-musl", folder: "user", product: "", made: "user" };

/// In the folder of `WASM`, whose libraries it shares.
const ENGINE: Target = Target {
    name: "wasm32-unknown-unknown",
    folder: "bpe/engine",
    product: "aurora_engine.wasm",
    made: "wasm32-unknown-unknown",
};

/// BPE/U alone for WebAssembly engines, as a test of its translator uses it.
pub fn engine() -> Result<PathBuf> {
    build(&ENGINE)
}

/// The kernel for WebAssembly engines.
pub fn wasm() -> Result<PathBuf> {
    build(&WASM)
}

/// The kernel for bare x86-64, with the names of its functions in it.
pub fn metal() -> Result<PathBuf> {
    let linked = build(&METAL)?;
    let _lock = project::lock(METAL.made)?;
    let named = linked.with_extension("elf");
    let time = |path: &Path| fs::metadata(path).and_then(|about| about.modified()).ok();
    if time(&named).is_none_or(|made| time(&linked).is_none_or(|changed| changed > made)) {
        project::write_whole(&named, &symbols::add_names(fs::read(&linked)?)?)?;
    }
    Ok(named)
}

/// The folder with our own programs.
pub fn user() -> Result<PathBuf> {
    setup::musl_gcc()?;
    build(&USER)
}

fn build(target: &Target) -> Result<PathBuf> {
    let compiler = setup::compiler(target.name)?;
    let _lock = project::lock(target.made)?;
    let made = project::made(target.made)?;
    let mut cargo = cargo();
    cargo.current_dir(project::root().join(target.folder)).env("CARGO_TARGET_DIR", &made);
    cargo.args(["build", "--release"]);
    // Where something stands in the source is said as it is in the repository, wherever that is. Added to the flags in
    // the workspace's own settings.
    let remap = format!("--remap-path-prefix={}/=", fs::canonicalize(project::root())?.display());
    cargo.arg("--config").arg(format!("target.{}.rustflags=[{remap:?}]", target.name));
    if let Compiler::Debian { linker } = compiler {
        // The only way a stable compiler builds its own library.
        cargo.env("RUSTC_BOOTSTRAP", "1").env("RUSTC", "/usr/bin/rustc");
        if target.name == USER.name {
            // Linked by the C compiler its settings name.
            return finish(target, &made, &mut cargo);
        }
        let variable = target.name.to_uppercase().replace('-', "_");
        cargo.env(format!("CARGO_TARGET_{variable}_LINKER"), linker);
    }
    finish(target, &made, &mut cargo)
}

fn finish(target: &Target, made: &Path, cargo: &mut Command) -> Result<PathBuf> {
    ui::run_quietly(&format!("building {}", target.folder), cargo)?;
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
    remove_strangers(&folder)?;
    place_all(&project::root().join("web/page"), &folder)?;
    let vendor = project::made("page/vendor")?;
    for file in ["xterm/lib/xterm.mjs", "xterm/css/xterm.css", "addon-fit/lib/addon-fit.mjs"] {
        place(&modules.join("@xterm").join(file), &vendor)?;
    }
    let library = project::made("page/aurora-os")?;
    place_all(&project::root().join("web/src"), &library)?;
    put(&library.join("aurora.wasm"), &fs::read(&wasm)?)?;
    put(&library.join(REHEARSAL), &rehearsal()?)?;
    let base = image::base()?;
    let archive = base.to_cpio();
    // Compressed for the kernel and the worker, so the server sends them as they are.
    let (target, disk) = (folder.join("image.cpio.gz"), folder.join(BASE_SCRIPT));
    let stamp = folder.join(".image");
    let sum = image::sha256(&archive);
    if !target.exists() || !disk.exists() || fs::read_to_string(&stamp).is_ok_and(|s| s != sum) || !stamp.exists() {
        project::write_whole(&target, &image::gzip(&archive)?)?;
        page_disk(&base, &folder)?;
        project::write_whole(&stamp, sum.as_bytes())?;
    }
    Ok(folder)
}

/// Beside the kernel: the archive of what it rehearses.
const REHEARSAL: &str = "rehearsal.cpio";

fn rehearsal() -> Result<Vec<u8>> {
    Ok(image::rehearsal()?.to_cpio())
}

/// Bytes of a new disk of the page's.
const PAGE_DISK: u64 = 512 << 20;

/// Where the page has the key of what its disk begins as.
pub const BASE_SCRIPT: &str = "base.js";

/// What [`BASE_SCRIPT`] says.
pub fn base_script(key: &str) -> Vec<u8> {
    format!("// Written by the build: who signed what a new disk begins as.\nexport const KEY = \"{key}\";\n")
        .into_bytes()
}

/// What a new disk of the page's holds, the base image's tree: published in `disk/`, and packed in one piece. Pieces of
/// what was published before stay: disks that were made of it may not have them all yet.
fn page_disk(tree: &image::Image, folder: &Path) -> Result<()> {
    let made = project::made("disk")?;
    let plain = made.join("page.img");
    let mut disk = image::disk::DiskImage::create(&plain, PAGE_DISK, "aurora")?;
    disk.add(tree)?;
    disk.finish()?;
    let published = image::publish::publish(&plain, &folder.join("disk"), &made.join("page.key"))?;
    let target = folder.join("disk.img.gz");
    let part = target.with_extension("part");
    let mut packer = GzEncoder::new(fs::File::create(&part)?, Compression::default());
    std::io::copy(&mut fs::File::open(&plain)?, &mut packer)?;
    packer.finish()?;
    fs::rename(&part, &target).with_context(|| format!("cannot make {}", target.display()))?;
    // Last: it is there if all of it is.
    put(&folder.join(BASE_SCRIPT), &base_script(&published.key))
}

/// The npm package `aurora-os`: its archive, and nothing in it that is not ours. The kernel is in it, no image is.
pub fn package() -> Result<PathBuf> {
    let wasm = wasm()?;
    let modules = setup::npm()?;
    let _lock = project::lock("package")?;
    let (web, root) = (project::root().join("web"), project::root());
    let folder = project::made("package")?.join("aurora-os");
    // What a file of an earlier build left would be packed.
    let _ = fs::remove_dir_all(&folder);
    let source = project::made("package/aurora-os/src")?;
    for file in scripts(&web.join("src"))? {
        copy(&file, &source)?;
    }
    fs::copy(&wasm, source.join("aurora.wasm"))?;
    fs::write(source.join(REHEARSAL), rehearsal()?)?;
    for file in [web.join("package.json"), web.join("README.md"), root.join("LICENSE-MIT"), root.join("LICENSE-APACHE")]
    {
        copy(&file, &folder)?;
    }
    let mut tsc = Command::new(setup::node()?);
    tsc.arg(modules.join("typescript/bin/tsc")).arg("-p").arg(&web).arg("--outDir").arg(folder.join("types"));
    ui::run_quietly("checking types", &mut tsc)?;
    let mut pack = setup::npm_command()?;
    pack.current_dir(&folder).args(["pack", "--silent", "--ignore-scripts", "--pack-destination", ".."]);
    ui::run_quietly("packing aurora-os", &mut pack)?;
    Ok(fs::canonicalize(project::made("package")?)?.join(format!("aurora-os-{}.tgz", env!("CARGO_PKG_VERSION"))))
}

/// Removes what an earlier page had and this one has not: it would be served as well.
fn remove_strangers(folder: &Path) -> Result<()> {
    let own = ["vendor", "aurora-os", "image.cpio.gz", "disk", "disk.img.gz", BASE_SCRIPT, "base.js.gz", ".image"];
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let source = project::root().join("web/page").join(name.strip_suffix(".gz").unwrap_or(&name));
        if !own.contains(&name.as_str()) && !source.exists() {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

fn copy(file: &Path, folder: &Path) -> Result<()> {
    let name = file.file_name().context("a file has a name")?;
    fs::copy(file, folder.join(name)).with_context(|| format!("cannot copy {}", file.display()))?;
    Ok(())
}

/// The files of a folder that run as they are; types are made of the others.
fn scripts(folder: &Path) -> Result<Vec<PathBuf>> {
    let list = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let files: Vec<PathBuf> = list.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    Ok(files.into_iter().filter(|f| f.extension().is_some_and(|e| e != "ts")).collect())
}

fn place_all(from: &Path, folder: &Path) -> Result<()> {
    scripts(from)?.iter().try_for_each(|file| place(file, folder))
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
