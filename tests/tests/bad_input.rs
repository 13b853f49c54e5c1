//! Images that cannot be used get a clear error, and a machine that cannot start says why.

use std::time::Duration;

use aurora_cli::image;
use aurora_cli::machines::{Boot, Kind, Running};
use aurora_tests::archive;

/// What a machine says of an archive it cannot unpack.
fn refusal(kind: Kind, archive: Vec<u8>) -> String {
    kind.prepare().unwrap_or_else(|e| panic!("{kind:?} cannot be made: {e:#}"));
    let boot = Boot { archive, command_line: "link quiet".into(), memory: 256 << 20, show_console: false };
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

fn aurora(arguments: &[&str]) -> (i32, String) {
    let out = std::process::Command::new(aurora_tests::aurora()).args(arguments).output().expect("aurora runs");
    (out.status.code().unwrap_or(-1), String::from_utf8_lossy(&out.stderr).into_owned())
}

#[test]
fn a_bad_image_path_is_named() {
    let (status, said) = aurora(&["run", "--root", "/no/such/image", "--", "busybox", "true"]);
    assert_eq!(status, 125);
    assert!(said.contains("/no/such/image") && said.contains("No such file"), "{said}");
    let (status, said) = aurora(&["run", "--root", "/etc/passwd", "--", "busybox", "true"]);
    assert_eq!(status, 125);
    assert!(said.contains("/etc/passwd is neither"), "{said}");
    let (status, said) = aurora(&["run", "--file", "/no/such=/x", "--", "busybox", "true"]);
    assert_eq!(status, 125);
    assert!(said.contains("/no/such"), "{said}");
}

#[test]
fn the_command_line_tool_passes_streams_and_statuses_through() {
    let run = |script: &str| {
        let arguments = ["run", "--timeout", "30", "--", "busybox", "sh", "-c", script];
        let out = std::process::Command::new(aurora_tests::aurora())
            .args(arguments)
            .stdin(std::process::Stdio::null())
            .output()
            .expect("aurora runs");
        (
            out.status.code(),
            String::from_utf8_lossy(&out.stdout).into_owned(),
            String::from_utf8_lossy(&out.stderr).into_owned(),
        )
    };
    assert_eq!(run("echo out; echo err >&2; exit 3"), (Some(3), "out\n".into(), "err\n".into()));
    assert_eq!(run("kill -SEGV $$").0, Some(139));
    let (status, said) = aurora(&["run", "--", "no-such-program"]);
    assert_eq!((status, said.as_str()), (127, "aurora: no-such-program: No such file or directory\n"));
    let (status, said) = aurora(&["run", "--timeout", "0.5", "--", "busybox", "sleep", "100"]);
    assert_eq!(status, 124, "{said}");
    let (_, said) = aurora(&["run", "--trace", "syscalls", "--", "busybox", "true"]);
    assert!(said.contains("execve(") && said.contains("exit_group("), "{said}");
}
