//! Getting what is missing, each thing only when a command needs it: compilers for the two other targets, Debian packages,
//! npm packages.
//!
//! What always holds: nothing is downloaded but from the configured registries, `RUSTUP_AUTO_INSTALL=0` is respected, and
//! without root nothing of the host is changed: the one command to run is printed instead.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::{project, ui};

/// Where a program is, if it is on the path.
pub fn find_program(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    names.iter().find_map(|name| std::env::split_paths(&path).map(|d| d.join(name)).find(|p| p.is_file()))
}

/// What a command says on standard output; `None` when it fails.
pub fn answer(command: &mut Command) -> Option<String> {
    let out = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    out.status.success().then(|| String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

/// Whether things may be installed.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Installs Debian packages.
pub fn install(packages: &[&str]) -> Result<()> {
    let command = format!("apt-get install -y --no-install-recommends {}", packages.join(" "));
    if find_program(&["apt-get"]).is_none() {
        bail!("needed and missing here: {} (the names are Debian's)", packages.join(", "));
    }
    if !is_root() {
        bail!("some things are missing. Please run:\n  sudo {command}");
    }
    let _lock = project::lock("apt")?;
    let apt = |arguments: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive").args(["-qq", "-o", "DPkg::Lock::Timeout=300"]).args(arguments);
        apt
    };
    let install = [&["install", "-y", "--no-install-recommends"], packages].concat();
    let what = format!("installing {}", packages.join(", "));
    // Only a machine whose package lists are missing or old needs the update.
    if ui::run_quietly(&what, &mut apt(&install)).is_ok() {
        return Ok(());
    }
    ui::run_quietly("updating the package lists", &mut apt(&["update"]))?;
    ui::run_quietly(&what, &mut apt(&install)).with_context(|| format!("tried: {command}"))
}

/// A program, from a Debian package if it is missing.
pub fn program(names: &[&str], package: &str) -> Result<PathBuf> {
    if let Some(found) = find_program(names) {
        return Ok(found);
    }
    install(&[package])?;
    find_program(names).with_context(|| format!("{package} is installed, but {} is not on the path", names.join("/")))
}

/// The browser.
pub fn chromium() -> Result<PathBuf> {
    program(&["chromium", "chromium-browser", "google-chrome"], "chromium")
}

/// The PC.
pub fn qemu() -> Result<PathBuf> {
    program(&["qemu-system-x86_64"], "qemu-system-x86")
}

/// The folder of UEFI for QEMU.
pub fn ovmf() -> Result<PathBuf> {
    let folder = PathBuf::from("/usr/share/OVMF");
    if !folder.join("OVMF_CODE_4M.fd").exists() {
        install(&["ovmf"])?;
    }
    Ok(folder)
}

/// Node.
pub fn node() -> Result<PathBuf> {
    program(&["node", "nodejs"], "nodejs")
}

/// QEMU's translator for single programs.
pub fn qemu_user() -> Result<PathBuf> {
    program(&["qemu-x86_64", "qemu-x86_64-static"], "qemu-user")
}

/// A program of e2fsprogs, which Debian keeps where only the superuser's path leads.
pub fn e2fsprogs(name: &str) -> Result<PathBuf> {
    let found = || {
        let system = ["/usr/sbin", "/sbin"].iter().map(|folder| Path::new(folder).join(name)).find(|p| p.is_file());
        find_program(&[name]).or(system)
    };
    if let Some(path) = found() {
        return Ok(path);
    }
    install(&["e2fsprogs"])?;
    found().with_context(|| format!("e2fsprogs is installed, but {name} is not there"))
}

/// A C compiler for static musl programs.
pub fn musl_gcc() -> Result<PathBuf> {
    program(&["musl-gcc"], "musl-tools")
}

/// How to compile for a target other than the host's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compiler {
    /// The Rust in use has the target's library.
    Installed,
    /// Debian's compiler, building the library from its source; links with this program.
    Debian {
        /// The linker's name.
        linker: String,
    },
}

/// The compiler for `target` that is here, if one is.
pub fn present_compiler(target: &str) -> Option<Compiler> {
    if has_target(target) { Some(Compiler::Installed) } else { debian_compiler() }
}

/// Debian's packages of a compiler for any target.
pub const DEBIAN_RUST: [&str; 4] = ["rustc-web", "rust-web-src", "rust-web-llvm", "lld-22"];

/// Finds a compiler for `target`, installing one if need be.
pub fn compiler(target: &str) -> Result<Compiler> {
    if has_target(target) {
        return Ok(Compiler::Installed);
    }
    let may_download = std::env::var_os("RUSTUP_AUTO_INSTALL").is_none_or(|v| v != "0");
    if may_download && find_program(&["rustup"]).is_some() {
        let what = format!("adding {target} to Rust");
        let mut rustup = Command::new("rustup");
        rustup.current_dir(project::root()).args(["target", "add", target]);
        if ui::run_quietly(&what, &mut rustup).is_ok() && has_target(target) {
            return Ok(Compiler::Installed);
        }
    }
    if let Some(debian) = debian_compiler() {
        return Ok(debian);
    }
    install(&DEBIAN_RUST)?;
    debian_compiler().context("Debian's Rust is installed, but its parts are not where they should be")
}

fn has_target(target: &str) -> bool {
    let mut rustc = Command::new("rustc");
    rustc.current_dir(project::root()).args(["--print", "target-libdir", "--target", target]);
    answer(&mut rustc).is_some_and(|dir| fs::read_dir(dir).is_ok_and(|mut d| d.next().is_some()))
}

fn debian_compiler() -> Option<Compiler> {
    let source = Path::new("/usr/lib/rustlib/src/rust/library/core").is_dir();
    let linker = find_program(&["lld-22"])?.file_name()?.to_string_lossy().into_owned();
    (source && Path::new("/usr/bin/rustc").exists()).then_some(Compiler::Debian { linker })
}

/// Whether the npm packages of `web/` are those its lock file names.
pub fn has_npm_packages() -> bool {
    let web = project::root().join("web");
    let wanted = fs::read(web.join("package-lock.json"));
    wanted.is_ok_and(|wanted| fs::read(web.join("node_modules/.aurora-lock")).is_ok_and(|have| have == wanted))
}

/// The npm packages of `web/`.
pub fn npm() -> Result<PathBuf> {
    let web = project::root().join("web");
    let modules = web.join("node_modules");
    let _lock = project::lock("npm")?;
    if has_npm_packages() {
        return Ok(modules);
    }
    let wanted = fs::read(web.join("package-lock.json")).context("cannot read web/package-lock.json")?;
    let mut command = npm_command()?;
    command.current_dir(&web).args(["ci", "--ignore-scripts", "--no-progress", "--loglevel=error"]);
    ui::run_quietly("installing npm packages", &mut command)?;
    fs::write(modules.join(".aurora-lock"), wanted)?;
    Ok(modules)
}

/// npm, trusting the authorities the system trusts, as apt and cargo do: Node brings its own list, and behind a
/// company's proxy that is not enough.
pub fn npm_command() -> Result<Command> {
    const TRUSTED: &str = "/etc/ssl/certs/ca-certificates.crt";
    let mut command = Command::new(program(&["npm"], "npm")?);
    if std::env::var_os("NODE_EXTRA_CA_CERTS").is_none() && Path::new(TRUSTED).exists() {
        command.env("NODE_EXTRA_CA_CERTS", TRUSTED);
    }
    Ok(command)
}
