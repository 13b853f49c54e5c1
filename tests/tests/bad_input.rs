//! Images that cannot be used get a clear error, and a machine that cannot start says why.

use std::time::Duration;

use aurora_cli::image;
use aurora_cli::machines::{Boot, Kind, Running};
use aurora_tests::archive;

/// What a machine says of an archive it cannot unpack.
fn refusal(kind: Kind, archive: Vec<u8>) -> String {
    kind.prepare().unwrap_or_else(|e| panic!("{kind:?} cannot be made: {e:#}"));
    let boot =
        Boot { archive, command_line: "link quiet".into(), memory: 256 << 20, show_console: false, ..Boot::default() };
    match Running::start(kind, boot, Duration::from_secs(30)) {
        Ok(_) => panic!("{kind:?} booted a broken archive"),
        Err(error) => format!("{error:#}"),
    }
}

fn refuses(kind: Kind) {
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
        let said = refusal(kind, archive);
        assert!(said.contains("archive") || said.contains("initramfs"), "{what} on {kind:?}: {said}");
    }
}

#[test]
fn hosted_refuses_broken_archives() {
    refuses(Kind::Hosted);
}

#[test]
fn node_refuses_broken_archives() {
    refuses(Kind::Node);
}

#[test]
fn the_browser_refuses_broken_archives() {
    refuses(Kind::Browser);
}

#[test]
fn qemu_refuses_broken_archives() {
    refuses(Kind::Qemu);
}
