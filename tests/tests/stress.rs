//! Much of everything, and everything given back: `tests/programs/stress` on each machine.
//!
//! A test takes seconds; with `AURORA_STRESS=long`, as `aurora test --long stress` sets it, it takes all the issue names.

use std::time::{Duration, Instant};

use aurora_cli::link::{Spawn, Status, environment};
use aurora_cli::machines::Kind;
use aurora_tests::boot_with;

const MIB: u64 = 1 << 20;

/// What is run, in how much memory.
struct Amounts {
    memory: u64,
    timeout: Duration,
    parts: [&'static str; 8],
}

const SHORT: Amounts = Amounts {
    memory: 256 * MIB,
    timeout: Duration::from_secs(120),
    parts: [
        "processes 1000 100",
        "futex 20",
        "switches 50000",
        "file 48",
        "memory",
        "descriptors 500",
        "space",
        "mounts 20",
    ],
};

const LONG: Amounts = Amounts {
    memory: 2048 * MIB,
    timeout: Duration::from_secs(1800),
    parts: [
        "processes 10000 1000",
        "futex 1000",
        "switches 10000000",
        "file 1024",
        "memory",
        "descriptors 4000",
        "space",
        "mounts 1000",
    ],
};

fn stress(kind: Kind) {
    let amounts = if std::env::var("AURORA_STRESS").is_ok_and(|v| v == "long") { LONG } else { SHORT };
    let machine = boot_with(kind, amounts.memory);
    for part in amounts.parts {
        let words = std::iter::once("/test/stress").chain(part.split(' '));
        let argv = words.map(|word| word.as_bytes().to_vec()).collect();
        let spawn = Spawn { argv, env: environment(None), ..Spawn::default() };
        let start = Instant::now();
        let output = machine
            .client
            .output(&spawn, b"", amounts.timeout)
            .unwrap_or_else(|e| panic!("{part} on {kind:?}: {e:#}\n{}", machine.console()));
        assert_eq!(
            output.status,
            Some(Status::Exited(0)),
            "{part} on {kind:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        println!("{kind:?}: {part}: {:.1} s", start.elapsed().as_secs_f64());
    }
}

#[test]
fn hosted_gives_back_what_was_taken() {
    stress(Kind::Hosted);
}

#[test]
fn node_gives_back_what_was_taken() {
    stress(Kind::Node);
}

#[test]
fn the_browser_gives_back_what_was_taken() {
    stress(Kind::Browser);
}

#[test]
fn qemu_gives_back_what_was_taken() {
    stress(Kind::Qemu);
}
