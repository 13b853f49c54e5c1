//! Disks as bytes, on every machine: what an image of the host's holds is read, and what is written and made to last is in
//! it afterwards.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aurora_cli::machines::{Boot, Kind, Running};
use aurora_tests::{START, archive, shell};

const MIB: usize = 1 << 20;

/// An image of the test's own, gone with it.
struct Image(PathBuf);

impl Image {
    /// Bytes that differ from place to place.
    fn new(name: &str, len: usize, seed: u32) -> Self {
        let path = std::env::temp_dir().join(format!("aurora-raw-{name}-{}", std::process::id()));
        let bytes: Vec<u8> = (0..len as u32).map(|i| (i.wrapping_mul(2_654_435_761 ^ seed) >> 24) as u8).collect();
        fs::write(&path, bytes).expect("an image");
        Self(path)
    }
    fn bytes(&self) -> Vec<u8> {
        fs::read(&self.0).expect("an image")
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn run(machine: &Running, script: &str) -> String {
    let output = machine
        .client
        .output(&shell(script), b"", Duration::from_secs(60))
        .unwrap_or_else(|e| panic!("{script}: {e:#}\n{}", machine.console()));
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

fn md5(path: &Path) -> String {
    let output = std::process::Command::new("md5sum").arg(path).output().expect("md5sum");
    String::from_utf8_lossy(&output.stdout).split(' ').next().unwrap_or_default().to_owned()
}

fn sectors_are_read_and_written(kind: Kind) {
    kind.prepare().unwrap_or_else(|e| panic!("{kind:?} cannot be made: {e:#}"));
    let first = Image::new(&format!("{kind:?}-a"), 9 * MIB, 1);
    let second = Image::new(&format!("{kind:?}-b"), 3 * MIB, 2);
    let (before, other) = (first.bytes(), second.bytes());
    let boot = Boot {
        archive: archive().to_vec(),
        command_line: "link quiet".into(),
        memory: 256 << 20,
        disks: vec![first.0.clone(), second.0.clone()],
        ..Boot::default()
    };
    let machine = Running::start(kind, boot, START).unwrap_or_else(|e| panic!("{kind:?} does not start: {e:#}"));
    let sums = run(&machine, "md5sum < /dev/vda; md5sum < /dev/vdb; wc -c < /dev/vda");
    let expected = format!("{}  -\n{}  -\n{}\n", md5(&first.0), md5(&second.0), 9 * MIB);
    assert_eq!(sums, expected, "{kind:?}");
    // Across requests, frames and sectors; a few bytes in the middle of one; the last sector.
    let script = "dd if=/dev/vda of=/dev/vdb bs=64k skip=3 seek=1 count=40 conv=notrunc,fsync 2>/dev/null; echo $?
        printf few | dd of=/dev/vda bs=1 seek=1000001 conv=notrunc,fsync 2>/dev/null; echo $?
        dd if=/dev/vdb of=/dev/vda bs=512 skip=1 seek=18431 count=1 conv=notrunc,fsync 2>/dev/null; echo $?
        dd if=/dev/zero of=/dev/vdb bs=512 seek=6144 count=1 conv=notrunc,fsync 2>&1 | grep -c 'No space'";
    assert_eq!(run(&machine, script), "0\n0\n0\n1\n", "{kind:?}");
    drop(machine);
    let (mut a, mut b) = (before.clone(), other);
    b[64 << 10..(41 * 64) << 10].copy_from_slice(&before[(3 * 64) << 10..(43 * 64) << 10]);
    a[1_000_001..1_000_004].copy_from_slice(b"few");
    a[18431 * 512..].copy_from_slice(&b[512..1024]);
    assert!(first.bytes() == a, "{kind:?}: the first image is not what was written");
    assert!(second.bytes() == b, "{kind:?}: the second image is not what was written");
}

#[test]
fn hosted_reads_and_writes_sectors() {
    sectors_are_read_and_written(Kind::Hosted);
}

#[test]
fn node_reads_and_writes_sectors() {
    sectors_are_read_and_written(Kind::Node);
}

#[test]
fn the_browser_reads_and_writes_sectors() {
    sectors_are_read_and_written(Kind::Browser);
}

#[test]
fn qemu_reads_and_writes_sectors() {
    sectors_are_read_and_written(Kind::Qemu);
}
