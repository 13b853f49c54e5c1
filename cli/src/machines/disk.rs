//! Disk images that a machine that is another program gets: one machine has an image at a time.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// An image that is ours until this is dropped.
pub(crate) struct Disk {
    pub(crate) path: PathBuf,
    /// It cannot be written.
    pub(crate) read_only: bool,
    /// Holds the lock.
    pub(crate) file: File,
}

/// Takes images, those that cannot be written for reading alone.
pub(super) fn take(images: &[PathBuf]) -> Result<Vec<Disk>> {
    images.iter().map(|path| open(path).with_context(|| format!("the disk {}", path.display()))).collect()
}

fn open(path: &Path) -> Result<Disk> {
    let (file, read_only) = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => (file, false),
        Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) => {
            (File::open(path)?, true)
        }
        Err(error) => return Err(error.into()),
    };
    if !read_only && file.try_lock().is_err() {
        bail!("it is in use by another machine");
    }
    Ok(Disk { path: path.to_owned(), read_only, file })
}
