//! The fuzzer, for a minute, or for `AURORA_FUZZ_SECONDS` from `AURORA_SEED`.

use std::time::Duration;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn no_system_call_however_made_brings_the_kernel_down() {
    let (seconds, seed) = (number("AURORA_FUZZ_SECONDS", 60), number("AURORA_SEED", 1));
    match aurora_fuzz::fuzz(Duration::from_secs(seconds), seed) {
        Ok(done) => println!("{} rounds in {} batches from seed {seed}", done.rounds, done.batches),
        Err(error) => panic!("{error:#}"),
    }
}
