//! Where things are in the repository.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// The repository this program was built in.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// A folder under `target/` for what `aurora` makes.
pub fn made(name: &str) -> Result<PathBuf> {
    let path = root().join("target/aurora").join(name);
    fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
    Ok(path)
}

/// Keeps other invocations from building the same thing meanwhile; released when dropped.
pub struct BuildLock(#[allow(dead_code, reason = "held for its drop")] File);

/// Waits for the lock called `name`.
pub fn lock(name: &str) -> Result<BuildLock> {
    let path = made("locks")?.join(name);
    let file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(BuildLock(file))
}

/// Writes a file so that nobody ever sees half of it.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let part = path.with_extension(format!("part{}", std::process::id()));
    fs::write(&part, bytes).with_context(|| format!("cannot write {}", part.display()))?;
    fs::rename(&part, path).with_context(|| format!("cannot write {}", path.display()))
}
