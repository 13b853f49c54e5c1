//! Debian's Linux for PCs, which Aurora is measured beside: its kernel, and the modules a PC needs for its disk.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::debian;

/// The kernel of a package.
pub(super) fn vmlinuz(package: &debian::Package) -> Result<PathBuf> {
    let boot = package.root.join("boot");
    let named = |path: &PathBuf| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("vmlinuz"));
    let mut files = std::fs::read_dir(&boot)?.filter_map(|e| Some(e.ok()?.path()));
    files.find(named).with_context(|| format!("{} has no kernel", package.name))
}

/// These modules of a package and all they need, in the order they have to be loaded.
pub(super) fn modules(package: &debian::Package, names: &[&str]) -> Result<Vec<PathBuf>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![package.root.join("lib/modules")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let path = entry?.path();
            match path.extension().is_some_and(|e| e == "ko") {
                true => drop(files.insert(module_name(&path), path)),
                false if path.is_dir() && !path.is_symlink() => folders.push(path),
                false => {}
            }
        }
    }
    let (mut order, mut seen) = (Vec::new(), BTreeSet::new());
    for name in names {
        add(name, &files, &mut seen, &mut order)?;
    }
    Ok(order)
}

/// A module's name has no hyphens, its file's may.
fn module_name(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().replace('-', "_")
}

fn add(
    name: &str,
    files: &BTreeMap<String, PathBuf>,
    seen: &mut BTreeSet<String>,
    order: &mut Vec<PathBuf>,
) -> Result<()> {
    if name.is_empty() || !seen.insert(name.to_owned()) {
        return Ok(());
    }
    let Some(path) = files.get(name) else { bail!("the kernel has no module {name}") };
    // What it needs stands in a section of its own, as `depends=a,b` between zeros.
    let bytes = fs::read(path)?;
    let key = b"\0depends=";
    let at = bytes.windows(key.len()).position(|window| window == key).map(|at| at + key.len());
    let rest = at.and_then(|at| bytes.get(at..)).unwrap_or_default();
    let list = String::from_utf8_lossy(rest.split(|&b| b == 0).next().unwrap_or_default()).replace('-', "_");
    for needed in list.split(',') {
        add(needed, files, seen, order)?;
    }
    order.push(path.clone());
    Ok(())
}
