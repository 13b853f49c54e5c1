//! The same program, the same output: every case of busybox's shell on Linux and in one boot of each machine.

use std::sync::OnceLock;

use aurora_cli::machines::Kind;
use aurora_tests::cases;
use aurora_tests::compare::Suite;

static SUITE: Suite = Suite {
    cases: || cases::all("tests/cases"),
    image: aurora_tests::image,
    shell: &["busybox", "sh", "-c"],
    memory: 256 << 20,
    answers: OnceLock::new(),
};

#[test]
fn hosted_gives_linux_output_and_status_for_every_case() {
    SUITE.compare(Kind::Hosted);
}

#[test]
fn node_gives_linux_output_and_status_for_every_case() {
    SUITE.compare(Kind::Node);
}

#[test]
fn the_browser_gives_linux_output_and_status_for_every_case() {
    SUITE.compare(Kind::Browser);
}

#[test]
fn qemu_gives_linux_output_and_status_for_every_case() {
    SUITE.compare(Kind::Qemu);
}

#[test]
fn linux_says_the_same_twice() {
    SUITE.linux_says_the_same_twice();
}
