//! Large and wild trees on every machine's disk (`tests/programs/trees.c`): e2fsck(8) is content with what they leave, and
//! debugfs(8) sees what was there inside, with the same checksums.
//!
//! A test takes seconds; with `AURORA_TREES=long`, as `aurora test --long disk-trees` sets it, it is all the issue names, and
//! Debian's root unpacked inside.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use aurora_cli::machines::{Boot, Kind, Running};
use aurora_tests::disks::{Folder, assert_clean, dump, make};
use aurora_tests::{START, archive, debian, programs, shell};

/// How much of everything.
struct Amounts {
    disk: u64,
    memory: u64,
    timeout: Duration,
    /// Each in a directory of its own, before the next is made.
    parts: [&'static str; 6],
    has_debian: bool,
}

const SHORT: Amounts = Amounts {
    disk: 256 << 20,
    memory: 256 << 20,
    timeout: Duration::from_secs(240),
    parts: [
        "mkdir many; $t many many 2000",
        "mkdir names; $t names names 3000",
        "$t sparse sparse 134217728",
        "for seed in 1 2; do $t exercise file-$seed $seed 1500; done",
        "mkdir cut; $t cut cut 100",
        "mkdir wild; $t stress wild 1 5000 3",
    ],
    has_debian: false,
};

const LONG: Amounts = Amounts {
    disk: 4 << 30,
    memory: 1 << 30,
    timeout: Duration::from_secs(7200),
    parts: [
        "mkdir many; $t many many 100000",
        "mkdir names; $t names names 200000",
        "$t sparse sparse 4294967296",
        "for seed in 1 2 3 4 5 6 7 8; do $t exercise file-$seed $seed 50000; done",
        "mkdir cut; $t cut cut 2000",
        "mkdir wild; for seed in 1 11 21 31; do $t stress wild $seed 100000 5; done",
    ],
    has_debian: true,
};

fn run(machine: &Running, script: &str, timeout: Duration) -> String {
    let output = machine
        .client
        .output(&shell(&format!("set -e; t=/test/trees; {script}")), b"", timeout)
        .unwrap_or_else(|e| panic!("{script}: {e:#}\n{}", machine.console()));
    let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
    assert_eq!(output.status.map(|s| s.code()), Some(0), "{script}: {said}\n{}", machine.console());
    said
}

/// The same program's view of what debugfs(8) copied.
fn outside(folder: &Path) -> String {
    let built = programs::build().expect("the programs are built");
    let (_, trees) = built.iter().find(|(name, _)| *name == "trees").expect("it is among them");
    let output = Command::new(trees).arg("tell").arg(folder).output().expect("the program runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What debugfs copies of a line `path mode …`: it makes no devices, pipes and sockets, and its copies have the permissions
/// without the bits above them.
fn as_copied(line: &str) -> Option<String> {
    let (path, rest) = line.split_once(' ')?;
    let (mode, rest) = rest.split_once(' ')?;
    let mode = u32::from_str_radix(mode, 8).ok()?;
    let is_copied = [0o040_000, 0o100_000, 0o120_000].contains(&(mode & 0o170_000));
    is_copied.then(|| format!("{path} {:o} {rest}", mode & !0o7000))
}

fn sorted(lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<String> = lines.collect();
    lines.sort_unstable();
    lines
}

fn assert_same(inside: &[String], other: &[String], what: &str) {
    let only = |these: &[String], those: &[String]| -> Vec<String> {
        these.iter().filter(|line| those.binary_search(line).is_err()).take(5).cloned().collect()
    };
    let (a, b) = (only(inside, other), only(other, inside));
    assert!(a.is_empty() && b.is_empty(), "{what}: only inside {a:#?}, only outside {b:#?}");
    assert!(inside.len() > 500, "{what}: there are {} things", inside.len());
}

/// Debian's root as a tar archive, as long as a disk has to be.
fn tar(folder: &Folder) -> PathBuf {
    let (root, tar) = (folder.join("root"), folder.join("root.tar"));
    fs::create_dir_all(&root).expect("a folder");
    debian().write_to(&root).expect("the root is written");
    let made = Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&tar).arg(".").status();
    assert!(made.expect("tar").success());
    fs::remove_dir_all(root).expect("the root is removed");
    tar
}

fn trees(kind: Kind) {
    let amounts = if std::env::var("AURORA_TREES").is_ok_and(|v| v == "long") { LONG } else { SHORT };
    kind.prepare().unwrap_or_else(|e| panic!("{kind:?} cannot be made: {e:#}"));
    let folder = Folder::new(&format!("trees-{kind:?}"));
    let image = folder.join("disk");
    make(&image, amounts.disk, &["-t", "ext4", "-b", "4096", "-N", "400000"]);
    let mut disks = vec![image.clone()];
    disks.extend(amounts.has_debian.then(|| tar(&folder)));
    let boot = Boot {
        archive: archive().to_vec(),
        command_line: "link quiet".into(),
        memory: amounts.memory,
        disks,
        ..Boot::default()
    };
    let machine = Running::start(kind, boot, START).unwrap_or_else(|e| panic!("{kind:?} does not start: {e:#}"));
    run(&machine, "mkdir /mnt; mount -t ext4 /dev/vda /mnt", amounts.timeout);
    let debian = amounts.has_debian.then_some("mkdir debian; tar -x -f /dev/vdb -C debian");
    for part in amounts.parts.into_iter().chain(debian) {
        let start = Instant::now();
        run(&machine, &format!("cd /mnt; {part}"), amounts.timeout);
        println!("{kind:?}: {part}: {:.1} s", start.elapsed().as_secs_f64());
    }
    let start = Instant::now();
    let inside = run(&machine, "$t tell /mnt", amounts.timeout);
    run(&machine, "umount /mnt", amounts.timeout);
    let again = run(&machine, "mount -t ext4 /dev/vda /mnt; $t tell /mnt; umount /mnt", amounts.timeout);
    println!("{kind:?}: told of twice: {:.1} s", start.elapsed().as_secs_f64());
    drop(machine);
    let all = |text: &str| sorted(text.lines().map(str::to_owned));
    assert_same(&all(&inside), &all(&again), &format!("{kind:?}, after mounting anew"));
    assert_eq!(amounts.has_debian, inside.contains("\ndebian/usr/bin/bash "), "{kind:?}: Debian's root");
    assert_clean(&image, &format!("{kind:?}"));
    let copy = folder.join("copy");
    dump(&image, &copy);
    let copied = |text: &str| sorted(text.lines().filter_map(as_copied));
    let inside = copied(&inside);
    assert_same(&inside, &copied(&outside(&copy)), &format!("{kind:?}"));
    println!("{kind:?}: {} things are the same for debugfs", inside.len());
}

#[test]
fn trees_on_hosted_are_whole() {
    trees(Kind::Hosted);
}

#[test]
fn trees_on_node_are_whole() {
    trees(Kind::Node);
}

#[test]
fn trees_in_chromium_are_whole() {
    trees(Kind::Browser);
}

#[test]
fn trees_in_qemu_are_whole() {
    trees(Kind::Qemu);
}
