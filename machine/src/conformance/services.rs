//! What a machine gives besides running programs: entropy, ports, its description.

use alloc::sync::Arc;

use super::{Case, Outcome};
use crate::{Machine, Port};

pub(super) const CASES: &[Case] = &[
    ("entropy fills the whole buffer, and differently each time", entropy),
    ("ports take nothing and give nothing when asked for nothing", ports),
    ("a machine says what it is", description),
];

fn entropy(machine: &Arc<dyn Machine>) -> Outcome {
    machine.entropy(&mut []);
    for len in [16, 33, 4096] {
        let (mut one, mut two) = (alloc::vec![0; len], alloc::vec![0; len]);
        machine.entropy(&mut one);
        machine.entropy(&mut two);
        check!(one != two, "{len} bytes came twice");
        // 16 zeros at the end happen by chance once in 2^128.
        check!(one[len - 16..].iter().any(|&b| b != 0), "the end of {len} bytes was left out");
    }
    // Of 32768 bits about half are set: 6 standard deviations are 543.
    let mut bits = alloc::vec![0u8; 4096];
    machine.entropy(&mut bits);
    let set: u32 = bits.iter().map(|b| b.count_ones()).sum();
    check!(set.abs_diff(16384) < 543, "{set} of 32768 bits are set");
    Ok(())
}

fn ports(machine: &Arc<dyn Machine>) -> Outcome {
    for port in [Port::Console, Port::Link] {
        check!(machine.port_write(port, &[]) == 0, "{port:?} took bytes that were not given");
        check!(machine.port_read(port, &mut []) == 0, "{port:?} gave bytes nobody has room for");
    }
    Ok(())
}

fn description(machine: &Arc<dyn Machine>) -> Outcome {
    check!(!machine.name().is_empty(), "no name");
    check!(!machine.processor_name().is_empty(), "no processor name");
    check!(machine.heap_limit() > 0, "no heap");
    Ok(())
}
