//! The Aurora gate: the example in assembly, on every machine, and that it stays shut for others. What its calls do is
//! compared with Linux in `tests/cases/programs.cases`.

use std::time::Duration;

use aurora_cli::link::Status;
use aurora_cli::machines::Kind;
use aurora_cli::project;
use aurora_tests::{boot, shell};

const TIMEOUT: Duration = Duration::from_secs(30);

fn the_example_runs(kind: Kind) {
    let running = boot(kind);
    let output = running.client.output(&shell("/test/greeting"), b"Ada\n", TIMEOUT).expect("it ends");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said, "Who is there?\nHello, Ada\na child was here\nand is gone, with status 7\n");
    assert_eq!(output.status, Some(Status::Exited(0)));
    // ENOSYS, because the program has no note.
    let output = running.client.output(&shell("/test/musl closed-gate"), b"", TIMEOUT).expect("it ends");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "-38\n");
}

#[test]
fn the_example_of_our_gate_runs_in_a_process() {
    the_example_runs(Kind::Hosted);
}

#[test]
fn the_example_of_our_gate_runs_in_node() {
    the_example_runs(Kind::Node);
}

#[test]
fn the_example_of_our_gate_runs_in_a_browser() {
    the_example_runs(Kind::Browser);
}

#[test]
fn the_example_of_our_gate_runs_on_a_pc() {
    the_example_runs(Kind::Qemu);
}

#[test]
fn every_call_of_our_gate_is_compared_with_its_twin() {
    let page = std::fs::read_to_string(project::root().join("docs/aurora-calls.md")).expect("the page is there");
    let program = std::fs::read_to_string(project::root().join("tests/programs/gate.c")).expect("the program is there");
    let rows = page.lines().filter_map(|line| line.split(" | `").nth(1)?.split('(').next());
    // These two are about Aurora alone.
    let names: Vec<&str> = rows.filter(|name| !name.starts_with("cap_")).collect();
    assert!(names.len() >= 50, "{names:?}");
    for name in names {
        let calls = ["SHOW", "TRY", "CALL"].map(|how| [format!("{how}({name},"), format!("{how}({name})")]);
        let by_the_kernel = name == "sigreturn";
        assert!(by_the_kernel || calls.iter().flatten().any(|call| program.contains(call)), "{name} is not called");
    }
}
