//! A login shell on a terminal: a session of its own, started anew when it ends.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::SigSet;
use nix::unistd::{Pid, setsid};

use crate::say;

/// How init calls itself to become a shell.
pub const FLAG: &str = "--console";
/// A shell that ends sooner than this is not started again at once.
const SHORT: Duration = Duration::from_secs(1);

/// A terminal with a shell.
pub struct Console {
    terminal: String,
    shell: Option<Pid>,
    started: Option<Instant>,
}

/// The terminals `/etc/consoles` names, as far as this machine has them.
pub fn all() -> Vec<Console> {
    let list = std::fs::read_to_string("/etc/consoles").unwrap_or_else(|_| "console\n".into());
    let names = list.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let paths = names.map(|name| Path::new("/dev").join(name).to_string_lossy().into_owned());
    let found = paths.filter(|path| open(path).is_ok());
    found.map(|terminal| Console { terminal, shell: None, started: None }).collect()
}

/// Opens a terminal without becoming its session's leader: init must not take what its shells are to have.
fn open(terminal: &str) -> std::io::Result<File> {
    File::options().read(true).write(true).custom_flags(nix::libc::O_NOCTTY).open(terminal)
}

impl Console {
    /// Whether `process` is its shell.
    pub fn is(&self, process: Pid) -> bool {
        self.shell == Some(process)
    }

    /// Starts its shell.
    pub fn start(&mut self) {
        let hasty = self.started.is_some_and(|then| then.elapsed() < SHORT);
        let mut command = Command::new("/proc/self/exe");
        command.args([FLAG, &self.terminal, if hasty { "1" } else { "0" }]);
        match command.spawn() {
            Ok(child) => self.shell = i32::try_from(child.id()).ok().map(Pid::from_raw),
            Err(error) => say(&format!("no shell for {}: {error}", self.terminal)),
        }
        self.started = Some(Instant::now());
    }
}

/// The child: makes the terminal its own and becomes the shell, after so many seconds. Returns why it could not.
pub fn become_shell(terminal: &str, delay: u64) -> String {
    std::thread::sleep(Duration::from_secs(delay));
    let start = || -> std::io::Result<std::io::Error> {
        SigSet::all().thread_unblock()?;
        setsid()?;
        let terminal_is_screen = terminal == "/dev/tty1";
        let terminal = open(terminal)?;
        rustix::process::ioctl_tiocsctty(&terminal)?;
        let stream = || terminal.try_clone().map(Stdio::from);
        let shell = shell_of_root();
        let name = Path::new(&shell).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut command = Command::new(&shell);
        // A name that starts with a dash makes it a login shell.
        // The kernel's own terminal is of this kind whatever the console is.
        if terminal_is_screen {
            command.env("TERM", "linux");
        }
        command.arg0(format!("-{name}")).stdin(stream()?).stdout(stream()?).stderr(stream()?);
        Ok(command.exec())
    };
    let error = start().unwrap_or_else(|error| error);
    format!("no shell on {terminal}: {error}")
}

fn shell_of_root() -> String {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let root = users.lines().find(|line| line.starts_with("root:"));
    let shell = root.and_then(|line| line.split(':').nth(6)).filter(|shell| !shell.is_empty());
    shell.unwrap_or("/bin/sh").to_owned()
}
