//! `screen ROWSxCOLUMNS PROGRAM ARGUMENTS…`: starts a program on a pseudo-terminal, plays the script on standard input
//! against it, and prints what was on the screen. It runs inside the systems that are compared, so it uses nothing but
//! what every Unix has.
//!
//! | line | does |
//! |---|---|
//! | `type BYTES` | types, with the escapes `\r \n \t \e \\ \xNN` |
//! | `wait TEXT` | reads output until the screen shows TEXT |
//! | `gone TEXT` | reads output until it does not |
//! | `at TEXT` | reads output until TEXT is all there is on the cursor's line, up to the cursor |
//! | `show` | prints the screen |
//! | `masked N` | prints the first N lines with `#` for every number and one blank for many |
//! | `size ROWSxCOLUMNS` | changes the window |
//! | `hangup` | closes the master |
//! | `end` | reads output until the program has ended and nobody has the terminal open, prints screen and status |
//! | `status` | does the same, but prints the status only |
#![forbid(unsafe_code)]

use std::error::Error;
use std::fs::File;
use std::io::{BufRead as _, Read as _, Write as _};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Nothing for this long means that nothing will come.
const PATIENCE: Duration = Duration::from_secs(15);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.as_slice() {
        [flag, terminal, program, rest @ ..] if flag == "--on" => Err(become_program(terminal, program, rest)),
        [size, program @ ..] if !program.is_empty() => play(size, program),
        _ => Err("screen ROWSxCOLUMNS PROGRAM ARGUMENTS…".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("screen: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The child: a session of its own on the terminal, then the program.
fn become_program(terminal: &str, program: &str, arguments: &[String]) -> Box<dyn Error> {
    let start = || -> Result<std::io::Error> {
        rustix::process::setsid()?;
        let terminal = File::options().read(true).write(true).open(terminal)?;
        rustix::process::ioctl_tiocsctty(&terminal)?;
        let stream = || terminal.try_clone().map(Stdio::from);
        let mut command = Command::new(program);
        command.args(arguments).stdin(stream()?).stdout(stream()?).stderr(stream()?);
        drop(terminal);
        Ok(command.exec())
    };
    start().map_or_else(|error| error, Into::into)
}

struct Screen {
    /// None once hung up.
    master: Option<File>,
    parser: vt100::Parser,
    program: Child,
    /// Nobody has the terminal open any more.
    closed: bool,
}

fn parse_size(text: &str) -> Result<(u16, u16)> {
    let (rows, columns) = text.split_once('x').ok_or("a size is ROWSxCOLUMNS")?;
    Ok((rows.parse()?, columns.parse()?))
}

fn play(size: &str, program: &[String]) -> Result<()> {
    let size = parse_size(size)?;
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?.into_string()?;
    set_size(&master, size)?;
    let mut screen = Screen {
        master: Some(File::from(master)),
        parser: vt100::Parser::new(size.0, size.1, 0),
        // Whoever started us may not have its streams on this terminal.
        program: Command::new("/proc/self/exe").arg("--on").arg(name).args(program).stdin(Stdio::null()).spawn()?,
        closed: false,
    };
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let text = || unescape(rest).map_or_else(|_| rest.into(), |bytes| String::from_utf8_lossy(&bytes).into_owned());
        match verb {
            "type" => screen.type_bytes(&unescape(rest)?)?,
            "wait" => screen.read_until(&line, |s| s.shows(&text()))?,
            "gone" => screen.read_until(&line, |s| !s.shows(&text()))?,
            "at" => screen.read_until(&line, |s| s.before_cursor() == rest)?,
            "show" => screen.show(),
            "masked" => screen.show_masked(rest.parse()?),
            "size" => screen.resize(parse_size(rest)?)?,
            "hangup" => screen.master = None,
            "end" => screen.end(true)?,
            "status" => screen.end(false)?,
            "" | "#" => {}
            _ => return Err(format!("not understood: {line}").into()),
        }
    }
    Ok(())
}

fn set_size(master: impl AsFd, (rows, columns): (u16, u16)) -> Result<()> {
    Ok(tcsetwinsize(master, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })?)
}

fn unescape(text: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            bytes.extend(c.encode_utf8(&mut [0; 4]).bytes());
            continue;
        }
        bytes.push(match rest.next() {
            Some('r') => b'\r',
            Some('n') => b'\n',
            Some('t') => b'\t',
            Some('e') => 0x1b,
            Some('\\') => b'\\',
            Some('x') => u8::from_str_radix(&rest.by_ref().take(2).collect::<String>(), 16)?,
            other => return Err(format!("no escape: \\{}", other.unwrap_or(' ')).into()),
        });
    }
    Ok(bytes)
}

impl Screen {
    fn shows(&self, text: &str) -> bool {
        let screen = self.parser.screen();
        let rows: Vec<String> = screen.rows(0, screen.size().1).map(|row| row.trim_end().to_owned()).collect();
        (rows.join("\n") + "\n").contains(text)
    }

    fn before_cursor(&self) -> String {
        let screen = self.parser.screen();
        let (row, column) = screen.cursor_position();
        screen.rows(0, column).nth(row.into()).unwrap_or_default()
    }

    fn resize(&mut self, (rows, columns): (u16, u16)) -> Result<()> {
        set_size(self.master.as_ref().ok_or("hung up")?, (rows, columns))?;
        self.parser.screen_mut().set_size(rows, columns);
        Ok(())
    }

    fn type_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.master.as_ref().ok_or("hung up")?.write_all(bytes)?)
    }

    /// Reads output until `done` says so.
    fn read_until(&mut self, what: &str, done: impl Fn(&Self) -> bool) -> Result<()> {
        let mut buffer = [0; 4096];
        while !done(self) {
            let Some(master) = self.master.as_mut().filter(|_| !self.closed) else {
                self.show();
                return Err(format!("the terminal was closed before: {what}").into());
            };
            let wait = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
            if poll(&mut [PollFd::new(master, PollFlags::IN)], Some(&wait))? == 0 {
                self.show();
                return Err(format!("never came: {what}").into());
            }
            match master.read(&mut buffer) {
                Ok(n) => self.parser.process(&buffer[..n]),
                // What a master reads when the last one has closed the terminal.
                Err(error) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => self.closed = true,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn show(&self) {
        let screen = self.parser.screen();
        let rows: Vec<String> = screen.rows(0, screen.size().1).map(|row| row.trim_end().to_owned()).collect();
        let used = rows.iter().rposition(|row| !row.is_empty()).map_or(0, |last| last + 1);
        for row in &rows[..used] {
            println!("|{row}");
        }
        // Colours and the like count, too.
        let formatted = screen.contents_formatted();
        let sum =
            formatted.iter().fold(0xcbf2_9ce4_8422_2325u64, |h, &b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
        let (row, column) = screen.cursor_position();
        let alternate = if screen.alternate_screen() { ", alternate" } else { "" };
        println!("cursor {row},{column}{alternate}, drawn {sum:016x}");
    }

    fn show_masked(&self, lines: usize) {
        let screen = self.parser.screen();
        for row in screen.rows(0, screen.size().1).take(lines) {
            let masked = row.replace(|c: char| c.is_ascii_digit(), "#");
            let mut words: Vec<String> = masked.split_whitespace().map(str::to_owned).collect();
            for word in &mut words {
                while word.contains("##") {
                    *word = word.replace("##", "#");
                }
            }
            println!("|{}", words.join(" "));
        }
    }

    fn end(&mut self, show: bool) -> Result<()> {
        if self.master.is_some() {
            self.read_until("the end", |s| s.closed)?;
        }
        if show && self.master.is_some() {
            self.show();
        }
        let status = self.program.wait()?;
        match (status.code(), status.signal()) {
            (Some(code), _) => println!("exit {code}"),
            (None, signal) => println!("signal {}", signal.unwrap_or(0)),
        }
        Ok(())
    }
}
