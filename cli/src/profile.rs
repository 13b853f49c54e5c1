//! `aurora run --profile`: what the kernel counted (`kernel/src/task/profile.rs`), by function.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use object::{Object as _, ObjectSegment as _, ObjectSymbol as _, SymbolKind};

use crate::image::Image;
use crate::machines::Running;
use crate::symbols;

/// Rows of a process's table.
const ROWS: usize = 25;
/// How long the last lines may take after the program's end.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the console said once it has said all.
pub fn collect(running: &Running) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let said = running.console();
        if said.contains("profile: end") || Instant::now() > deadline {
            return said;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A part of a process's memory that holds code.
struct Map {
    start: u64,
    end: u64,
    offset: u64,
    path: String,
}

/// Where a process was found.
#[derive(Default)]
struct Process {
    id: String,
    all: u64,
    maps: Vec<Map>,
    samples: Vec<(u64, u64)>,
    machine: Vec<String>,
}

/// The tables, a process after the other.
pub fn tables(said: &str, image: &Image) -> String {
    let mut files = HashMap::new();
    let mut text = String::new();
    for process in parse(said) {
        text += &table(&process, image, &mut files);
    }
    if text.is_empty() {
        text += "no process ran long enough to be found anywhere\n";
    }
    text
}

fn parse(said: &str) -> Vec<Process> {
    let mut all: Vec<Process> = Vec::new();
    for line in said.lines().filter_map(|line| line.split_once("profile: ").map(|(_, rest)| rest)) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |word: &str| u64::from_str_radix(word, 16).unwrap_or(0);
        match (&words[..], all.last_mut()) {
            (["process", id, count], _) => {
                all.push(Process { id: (*id).to_owned(), all: count.parse().unwrap_or(0), ..Process::default() });
            }
            (["map", range, _, offset, _, _, path @ ..], Some(process)) => {
                let (start, end) = range.split_once('-').unwrap_or_default();
                let path = path.join(" ");
                process.maps.push(Map { start: number(start), end: number(end), offset: number(offset), path });
            }
            (["at", address, count], Some(process)) => {
                process.samples.push((number(address), count.parse().unwrap_or(0)));
            }
            (["machine", said @ ..], Some(process)) => process.machine.push(said.join(" ")),
            _ => {}
        }
    }
    all
}

/// A file's functions: for each place in the file where one begins, its name, sorted; and where its segments are.
struct Functions {
    names: Vec<(u64, String)>,
    /// Offset in the file, bytes, address.
    segments: Vec<(u64, u64, u64)>,
}

impl Functions {
    fn read(bytes: &[u8]) -> Option<Self> {
        let file = object::File::parse(bytes).ok()?;
        let symbols = file.symbols().chain(file.dynamic_symbols());
        let functions = symbols.filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.is_definition());
        let mut names: Vec<(u64, String)> =
            functions.filter_map(|symbol| Some((symbol.address(), symbols::short(symbol.name().ok()?)))).collect();
        names.sort();
        names.dedup_by_key(|(address, _)| *address);
        let segments = file.segments().map(|s| (s.file_range().0, s.file_range().1, s.address())).collect();
        Some(Self { names, segments })
    }

    /// The function at an offset in the file.
    fn at(&self, offset: u64) -> Option<&str> {
        let segment = self.segments.iter().find(|(from, len, _)| (*from..from + len).contains(&offset))?;
        let address = offset - segment.0 + segment.2;
        let after = self.names.partition_point(|(start, _)| *start <= address);
        Some(&self.names.get(after.checked_sub(1)?)?.1)
    }
}

fn table(process: &Process, image: &Image, files: &mut HashMap<String, Option<Functions>>) -> String {
    let mut by_name: HashMap<String, u64> = HashMap::new();
    for &(address, count) in &process.samples {
        let map = process.maps.iter().find(|map| (map.start..map.end).contains(&address));
        let name = match map {
            None => format!("elsewhere ({address:x})"),
            Some(map) if !map.path.starts_with('/') => format!("{address:x} {}", map.path),
            Some(map) => {
                let offset = address - map.start + map.offset;
                let read = || Functions::read(image.file(&map.path)?);
                let functions = files.entry(map.path.clone()).or_insert_with(read);
                match functions.as_ref().and_then(|f| f.at(offset)) {
                    Some(name) => format!("{name} ({})", map.path),
                    // A cache line's worth of code.
                    None => format!("{}+{:x}", map.path, offset & !63),
                }
            }
        };
        *by_name.entry(name).or_default() += count;
    }
    let mut rows: Vec<(u64, String)> = by_name.into_iter().map(|(name, count)| (count, name)).collect();
    rows.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let mut text = format!("process {}: {} samples, one for each millisecond it ran\n", process.id, process.all);
    for (count, name) in rows.iter().take(ROWS) {
        text += &format!("{:6.1} %  {name}\n", 100.0 * *count as f64 / process.all.max(1) as f64);
    }
    for line in &process.machine {
        text += &format!("machine: {line}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_told_by_process_and_function_and_by_place_where_there_are_no_names() {
        let said = "x\nprofile: process 2 30\nprofile: map 00400000-00401000 r-xp 00000000 00:01 5   /bin/x\n\
                    profile: at 400123 10\nprofile: at 400130 15\nprofile: at 9000 5\nprofile: machine fast\nprofile: end\n";
        let text = tables(said, &Image::default());
        assert!(text.starts_with("process 2: 30 samples"), "{text}");
        assert!(text.contains("  83.3 %  /bin/x+100\n"), "{text}");
        assert!(text.contains("  16.7 %  elsewhere (9000)\n"), "{text}");
        assert!(text.ends_with("machine: fast\n"), "{text}");
    }
}
