//! Machines that are programs of their own.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use std::os::unix::process::CommandExt as _;

use super::Guard;
use crate::setup;

/// Files and folders that go away with the machine.
#[derive(Default)]
pub(super) struct Scratch(pub(super) Option<PathBuf>);

impl Scratch {
    /// A new folder among the host's temporary files.
    pub(super) fn new(name: &str) -> Result<(Self, PathBuf)> {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("aurora-{name}-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok((Self(Some(path.clone())), path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // What the machine's last processes still write as they end may get in between.
            for _ in 0..50 {
                if std::fs::remove_dir_all(path).is_ok() || !path.exists() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// A child that does not outlive this program, nor this value.
pub(super) struct Owned {
    child: Child,
    name: &'static str,
    _scratch: Scratch,
}

/// A started child and its streams.
pub(super) struct Piped {
    pub(super) guard: Owned,
    pub(super) stdin: ChildStdin,
    pub(super) stdout: ChildStdout,
    pub(super) stderr: ChildStderr,
}

/// Starts a program with all three streams as pipes. A signal from the terminal is not for it, and it is killed should
/// this program die without a word.
pub(super) fn start(name: &'static str, program: PathBuf, arguments: Vec<String>, scratch: Scratch) -> Result<Piped> {
    let mut command = match setup::find_program(&["setpriv"]) {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL", "--"]).arg(&program);
            command
        }
        None => Command::new(&program),
    };
    command.args(arguments).process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot run {}", program.display()))?;
    let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        unreachable!("all three streams were asked for as pipes");
    };
    Ok(Piped { guard: Owned { child, name, _scratch: scratch }, stdin, stdout, stderr })
}

impl Owned {
    pub(super) fn end(&mut self) {
        // With all it started itself: they are a group of their own.
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

impl Guard for Owned {
    fn verdict(&mut self) -> Option<String> {
        // A program that just closed its streams needs a moment to be gone; one that hangs is ended.
        for _ in 0..50 {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(format!("{} ended: {status}", self.name));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.end();
        None
    }
}

/// A program, and what has to stay as long as it does.
impl<T: Send> Guard for (Owned, T) {
    fn verdict(&mut self) -> Option<String> {
        self.0.verdict()
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.end();
    }
}

/// A boxed reader and writer.
pub(super) fn boxed(reader: impl Read + Send + 'static, writer: impl Write + Send + 'static) -> super::Streams {
    (Box::new(reader), Box::new(writer))
}
