//! Taking all there is of something ends in an errno or a killed process, and the system goes on.

use std::time::{Duration, Instant};

use aurora_cli::link::{Event, Output, Spawn, Status, environment};
use aurora_cli::machines::{Kind, Running};
use aurora_tests::{boot, shell};

const TIMEOUT: Duration = Duration::from_secs(60);

fn run(machine: &Running, script: &str) -> Output {
    machine
        .client
        .output(&shell(script), b"", TIMEOUT)
        .unwrap_or_else(|e| panic!("{script}: {e:#}\n{}", machine.console()))
}

fn program(part: &str) -> Spawn {
    let argv = ["/test/musl", part].map(|w| w.as_bytes().to_vec()).to_vec();
    Spawn { tty: None, cwd: Vec::new(), argv, env: environment(None) }
}

fn assert_goes_on(machine: &Running, after: &str) {
    let output = run(machine, "echo fine; cat /etc/hostname; ls / | grep -c tmp");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "fine\naurora\n1\n", "after {after}");
}

fn exhaust(kind: Kind) {
    let machine = boot(kind);
    for part in ["exhaust-memory", "exhaust-objects"] {
        let output = machine.client.output(&program(part), b"", TIMEOUT).unwrap_or_else(|e| panic!("{part}: {e:#}"));
        let ended = matches!(output.status, Some(Status::Killed(9) | Status::Exited(3)));
        assert!(ended, "{part} on {kind:?}: {output:?}");
        assert_goes_on(&machine, part);
        // Its processes give everything back before the next takes it.
        run(&machine, "while ps | grep -q '[/]test/musl'; do usleep 1000; done");
    }
    // Where the only one who takes memory shall never be killed, it is, or nothing would ever go on.
    let spared = "echo -1000 > /proc/self/oom_score_adj; exec /test/musl exhaust-memory";
    let output = run(&machine, spared);
    let ended = matches!(output.status, Some(Status::Killed(9) | Status::Exited(3)));
    assert!(ended, "{spared} on {kind:?}: {output:?}");
    assert_goes_on(&machine, spared);
    // Twice: what was removed is there again.
    let script = "fill() { dd if=/dev/zero of=/tmp/full bs=1M 2>&1 | grep -v records; \
                  stat -c %s /tmp/full >&2; rm /tmp/full; }; fill; fill";
    let full = run(&machine, script);
    let told = String::from_utf8_lossy(&full.stdout);
    assert_eq!(told, "dd: error writing '/tmp/full': No space left on device\n".repeat(2), "{kind:?}: {full:?}");
    let sizes = String::from_utf8_lossy(&full.stderr);
    let sizes: Vec<u64> = sizes.lines().filter_map(|line| line.parse().ok()).collect();
    assert!(matches!(sizes[..], [first, second] if first.abs_diff(second) < 2 << 20), "{kind:?}: {sizes:?}");
    assert_goes_on(&machine, "a full file system");
    a_busy_process_blocks_nobody(&machine);
}

fn a_busy_process_blocks_nobody(machine: &Running) {
    let busy = machine.client.spawn(&shell("while :; do :; done")).expect("it starts");
    for _ in 0..3 {
        let start = Instant::now();
        assert_goes_on(machine, "a busy process started");
        assert!(start.elapsed() < Duration::from_secs(5), "it took {:?}", start.elapsed());
    }
    busy.input.signal(9).expect("the link is open");
    let end = busy.next(Instant::now() + TIMEOUT).expect("it ends");
    assert_eq!(end, Event::Exit(9));
}

#[test]
fn nothing_that_runs_out_takes_hosted_down() {
    exhaust(Kind::Hosted);
}

#[test]
fn nothing_that_runs_out_takes_node_down() {
    exhaust(Kind::Node);
}

#[test]
fn nothing_that_runs_out_takes_the_browser_down() {
    exhaust(Kind::Browser);
}

#[test]
fn nothing_that_runs_out_takes_qemu_down() {
    exhaust(Kind::Qemu);
}
