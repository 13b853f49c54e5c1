//! The same program, the same output: every case on Linux and in one boot of each machine.

use std::fmt::Write as _;
use std::sync::OnceLock;
use std::time::Duration;

use aurora_cli::link::{Output, Status};
use aurora_cli::machines::Kind;
use aurora_tests::cases::{self, Case};
use aurora_tests::linux::Linux;
use aurora_tests::{boot, shell};

/// A case that needs longer than this hangs.
const TIMEOUT: Duration = Duration::from_secs(20);

/// What Linux says of every case.
fn linux() -> &'static [(Case, Output)] {
    static ANSWERS: OnceLock<Vec<(Case, Output)>> = OnceLock::new();
    ANSWERS.get_or_init(|| {
        let linux = Linux::new().expect("a root for Linux");
        let answer = |case: Case| {
            let output = linux
                .output(&shell(&case.wrapped()), case.stdin.as_bytes(), TIMEOUT)
                .unwrap_or_else(|e| panic!("{}: {e:#}", case.name));
            (case, output)
        };
        selected().into_iter().map(answer).collect()
    })
}

/// All cases, or those whose name has `AURORA_CASE` in it.
fn selected() -> Vec<Case> {
    let wanted = std::env::var("AURORA_CASE").unwrap_or_default();
    cases::all().into_iter().filter(|case| case.name.contains(&wanted)).collect()
}

fn compare(kind: Kind) {
    let expected = linux();
    let running = boot(kind);
    let mut differences = String::new();
    let mut bad = 0;
    for (case, linux) in expected {
        println!("{kind:?}: {}", case.name);
        match running.client.output(&shell(&case.wrapped()), case.stdin.as_bytes(), TIMEOUT) {
            Ok(got) if same(linux, &got) => {}
            Ok(got) => {
                bad += 1;
                describe(&mut differences, case, linux, &got);
            }
            Err(error) => {
                bad += 1;
                let _ = writeln!(differences, "\n=== {}\n{error:#}", case.name);
                if error.to_string().contains("machine") {
                    break;
                }
            }
        }
    }
    assert!(bad == 0, "{bad} of {} cases differ on {kind:?}:{differences}\n{}", expected.len(), running.console());
}

/// A shell reports what Linux ran, so a signal's number comes as 128 and the number.
fn same(linux: &Output, got: &Output) -> bool {
    let code = |output: &Output| output.status.map(Status::code);
    linux.stdout == got.stdout && linux.stderr == got.stderr && code(linux) == code(got)
}

fn describe(out: &mut String, case: &Case, linux: &Output, got: &Output) {
    let _ = writeln!(out, "\n=== {}", case.name);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if linux.status.map(Status::code) != got.status.map(Status::code) {
        let _ = writeln!(out, "status: Linux {:?}, here {:?} {:?}", linux.status, got.status, got.errno);
    }
    for (name, right, mine) in [("stdout", &linux.stdout, &got.stdout), ("stderr", &linux.stderr, &got.stderr)] {
        if right != mine {
            let (right, mine) = (text(right), text(mine));
            let same = right.lines().zip(mine.lines()).take_while(|(a, b)| a == b).count();
            let rest = |s: &str| s.lines().skip(same).take(6).map(|l| format!("    {l}\n")).collect::<String>();
            let _ = write!(out, "{name} from line {}:\n  Linux\n{}  here\n{}", same + 1, rest(&right), rest(&mine));
        }
    }
}

#[test]
fn hosted_gives_linux_output_and_status_for_every_case() {
    compare(Kind::Hosted);
}

#[test]
fn node_gives_linux_output_and_status_for_every_case() {
    compare(Kind::Node);
}

#[test]
fn the_browser_gives_linux_output_and_status_for_every_case() {
    compare(Kind::Browser);
}

#[test]
fn qemu_gives_linux_output_and_status_for_every_case() {
    compare(Kind::Qemu);
}

#[test]
fn linux_says_the_same_twice() {
    let linux_again = Linux::new().expect("a root for Linux");
    let mut text = String::new();
    for (case, output) in linux() {
        let again = linux_again.output(&shell(&case.wrapped()), case.stdin.as_bytes(), TIMEOUT).expect("Linux runs it");
        if *output != again {
            describe(&mut text, case, output, &again);
        }
    }
    assert!(text.is_empty(), "not cases to compare by:{text}");
}
