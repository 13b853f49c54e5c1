//! Images that cannot be used get a clear error, and a machine that cannot start says why.

use std::time::Duration;

use aurora_cli::image;
use aurora_cli::machines::{Boot, Kind, Running};
use aurora_tests::archive;

/// What a machine says that cannot start.
fn refusal(kind: Kind, archive: Vec<u8>, command_line: &str) -> String {
    kind.prepare().unwrap_or_else(|e| panic!("{kind:?} cannot be made: {e:#}"));
    let command_line = command_line.into();
    let boot = Boot { archive, command_line, memory: 256 << 20, show_console: false, ..Boot::default() };
    match Running::start(kind, boot, Duration::from_secs(30)) {
        Ok(_) => panic!("{kind:?} started"),
        Err(error) => format!("{error:#}"),
    }
}

fn refuses_what_cannot_start(kind: Kind) {
    let good = archive();
    let mut gzip = image::gzip(&good[..200_000]).expect("it compresses");
    gzip.truncate(gzip.len() / 2);
    let broken = [
        ("cut", good[..good.len() / 2].to_vec()),
        ("not an archive", b"hello, I am no archive at all, but long enough to look at".repeat(10)),
        ("damaged", {
            let mut bytes = good.to_vec();
            bytes[6..14].copy_from_slice(b"zzzzzzzz");
            bytes
        }),
        ("cut gzip", gzip),
    ];
    for (what, archive) in broken {
        let said = refusal(kind, archive, "link quiet");
        assert!(said.contains("archive") || said.contains("initramfs"), "{what} on {kind:?}: {said}");
    }
    let said = refusal(kind, good.to_vec(), "init=/nowhere quiet");
    assert!(said.contains("/nowhere cannot be started: ENOENT"), "no first program on {kind:?}: {said}");
}

#[test]
fn hosted_says_why_it_cannot_start() {
    refuses_what_cannot_start(Kind::Hosted);
}

#[test]
fn node_says_why_it_cannot_start() {
    refuses_what_cannot_start(Kind::Node);
}

#[test]
fn the_browser_says_why_it_cannot_start() {
    refuses_what_cannot_start(Kind::Browser);
}

#[test]
fn qemu_says_why_it_cannot_start() {
    refuses_what_cannot_start(Kind::Qemu);
}
