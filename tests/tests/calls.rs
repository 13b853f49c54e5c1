//! The conformance table of `tests/programs/calls`: every case holds on the host's Linux, which is its licence, and then on
//! every machine, all in one boot.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aurora_cli::link::{Output, Status};
use aurora_cli::machines::Kind;
use aurora_cli::project;
use aurora_tests::linux::Linux;
use aurora_tests::{boot, shell};

const TIMEOUT: Duration = Duration::from_secs(300);

/// The number of cases only grows.
const AT_LEAST: usize = 1500;

/// The cases are about tmpfs, whatever the root is on. `AURORA_CASE` selects by a part of the name.
fn command() -> String {
    let pattern = std::env::var("AURORA_CASE").unwrap_or_default();
    format!("mount -t tmpfs tmp /tmp && /test/calls '{pattern}'; s=$?; umount /tmp; exit $s")
}

/// What did not hold, by name. A program that was cut short is a failure of its own.
fn failures(output: &Output) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(&output.stdout);
    let mut failed = BTreeMap::new();
    let mut count = 0;
    for line in text.lines() {
        let mut words = line.split('\t');
        let (verdict, name, why) = (words.next(), words.next().unwrap_or(line), words.next().unwrap_or_default());
        count += 1;
        if verdict != Some("ok") {
            failed.insert(name.to_owned(), why.to_owned());
        }
    }
    let complete = matches!(output.status, Some(Status::Exited(0 | 1)));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(complete && words.is_empty(), "cut short after {count} cases: {:?} {words}", output.status);
    assert!(std::env::var("AURORA_CASE").is_ok() || count >= AT_LEAST, "only {count} cases");
    failed
}

/// The cases we are known to fail, each with its reason: `name | reason`. One that holds must be taken off.
fn exceptions() -> BTreeSet<String> {
    let text =
        std::fs::read_to_string(project::root().join("tests/cases/calls.exceptions")).expect("the list is there");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_once(" | ").expect("name | reason").0.to_owned()).collect()
}

fn holds(kind: Kind) {
    let running = boot(kind);
    let output = running.client.output(&shell(&command()), b"", TIMEOUT);
    let output = output.unwrap_or_else(|error| panic!("{error:#}\n{}", running.console()));
    let mut failed = failures(&output);
    let all = std::env::var("AURORA_CASE").is_err();
    let fixed: Vec<_> = exceptions().into_iter().filter(|name| failed.remove(name).is_none() && all).collect();
    assert!(failed.is_empty(), "{} cases fail on {kind:?}: {failed:#?}", failed.len());
    assert!(fixed.is_empty(), "no exceptions any more, take them off the list: {fixed:#?}");
}

#[test]
fn every_case_holds_on_linux() {
    let linux = Linux::new().expect("a root for Linux");
    let failed = failures(&linux.output(&shell(&command()), b"", TIMEOUT).expect("Linux runs it"));
    assert!(failed.is_empty(), "not true of Linux: {failed:#?}");
}

#[test]
fn every_case_holds_on_hosted() {
    holds(Kind::Hosted);
}

#[test]
fn every_case_holds_in_node() {
    holds(Kind::Node);
}

#[test]
fn every_case_holds_in_the_browser() {
    holds(Kind::Browser);
}

#[test]
fn every_case_holds_on_a_pc() {
    holds(Kind::Qemu);
}
