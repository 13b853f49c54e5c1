//! Every instruction form on the real processor and on BPE/U, from the same random state, with the same result.
//!
//! `AURORA_CASES` says how many cases (2 million by default), `AURORA_SEED` where they start. A failure prints the
//! instruction, the states and a seed that gives that case first. What counts as equal is in the crate's README.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]
#![allow(missing_docs, unreachable_pub)]

mod support;

#[path = "differential/compare.rs"]
mod compare;
#[path = "differential/generate.rs"]
mod generate;
#[path = "differential/guest.rs"]
mod guest;
#[path = "differential/host.rs"]
mod host;
#[path = "differential/kept.rs"]
mod kept;
#[path = "differential/layout.rs"]
mod layout;
#[path = "differential/operands.rs"]
mod operands;
#[path = "differential/random.rs"]
mod random;
#[path = "differential/state.rs"]
mod state;
#[path = "differential/vectors.rs"]
mod vectors;

use std::collections::BTreeMap;

use generate::Case;
use layout::{CODE, DATA, ENTRY, PAGE, PAGES};
use random::Random;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

struct Both {
    host: host::Host,
    bpe: guest::Bpe,
}

impl Both {
    fn write(&mut self, addr: u64, bytes: &[u8]) {
        self.host.write(addr, bytes);
        self.bpe.write(addr, bytes);
    }

    fn fill(&mut self, r: &mut Random) {
        for (page, _) in PAGES {
            let bytes: Vec<u8> = (0..PAGE / 8).flat_map(|_| r.integer().to_le_bytes()).collect();
            self.write(DATA + page * PAGE, &bytes);
        }
    }

    /// Runs the case on both; the first difference, in words.
    fn run(&mut self, case: &Case) -> Option<String> {
        for (addr, bytes) in &case.data {
            self.write(*addr, bytes);
        }
        let at = CODE + ENTRY;
        self.host.write_code(at, &case.bytes);
        self.bpe.write_code(at, &case.bytes);
        let host = self.host.run(&case.state);
        let bpe = self.bpe.run(&case.state);
        let padding = vec![0xcc; case.bytes.len()];
        self.host.write_code(at, &padding);
        self.bpe.write_code(at, &padding);
        let found = self.memory(case);
        let found = compare::difference(&case.insn, &host, &bpe).or(found);
        found.map(|what| {
            let bytes: Vec<String> = case.bytes.iter().map(|b| format!("{b:02x}")).collect();
            format!("{:?} [{}]: expected {what}\nbefore {:x?}", case.insn.code(), bytes.join(" "), case.state)
        })
    }

    /// Differences in memory; both are made equal again.
    fn memory(&mut self, case: &Case) -> Option<String> {
        let mut found = None;
        for (slot, (page, _)) in PAGES.into_iter().enumerate() {
            if self.host.page(page) == self.bpe.page(slot) {
                continue;
            }
            let free = compare::unspecified(&case.insn);
            let operand = operands::effective_address(&case.insn, &case.state);
            for i in 0..PAGE as usize {
                let (x, y) = (self.host.page(page)[i], self.bpe.page(slot)[i]);
                let addr = DATA + page * PAGE + i as u64;
                if x != y && !free.iter().any(|part| part.contains(&addr.wrapping_sub(operand))) {
                    found.get_or_insert_with(|| format!("byte {x:02x} at {addr:x}, got {y:02x}"));
                }
            }
            let bytes = self.host.page(page).to_vec();
            self.bpe.write(DATA + page * PAGE, &bytes);
        }
        found
    }
}

/// What failures of this test are kept as.
const KIND: &str = "instructions";

fn case_of(kept: &kept::Kept) -> Option<Case> {
    let insn = generate::decode(&kept.code)?;
    Some(Case { bytes: kept.code.clone(), insn, state: kept.state.clone(), data: kept.data.clone() })
}

/// The same failure with all plain that does not matter; `None` if it does not fail from memory as every test has it.
fn minimise(both: &mut Both, case: Case) -> Option<kept::Kept> {
    let whole = kept::Kept { code: case.bytes, state: case.state, data: case.data, ..kept::Kept::default() };
    let mut fails = |kept: &kept::Kept| {
        both.fill(&mut Random(1));
        case_of(kept).is_some_and(|case| both.run(&case).is_some())
    };
    fails(&whole).then(|| kept::plainer(whole.clone(), fails))
}

#[test]
fn every_form_of_bmi_and_adx_is_among_those_tried() {
    use iced_x86::Code;
    let templates = generate::templates();
    for code in
        [Code::Adox_r64_rm64, Code::VEX_Andn_r32_r32_rm32, Code::VEX_Mulx_r64_r64_rm64, Code::VEX_Rorx_r32_rm32_imm8]
    {
        for memory in [false, true] {
            assert!(templates.iter().any(|t| t.code == code && t.memory == memory), "{code:?}");
        }
    }
}

#[test]
fn what_is_executed_is_tried_or_has_a_reason_not_to_be() {
    use iced_x86::Mnemonic as M;
    let mut bpe = guest::Bpe::new();
    let mut found = std::collections::BTreeSet::new();
    for (insn, bytes) in generate::untested() {
        let mut state = state::State { rip: CODE + ENTRY, ..state::State::default() };
        state.gpr = [DATA + 1024; 16];
        bpe.write_code(CODE + ENTRY, &bytes);
        let vector = bpe.run(&state).vector;
        bpe.write_code(CODE + ENTRY, &vec![0xcc; bytes.len()]);
        // Not executed, or only to say that programs may not.
        let refused = matches!(vector, 6 | 13);
        // What depends on more than the state, what leaves the program, and segments, of which we have none.
        let reason = matches!(
            insn.mnemonic(),
            M::Cpuid
                | M::Rdtsc
                | M::Rdtscp
                | M::Rdrand
                | M::Rdseed
                | M::Xgetbv
                | M::Syscall
                | M::Int
                | M::Int1
                | M::Int3
                | M::Lar
                | M::Lsl
                | M::Verr
                | M::Verw
                | M::Mov
                | M::Pop
                | M::Fstpnce
        );
        // Processors differ in what it reads.
        let reason = reason || insn.code() == iced_x86::Code::Movsxd_r16_rm16;
        if !refused && !reason {
            found.insert(format!("{:?} {:?} {vector}", insn.mnemonic(), insn.code()));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn every_instruction_does_what_the_real_processor_does() {
    let (cases, seed) = (setting("AURORA_CASES", 2_000_000), setting("AURORA_SEED", 1));
    let started = std::time::Instant::now();
    let templates = generate::templates();
    for feature in generate::lacking() {
        eprintln!("{feature:?} is not tried: this processor is without it");
    }
    let mut both = Both { host: host::Host::new(), bpe: guest::Bpe::new() };
    let mut failures: BTreeMap<String, (u64, String)> = BTreeMap::new();
    for (name, kept) in kept::all(KIND) {
        both.fill(&mut Random(1));
        if let Some(what) = case_of(&kept).and_then(|case| both.run(&case)) {
            failures.insert(name, (1, format!("kept: {what}")));
        }
    }
    let mut ran = 0u64;
    let mut number = seed.wrapping_sub(1);
    while ran < cases {
        number = number.wrapping_add(1);
        let mut r = Random(number.wrapping_mul(0x2545_f491_4f6c_dd1d));
        if number % 256 == 0 || ran == 0 {
            both.fill(&mut r);
        }
        let template = r.pick(&templates);
        let Some(case) = generate::case(&mut r, &template) else { continue };
        ran += 1;
        if let Some(what) = both.run(&case) {
            let name = format!("{:?}", case.insn.code());
            let entry = failures.entry(name.clone()).or_insert_with(|| {
                let path = minimise(&mut both, case).map(|kept| kept::keep(KIND, &name, &kept));
                (0, format!("seed {number}, kept as {path:?}: {what}"))
            });
            entry.0 += 1;
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    eprintln!("{} forms, {ran} cases from seed {seed} in {seconds:.1} s", templates.len());
    for (code, (count, first)) in &failures {
        eprintln!("{code}: {count} times, first {first}");
    }
    assert!(failures.is_empty(), "{} forms differ", failures.len());
}
