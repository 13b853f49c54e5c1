//! Bytes and words: copied, searched, compared, counted, sorted, printed and read.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::hint::black_box;

use crate::calculate::next;

/// All of it.
pub fn everything(round: u32) {
    let text = write(black_box(u64::from(round) + 1));
    black_box(count(&text));
    black_box(read(&text));
    black_box(bytes(text.as_bytes()));
}

/// Lines of words and numbers.
fn write(mut seed: u64) -> String {
    let mut text = String::new();
    for line in 0..60 {
        let number = next(&mut seed);
        let word: String = (0..3 + number % 9).map(|i| char::from(b'a' + (number >> (i * 4) & 15) as u8)).collect();
        let _ = writeln!(text, "{line:4} {word:<12} {:#x} {:.3} {}é", number, number as f64 / 1e15, number as i32);
    }
    text
}

/// How often each word is there, the most frequent first.
fn count(text: &str) -> Vec<(usize, String)> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for word in text.split_whitespace() {
        *counts.entry(word).or_default() += 1;
    }
    let ordered: BTreeMap<String, usize> = counts.iter().map(|(word, n)| (word.to_uppercase(), *n)).collect();
    let mut all: Vec<(usize, String)> = ordered.into_iter().map(|(word, n)| (n, word)).collect();
    all.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    all
}

/// The numbers that are in it.
fn read(text: &str) -> f64 {
    let whole: i64 = text.split(' ').filter_map(|word| word.parse::<i64>().ok()).fold(0, i64::wrapping_add);
    let broken: f64 = text.split(' ').filter_map(|word| word.parse::<f64>().ok()).sum();
    broken + whole as f64 + text.matches("ab").count() as f64 + text.find("no such word").map_or(0.0, |at| at as f64)
}

fn bytes(text: &[u8]) -> usize {
    let mut copies = text.repeat(8);
    copies.reverse();
    copies.rotate_left(1000);
    copies[..2000].fill(b'x');
    let same = copies.chunks(text.len()).filter(|part| *part == text).count();
    let sum = copies.iter().fold((1u32, 0u32), |(a, b), &byte| {
        let a = (a + u32::from(byte)) % 65521;
        (a, (a + b) % 65521)
    });
    let mut numbers: Vec<u16> = copies.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let average = numbers.iter().map(|&n| u64::from(n)).sum::<u64>() / numbers.len().max(1) as u64;
    same + (sum.0 ^ sum.1) as usize + average as usize + copies.iter().rposition(|&byte| byte == b'\n').unwrap_or(0)
}
