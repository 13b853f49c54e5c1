//! The four machines, behind one face: boot an image, speak the host link, collect what the console says.

mod browser;
mod child;
pub(crate) mod disk;
mod hosted;
mod node;
mod qemu;

use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::ValueEnum;

use crate::link::Client;

pub(crate) use browser::Chromium;
pub(crate) use qemu::{arguments as qemu_arguments, disk_arguments};

/// A machine programs can run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub enum Kind {
    /// This process, BPE/U interpreting.
    Hosted,
    /// WebAssembly in Node.
    Node,
    /// WebAssembly in a worker of headless Chromium.
    Browser,
    /// A PC, as QEMU makes one.
    Qemu,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Hosted, Self::Node, Self::Browser, Self::Qemu];

    /// What `run` takes when nobody says: it is there as soon as this program is, and starts in milliseconds.
    pub const FASTEST: Self = Self::Hosted;

    /// Builds and installs what it needs, so that starting it is quick.
    pub fn prepare(self) -> Result<()> {
        match self {
            Self::Hosted => Ok(()),
            Self::Node => node::prepare().map(drop),
            Self::Browser => browser::prepare().map(drop),
            Self::Qemu => qemu::prepare().map(drop),
        }
    }
}

/// What to boot.
#[derive(Clone, Debug, Default)]
pub struct Boot {
    /// The initial archive.
    pub archive: Vec<u8>,
    /// The kernel command line.
    pub command_line: String,
    /// Images of its disks, in order.
    pub disks: Vec<PathBuf>,
    /// The page keeps copies of them in its own storage, and the host's stay as they are (browser only).
    pub copies_disks: bool,
    /// Where to record what is done to them (hosted only).
    pub recording: Option<PathBuf>,
    /// Bytes of RAM.
    pub memory: u64,
    /// It rehearses while it has nothing to do yet, so that programs start fast (browser only).
    pub rehearses: bool,
    /// Show the console on standard error as it comes.
    pub show_console: bool,
}

/// Keeps a machine alive, and ends it when dropped.
pub(crate) trait Guard: Send {
    /// Why it ended, if it can say more than its console did.
    fn verdict(&mut self) -> Option<String>;
}

type Streams = (Box<dyn Read + Send>, Box<dyn Write + Send>);

/// What a machine's own module hands over once it runs.
pub(crate) struct Started {
    link: Streams,
    pub(crate) console: Box<dyn Read + Send>,
    guard: Box<dyn Guard>,
}

/// A booted machine. Dropping it turns it off.
pub struct Running {
    /// Its host link.
    pub client: Client,
    console: Console,
    guard: Box<dyn Guard>,
}

impl Running {
    /// Boots a machine and waits until programs can be started in it.
    pub fn start(kind: Kind, boot: Boot, timeout: Duration) -> Result<Self> {
        let show = boot.show_console;
        let started = match kind {
            Kind::Hosted => hosted::start(boot),
            Kind::Node => node::start(boot),
            Kind::Browser => browser::start(boot, timeout),
            Kind::Qemu => qemu::start(boot),
        }?;
        let client = Client::new(started.link.0, started.link.1);
        let console = Console::collect(started.console, show);
        let mut running = Self { client, console, guard: started.guard };
        if let Err(error) = running.client.wait_ready(timeout) {
            bail!("{}", running.explain(&error));
        }
        Ok(running)
    }

    /// Turns it off when everything is on its disks, and waits until its console has said all it had to.
    pub fn turn_off(mut self, patience: Duration) -> Result<()> {
        self.client.shutdown().context("the machine is gone")?;
        let off = self.client.wait_gone(patience);
        drop(self.guard);
        self.console.settle();
        ensure!(off, "the machine does not turn itself off");
        Ok(())
    }

    /// An error with what is known of the machine's end.
    pub fn explain(&mut self, error: &anyhow::Error) -> String {
        let verdict = self.guard.verdict();
        self.console.settle();
        let said = self.console.text();
        let mut lines = vec![format!("{error:#}")];
        lines.extend(verdict);
        if !said.trim().is_empty() {
            let (cut, said) = last_words(said.trim_end());
            lines.push(format!("its console said:\n{}{said}", if cut { "…" } else { "" }));
        }
        lines.join("\n")
    }

    /// What the console said last.
    pub fn console(&self) -> String {
        self.console.text()
    }
}

/// The end of what a console said, whatever bytes a program sent there, and whether there was more.
fn last_words(said: &str) -> (bool, String) {
    const SHOWN: usize = 4096;
    let readable = |c: char| if c == '\n' || c == '\t' || !c.is_control() && c != '\u{fffd}' { c } else { '·' };
    let start = said.char_indices().rev().nth(SHOWN).map_or(0, |(at, _)| at);
    (start > 0, said[start..].chars().map(readable).collect())
}

/// As much of the console as is kept.
const CONSOLE_KEPT: usize = 64 * 1024;

struct Console {
    kept: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Console {
    fn collect(mut from: Box<dyn Read + Send>, show: bool) -> Self {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let inside = kept.clone();
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n) = from.read(&mut buffer)
                && n > 0
            {
                let bytes = &buffer[..n];
                if show {
                    let _ = std::io::stderr().write_all(bytes);
                }
                let mut kept = inside.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend_from_slice(bytes);
                let excess = kept.len().saturating_sub(CONSOLE_KEPT);
                kept.drain(..excess);
            }
        });
        Self { kept, reader: Some(reader) }
    }

    /// Waits for the last words of a machine that is off.
    fn settle(&mut self) {
        let _ = self.reader.take().map(JoinHandle::join);
    }

    fn text(&self) -> String {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&kept).replace('\r', "")
    }
}

/// Whole megabytes, for machines that count so.
fn megabytes(memory: u64) -> Result<u64> {
    let megabytes = memory >> 20;
    (megabytes > 0).then_some(megabytes).context("a machine needs at least a megabyte of memory")
}
