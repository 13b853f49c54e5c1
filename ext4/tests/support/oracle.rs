//! e2fsprogs: images made by mke2fs, judged by e2fsck, read by debugfs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU64, Ordering};

use aurora_cli::setup;

/// A folder for images that goes away with the value. In memory where the system has such a place.
pub struct Folder(pub PathBuf);

static NUMBER: AtomicU64 = AtomicU64::new(0);

impl Folder {
    pub fn new() -> Self {
        let shm = Path::new("/dev/shm");
        let base = if shm.is_dir() { shm.to_path_buf() } else { std::env::temp_dir() };
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = base.join(format!("aurora-ext4-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn output(program: &str, arguments: &[&str]) -> Output {
    let path = setup::e2fsprogs(program).unwrap();
    let mut command = Command::new(path);
    command.args(arguments).env("E2FSPROGS_FAKE_TIME", "1700000000").env("LC_ALL", "C");
    command.output().unwrap()
}

fn text(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

/// An image of so many bytes, by mke2fs with these arguments; filled from a folder if one is given.
pub fn mke2fs(image: &Path, bytes: u64, arguments: &[&str], from: Option<&Path>) {
    let file = fs::File::create(image).unwrap();
    file.set_len(bytes).unwrap();
    let mut all = vec!["-q", "-F", "-U", "01234567-89ab-cdef-0123-456789abcdef"];
    all.extend_from_slice(arguments);
    let from = from.map(|p| p.to_str().unwrap().to_owned());
    if let Some(from) = &from {
        all.extend_from_slice(&["-d", from]);
    }
    all.push(image.to_str().unwrap());
    let out = output("mke2fs", &all);
    assert!(out.status.success(), "mke2fs {all:?}: {}", text(&out));
}

/// What e2fsck says of an image that should be clean.
pub fn e2fsck(image: &Path) -> Result<(), String> {
    let out = output("e2fsck", &["-f", "-n", image.to_str().unwrap()]);
    if out.status.code() == Some(0) { Ok(()) } else { Err(text(&out)) }
}

/// Lets e2fsck replay and repair; what it said, and its status. Trees that could be shorter are no damage: Linux leaves
/// them as well, and `-n` passes over them.
pub fn e2fsck_repair(image: &Path) -> (i32, String) {
    let out = output("e2fsck", &["-f", "-y", "-E", "no_optimize_extents", image.to_str().unwrap()]);
    (out.status.code().unwrap_or(-1), text(&out))
}

pub fn debugfs(image: &Path, request: &str) -> String {
    let out = output("debugfs", &["-R", request, image.to_str().unwrap()]);
    String::from_utf8_lossy(&out.stdout).into_owned()
}

pub fn debugfs_write(image: &Path, request: &str) -> String {
    let out = output("debugfs", &["-w", "-R", request, image.to_str().unwrap()]);
    text(&out)
}

pub fn dumpe2fs(image: &Path) -> String {
    text(&output("dumpe2fs", &[image.to_str().unwrap()]))
}
