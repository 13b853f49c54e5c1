//! Debian's packages: files of installed ones, and whole ones as the archive has them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::setup::{answer, is_root};
use crate::{project, ui};

/// Files of a Debian package.
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Where its files are, in the folders they belong in.
    pub root: PathBuf,
}

impl Package {
    /// One of its files.
    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        let path = self.root.join(path.trim_start_matches('/'));
        fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    /// The licences its copyright file names, each once.
    pub fn licences(&self) -> Vec<String> {
        let path = self.root.join(format!("usr/share/doc/{}/copyright", self.name));
        let text = fs::read_to_string(path).unwrap_or_default();
        let mut all: Vec<String> = Vec::new();
        for licence in text.lines().filter_map(|line| line.strip_prefix("License:")).map(str::trim) {
            if !licence.is_empty() && !all.iter().any(|known| known == licence) {
                all.push(licence.to_owned());
            }
        }
        all
    }
}

/// A Debian package's files: of the installed one, else downloaded and unpacked under `target/`, which needs no root.
pub fn package(name: &str) -> Result<Package> {
    if let Some(package) = present_package(name)? {
        return Ok(package);
    }
    let _lock = project::lock("packages")?;
    let folder = project::made("packages")?.join(name);
    let root = folder.join("root");
    if !root.is_dir() {
        download(name, &folder, &root)?;
    }
    present_package(name)?.with_context(|| format!("apt-get brought no {name}"))
}

/// The same, if nothing has to be downloaded for it.
pub fn present_package(name: &str) -> Result<Option<Package>> {
    let mut query = Command::new("dpkg-query");
    query.args(["-W", "-f", "${db:Status-Abbrev}|${Version}", name]);
    let name = name.to_owned();
    if let Some(version) = answer(&mut query).as_deref().and_then(|a| a.strip_prefix("ii |")) {
        return Ok(Some(Package { name, version: version.to_owned(), root: PathBuf::from("/") }));
    }
    unpacked(name)
}

/// One that was downloaded before.
fn unpacked(name: String) -> Result<Option<Package>> {
    let folder = project::made("packages")?.join(&name);
    let root = folder.join("root");
    if !root.is_dir() {
        return Ok(None);
    }
    Ok(Some(Package { name, version: fs::read_to_string(folder.join("version"))?, root }))
}

/// A whole package as Debian's archive has it, whatever is installed here.
pub fn whole_package(name: &str) -> Result<Package> {
    let _lock = project::lock("packages")?;
    let folder = project::made("packages")?.join(name);
    let root = folder.join("root");
    if !root.is_dir() {
        download(name, &folder, &root)?;
    }
    unpacked(name.to_owned())?.with_context(|| format!("apt-get brought no {name}"))
}

/// A whole package for 32-bit PCs. The host's apt need not know that architecture, and does not learn of it: these lists
/// are our own.
pub fn i386_package(name: &str) -> Result<Package> {
    let _lock = project::lock("packages")?;
    let called = format!("{name}-i386");
    let folder = project::made("packages")?.join(&called);
    let root = folder.join("root");
    if !root.is_dir() {
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)?;
        let bring = || {
            let mut apt = i386("apt-get")?;
            apt.current_dir(&folder).args(["-qq", "download", name]);
            ui::run_quietly(&format!("downloading {name} for i386"), &mut apt)
        };
        if bring().is_err() {
            // It fails if any source has nothing for this architecture; whether all is there shows when it is fetched.
            let _ = ui::run_quietly("making package lists for i386", i386("apt-get")?.args(["-qq", "update"]));
            bring()?;
        }
        unpack(name, &folder, &root)?;
    }
    unpacked(called)?.with_context(|| format!("apt-get brought no {name}"))
}

/// What the package that only names the current version of another, such as a kernel's, depends on first.
pub fn i386_current(name: &str) -> Result<String> {
    let ask = || -> Result<Option<String>> {
        let said = answer(i386("apt-cache")?.args(["depends", name])).unwrap_or_default();
        Ok(said.lines().find_map(|l| Some(l.trim_start().strip_prefix("Depends: ")?.to_owned())))
    };
    if let Some(found) = ask()? {
        return Ok(found);
    }
    let _ = ui::run_quietly("making package lists for i386", i386("apt-get")?.args(["-qq", "update"]));
    ask()?.with_context(|| format!("Debian has no {name} for i386"))
}

/// One of apt's programs with lists of i386's packages.
fn i386(program: &str) -> Result<Command> {
    let folder = project::made("apt-i386")?;
    for part in ["lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(folder.join(part))?;
    }
    let mut apt = Command::new(program);
    for option in ["APT::Architecture=i386", "APT::Architectures=i386", "APT::Sandbox::User=root"] {
        apt.args(["-o", option]);
    }
    for (option, path) in [("Dir::State", ""), ("Dir::State::lists", "lists"), ("Dir::Cache", "cache")] {
        apt.arg("-o").arg(format!("{option}={}", folder.join(path).display()));
    }
    apt.args(["-o", "Dir::State::status=/dev/null"]);
    Ok(apt)
}

/// These packages and all they depend on, each once; without those whose names have a `-` before them, and what only those
/// depend on.
pub fn with_dependencies(names: &[&str]) -> Result<BTreeSet<String>> {
    let (mut left_out, mut all) = (BTreeSet::new(), BTreeSet::new());
    let mut next: BTreeSet<String> = BTreeSet::new();
    for name in names {
        match name.strip_prefix('-') {
            Some(name) => left_out.insert(name.to_owned()),
            None => next.insert((*name).to_owned()),
        };
    }
    while !next.is_empty() {
        let needed = dependencies(&next)?;
        all.append(&mut next);
        next = needed.into_iter().filter(|name| !all.contains(name) && !left_out.contains(name)).collect();
    }
    Ok(all)
}

/// What an empty package is there for: the first it depends on.
pub fn dependency(name: &str) -> Result<String> {
    let mut all = dependencies(&BTreeSet::from([name.to_owned()]))?;
    all.pop_first().with_context(|| format!("{name} depends on nothing"))
}

/// What these packages depend on themselves.
fn dependencies(names: &BTreeSet<String>) -> Result<BTreeSet<String>> {
    let ask = || {
        let mut apt = Command::new("apt-cache");
        apt.args(["-o", "APT::Cache::ShowOnlyFirstOr=true", "depends", "--important"]).args(names);
        answer(&mut apt)
    };
    let said = match ask() {
        Some(said) => said,
        None => {
            ensure!(is_root(), "Debian's package lists are missing. Please run:\n  sudo apt-get update");
            ui::run_quietly("updating the package lists", Command::new("apt-get").args(["-qq", "update"]))?;
            ask().with_context(|| format!("Debian has not all of these: {names:?}"))?
        }
    };
    let depends = |line: &str| Some(line.trim_start().split_once("Depends: ")?.1.to_owned());
    // What is in angle brackets is no package but what some provide; what has a colon is for another processor.
    Ok(said.lines().filter_map(depends).filter(|name| !name.contains(['<', ':'])).collect())
}

fn download(name: &str, folder: &Path, root: &Path) -> Result<()> {
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder)?;
    // The download runs as this user, in a folder apt's own user may not write to.
    let download = || {
        let mut apt = Command::new("apt-get");
        apt.current_dir(folder).args(["-qq", "-o", "APT::Sandbox::User=root", "download", name]);
        ui::run_quietly(&format!("downloading {name}"), &mut apt)
    };
    if download().is_err() {
        if !is_root() {
            bail!("Debian's package {name} is missing. Please run:\n  sudo apt-get install {name}");
        }
        ui::run_quietly("updating the package lists", Command::new("apt-get").args(["-qq", "update"]))?;
        download()?;
    }
    unpack(name, folder, root)
}

/// Unpacks the archive in `folder`.
fn unpack(name: &str, folder: &Path, root: &Path) -> Result<()> {
    let deb = fs::read_dir(folder)?
        .filter_map(|e| Some(e.ok()?.path()))
        .find(|p| p.extension().is_some_and(|e| e == "deb"))
        .with_context(|| format!("apt-get brought no {name}"))?;
    let mut field = Command::new("dpkg-deb");
    field.arg("-f").arg(&deb).arg("Version");
    let version = answer(&mut field).context("the package has no version")?;
    project::write_whole(&folder.join("version"), version.as_bytes())?;
    let part = folder.join("unpacking");
    ui::run_quietly(&format!("unpacking {name}"), Command::new("dpkg").arg("-x").arg(&deb).arg(&part))?;
    Ok(fs::rename(&part, root)?)
}
