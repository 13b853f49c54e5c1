//! A PC in QEMU with a screen and a keyboard, driven through QEMU's monitor (QMP).

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::setup;

/// A running PC; ends when dropped.
pub struct Pc {
    qemu: Child,
    monitor: BufReader<UnixStream>,
    serial: Receiver<Vec<u8>>,
    said: Vec<u8>,
    folder: PathBuf,
    started: Instant,
}

impl Pc {
    /// Turns it on with these arguments besides the usual ones.
    pub fn start(arguments: &[String]) -> Result<Self> {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("aurora-pc-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let socket = folder.join("monitor");
        let listener = std::os::unix::net::UnixListener::bind(&socket)?;
        let mut command = Command::new(setup::qemu()?);
        command.args(["-nodefaults", "-no-user-config", "-accel", "tcg", "-M", "q35", "-cpu", "max", "-m", "256M"]);
        command.args(["-display", "none", "-no-reboot", "-serial", "stdio"]);
        command.arg("-qmp").arg(format!("unix:{}", socket.display())).args(arguments);
        let started = Instant::now();
        let mut qemu = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("cannot run QEMU")?;
        let mut output = qemu.stdout.take().context("its output is a pipe")?;
        let (sender, serial) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = output.read(&mut buffer) {
                if sender.send(buffer[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        let monitor = BufReader::new(listener.accept()?.0);
        let mut pc = Self { qemu, monitor, serial, said: Vec::new(), folder, started };
        pc.read_line()?;
        pc.ask("qmp_capabilities", &serde_json::json!({}))?;
        Ok(pc)
    }

    fn read_line(&mut self) -> Result<serde_json::Value> {
        let mut line = String::new();
        ensure!(self.monitor.read_line(&mut line)? > 0, "QEMU's monitor is gone");
        Ok(serde_json::from_str(&line)?)
    }

    fn ask(&mut self, command: &str, arguments: &serde_json::Value) -> Result<()> {
        let request = serde_json::json!({ "execute": command, "arguments": arguments });
        writeln!(self.monitor.get_mut(), "{request}")?;
        loop {
            let answer = self.read_line()?;
            if let Some(error) = answer.get("error") {
                bail!("{command}: {error}");
            }
            if answer.get("return").is_some() {
                return Ok(());
            }
        }
    }

    /// Waits until the serial line has said this; returns the time since power-on.
    pub fn wait_for(&mut self, text: &str, patience: Duration) -> Result<Duration> {
        let until = Instant::now() + patience;
        loop {
            if let Some(at) = self.said.windows(text.len()).position(|w| w == text.as_bytes()) {
                self.said.drain(..at + text.len());
                return Ok(self.started.elapsed());
            }
            let left = until.saturating_duration_since(Instant::now());
            match self.serial.recv_timeout(left) {
                Ok(bytes) => self.said.extend(bytes),
                Err(_) => bail!("no {text:?} on the serial line, but:\n{}", String::from_utf8_lossy(&self.said)),
            }
        }
    }

    /// Sends this down the serial line.
    pub fn send(&mut self, text: &str) -> Result<()> {
        let input = self.qemu.stdin.as_mut().context("its input is a pipe")?;
        Ok(input.write_all(text.as_bytes())?)
    }

    /// Types on the keyboard.
    pub fn keys(&mut self, text: &str) -> Result<()> {
        for c in text.chars() {
            let (shift, key) = match c {
                '\n' => (false, "ret".to_owned()),
                ' ' => (false, "spc".to_owned()),
                '/' => (false, "slash".to_owned()),
                '-' => (false, "minus".to_owned()),
                ';' => (false, "semicolon".to_owned()),
                '>' => (true, "dot".to_owned()),
                c if c.is_ascii_uppercase() => (true, c.to_ascii_lowercase().to_string()),
                c => (false, c.to_string()),
            };
            let code = |code: &str| serde_json::json!({ "type": "qcode", "data": code });
            let keys: Vec<_> = shift.then(|| code("shift")).into_iter().chain([code(&key)]).collect();
            // Milliseconds; QEMU has the keys wait for each other.
            self.ask("send-key", &serde_json::json!({ "keys": keys, "hold-time": 8 }))?;
        }
        Ok(())
    }

    /// What the screen shows.
    pub fn picture(&mut self) -> Result<Picture> {
        let file = self.folder.join("screen.ppm");
        self.ask("screendump", &serde_json::json!({ "filename": file }))?;
        Picture::read(&file)
    }

    /// Writes what the screen shows to a PNG file.
    pub fn write_picture(&mut self, file: &Path) -> Result<()> {
        self.ask("screendump", &serde_json::json!({ "filename": file, "format": "png" }))
    }

    /// Takes pictures until one is as wanted.
    pub fn wait_for_picture(&mut self, patience: Duration, wanted: impl Fn(&Picture) -> bool) -> Result<()> {
        let until = Instant::now() + patience;
        loop {
            let picture = self.picture()?;
            if wanted(&picture) {
                return Ok(());
            }
            if Instant::now() > until {
                let kept = std::env::temp_dir().join("aurora-unexpected-screen.ppm");
                std::fs::copy(self.folder.join("screen.ppm"), &kept)?;
                bail!("the screen does not show what it should; see {}", kept.display());
            }
        }
    }
}

impl Drop for Pc {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Pixels, `0x00RRGGBB`.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    width: usize,
    pixels: Vec<u32>,
}

impl Picture {
    fn read(path: &Path) -> Result<Self> {
        let file = std::fs::read(path)?;
        let mut parts = file.splitn(4, |&b| b == b'\n' || b == b' ');
        let (_, width) = (parts.next(), parts.next().context("a width")?);
        let width: usize = std::str::from_utf8(width)?.parse()?;
        let height: usize = std::str::from_utf8(parts.next().context("a height")?)?.parse()?;
        let start = file.len().checked_sub(width * height * 3).context("a whole picture")?;
        let pixels = file[start..].chunks_exact(3).map(|p| u32::from_be_bytes([0, p[0], p[1], p[2]])).collect();
        Ok(Self { width, pixels })
    }

    /// Pixels of this size, all black.
    pub fn black(width: usize, height: usize) -> Self {
        Self { width, pixels: vec![0; width * height] }
    }

    /// Puts a rectangle of pixels, `width` in a row, where it belongs.
    pub fn put(&mut self, x: usize, y: usize, width: usize, pixels: &[u32]) {
        for (row, line) in pixels.chunks(width).enumerate() {
            let at = (y + row) * self.width + x;
            self.pixels[at..at + line.len()].copy_from_slice(line);
        }
    }

    /// The share of pixels whose colours differ by more than an eye would see.
    pub fn difference(&self, other: &Self) -> f64 {
        const SEEN: u8 = 8;
        if self.width != other.width || self.pixels.len() != other.pixels.len() {
            return 1.0;
        }
        let far = |a: u32, b: u32| a.to_be_bytes().iter().zip(b.to_be_bytes()).any(|(&a, b)| a.abs_diff(b) > SEEN);
        let count = self.pixels.iter().zip(&other.pixels).filter(|&(&a, &b)| far(a, b)).count();
        count as f64 / self.pixels.len() as f64
    }

    /// The share of pixels of this colour.
    pub fn share(&self, colour: u32) -> f64 {
        self.pixels.iter().filter(|&&p| p == colour).count() as f64 / self.pixels.len() as f64
    }
}
