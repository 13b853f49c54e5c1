//! The fuzzer, for a minute, or for `AURORA_FUZZ_SECONDS` from `AURORA_SEED`.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use aurora_kernel::syscall::table::ROWS;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn no_system_call_however_made_brings_the_kernel_down() {
    let (seconds, seed) = (number("AURORA_FUZZ_SECONDS", 60), number("AURORA_SEED", 1));
    let batch = Path::new(env!("CARGO_BIN_EXE_aurora-fuzz"));
    match aurora_fuzz::fuzz(batch, Duration::from_secs(seconds), seed) {
        Ok(done) => println!("{} rounds in {} batches from seed {seed}", done.rounds, done.batches),
        Err(error) => panic!("{error:#}"),
    }
}

#[test]
fn every_call_there_is_has_a_description() {
    let program = aurora_fuzz::program().expect("it is built");
    let out = Command::new(program).arg("list").output().expect("it runs here, too");
    let said = String::from_utf8(out.stdout).expect("they are numbers");
    let described: BTreeSet<u64> = said.lines().map(|l| l.parse().expect("it is a number")).collect();
    let there: BTreeSet<u64> = ROWS.iter().map(|row| row.number).collect();
    assert_eq!(there.difference(&described).collect::<Vec<_>>(), [&0; 0], "rows without a description");
    assert_eq!(described.difference(&there).collect::<Vec<_>>(), [&0; 0], "descriptions of no row");
}
