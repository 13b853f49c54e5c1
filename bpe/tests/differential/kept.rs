//! Failures that were found once, minimised and kept: `bpe/tests/corpus/*/*.case`, run again before anything else.
//!
//! A file has a line a part: `code` (bytes), `gpr` (RAX to R15), `rflags`, `fx` (an `FXSAVE` image), `ymm` (the upper
//! halves of YMM0 to YMM15, unless all are zero), `data` (address and bytes), and of a sequence `memory` (the seed of what
//! is in memory) and `place` (an instruction's offset, and the flags that are undefined before it).

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use aurora_machine::FxState;

use super::layout::{CODE, ENTRY};
use super::state::State;

/// A failure.
#[derive(Clone, Default)]
pub struct Kept {
    pub code: Vec<u8>,
    pub state: State,
    pub data: Vec<(u64, Vec<u8>)>,
    pub memory: u64,
    pub places: Vec<(u64, u64)>,
}

fn folder(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(1)
        .expect("the repository")
        .join("bpe/tests/corpus")
        .join(kind)
}

/// All of a kind, with their names.
pub fn all(kind: &str) -> Vec<(String, Kept)> {
    let files = std::fs::read_dir(folder(kind)).into_iter().flatten().filter_map(|e| Some(e.ok()?.path()));
    let mut files: Vec<PathBuf> = files.filter(|p| p.extension().is_some_and(|e| e == "case")).collect();
    files.sort();
    files
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("a readable file");
            (path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), read(&text))
        })
        .collect()
}

/// Keeps one; says where.
pub fn keep(kind: &str, name: &str, kept: &Kept) -> PathBuf {
    let name: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    let path = folder(kind).join(format!("{name}.case"));
    std::fs::create_dir_all(folder(kind)).expect("a folder for it");
    std::fs::write(&path, write(kept)).expect("room for it");
    path
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn bytes(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|d| d as u8).collect();
    digits.chunks_exact(2).map(|two| two[0] << 4 | two[1]).collect()
}

fn write(kept: &Kept) -> String {
    let mut text = format!("code {}\ngpr", hex(&kept.code));
    for register in kept.state.gpr {
        let _ = write!(text, " {register:x}");
    }
    let _ = write!(text, "\nrflags {:x}\nfx {}\n", kept.state.rflags, hex(&kept.state.fx.to_bytes()[..416]));
    if kept.state.ymm_high != [0; 16] {
        let halves: String = kept.state.ymm_high.iter().map(|half| format!(" {half:x}")).collect();
        let _ = writeln!(text, "ymm{halves}");
    }
    for (at, bytes) in &kept.data {
        let _ = writeln!(text, "data {at:x} {}", hex(bytes));
    }
    if !kept.places.is_empty() {
        let _ = writeln!(text, "memory {:x}", kept.memory);
    }
    for (at, undefined) in &kept.places {
        let _ = writeln!(text, "place {at:x} {undefined:x}");
    }
    text
}

fn read(text: &str) -> Kept {
    let number = |word: &str| u64::from_str_radix(word, 16).expect("a number");
    let mut kept = Kept::default();
    kept.state.rip = CODE + ENTRY;
    for line in text.lines() {
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["code", code] => kept.code = bytes(code),
            ["gpr", ref all @ ..] => {
                kept.state.gpr.iter_mut().zip(all).for_each(|(register, word)| *register = number(word));
            }
            ["rflags", word] => kept.state.rflags = number(word),
            ["fx", image] => {
                let mut whole = [0; 512];
                whole[..416].copy_from_slice(&bytes(image));
                kept.state.fx = FxState::from_bytes(&whole);
            }
            ["ymm", ref all @ ..] => {
                let halves = all.iter().map(|word| u128::from_str_radix(word, 16).expect("a number"));
                kept.state.ymm_high.iter_mut().zip(halves).for_each(|(half, value)| *half = value);
            }
            ["data", at, data] => kept.data.push((number(at), bytes(data))),
            ["memory", seed] => kept.memory = number(seed),
            ["place", at, undefined] => kept.places.push((number(at), number(undefined))),
            _ => panic!("not understood: {line}"),
        }
    }
    kept
}

/// Makes a part of a state plain.
#[allow(dead_code, reason = "only one of the tests needs it")]
type Change = Box<dyn Fn(&mut Kept)>;

/// Makes a state plainer as long as it still `fails`: what does not matter gets the value a new program has.
#[allow(dead_code, reason = "only one of the tests needs it")]
pub fn plainer(mut kept: Kept, mut fails: impl FnMut(&Kept) -> bool) -> Kept {
    let mut changes: Vec<Change> = vec![
        Box::new(|k| k.state.rflags = 0x202),
        Box::new(|k| k.state.fx.mxcsr = 0x1f80),
        Box::new(|k| {
            let new = FxState::new();
            (k.state.fx.fcw, k.state.fx.fsw, k.state.fx.ftw, k.state.fx.st) = (new.fcw, new.fsw, new.ftw, new.st);
        }),
    ];
    for i in 0..16 {
        changes.push(Box::new(move |k| k.state.gpr[i] = 0));
        changes.push(Box::new(move |k| k.state.fx.xmm[i] = 0));
        changes.push(Box::new(move |k| k.state.ymm_high[i] = 0));
    }
    for i in 0..kept.data.len() {
        changes.push(Box::new(move |k| k.data[i].1.fill(0)));
    }
    for change in &changes {
        let mut tried = kept.clone();
        change(&mut tried);
        if fails(&tried) {
            kept = tried;
        }
    }
    kept.data.retain(|(_, bytes)| bytes.iter().any(|&b| b != 0));
    kept
}
