//! The suite of the contract, passed by all four machines.

use std::time::Duration;

use aurora_cli::machines::{Boot, Kind, Running};

fn conforms(kind: Kind) {
    kind.prepare().unwrap_or_else(|e| panic!("{kind:?} cannot be made: {e:#}"));
    let boot = Boot {
        archive: aurora_tests::archive().to_vec(),
        command_line: "conformance".into(),
        memory: 256 << 20,
        show_console: false,
        ..Boot::default()
    };
    // No system starts: the machine runs the suite, says how that went, and is off.
    let said = match Running::start(kind, boot, Duration::from_secs(60)) {
        Ok(_) => panic!("{kind:?} started a system"),
        Err(error) => format!("{error:#}"),
    };
    let passed = said.lines().filter(|line| line.starts_with("ok ")).count();
    assert!(passed > 30 && said.contains(&format!("conformance: {passed} passed, 0 failed")), "{kind:?}: {said}");
}

#[test]
fn hosted_conforms() {
    conforms(Kind::Hosted);
}

#[test]
fn node_conforms() {
    conforms(Kind::Node);
}

#[test]
fn the_browser_conforms() {
    conforms(Kind::Browser);
}

#[test]
fn qemu_conforms() {
    conforms(Kind::Qemu);
}
