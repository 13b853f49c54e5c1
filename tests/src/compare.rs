//! The comparison itself: what Linux says of every case, and whether a machine says the same.

use std::fmt::Write as _;
use std::sync::OnceLock;
use std::time::Duration;

use aurora_cli::image::Image;
use aurora_cli::link::{Output, Spawn, Status};
use aurora_cli::machines::{Boot, Kind, Running};

use crate::START;
use crate::cases::Case;
use crate::linux::Linux;

/// A case that needs longer than this hangs. The longest take 5 s of a processor, and may have a quarter of one.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Cases that run in one image, by one shell.
pub struct Suite {
    /// All of them, in order.
    pub cases: fn() -> Vec<Case>,
    /// What is on the root.
    pub image: fn() -> &'static Image,
    /// The program and arguments that take a script as the last one.
    pub shell: &'static [&'static str],
    /// What a machine has, in bytes.
    pub memory: u64,
    /// What Linux said, once it was asked.
    pub answers: OnceLock<Vec<(Case, Output)>>,
}

impl Suite {
    fn spawn(&self, case: &Case) -> Spawn {
        let script = case.wrapped();
        let argv = self.shell.iter().copied().chain([script.as_str()]).map(|word| word.as_bytes().to_vec()).collect();
        Spawn { tty: None, cwd: Vec::new(), argv, env: aurora_cli::link::environment(None) }
    }

    fn root(&self) -> Linux {
        Linux::with((self.image)()).expect("a root for Linux")
    }

    fn ask(&self, linux: &Linux, case: &Case) -> Output {
        let answer = linux.output(&self.spawn(case), case.stdin.as_bytes(), TIMEOUT);
        answer.unwrap_or_else(|error| panic!("{}: {error:#}", case.name))
    }

    /// What Linux says of every case, or of those whose name has `AURORA_CASE` in it.
    fn linux(&self) -> &[(Case, Output)] {
        self.answers.get_or_init(|| {
            let linux = self.root();
            let wanted = std::env::var("AURORA_CASE").unwrap_or_default();
            let cases = (self.cases)().into_iter().filter(|case| case.name.contains(&wanted));
            cases.map(|case| (case.clone(), self.ask(&linux, &case))).collect()
        })
    }

    /// Runs all cases in one boot of a machine; each has to say what Linux says.
    pub fn compare(&self, kind: Kind) {
        let expected = self.linux();
        let running = self.boot(kind);
        let mut differences = String::new();
        let mut bad = 0;
        for (case, linux) in expected {
            match running.client.output(&self.spawn(case), case.stdin.as_bytes(), TIMEOUT) {
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

    fn boot(&self, kind: Kind) -> Running {
        kind.prepare().unwrap_or_else(|e| panic!("{kind:?} cannot be made: {e:#}"));
        let archive = (self.image)().to_cpio();
        let boot = Boot {
            archive,
            command_line: "link quiet".into(),
            memory: self.memory,
            show_console: false,
            ..Boot::default()
        };
        Running::start(kind, boot, START).unwrap_or_else(|e| panic!("{kind:?} does not start: {e:#}"))
    }

    /// A case Linux answers in two ways is not one to compare by.
    pub fn linux_says_the_same_twice(&self) {
        let again = self.root();
        let mut text = String::new();
        for (case, output) in self.linux() {
            let second = self.ask(&again, case);
            if *output != second {
                describe(&mut text, case, output, &second);
            }
        }
        assert!(text.is_empty(), "not cases to compare by:{text}");
    }
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
