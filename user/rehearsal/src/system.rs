//! What the kernel is asked for: files, children and what they are told, threads.

use std::fs;
use std::io::{BufRead as _, Read as _, Result, Seek as _, SeekFrom, Write as _};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

/// The argument that makes it the child.
pub const CHILD: &str = "child";

/// All of it.
pub fn everything() -> Result<()> {
    files()?;
    for _ in 0..3 {
        child()?;
    }
    threads();
    Ok(())
}

fn files() -> Result<()> {
    fs::create_dir_all("/tmp/some/folder")?;
    for number in 0..10 {
        fs::write(format!("/tmp/some/folder/{number}"), vec![number; 5000])?;
    }
    for entry in fs::read_dir("/tmp/some/folder")? {
        let path = entry?.path();
        let mut file = fs::OpenOptions::new().read(true).append(true).open(&path)?;
        file.write_all(b"more")?;
        file.seek(SeekFrom::Start(4990))?;
        let mut end = Vec::new();
        file.read_to_end(&mut end)?;
        if file.metadata()?.len() > end.len() as u64 {
            fs::rename(&path, path.with_extension("old"))?;
        }
    }
    fs::remove_dir_all("/tmp/some")
}

/// A child that is told something and says something.
fn child() -> Result<()> {
    let program = std::env::args_os().next().unwrap_or_default();
    let mut child =
        Command::new(program).arg(CHILD).env("HOME", "/").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(b"one\ntwo\nthree\n")?;
    }
    child.wait_with_output().map(drop)
}

/// What the child does: says how long each line is.
pub fn answer() {
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        println!("{}", line.len());
    }
}

fn threads() {
    let total = Arc::new(Mutex::new(0));
    let (sender, receiver) = mpsc::channel();
    let all: Vec<_> = (0..3)
        .map(|number| {
            let (total, sender) = (Arc::clone(&total), sender.clone());
            thread::spawn(move || {
                for step in 0..100 {
                    *total.lock().unwrap_or_else(|broken| broken.into_inner()) += step;
                    let _ = sender.send(number);
                }
            })
        })
        .collect();
    drop(sender);
    let heard: i32 = receiver.iter().sum();
    for thread in all {
        let _ = thread.join();
    }
    std::hint::black_box((heard, total));
}
