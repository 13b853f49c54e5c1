//! `aurora run`: one program in a machine, its streams connected, its status ours.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use aurora_hosted::{Config, End, Replayed, Surroundings, replay};
use aurora_machine::Port;
use clap::Args;
use signal_hook::consts::{SIGINT, SIGTERM, SIGWINCH};

use crate::image::{self, Image, Root};
use crate::link::{self, Event, Session, Spawn, Status, Stream, errno_text};
use crate::machines::{Boot, Kind, Running};
use crate::terminal::{self, RawMode};
use crate::{profile, ui};

/// Exit status when the machine, not the program, failed.
pub const MACHINE_FAILED: u8 = 125;
/// Exit status at `--timeout`, as timeout(1) has it.
const TIMED_OUT: u8 = 124;
/// How long a program may take to heed `SIGTERM`.
const GRACE: Duration = Duration::from_secs(2);
/// How long a machine may take to write what it has to its disks.
const WRITE_BACK: Duration = Duration::from_secs(120);
/// How long a machine may take to start.
const START: Duration = Duration::from_secs(60);

/// For `--help`.
pub const EXAMPLES: &str = "\
The exit status is the program's: 128 and the signal if one killed it, 127 if it was
not found, 126 if it cannot be run; 124 at --timeout, 125 if the machine failed.

Examples:
  aurora run -- busybox sh -c 'uname -srm; ps'
  seq 1 100 | aurora run --machine qemu -- busybox awk '{ s += $1 } END { print s }'
  aurora run --file ./a.out=/bin/a.out --trace syscalls -- a.out
  aurora run --machine node --profile -- busybox gzip -c /bin/busybox >/dev/null
  aurora run --seed 1 -- busybox sh -c 'echo $RANDOM'";

/// Run a program in a machine
#[derive(Args, Debug)]
pub struct RunArgs {
    /// Where to run it [default: hosted]
    #[arg(long, value_enum)]
    pub machine: Option<Kind>,
    /// The root file system: a directory to pack, a cpio archive (newc, plain or gzip), or a disk image with ext4 on it,
    /// where changes stay
    #[arg(long, value_name = "DIR|CPIO|IMAGE")]
    pub root: Option<PathBuf>,
    /// A disk image for the machine; may be given more than once
    #[arg(long, value_name = "IMAGE")]
    pub disk: Vec<PathBuf>,
    /// Put a file of the host into the image; may be given more than once
    #[arg(long, value_name = "HOST=GUEST")]
    pub file: Vec<String>,
    /// How much memory the machine has
    #[arg(long, default_value = "256M", value_parser = link::parse_size)]
    pub memory: u64,
    /// What to trace, on standard error
    #[arg(long, value_parser = ["syscalls"])]
    pub trace: Option<String>,
    /// Tell on standard error where the program spent its time: each function's share, and how much was translated
    #[arg(long)]
    pub profile: bool,
    /// Execute whatever is translated a second time by the interpreter, and panic where they differ: slow
    #[arg(long)]
    pub check: bool,
    /// Interrupt programs at any instruction and drop translations at any time, as this seed says
    #[arg(long, value_name = "N")]
    pub stress: Option<u64>,
    /// Stop the machine after this many seconds, with status 124
    #[arg(long, value_name = "S")]
    pub timeout: Option<f64>,
    /// Repeat exactly: virtual time, this seed for entropy, input read in full beforehand (hosted only)
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "PROGRAM")]
    pub program: Vec<String>,
}

impl RunArgs {
    fn boot(&self) -> Result<Boot> {
        let root_disk = self.root.as_ref().filter(|path| image::is_disk(path));
        ensure!(
            root_disk.is_none() || self.file.is_empty(),
            "--file puts files into archives; a disk image is changed from inside"
        );
        let mut words = vec!["link".to_owned()];
        words.extend(root_disk.map(|_| "root=/dev/vda".to_owned()));
        words.extend(self.trace.iter().map(|what| format!("trace={what}")));
        for (word, wanted) in [("quiet", self.trace.is_none()), ("profile", self.profile), ("check", self.check)] {
            words.extend(wanted.then(|| word.to_owned()));
        }
        words.extend(self.stress.map(|seed| format!("stress={seed}")));
        Ok(Boot {
            archive: if root_disk.is_some() { Vec::new() } else { self.archive()? },
            command_line: words.join(" "),
            copies_disks: false,
            recording: None,
            disks: root_disk.into_iter().chain(&self.disk).cloned().collect(),
            memory: self.memory,
            rehearses: true,
            show_console: self.trace.is_some(),
        })
    }

    fn archive(&self) -> Result<Vec<u8>> {
        let root = match &self.root {
            Some(path) => image::open(path)?,
            None => Root::Tree(image::base()?),
        };
        let mut image = match root {
            Root::Archive(bytes) if self.file.is_empty() => return Ok(bytes),
            Root::Archive(bytes) => Image::from_archive(bytes)?,
            Root::Tree(image) => image,
        };
        self.file.iter().try_for_each(|pair| add_file(&mut image, pair))?;
        Ok(image.to_cpio())
    }

    fn spawn(&self, tty: Option<(u16, u16)>) -> Spawn {
        let term = std::env::var("TERM").unwrap_or_else(|_| "xterm".into());
        Spawn {
            tty,
            cwd: Vec::new(),
            argv: self.program.iter().map(|a| a.clone().into_bytes()).collect(),
            env: link::environment(tty.map(|_| term.as_str())),
        }
    }
}

fn add_file(image: &mut Image, pair: &str) -> Result<()> {
    let (host, guest) = pair.split_once('=').with_context(|| format!("--file {pair}: HOST=GUEST is meant"))?;
    image.add_file(host.as_ref(), guest)
}

/// Runs the program; returns the status to exit with.
pub fn run(arguments: &RunArgs) -> Result<u8> {
    let kind = arguments.machine.unwrap_or(Kind::FASTEST);
    if let Some(seed) = arguments.seed {
        ensure!(kind == Kind::Hosted, "--seed needs --machine hosted: the others have no virtual time");
        return run_repeatable(arguments, seed);
    }
    let boot = arguments.boot()?;
    let archive = arguments.profile.then(|| boot.archive.clone());
    let has_disks = !boot.disks.is_empty();
    let mut running = Running::start(kind, boot, START)?;
    match converse(arguments, &running) {
        Ok(status) => {
            if let Some(archive) = archive {
                eprint!("{}", profile::tables(&profile::collect(&running), &Image::from_archive(archive)?));
            }
            // What is not on the disks yet, or in the trace, would be lost with the machine.
            if has_disks {
                running.turn_off(WRITE_BACK)?;
            } else if arguments.trace.is_some() {
                // Where nothing can be lost but that, a machine that does not go is left: the status is the program's.
                let _ = running.turn_off(GRACE);
            }
            Ok(status)
        }
        Err(error) => bail!("{}", running.explain(&error)),
    }
}

/// Something happened to the program, or to us.
enum News {
    Program(Event),
    Gone,
    Signal(i32),
}

fn converse(arguments: &RunArgs, running: &Running) -> Result<u8> {
    let interactive = terminal::is_interactive();
    let mut deadline = arguments.timeout.map(|s| Instant::now() + Duration::from_secs_f64(s.max(0.0)));
    let tty = interactive.then(|| terminal::size().unwrap_or((24, 80)));
    let program = running.client.spawn(&arguments.spawn(tty))?;
    let input = program.input.clone();
    let _raw = interactive.then(RawMode::enter).transpose()?;
    let (news, next) = channel();
    watch_signals(news.clone())?;
    let feeder = input.clone();
    std::thread::spawn(move || feed(&feeder));
    std::thread::spawn(move || {
        while let Some(event) = program.wait() {
            if news.send(News::Program(event)).is_err() {
                return;
            }
        }
        let _ = news.send(News::Gone);
    });
    let mut asked = None;
    loop {
        let pause = deadline.map_or(Duration::MAX, |d| d.saturating_duration_since(Instant::now()));
        match next.recv_timeout(pause) {
            Ok(News::Program(event)) => {
                if let Some(status) = show(&arguments.program[0], event)? {
                    return Ok(status);
                }
            }
            Ok(News::Signal(SIGWINCH)) => {
                if let Some((rows, columns)) = terminal::size() {
                    input.resize(rows, columns)?;
                }
            }
            Ok(News::Signal(signal)) => {
                // Said twice, or as an order, it also holds for a program that does not listen.
                if asked == Some(signal) {
                    return Ok(128 + signal as u8);
                }
                if signal == SIGTERM {
                    deadline = Some(Instant::now() + GRACE);
                }
                asked = Some(signal);
                input.signal(signal.cast_unsigned())?;
            }
            Ok(News::Gone) => bail!("the machine stopped while the program ran"),
            Err(_) => {
                ui::say("the program did not end in time");
                return Ok(if asked == Some(SIGTERM) { 128 + SIGTERM as u8 } else { TIMED_OUT });
            }
        }
    }
}

/// Passes our standard input on until it ends.
fn feed(input: &link::Input) {
    let mut buffer = [0; 16384];
    let mut stdin = std::io::stdin().lock();
    while let Ok(n) = stdin.read(&mut buffer)
        && n > 0
    {
        if input.send_all(&buffer[..n]).is_err() {
            return;
        }
    }
    let _ = input.end();
}

fn watch_signals(news: Sender<News>) -> Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGWINCH])?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            if news.send(News::Signal(signal)).is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// Passes an event on to our own streams; returns the status once the program is over.
fn show(name: &str, event: Event) -> Result<Option<u8>> {
    match event {
        Event::Stdout(bytes) => {
            let mut out = std::io::stdout();
            out.write_all(&bytes).and_then(|()| out.flush()).context("standard output")?;
        }
        Event::Stderr(bytes) => std::io::stderr().write_all(&bytes).context("standard error")?,
        Event::Failed(errno) => {
            ui::say(&format!("{name}: {}", errno_text(errno)));
            // As a shell: not found is 127, found and not runnable 126.
            return Ok(Some(if errno == 2 { 127 } else { 126 }));
        }
        Event::Exit(status) => return Ok(Some(Status::from_wait(status).code())),
    }
    Ok(None)
}

/// The world of a repeatable run: starts the program, gives it its input, turns the machine off after it.
struct Script<'a> {
    watch: &'a mut dyn FnMut(&Event),
    session: Session,
    spawn: Spawn,
    program: Option<u32>,
    input: Vec<u8>,
    sent: usize,
    input_ended: bool,
    events: Vec<Event>,
    show_console: bool,
    broken: bool,
}

impl Surroundings for Script<'_> {
    fn exchange(&mut self, port: Port, from_machine: &[u8], to_machine: &mut Vec<u8>) {
        if port == Port::Console {
            if self.show_console {
                let _ = std::io::stderr().write_all(from_machine);
            }
            return;
        }
        let (events, session) = (&mut self.events, &mut self.session);
        let before = events.len();
        let heard = session.receive(from_machine, |news| {
            if let aurora_abi::link::News::Program(_, event) = news {
                events.push(event);
            }
        });
        self.broken |= heard.is_err();
        if session.is_ready() && self.program.is_none() {
            self.program = session.spawn(&self.spawn);
        }
        if let Some(id) = self.program {
            self.sent += session.input(id, &self.input[self.sent..]);
            if session.is_started(id) && self.sent == self.input.len() && !self.input_ended {
                self.input_ended = true;
                session.end_input(id);
            }
            for event in &self.events[before..] {
                (self.watch)(event);
                match event {
                    Event::Stdout(bytes) => session.taken(id, Stream::Stdout, bytes.len() as u32),
                    Event::Stderr(bytes) => session.taken(id, Stream::Stderr, bytes.len() as u32),
                    Event::Exit(_) | Event::Failed(_) => {}
                }
            }
        }
        if self.events[before..].iter().any(|e| matches!(e, Event::Exit(_) | Event::Failed(_))) {
            self.session.shutdown();
        }
        to_machine.extend(self.session.take_outgoing());
    }
}

/// What a repeatable run did: its events and its trace.
pub fn repeat(boot: Boot, spawn: Spawn, input: Vec<u8>, seed: u64) -> Result<(Vec<Event>, Replayed)> {
    repeat_watched(boot, spawn, input, seed, &mut |_| {})
}

/// The same; `watch` is told every event as it comes, for a run that may not come to its end.
pub fn repeat_watched(
    boot: Boot,
    spawn: Spawn,
    input: Vec<u8>,
    seed: u64,
    watch: &mut dyn FnMut(&Event),
) -> Result<(Vec<Event>, Replayed)> {
    let mut script = Script {
        watch,
        session: Session::default(),
        spawn,
        program: None,
        input,
        sent: 0,
        input_ended: false,
        events: Vec::new(),
        show_console: boot.show_console,
        broken: false,
    };
    let config = Config {
        memory: boot.memory,
        command_line: boot.command_line,
        initramfs: boot.archive,
        disks: boot.disks,
        recording: None,
    };
    let replayed = replay(config, seed, &mut script).map_err(|e| anyhow!(e.0))?;
    ensure!(!script.broken, "what the machine sent is not the link's protocol");
    Ok((script.events, replayed))
}

fn run_repeatable(arguments: &RunArgs, seed: u64) -> Result<u8> {
    let mut input = Vec::new();
    if !terminal::is_interactive() {
        std::io::stdin().read_to_end(&mut input)?;
    }
    let (events, replayed) = repeat(arguments.boot()?, arguments.spawn(None), input, seed)?;
    let mut status = None;
    for event in events {
        status = show(&arguments.program[0], event)?.or(status);
    }
    let Replayed { trace_hash, instructions, time, end } = replayed;
    eprintln!(
        "trace {trace_hash:016x}: {instructions} instructions, {}.{:09} s",
        time.0 / 1_000_000_000,
        time.0 % 1_000_000_000
    );
    match (status, end) {
        (Some(status), Some(End::PowerOff)) => Ok(status),
        (_, None) => bail!("nothing in the machine would ever have moved again"),
        (_, end) => bail!("the machine ended before the program: {end:?}"),
    }
}
