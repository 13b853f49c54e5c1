//! A hash map and regular expressions as Rust programs use them. Prints what `bench.c` prints.
//!
//!     rust [-s SCALE] NAME
//!     rust list

use std::collections::HashMap;
use std::time::Instant;

use regex::Regex;

/// Operations done, and a number that shows they were done right.
type Test = fn(u64) -> (u64, u64);

/// Name, unit, how much all of it is, and what does it.
const TESTS: [(&str, &str, f64, Test); 2] =
    [("hashmap", "operations", 12e6, hash_map), ("regex", "bytes", 40e6, regular_expressions)];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (scale, name) = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["-s", scale, name] => (scale.parse().unwrap_or(1.0), name.to_owned()),
        [name] => (1.0, name.to_owned()),
        _ => (1.0, String::new()),
    };
    if name == "list" {
        TESTS.iter().for_each(|test| println!("{}", test.0));
        return;
    }
    let Some((name, unit, all, run)) = TESTS.iter().find(|test| test.0 == name) else {
        eprintln!("usage: rust [-s SCALE] NAME, or rust list");
        std::process::exit(2);
    };
    let start = Instant::now();
    let (ops, check) = run((all * scale).max(1.0) as u64);
    let seconds = start.elapsed().as_secs_f64();
    println!("BENCH {name} ops={ops} unit={unit} sec={seconds:.6} rate={:.6e} check={check:x}", ops as f64 / seconds);
}

/// The next of a sequence of numbers without a pattern.
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Counting by number and by name: insertions, look-ups and removals in maps of some ten thousand.
fn hash_map(operations: u64) -> (u64, u64) {
    let mut numbers: HashMap<u64, u64> = HashMap::new();
    let mut names: HashMap<String, u64> = HashMap::new();
    let (mut state, mut check) = (88_172_645_463_325_252, 0u64);
    for i in 0..operations {
        let key = next(&mut state) % 40_000;
        match i % 4 {
            0 | 1 => *numbers.entry(key).or_default() += i,
            2 => check = check.wrapping_mul(31).wrapping_add(numbers.remove(&key).unwrap_or(i)),
            _ => *names.entry(format!("name {}", key % 5000)).or_default() += 1,
        }
    }
    let rest = numbers.values().chain(names.values()).fold(0, |sum: u64, n| sum.wrapping_add(*n));
    (operations, check ^ rest)
}

/// Lines of a log, searched as `grep` and a parser would.
fn regular_expressions(bytes: u64) -> (u64, u64) {
    let mut state = 88_172_645_463_325_252;
    let mut log = String::new();
    while log.len() < 1 << 18 {
        let (a, b, c) = (next(&mut state) % 256, next(&mut state) % 1000, next(&mut state) % 60);
        let level = ["debug", "info", "warning", "error"][(a % 4) as usize];
        log += &format!(
            "2026-11-21T10:{c:02}:{:02} {level} 10.0.{a}.{}: GET /item/{b}?q=x{b:x} took {c} ms\n",
            c % 7,
            b % 256
        );
    }
    let patterns = [
        r"error.*took (\d\d) ms",
        r"(?m)^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):\d\d (\w+)",
        r"\b(?:\d{1,3}\.){3}\d{1,3}\b",
        r"(?i)ITEM/[0-9]*7\?q=x[0-9a-f]+",
    ]
    .map(|pattern| Regex::new(pattern).expect("a pattern of our own"));
    let (mut done, mut check) = (0, 0u64);
    while done < bytes {
        for pattern in &patterns {
            for found in pattern.find_iter(&log) {
                check = check.wrapping_mul(31).wrapping_add((found.start() ^ found.len()) as u64);
            }
        }
        done += log.len() as u64;
    }
    (done, check)
}
