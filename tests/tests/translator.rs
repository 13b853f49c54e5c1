//! BPE/U's translator against the real processor: every instruction form, and sequences with branches, loops and calls.
//!
//! Cases run on this processor and in Node, everything translated before its first execution, or under stress: with
//! translations that come, stop and go at random. Results must be equal.
//! `AURORA_CASES` says how many instructions and `AURORA_SEQUENCES` how many sequences, `AURORA_SEED` where cases start; a
//! failure names the seed that gives it first.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]
#![allow(missing_docs, unreachable_pub)]

#[path = "../../bpe/tests/differential/compare.rs"]
mod compare;
#[path = "translator/floats.rs"]
mod floats;
#[path = "../../bpe/tests/differential/generate.rs"]
mod generate;
#[path = "../../bpe/tests/differential/host.rs"]
mod host;
#[path = "../../bpe/tests/differential/kept.rs"]
mod kept;
#[path = "../../bpe/tests/differential/layout.rs"]
mod layout;
#[path = "../../bpe/tests/differential/operands.rs"]
mod operands;
#[path = "../../bpe/tests/differential/random.rs"]
mod random;
#[path = "translator/sequence.rs"]
mod sequence;
#[path = "../../bpe/tests/differential/state.rs"]
mod state;
#[path = "../../bpe/tests/differential/vectors.rs"]
mod vectors;

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use aurora_cli::link::Spawn;
use aurora_cli::machines::{Boot, Kind, Running};
use aurora_machine::FxState;
use generate::Template;
use host::Host;
use layout::{CODE, DATA, ENTRY, PAGE, PAGES};
use random::Random;
use sequence::Sequence;
use state::{Outcome, State};

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

/// A case with what the real processor made of it.
struct Ran {
    seed: u64,
    sequence: Sequence,
    outcome: Outcome,
    sum: u64,
}

fn memory_seed(seed: u64) -> u64 {
    seed ^ 0x5eed
}

/// Runs a sequence on the real processor.
fn on_silicon(host: &Host, seed: u64, sequence: Sequence) -> Option<Ran> {
    let mut r = Random(memory_seed(seed));
    for (page, _) in PAGES {
        let bytes: Vec<u8> = (0..PAGE / 8).flat_map(|_| r.integer().to_le_bytes()).collect();
        host.write(DATA + page * PAGE, &bytes);
    }
    for (addr, bytes) in &sequence.data {
        host.write(*addr, bytes);
    }
    host.write_code(CODE + ENTRY, &sequence.bytes);
    // A return address that was lost can lead into a loop without an end.
    let outcome = host.run_briefly(&sequence.state);
    host.write_code(CODE + ENTRY, &vec![0xcc; sequence.bytes.len()]);
    let mut sum = 0xcbf2_9ce4_8422_2325u64;
    for (page, _) in PAGES {
        for word in host.page(page).chunks_exact(8) {
            let word = u64::from_le_bytes(word.try_into().expect("eight bytes"));
            sum = (sum ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
        }
    }
    Some(Ran { seed, sequence, outcome: outcome?, sum })
}

fn encode(ran: &Ran, out: &mut Vec<u8>) {
    let Sequence { bytes, state, data, .. } = &ran.sequence;
    out.extend((bytes.len() as u32).to_le_bytes());
    out.extend(bytes);
    out.extend(memory_seed(ran.seed).to_le_bytes());
    out.extend(state.gpr.iter().copied().chain([state.rip, state.rflags]).flat_map(u64::to_le_bytes));
    out.extend(state.fx.to_bytes());
    out.extend(state.ymm_high.into_iter().flat_map(u128::to_le_bytes));
    out.extend((data.len() as u32).to_le_bytes());
    for (addr, bytes) in data {
        out.extend(addr.to_le_bytes());
        out.extend((bytes.len() as u32).to_le_bytes());
        out.extend(bytes);
    }
}

fn decode(answer: &[u8]) -> (Outcome, u64) {
    let word = |i: usize| u64::from_le_bytes(answer[i..i + 8].try_into().expect("eight bytes"));
    let mut state = State::default();
    for (i, register) in state.gpr.iter_mut().enumerate() {
        *register = word(i * 8);
    }
    (state.rip, state.rflags) = (word(128), word(136));
    state.fx = FxState::from_bytes(answer[144..656].try_into().expect("512 bytes"));
    for (half, bytes) in state.ymm_high.iter_mut().zip(answer[656..912].chunks_exact(16)) {
        *half = u128::from_le_bytes(bytes.try_into().expect("16 bytes"));
    }
    (Outcome { state, vector: word(912) as u8, error: word(920), address: word(928) }, word(936))
}

const ANSWER: usize = 944;

/// Cases one process runs: an engine that has made very many modules becomes slow.
const AT_ONCE: usize = 5000;

/// How Node is to run cases.
#[derive(Clone, Copy)]
enum How {
    Translated,
    Stressed,
}

/// What Node makes of the cases.
fn in_node(all: &[Ran], how: How, name: &str) -> Vec<(Outcome, u64)> {
    all.chunks(AT_ONCE).flat_map(|some| one_process(some, how, name)).collect()
}

fn one_process(all: &[Ran], how: How, name: &str) -> Vec<(Outcome, u64)> {
    let wasm = aurora_cli::build::engine().expect("the engine is built");
    let folder = aurora_cli::project::made("translator").expect("a folder");
    let (cases, answers) = (folder.join(format!("{name}.cases")), folder.join(format!("{name}.answers")));
    let mut bytes = Vec::new();
    all.iter().for_each(|ran| encode(ran, &mut bytes));
    std::fs::write(&cases, bytes).expect("cases are written");
    let mut node = Command::new(aurora_cli::setup::node().expect("node"));
    node.arg(aurora_cli::project::root().join("bpe/engine/run.mjs")).arg(wasm).arg(&cases).arg(&answers);
    node.arg(match how {
        How::Translated => "translated",
        How::Stressed => "stressed",
    });
    assert!(node.status().expect("node runs").success(), "node failed");
    let bytes = std::fs::read(&answers).expect("answers");
    assert_eq!(bytes.len(), all.len() * ANSWER, "an answer for each case");
    bytes.chunks_exact(ANSWER).map(decode).collect()
}

/// What Node makes differently of a case, in words.
fn difference(ran: &Ran, outcome: &Outcome, sum: u64) -> Option<String> {
    let memory = || (sum != ran.sum && ran.sequence.memory_counts).then(|| "memory differs".to_string());
    ran.sequence.difference(&ran.outcome, outcome).or_else(memory)
}

fn check(host: &Host, all: Vec<Ran>, how: How, name: &str) {
    let mut failures: BTreeMap<String, (u64, String)> = BTreeMap::new();
    let answers = in_node(&all, how, name);
    for (ran, (outcome, sum)) in all.into_iter().zip(answers) {
        let Some(what) = difference(&ran, &outcome, sum) else { continue };
        let kind = ran.sequence.name(&what);
        if let Some(known) = failures.get_mut(&kind) {
            known.0 += 1;
            continue;
        }
        let text = format!("seed {}: expected {what}\n{}before {:x?}", ran.seed, ran.sequence, ran.sequence.state);
        let small = minimise(ran.sequence, |all| failing(host, how, ran.seed, all));
        let path = kept::keep(KIND, &kind.replace(' ', "-"), &small.kept(ran.seed));
        failures.insert(kind, (1, format!("kept as {path:?}\n{small}from {text}")));
    }
    for (name, (count, first)) in failures.iter().take(20) {
        eprintln!("{name}: {count} times, first {first}");
    }
    assert!(failures.is_empty(), "{} kinds of failures", failures.len());
}

/// What failures of this test are kept as.
const KIND: &str = "sequences";

/// The cases that were kept.
fn kept(host: &Host) -> Vec<Ran> {
    let all = kept::all(KIND).into_iter();
    all.filter_map(|(_, kept)| on_silicon(host, kept.memory, Sequence::of_kept(&kept))).collect()
}

/// Which of these sequences come to something else in Node.
fn failing(host: &Host, how: How, seed: u64, all: &[Sequence]) -> Vec<bool> {
    let ran: Vec<Option<Ran>> = all.iter().map(|sequence| on_silicon(host, seed, sequence.clone())).collect();
    let ended: Vec<bool> = ran.iter().map(Option::is_some).collect();
    let ran: Vec<Ran> = ran.into_iter().flatten().collect();
    let answers = in_node(&ran, how, "variants");
    let mut fails = ran.iter().zip(&answers).map(|(ran, (outcome, sum))| difference(ran, outcome, *sum).is_some());
    ended.into_iter().map(|ended| ended && fails.next().unwrap_or(false)).collect()
}

/// A sequence that fails, with instructions taken away as long as it does: all that can go by themselves, from the end, as
/// many together as can, and again.
fn minimise(mut sequence: Sequence, failing: impl Fn(&[Sequence]) -> Vec<bool>) -> Sequence {
    loop {
        let mut removed: Vec<Sequence> = Vec::new();
        for n in (0..sequence.len()).rev() {
            removed.extend(removed.last().unwrap_or(&sequence).without(n));
        }
        let singles: Vec<Sequence> = (0..sequence.len()).filter_map(|n| sequence.without(n)).collect();
        // The most together come last among those, and alone is better than nothing.
        let together = failing(&removed).into_iter().rposition(|fails| fails).map(|n| removed.swap_remove(n));
        let alone = || {
            let n = failing(&singles).into_iter().position(|fails| fails)?;
            singles.get(n).cloned()
        };
        let Some(smaller) = together.or_else(alone) else { return sequence };
        sequence = smaller;
    }
}

#[test]
fn of_a_sequence_that_fails_what_makes_it_fail_is_left() {
    let templates = generate::templates();
    for seed in 0..20 {
        let mut r = Random(seed);
        let sequence = sequence::random(&mut r, &templates);
        let culprits = [r.below(sequence.len() as u64) as usize, r.below(sequence.len() as u64) as usize];
        let holds = |s: &Sequence| culprits.iter().all(|&n| s.instruction(n) == sequence.instruction(n));
        let small = minimise(sequence.clone(), |all| all.iter().map(holds).collect());
        assert!(holds(&small), "seed {seed}: it fails no more");
        let others = (0..small.len()).filter(|n| !culprits.contains(n) && small.without(*n).is_some());
        assert_eq!(others.count(), 0, "seed {seed}: more could go of\n{small}");
    }
}

/// Cases compared at a time.
const ROUND: u64 = 30_000;

/// Compares cases from consecutive seeds.
fn check_many(
    host: &Host,
    count: u64,
    how: How,
    name: &str,
    make: impl Fn(&mut Random, &[Template]) -> Option<Sequence>,
) {
    let templates = generate::templates();
    let (mut seed, mut left) = (setting("AURORA_SEED", 1), count);
    while left > 0 {
        let round = left.min(ROUND);
        let first = seed;
        let mut all = Vec::new();
        while (all.len() as u64) < round {
            let mut r = Random(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
            if let Some(sequence) = make(&mut r, &templates) {
                all.extend(on_silicon(host, seed, sequence));
            }
            seed = seed.wrapping_add(1);
        }
        check(host, all, how, name);
        left -= round;
        eprintln!("{name}: {} of {count} cases, {round} from seed {first}", count - left);
    }
}

/// One test, because only one thread of a process can be the real processor.
#[test]
fn forms_and_sequences_do_translated_what_the_real_processor_does_however_translations_come_stop_and_go() {
    let host = Host::new();
    for feature in generate::lacking() {
        eprintln!("{feature:?} is not tried: this processor is without it");
    }
    check(&host, kept(&host), How::Translated, "kept");
    check(&host, kept(&host), How::Stressed, "kept-stressed");
    check_many(&host, setting("AURORA_CASES", 30_000), How::Translated, "instructions", |r, templates| {
        let template = r.pick(templates);
        generate::case(r, &template).and_then(Sequence::of_one)
    });
    let count = setting("AURORA_SEQUENCES", 12_000);
    let sequence = |r: &mut Random, templates: &[Template]| Some(sequence::random(r, templates));
    check_many(&host, count, How::Translated, "sequences", sequence);
    // A dozen times as much work.
    check_many(&host, count / 8, How::Stressed, "stressed", sequence);
}

/// Runs the program `hot` in Node, with these words on the kernel's command line, and here.
fn hot_does_the_same(words: &str, what: &[&str]) {
    const PATIENCE: Duration = Duration::from_secs(300);
    let programs = aurora_tests::programs::build().expect("the programs are built");
    let hot = &programs.iter().find(|(name, _)| *name == "hot").expect("it is one of them").1;
    let mut image = aurora_cli::image::base().expect("an image");
    image.add_file(hot, "/hot").expect("room for it");
    let boot = Boot {
        archive: image.to_cpio(),
        command_line: format!("link quiet {words}"),
        memory: 256 << 20,
        ..Boot::default()
    };
    let mut running = Running::start(Kind::Node, boot, PATIENCE).expect("a machine");
    for what in what {
        let argv = ["/hot", what].map(|word| word.as_bytes().to_vec()).to_vec();
        let spawn = Spawn { argv, ..Spawn::default() };
        let said = running.client.output(&spawn, b"", PATIENCE).map_err(|error| running.explain(&error));
        let said = said.unwrap_or_else(|why| panic!("{words}, {what}: {why}")).stdout;
        let folder = aurora_cli::project::made("translator").expect("a folder");
        let expected = Command::new(hot).arg(what).current_dir(folder).output().expect("it runs here").stdout;
        assert_eq!(String::from_utf8_lossy(&said), String::from_utf8_lossy(&expected), "{words}, {what}");
    }
}

#[test]
fn what_translated_programs_do_the_interpreter_does_again() {
    hot_does_the_same("check", &["rewritten", "switches"]);
}

#[test]
fn programs_do_the_same_however_their_translations_come_stop_and_go() {
    let all = [
        "recursion",
        "jumps",
        "fault",
        "interrupted",
        "rewritten",
        "switches",
        "replaced",
        "crossing",
        "repeated",
        "small",
    ];
    for seed in 1..=2 {
        hot_does_the_same(&format!("stress={seed}"), &all);
    }
}
