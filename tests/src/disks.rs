//! Disk images of the tests' own, and what e2fsprogs say of them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use aurora_cli::setup;

/// A folder of the test's own, gone with it.
pub struct Folder(pub PathBuf);

impl Folder {
    /// A new one.
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("aurora-disk-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    /// A path in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A program of e2fsprogs.
pub fn tool(name: &str) -> Command {
    Command::new(setup::e2fsprogs(name).expect("e2fsprogs"))
}

/// Makes an image of `size` bytes with mke2fs(8).
pub fn make(image: &Path, size: u64, options: &[&str]) {
    File::create(image).and_then(|file| file.set_len(size)).expect("an image");
    let output = tool("mke2fs").args(["-q", "-F"]).args(options).arg(image).output().expect("mke2fs");
    assert!(output.status.success(), "mke2fs {options:?}: {output:?}");
}

/// e2fsck(8) finds nothing to complain of.
pub fn assert_clean(image: &Path, what: &str) {
    let Output { status, stdout, stderr } = tool("e2fsck").arg("-fn").arg(image).output().expect("e2fsck");
    let said = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{what}: e2fsck complains:\n{said}");
}

/// Copies everything on an image to a folder of the host's with debugfs(8).
pub fn dump(image: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).expect("a folder");
    let request = format!("rdump / {}", to.display());
    let output = tool("debugfs").args(["-R", &request]).arg(image).output().expect("debugfs");
    assert!(output.status.success(), "{output:?}");
}
