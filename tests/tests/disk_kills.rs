//! A machine that ends in the middle of its work, again and again on the same disk: QEMU killed, and the page's tab closed,
//! at random moments. Nothing that was synced is lost, and the disk is whole each time.
//!
//! A test does it a few times; `AURORA_KILLS` says how often, and `aurora test --long disk-kills` makes it 200.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use aurora_cli::image::disk::DiskImage;
use aurora_cli::link::Event;
use aurora_cli::machines::{Boot, Kind, Running};
use aurora_cli::server::PageServer;
use aurora_cli::{build, project, setup};
use aurora_tests::disks::{Folder, assert_clean, make};
use aurora_tests::{START, archive, shell};

fn kills() -> usize {
    std::env::var("AURORA_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(4)
}

/// What a synced file has, by its number.
fn contents(number: usize) -> Vec<u8> {
    (number..=number * 7 + 50).flat_map(|n| format!("{n}\n").into_bytes()).collect()
}

/// Syncs files and says so, from a number on, and does in between what nobody waits for.
fn work(from: usize) -> String {
    format!(
        "mkdir -p /mnt; mount -t ext4 /dev/vda /mnt || exit 1; cd /mnt; mkdir -p kept churn; i={from}; while :; do \
         seq $i $((i * 7 + 50)) | dd of=kept/$i bs=64k conv=fsync 2>/dev/null && echo $i; \
         seq 1 500 > churn/$((i % 50)); ln -f churn/$((i % 50)) churn/link; mv churn/link churn/moved; \
         [ $((i % 9)) -ne 0 ] || rm -rf churn/*; i=$((i + 1)); done"
    )
}

/// Runs until its time is over; returns the last file it said is synced.
fn until_killed(image: &Path, from: usize, time: Duration) -> usize {
    let boot = Boot {
        archive: archive().to_vec(),
        command_line: "link quiet".into(),
        memory: 128 << 20,
        disks: vec![image.to_owned()],
        ..Boot::default()
    };
    let machine = Running::start(Kind::Qemu, boot, START).unwrap_or_else(|e| panic!("it does not start: {e:#}"));
    let process = machine.client.spawn(&shell(&work(from))).expect("it runs");
    let (end, mut said) = (Instant::now() + time, Vec::new());
    while let Ok(event) = process.next(end) {
        match event {
            Event::Stdout(bytes) | Event::Stderr(bytes) => said.extend(bytes),
            Event::Exit(_) | Event::Failed(_) => {
                panic!("it ended: {}\n{}", String::from_utf8_lossy(&said), machine.console())
            }
        }
    }
    // Dropping it kills it.
    drop(machine);
    let text = String::from_utf8_lossy(&said).into_owned();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().last().and_then(|line| line.parse().ok()).unwrap_or(from - 1)
}

#[test]
fn qemu_may_be_killed_at_any_moment() {
    Kind::Qemu.prepare().unwrap_or_else(|e| panic!("{e:#}"));
    let folder = Folder::new("kills");
    let image = folder.join("disk");
    make(&image, 256 << 20, &["-t", "ext4"]);
    let mut told = 0;
    for round in 0..kills() {
        // Some die while they mount and replay.
        let milliseconds = getrandom() % 2000;
        told = until_killed(&image, told + 1, Duration::from_millis(milliseconds));
        if round % 3 == 2 {
            // The machine's own replay is tried in the other rounds.
            continue;
        }
        let copy = folder.join("copy");
        std::fs::copy(&image, &copy).expect("a copy");
        let mut disk = DiskImage::open(&copy, false).unwrap_or_else(|e| panic!("round {round}: {e:#}"));
        for number in told.saturating_sub(60).max(1)..=told {
            let name = format!("kept/{number}");
            let found = disk.read_path(name.as_bytes()).unwrap_or_else(|e| panic!("round {round}: {name}: {e:#}"));
            assert!(found == contents(number), "round {round}: {name} has {} bytes, not what was synced", found.len());
        }
        disk.finish().unwrap_or_else(|e| panic!("round {round}: {e:#}"));
        assert_clean(&copy, &format!("round {round}"));
    }
    println!("killed {} times, {told} files synced, none lost", kills());
    assert!(told > 0, "nothing was ever synced");
}

/// A number that is another each time.
fn getrandom() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(0)
}

#[test]
fn the_tab_may_be_closed_at_any_moment() {
    setup::e2fsprogs("e2fsck").unwrap_or_else(|e| panic!("{e:#}"));
    let folder = build::page().unwrap_or_else(|e| panic!("{e:#}"));
    let server = PageServer::start(folder, HashMap::new(), 0).expect("the page is served");
    let url = format!("http://{}/", server.address());
    let mut node = Command::new(setup::node().unwrap_or_else(|e| panic!("{e:#}")));
    node.arg(project::root().join("web/test/disk.mjs")).arg(setup::chromium().unwrap_or_else(|e| panic!("{e:#}")));
    node.args([&url, "a_tab_that_is_closed_at_any_moment_loses_nothing_that_was_synced", &kills().to_string()]);
    let out = node.output().expect("node runs");
    let said = [out.stdout, out.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    print!("{said}");
    assert!(out.status.success(), "{said}");
}
