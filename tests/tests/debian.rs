//! Debian's own programs, dynamically linked as they come from their packages, say what they say on Linux: every script of
//! bash's in one boot of each machine.

use std::sync::OnceLock;

use aurora_cli::machines::Kind;
use aurora_tests::cases;
use aurora_tests::compare::Suite;

static SUITE: Suite = Suite {
    cases: || cases::all("tests/cases/debian"),
    image: aurora_tests::debian,
    shell: &["bash", "-c"],
    memory: 512 << 20,
    answers: OnceLock::new(),
};

#[test]
fn hosted_runs_debians_programs_as_linux_does() {
    SUITE.compare(Kind::Hosted);
}

#[test]
fn node_runs_debians_programs_as_linux_does() {
    SUITE.compare(Kind::Node);
}

#[test]
fn the_browser_runs_debians_programs_as_linux_does() {
    SUITE.compare(Kind::Browser);
}

#[test]
fn qemu_runs_debians_programs_as_linux_does() {
    SUITE.compare(Kind::Qemu);
}

#[test]
fn linux_says_the_same_twice() {
    SUITE.linux_says_the_same_twice();
}
