//! Saying what goes on, on standard error, and running other programs quietly.

use std::io::{BufRead as _, BufReader, IsTerminal as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

/// A line of progress for something whose length nobody knows.
pub fn spinner(what: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner:.green} {prefix} {elapsed:.dim} {wide_msg:.dim}") {
        bar.set_style(style);
    }
    bar.set_prefix(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// A bar for `len` steps.
pub fn bar(what: &str, len: u64) -> ProgressBar {
    let bar = ProgressBar::new(len);
    if let Ok(style) = ProgressStyle::with_template("{prefix} {wide_bar:.green} {pos}/{len} {elapsed:.dim}") {
        bar.set_style(style);
    }
    bar.set_prefix(what.to_owned());
    bar
}

/// Says one thing.
pub fn say(line: &str) {
    eprintln!("aurora: {line}");
}

/// Runs a program behind a progress line. Its output is shown only when it fails.
pub fn run_quietly(what: &str, command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {name}"))?;
    let progress = spinner(what);
    let mut said = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            progress.set_message(line.trim().to_owned());
            said.push(line);
        }
    }
    let status = child.wait()?;
    progress.finish_and_clear();
    if !status.success() {
        bail!("{what} failed ({status})\n{}", said.join("\n"));
    }
    // Long waits leave a trace where there is no terminal to show a spinner.
    if start.elapsed() > Duration::from_secs(2) || !std::io::stderr().is_terminal() && start.elapsed().as_secs() > 0 {
        say(&format!("{what}: done in {}", HumanDuration(start.elapsed())));
    }
    Ok(())
}
