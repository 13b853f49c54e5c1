//! WebAssembly in a worker of headless Chromium, its streams over WebSockets on loopback.

use std::collections::HashMap;
use std::io::Read as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::child::{self, Owned, Scratch, boxed};
use super::{Boot, Guard, Started, disk, megabytes};
use crate::server::{PageServer, StreamServer};
use crate::{build, image, setup};

/// No first-run pages, no updates, nothing but the page.
pub(crate) const FLAGS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
];

struct Browser {
    chromium: Chromium,
    _page: PageServer,
}

/// A headless Chromium showing one page. It ends when dropped.
pub(crate) struct Chromium(Owned);

impl Chromium {
    /// Opens `url` in a browser that knows nothing from before.
    pub(crate) fn open(url: String) -> Result<Self> {
        let (scratch, profile) = Scratch::new("chromium")?;
        let mut arguments: Vec<String> = FLAGS.map(str::to_owned).to_vec();
        arguments.extend([format!("--user-data-dir={}", profile.display()), url]);
        let child = child::start("chromium", setup::chromium()?, arguments, scratch)?;
        // What the browser says of itself is nobody's business, but its pipe must not fill.
        let mut noise = child.stderr;
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while noise.read(&mut buffer).is_ok_and(|n| n > 0) {}
        });
        Ok(Self(child.guard))
    }
}

impl Guard for Browser {
    fn verdict(&mut self) -> Option<String> {
        // The page ends its streams when its machine is off; the browser itself stays.
        self.chromium.0.end();
        None
    }
}

pub(super) fn prepare() -> Result<(PathBuf, PathBuf)> {
    Ok((setup::chromium()?, build::page()?))
}

pub(super) fn start(boot: Boot, timeout: Duration) -> Result<Started> {
    let (_, folder) = prepare()?;
    let (memory, count) = (megabytes(boot.memory)?.to_string(), boot.disks.len().to_string());
    let mut files = HashMap::from([("/image".to_owned(), boot.archive)]);
    let kind = if boot.copies_disks { "copies" } else { "disks" };
    let disks = match boot.copies_disks {
        true => {
            for (number, path) in boot.disks.iter().enumerate() {
                files.insert(format!("/copy/{number}"), image::gzip(&std::fs::read(path)?)?);
            }
            Vec::new()
        }
        false => disk::take(&boot.disks)?,
    };
    let query = [("memory", memory.as_str()), (kind, &count), ("command-line", &boot.command_line)];
    let page = PageServer::start_with(folder, files, disks, 0)?;
    let streams = StreamServer::start()?;
    let mut url = format!("http://{}/link.html?stream=ws://{}/", page.address(), streams.address());
    for (name, value) in query {
        url.push_str(&format!("&{name}={}", percent_encode(value)));
    }
    if boot.rehearses {
        url.push_str("&rehearse");
    }
    let chromium = Chromium::open(url)?;
    let [(console, _unused), (link, to_link)] = streams.streams(timeout).context("chromium did not start")?;
    let guard = Box::new(Browser { chromium, _page: page });
    Ok(Started { link: boxed(link, to_link), console: Box::new(console), guard })
}

fn percent_encode(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'/' => char::from(b).to_string(),
            _ => format!("%{b:02X}"),
        })
        .collect()
}
