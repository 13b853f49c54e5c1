//! Init: mounts, keeps a shell on the console, buries orphans, and ends the system. Looked at from a program the host
//! link starts beside it.

use std::time::{Duration, Instant};

use aurora_cli::link::Output;
use aurora_cli::machines::{Boot, Kind, Running};
use aurora_tests::{START, archive, shell};

const TIMEOUT: Duration = Duration::from_secs(30);

fn boot(kind: Kind) -> Running {
    kind.prepare().unwrap_or_else(|e| panic!("{kind:?} cannot be made: {e:#}"));
    let boot = Boot {
        archive: archive().to_vec(),
        command_line: "init=/sbin/init link quiet GREETING=hello".into(),
        memory: 256 << 20,
        show_console: false,
        ..Boot::default()
    };
    Running::start(kind, boot, START).unwrap_or_else(|e| panic!("{kind:?} does not start: {e:#}"))
}

fn output(running: &Running, script: &str) -> Output {
    running.client.output(&shell(script), b"", TIMEOUT).unwrap_or_else(|e| panic!("{e:#}\n{}", running.console()))
}

/// What a script prints; it must not fail.
fn says(running: &Running, script: &str) -> String {
    let Output { stdout, stderr, .. } = output(running, script);
    assert!(stderr.is_empty(), "{script}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8_lossy(&stdout).into_owned()
}

/// Waits, inside, until init's shell has a number that is not `$old`, and prints it with its session's and terminal's.
const NEW_SHELL: &str = r#"
until [ -e /proc/1 ]; do :; done
until set -- $(ps -o pid,ppid,sid,tty,args | awk -v old="$old" '$2 == 1 && $5 == "-sh" && $1 != old') && [ -n "$1" ]; do :; done
echo $1 $3 $4
"#;

fn init_does_its_work(kind: Kind) {
    let running = boot(kind);
    // The link starts programs while init is still at work; its shell is the last it makes.
    let first = says(&running, NEW_SHELL);
    assert_eq!(says(&running, "cat /proc/1/comm; hostname"), "init\naurora\n");
    let mounts = says(&running, "awk '{ print $2, $3 }' /proc/mounts");
    for mount in ["/proc proc", "/dev devtmpfs", "/dev/pts devpts", "/tmp tmpfs", "/run tmpfs", "/dev/shm tmpfs"] {
        assert!(mounts.lines().any(|line| line == mount), "{mount} is not in\n{mounts}");
    }
    let words: Vec<&str> = first.split_whitespace().collect();
    assert_eq!(words[0], words[1], "the shell leads no session: {first}");
    assert_eq!(words[2], "4,64", "the shell is not on the serial line: {first}");
    assert_eq!(says(&running, &format!("tr '\\0' '\\n' </proc/{}/environ | grep GREET", words[0])), "GREETING=hello\n");
    let second = says(&running, &format!("old={0}; kill -KILL {0}\n{NEW_SHELL}", words[0]));
    assert_ne!(first, second);
    // The grandchild's parent ends first: it is init's then, and init takes note of its end.
    let orphans =
        "(sh -c 'sh -c \"exec sleep 0\" & exec sleep 0'); until [ -z \"$(ps -o stat | grep Z)\" ]; do :; done";
    assert_eq!(says(&running, orphans), "");
    let _ = running.client.output(&shell("poweroff; exec sleep 100"), b"", TIMEOUT);
    // Programs can be started until the very end.
    let start = Instant::now();
    while running.client.output(&shell("true"), b"", TIMEOUT).is_ok() {
        assert!(start.elapsed() < TIMEOUT, "the machine runs on: {}", running.console());
    }
    assert!(start.elapsed() < TIMEOUT, "the machine hangs: {}", running.console());
}

#[test]
fn init_does_its_work_in_a_process() {
    init_does_its_work(Kind::Hosted);
}

#[test]
fn init_does_its_work_in_node() {
    init_does_its_work(Kind::Node);
}

#[test]
fn init_does_its_work_on_a_pc() {
    init_does_its_work(Kind::Qemu);
}
