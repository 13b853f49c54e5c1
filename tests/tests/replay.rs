//! Runs on `hosted` that can be repeated.

use aurora_cli::link::Event;
use aurora_cli::machines::Boot;
use aurora_cli::run::repeat;
use aurora_hosted::End;
use aurora_tests::{archive, shell};

const SCRIPT: &str = "date; head -c 8 /dev/urandom | od -An -tx1; (sleep 0.2; echo late) & echo $$; \
                      for i in 1 2 3 4; do (echo $i; usleep 1000) & done; wait; cat; /test/threads; cat /proc/self/maps";

fn run(seed: u64) -> (Vec<Event>, aurora_hosted::Replayed) {
    let boot = Boot {
        archive: archive().to_vec(),
        command_line: "link quiet".into(),
        memory: 128 << 20,
        show_console: false,
        ..Boot::default()
    };
    repeat(boot, shell(SCRIPT), b"some input\n".to_vec(), seed).unwrap_or_else(|e| panic!("{e:#}"))
}

#[test]
fn two_runs_with_one_seed_are_the_same_run_and_another_seed_is_another() {
    let (events, first) = run(7);
    assert_eq!(first.end, Some(End::PowerOff));
    let (again, second) = run(7);
    assert_eq!(first, second);
    assert_eq!(events, again);
    let (others, third) = run(8);
    assert_ne!(first.trace_hash, third.trace_hash);
    assert_ne!(events, others, "the seed decides what programs see of chance");
}
