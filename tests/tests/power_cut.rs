//! The power goes at any moment: whatever of the writes since the last flush reached the disk, in whatever order and
//! however torn, the file system mounts, is whole to e2fsck(8), and has everything that was synced.
//!
//! A machine's disks are recorded while a program writes and syncs. Each time something is synced, the program says so
//! on a second disk, so the recording itself tells what has to be there.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use aurora_cli::image::disk::DiskImage;
use aurora_cli::machines::{Boot, Kind, Running};
use aurora_cli::setup;
use aurora_hosted::{Record, records};
use aurora_tests::{START, archive, shell};

/// States made of each recording, unless `AURORA_STATES` says otherwise.
const STATES: usize = 200;
const SIZE: u64 = 24 << 20;
const SECTOR: usize = 512;

/// A small generator of random numbers, so that a seed gives the same states anywhere (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit.max(1)
    }
}

/// Writes files and syncs each, tells the second disk, and in between does what nobody waits for.
const WORK: &str = r#"
    set -e; mkdir -p /mnt; mount -t ext4 /dev/vda /mnt; cd /mnt; mkdir kept churn
    i=1; while [ $i -le 60 ]; do
        seq $i $((i * 40)) | dd of=kept/f$i bs=1k conv=fsync 2>/dev/null
        echo $i | dd of=/dev/vdb bs=512 seek=$i conv=fsync,notrunc 2>/dev/null
        seq 1 3000 > churn/c$i; echo more >> churn/log; ln churn/c$i churn/l$i
        [ $((i % 3)) -ne 0 ] || rm -f churn/c$((i - 1))
        [ $((i % 5)) -ne 0 ] || mv churn/c$i churn/moved
        [ $((i % 7)) -ne 0 ] || { mkdir churn/d$i; mv churn/l$i churn/d$i/x; truncate -s 77 churn/log; }
        [ $((i % 20)) -ne 0 ] || usleep 1200000
        i=$((i + 1))
    done"#;

fn contents(number: usize) -> Vec<u8> {
    (number..=number * 40).flat_map(|n| format!("{n}\n").into_bytes()).collect()
}

/// Runs the work on an image of these options; returns the image as it was before and what was done to it.
fn record(folder: &Path, options: &[&str]) -> (Vec<u8>, Vec<Record>) {
    let (image, acknowledged, recording) = (folder.join("disk"), folder.join("told"), folder.join("recording"));
    fs::File::create(&image).and_then(|file| file.set_len(SIZE)).expect("an image");
    fs::File::create(&acknowledged).and_then(|file| file.set_len(1 << 20)).expect("an image");
    let mke2fs = setup::program(&["mke2fs"], "e2fsprogs").expect("e2fsprogs");
    let made = Command::new(mke2fs).args(["-q", "-F", "-b", "1024"]).args(options).arg(&image).status();
    assert!(made.expect("mke2fs").success());
    let before = fs::read(&image).expect("the image");
    let boot = Boot {
        archive: archive().to_vec(),
        command_line: "link quiet".into(),
        memory: 128 << 20,
        disks: vec![image, acknowledged],
        recording: Some(recording.clone()),
        ..Boot::default()
    };
    let machine = Running::start(Kind::Hosted, boot, START).expect("it boots");
    let output = machine.client.output(&shell(WORK), b"", Duration::from_secs(120)).expect("it runs");
    assert_eq!(output.status.map(|s| s.code()), Some(0), "{output:?}\n{}", machine.console());
    drop(machine);
    (before, records(&fs::read(recording).expect("the recording")))
}

/// What is on the disk if the power goes after `cut` records: all up to the last flush, and of the rest what chance wants.
fn crash(flushed: &[u8], since: &[&Record], random: &mut Random) -> Vec<u8> {
    let mut disk = flushed.to_vec();
    let keep_all = random.below(4) == 0;
    let mut order: Vec<usize> = (0..since.len()).collect();
    if !keep_all {
        for i in (1..order.len()).rev() {
            order.swap(i, random.below(i + 1));
        }
        order.truncate(random.below(since.len() + 1));
    }
    for (nth, &at) in order.iter().enumerate() {
        let Record { offset, bytes, .. } = since[at];
        // Of the last one perhaps only some sectors.
        let torn = nth + 1 == order.len() && random.below(2) == 0;
        let len = if torn { random.below(bytes.len() / SECTOR + 1) * SECTOR } else { bytes.len() };
        let start = *offset as usize;
        disk[start..start + len].copy_from_slice(&bytes[..len]);
    }
    disk
}

/// Makes states of a recording and looks at each.
fn survive(name: &str, options: &[&str], seed: u64) {
    let folder = std::env::temp_dir().join(format!("aurora-power-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder");
    let (mut flushed, all) = record(&folder, options);
    let mut random = Random(seed);
    let states = std::env::var("AURORA_STATES").ok().and_then(|states| states.parse().ok()).unwrap_or(STATES);
    let mut cuts: Vec<usize> = (0..states).map(|_| random.below(all.len() + 1)).collect();
    cuts.sort_unstable();
    // Up to which record `flushed` has everything, and which were written since.
    let (mut done, mut told) = (0, 0);
    let mut since: Vec<&Record> = Vec::new();
    let mut most = 0;
    for (nth, cut) in cuts.into_iter().enumerate() {
        for record in &all[done..cut] {
            match record {
                Record { disk: 1, offset, bytes } if !bytes.is_empty() => told = *offset as usize / SECTOR,
                Record { disk: 0, bytes, .. } if bytes.is_empty() => {
                    for Record { offset, bytes, .. } in since.drain(..) {
                        flushed[*offset as usize..][..bytes.len()].copy_from_slice(bytes);
                    }
                }
                Record { disk: 0, .. } => since.push(record),
                _ => {}
            }
        }
        done = cut;
        let state = crash(&flushed, &since, &mut random);
        look_at(
            &folder.join(format!("state{nth}")),
            &state,
            told,
            &format!("{name}, seed {seed}, after {cut} of {} records", all.len()),
        );
        most = most.max(told);
    }
    assert!(most > 40, "the cuts came too early to show anything: {most}");
    let _ = fs::remove_dir_all(&folder);
}

fn look_at(path: &Path, state: &[u8], told: usize, what: &str) {
    fs::write(path, state).expect("the state");
    let mut disk = DiskImage::open(path, false).unwrap_or_else(|e| panic!("{what}: {e:#}"));
    for number in 1..=told {
        let name = format!("kept/f{number}");
        let found = disk.read_path(name.as_bytes()).unwrap_or_else(|e| panic!("{what}: {name}: {e:#}"));
        assert!(found == contents(number), "{what}: {name} has {} bytes, not what was synced", found.len());
    }
    disk.finish().unwrap_or_else(|e| panic!("{what}: {e:#}"));
    let e2fsck = setup::program(&["e2fsck"], "e2fsprogs").expect("e2fsprogs");
    let checked = Command::new(e2fsck).arg("-fn").arg(path).output().expect("e2fsck");
    assert!(checked.status.success(), "{what}: e2fsck complains:\n{}", String::from_utf8_lossy(&checked.stdout));
    let _ = fs::remove_file(path);
}

#[test]
fn what_was_synced_survives_on_ext4() {
    survive("ext4", &["-t", "ext4"], 0x5eed_0001);
}

#[test]
fn what_was_synced_survives_on_ext3() {
    survive("ext3", &["-t", "ext3"], 0x5eed_0002);
}
