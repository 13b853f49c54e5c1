//! Disks on every machine: what programs write is right to e2fsck(8) and reads the same for debugfs(8), what mke2fs(8)
//! made reads the same inside, and what was synced is there after the machine was cut off.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use aurora_cli::link::Spawn;
use aurora_cli::machines::{Boot, Kind, Running};
use aurora_tests::disks::{Folder, assert_clean, dump, make};
use aurora_tests::{START, archive, shell};

const TIMEOUT: Duration = Duration::from_secs(120);

/// What there is below the working directory: contents, links, and what stat(1) tells. Runs inside and on the host.
const MANIFEST: &str = r#"
    find . -type f | sort | xargs md5sum
    find . -type l | sort | while read -r l; do echo "$l -> $(readlink "$l")"; done
    find . ! -type d | sort | xargs stat -c '%n %a %u %g %s %h'
    find . -type d | sort | xargs stat -c '%n %a %u %g'"#;

/// The host's view of an image, by debugfs.
fn manifest_outside(image: &Path, folder: &Folder) -> String {
    let copy = folder.join("copy");
    dump(image, &copy);
    manifest_here(&copy)
}

fn manifest_here(folder: &Path) -> String {
    let script = format!("cd '{}' && rmdir lost+found 2>/dev/null; {MANIFEST}", folder.display());
    let output = Command::new("sh").args(["-c", &script]).output().expect("a shell");
    lines(&output.stdout)
}

/// Without what differs between a directory that was copied and the one it was copied from: names removed, links count.
fn lines(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn machine(kind: Kind, disk: &Path) -> Running {
    kind.prepare().unwrap_or_else(|e| panic!("{kind:?} cannot be made: {e:#}"));
    let boot = Boot {
        archive: archive().to_vec(),
        command_line: "link quiet".into(),
        memory: 256 << 20,
        disks: vec![disk.to_owned()],
        ..Boot::default()
    };
    Running::start(kind, boot, START).unwrap_or_else(|e| panic!("{kind:?} does not start: {e:#}"))
}

fn run(machine: &Running, script: &str) -> String {
    answer(machine, script, &shell(&format!("set -e; {script}")))
}

fn answer(machine: &Running, script: &str, program: &Spawn) -> String {
    let output = machine
        .client
        .output(program, b"", TIMEOUT)
        .unwrap_or_else(|e| panic!("{script}: {e:#}\n{}", machine.console()));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.map(|s| s.code()), Some(0), "{script}: {said}\n{}", machine.console());
    lines(&output.stdout)
}

const MOUNT: &str = "mkdir -p /mnt; mount -t ext4 /dev/vda /mnt; cd /mnt; rmdir lost+found 2>/dev/null || :";

/// Of everything a file system does something.
const WORK: &str = r#"
    mkdir -p a/b/c many; echo small > a/small; ln a/small a/b/hard; ln -s ../small a/b/soft
    ln -s "$(printf %0100d 0)" a/long; mkfifo a/pipe; mknod a/null c 1 3
    i=0; while [ $i -lt 400 ]; do echo "file $i" > many/f$i; i=$((i+1)); done
    rm many/f*[02468]
    cp /bin/busybox big; cat big big big > bigger; truncate -s 1000003 big
    dd if=/bin/busybox of=sparse bs=4096 seek=50000 count=3 2>/dev/null
    dd if=/bin/busybox of=holes bs=1000 count=7 seek=90 2>/dev/null
    dd if=/bin/busybox of=holes bs=1000 count=7 seek=11 conv=notrunc 2>/dev/null
    mv a/b moved; mv many/f1 moved/f1; mv -f many/f3 many/f5; rm -r moved/c
    chmod 4751 bigger; chown 1000:2000 bigger; touch -d '2001-02-03 04:05:06' bigger
    i=0; while [ $i -lt 60 ]; do echo "line $i" >> appended; i=$((i+1)); done"#;

/// How many formats are tried: the file system is the same code everywhere, the way to the disk is not.
fn formats(kind: Kind) -> usize {
    if kind == Kind::Hosted { 3 } else { 1 }
}

fn written_inside(kind: Kind) {
    let folder = Folder::new(&format!("inside-{kind:?}"));
    const FORMATS: [&[&str]; 3] = [&["-b", "4096"], &["-b", "1024"], &["-t", "ext2", "-b", "2048"]];
    for options in FORMATS.iter().take(formats(kind)) {
        let image = folder.join(&format!("disk{}", options.concat()));
        make(&image, 96 << 20, options);
        let machine = machine(kind, &image);
        let inside = run(&machine, &format!("{MOUNT}; {WORK}\n{MANIFEST}"));
        let again = run(&machine, &format!("umount /mnt; {MOUNT}; {MANIFEST}"));
        run(&machine, "umount /mnt");
        assert_eq!(inside, again, "{kind:?} {options:?}: after mounting anew");
        drop(machine);
        assert_clean(&image, &format!("{kind:?} {options:?}"));
        let outside = manifest_outside(&image, &folder);
        assert_same(&inside, &outside, &format!("{kind:?} {options:?}"));
    }
}

/// debugfs copies no devices and makes files of hard links: what differs for that is left out.
fn assert_same(inside: &str, outside: &str, what: &str) {
    let comparable = |text: &str| -> Vec<String> {
        let special = |line: &&str| line.contains("./a/pipe") || line.contains("./a/null");
        let without_links = |line: &str| match line.split(' ').collect::<Vec<_>>()[..] {
            [name, mode, uid, gid, size, _] if name.starts_with('.') => format!("{name} {mode} {uid} {gid} {size}"),
            _ => line.to_owned(),
        };
        text.lines().filter(|line| !special(line)).map(without_links).collect()
    };
    let (inside, outside) = (comparable(inside), comparable(outside));
    let differences: Vec<_> = inside.iter().filter(|l| !outside.contains(l)).take(5).collect();
    let missing: Vec<_> = outside.iter().filter(|l| !inside.contains(l)).take(5).collect();
    assert!(
        differences.is_empty() && missing.is_empty(),
        "{what}: only inside {differences:#?}, only outside {missing:#?}"
    );
}

fn made_outside(kind: Kind) {
    let folder = Folder::new(&format!("outside-{kind:?}"));
    let tree = folder.join("tree");
    let script = format!(
        "mkdir -p '{0}' && cd '{0}' && cp /bin/sh big && mkdir d && seq 100000 > d/numbers && \
        for i in $(seq 3000); do echo $i > d/name-$i; done; ln -s d/numbers soft; ln d/numbers hard",
        tree.display()
    );
    assert!(Command::new("sh").args(["-c", &script]).status().expect("a shell").success());
    let expected = manifest_here(&tree);
    const FORMATS: [&[&str]; 3] =
        [&["-b", "4096", "-O", "inline_data", "-I", "256"], &["-b", "1024"], &["-b", "2048", "-O", "^extents,^64bit"]];
    for options in FORMATS.iter().take(formats(kind)) {
        let image = folder.join(&format!("disk{}", options.concat()));
        let mut all = options.to_vec();
        let from = tree.to_string_lossy().into_owned();
        all.extend(["-d", &from]);
        make(&image, 64 << 20, &all);
        let machine = machine(kind, &image);
        let inside = run(&machine, &format!("{MOUNT}; {MANIFEST}"));
        run(&machine, "umount /mnt");
        drop(machine);
        assert_eq!(inside, expected, "{kind:?} {options:?}");
        assert_clean(&image, &format!("{kind:?} {options:?}"));
    }
}

fn both(kind: Kind) {
    written_inside(kind);
    made_outside(kind);
}

#[test]
fn hosted_shares_disks_with_others() {
    both(Kind::Hosted);
}

#[test]
fn node_shares_disks_with_others() {
    both(Kind::Node);
}

#[test]
fn chromium_shares_disks_with_others() {
    both(Kind::Browser);
}

#[test]
fn qemu_shares_disks_with_others() {
    both(Kind::Qemu);
}

/// A disk with one partition, in a table of the older kind.
fn partitioned(path: &Path, sectors: u32, (start, count): (u32, u32)) {
    let mut table = vec![0; 512];
    table[450] = 0x83;
    table[454..458].copy_from_slice(&start.to_le_bytes());
    table[458..462].copy_from_slice(&count.to_le_bytes());
    table[510..].copy_from_slice(&[0x55, 0xaa]);
    std::fs::write(path, table).expect("an image");
    let file = std::fs::OpenOptions::new().write(true).open(path).expect("an image");
    file.set_len(u64::from(sectors) * 512).expect("an image");
}

#[test]
fn lsblk_finds_disks_their_partitions_and_where_they_are_mounted() {
    let folder = Folder::new("lsblk");
    let (plain, parted) = (folder.join("plain"), folder.join("parted"));
    make(&plain, 64 << 20, &["-t", "ext4"]);
    partitioned(&parted, 65536, (2048, 32768));
    Kind::Hosted.prepare().unwrap_or_else(|e| panic!("{e:#}"));
    let boot = Boot {
        archive: aurora_tests::debian().to_cpio(),
        command_line: "link quiet".into(),
        memory: 512 << 20,
        disks: vec![plain, parted],
        ..Boot::default()
    };
    let machine = Running::start(Kind::Hosted, boot, START).unwrap_or_else(|e| panic!("it does not start: {e:#}"));
    let run = |script: &str| {
        let argv = ["bash", "-e", "-c", script].map(|word| word.as_bytes().to_vec()).to_vec();
        answer(&machine, script, &Spawn { argv, ..shell("") })
    };
    // mount(8) is not among the packages.
    run(r#"mkdir -p /mnt; perl -e '@a = qw(/dev/vda /mnt ext4); syscall(165, @a, 0, 0) == 0 or die $!'"#);
    assert_eq!(
        run("lsblk -b -o NAME,MAJ:MIN,RM,SIZE,RO,TYPE,PKNAME,MOUNTPOINT -r"),
        "NAME MAJ:MIN RM SIZE RO TYPE PKNAME MOUNTPOINT\n\
         vda 254:0 0 67108864 0 disk  /mnt\n\
         vdb 254:16 0 33554432 0 disk  \n\
         vdb1 254:17 0 16777216 0 part vdb \n"
    );
    assert_eq!(
        run("lsblk -n -r -d -o NAME,ALIGNMENT,MIN-IO,OPT-IO,PHY-SEC,LOG-SEC,ROTA,SCHED,RQ-SIZE,RA,ZONED"),
        "vda 0 512 0 512 512 0 none 256 512 none\nvdb 0 512 0 512 512 0 none 256 512 none\n"
    );
    // The links are relative, and lead back.
    assert_eq!(
        run("cd -P /sys/dev/block/254:17; pwd; cat start size partition; cd -P subsystem/vdb/queue; pwd"),
        "/sys/devices/virtual/block/vdb/vdb1\n2048\n32768\n1\n/sys/devices/virtual/block/vdb/queue\n"
    );
}
