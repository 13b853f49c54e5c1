//! `aurora doctor`: what is here, what is missing, what for, and how to get it.

use std::io::IsTerminal as _;
use std::process::Command;

use anyhow::Result;
use serde::Serialize;

use crate::setup::{self, Compiler};
use crate::{debian, image, project};

/// One thing commands need.
#[derive(Serialize)]
struct Check {
    name: String,
    /// What needs it.
    purpose: &'static str,
    /// Where it is or which it is; nothing if it is missing.
    found: Option<String>,
    /// How to get it, if it is missing.
    remedy: Option<String>,
}

#[derive(Serialize)]
struct Report {
    /// Whether `aurora` may install what is missing by itself.
    installs_by_itself: bool,
    checks: Vec<Check>,
    /// What the image holds from Debian: package, version, file, checksum.
    packages: Vec<String>,
}

/// Programs, by the names they may have: what for, and the Debian package.
const PROGRAMS: [(&[&str], &str, &str); 8] = [
    (&["cargo"], "everything", "cargo"),
    (&["node", "nodejs"], "run --machine node, the page's and the package's tests", "nodejs"),
    (&["npm"], "the page's terminal, the package aurora-os", "npm"),
    (&["chromium", "chromium-browser", "google-chrome"], "run --machine browser, the page's tests", "chromium"),
    (&["qemu-system-x86_64"], "run --machine qemu", "qemu-system-x86"),
    (&["musl-gcc"], "tests written in C", "musl-tools"),
    (&["dpkg-deb"], "images with files of Debian packages", "dpkg"),
    (&["setpriv"], "ending machines even if aurora is killed", "util-linux"),
];

/// Says what each command would use. Returns whether nothing is missing.
pub fn doctor(json: bool) -> Result<bool> {
    let mut checks: Vec<Check> =
        PROGRAMS.iter().map(|(names, purpose, package)| program(names, purpose, package)).collect();
    checks.push(compiler("Rust for WebAssembly", "wasm32-unknown-unknown", "the page, run --machine node and browser"));
    checks.push(compiler("Rust for bare metal", "x86_64-unknown-none", "run --machine qemu"));
    checks.push(Check {
        name: "npm packages".to_owned(),
        purpose: "the page's terminal, the package aurora-os",
        found: setup::has_npm_packages().then(|| "as web/package-lock.json has them".to_owned()),
        remedy: Some("the first command that needs them gets them".to_owned()),
    });
    let mut packages = Vec::new();
    for (name, files) in image::packages_named(&project::root().join("image/base.list"))? {
        checks.push(debian_package(name, &files, &mut packages)?);
    }
    for check in &mut checks {
        if check.found.is_some() {
            check.remedy = None;
        }
    }
    let report = Report { installs_by_itself: setup::is_root(), checks, packages };
    if json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        show(&report);
    }
    Ok(report.checks.iter().all(|check| check.found.is_some()))
}

fn program(names: &[&'static str], purpose: &'static str, package: &str) -> Check {
    let path = setup::find_program(names);
    let version = path.as_ref().and_then(|path| {
        let said = setup::answer(Command::new(path).arg("--version"))?;
        Some(said.lines().next()?.to_owned())
    });
    let found = path.map(|path| match version {
        Some(version) if !version.is_empty() => format!("{} ({version})", path.display()),
        _ => path.display().to_string(),
    });
    Check { name: names[0].to_owned(), purpose, found, remedy: Some(install(&[package])) }
}

/// A package of the image. What is here of it is told in `records`, as the image tells it.
fn debian_package(name: String, files: &[String], records: &mut Vec<String>) -> Result<Check> {
    let package = debian::present_package(&name)?;
    if let Some(package) = &package {
        for file in files {
            records.push(image::record(package, file, &package.read(file)?));
        }
    }
    let remedy =
        Some(format!("apt-get download {name}, which any user may, is done by the first command that needs it"));
    Ok(Check { found: package.map(|p| format!("version {}", p.version)), name, purpose: "the image", remedy })
}

fn compiler(name: &'static str, target: &str, purpose: &'static str) -> Check {
    let found = setup::present_compiler(target).map(|compiler| match compiler {
        Compiler::Installed => format!("the target {target}"),
        Compiler::Debian { linker } => format!("Debian's /usr/bin/rustc, building its library; links with {linker}"),
    });
    let may_download = std::env::var_os("RUSTUP_AUTO_INSTALL").is_none_or(|v| v != "0");
    let remedy = if may_download && setup::find_program(&["rustup"]).is_some() {
        format!("rustup target add {target}")
    } else {
        install(&setup::DEBIAN_RUST)
    };
    Check { name: name.to_owned(), purpose, found, remedy: Some(remedy) }
}

fn install(packages: &[&str]) -> String {
    format!("apt-get install --no-install-recommends {}", packages.join(" "))
}

fn show(report: &Report) {
    let colours = std::io::stdout().is_terminal();
    let paint = |code: &str, text: &str| if colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() };
    for Check { name, purpose, found, remedy } in &report.checks {
        match found {
            Some(found) => println!("{} {name:<22} {found}", paint("32", "✓")),
            None => {
                println!("{} {name:<22} missing; for {purpose}", paint("31", "✗"));
                if let Some(remedy) = remedy {
                    println!("  {:<22} {remedy}", "");
                }
            }
        }
    }
    let missing = report.checks.iter().filter(|check| check.found.is_none()).count();
    println!();
    match (missing, report.installs_by_itself) {
        (0, _) => println!("Nothing is missing."),
        (_, true) => println!("What is missing is installed by the first command that needs it."),
        (_, false) => println!("Without root nothing is installed: the lines above say what to run."),
    }
    for package in &report.packages {
        println!("in the image: {package}");
    }
}
