//! Clocks and deadlines.

use alloc::sync::Arc;

use super::harness::Program;
use super::{Case, Outcome};
use crate::{Instant, Machine, Trap};

pub(super) const CASES: &[Case] = &[
    ("the clock goes on and never back", monotonic),
    ("real time goes on with the clock", realtime),
    ("what a program reads of the clock is what the kernel reads", user_clock),
    ("a deadline interrupts an endless loop, not before its time and soon after", deadline),
    ("a deadline in the past runs nothing for long", past),
    ("a far deadline does not interrupt a short program", far),
];

const MS: u64 = 1_000_000;

const FOREVER: &[u8] = &[
    0xff, 0xc0, // 1: inc eax
    0xeb, 0xfc, // jmp 1b
];

fn monotonic(machine: &Arc<dyn Machine>) -> Outcome {
    let start = machine.now();
    let mut last = start;
    for _ in 0..10_000_000u32 {
        let now = machine.now();
        check!(now >= last, "{now:?} came after {last:?}");
        last = now;
        if now.since(start) > 2 * MS {
            return Ok(());
        }
    }
    // A machine may count its own work instead of time: then the clock moves when programs run.
    let mut program = Program::new(machine, FOREVER)?;
    program.run_until(last + MS);
    check!(machine.now() > last, "the clock stands still at {last:?}");
    Ok(())
}

fn realtime(machine: &Arc<dyn Machine>) -> Outcome {
    let offset = || machine.realtime_ns().wrapping_sub(machine.now().0) as i64;
    let before = offset();
    let mut program = Program::new(machine, FOREVER)?;
    let until = machine.now() + 10 * MS;
    while machine.now() < until {
        program.run_until(until);
    }
    let drift = offset() - before;
    check!(drift.unsigned_abs() < 5 * MS, "they came apart by {drift} ns in 10 ms");
    Ok(())
}

const READ_COUNTER: &[u8] = &[
    0x0f, 0x31, // rdtsc
    0x48, 0xc1, 0xe2, 0x20, // shl rdx, 32
    0x48, 0x09, 0xd0, // or rax, rdx
    0x0f, 0x05, // syscall
];

fn user_clock(machine: &Arc<dyn Machine>) -> Outcome {
    let Some(clock) = machine.user_clock() else { return Ok(()) };
    check!(clock.ns_per_step > 0, "a counter that stands still");
    for _ in 0..1000 {
        let mut program = Program::new(machine, READ_COUNTER)?;
        let before = machine.now();
        while program.run_until(Instant::NEVER) == Trap::Interrupted {}
        let after = machine.now();
        let steps = u128::from(program.reg(crate::Reg::Rax).wrapping_sub(clock.start));
        let read = Instant(((steps * u128::from(clock.ns_per_step)) >> 32) as u64);
        check!(before <= read && read <= after, "{read:?} was read between {before:?} and {after:?}");
    }
    Ok(())
}

fn deadline(machine: &Arc<dyn Machine>) -> Outcome {
    let mut program = Program::new(machine, FOREVER)?;
    let mut best = u64::MAX;
    for _ in 0..8 {
        let until = machine.now() + 5 * MS;
        let mut early = 0;
        loop {
            let trap = program.run_until(until);
            check!(trap == Trap::Interrupted, "{trap:?} in an endless loop");
            if machine.now() >= until {
                break;
            }
            early += 1;
            check!(early < 10, "interrupted {early} times within 5 ms without need");
        }
        best = best.min(machine.now().since(until));
    }
    check!(program.cpu.gpr[0] > 0, "the program never ran");
    // The host may be busy now and then, not eight times.
    check!(best < 20 * MS, "at best {best} ns late");
    Ok(())
}

fn past(machine: &Arc<dyn Machine>) -> Outcome {
    let mut program = Program::new(machine, FOREVER)?;
    let start = machine.now();
    for _ in 0..10 {
        let trap = program.run_until(Instant(0));
        check!(trap == Trap::Interrupted, "{trap:?} in an endless loop");
    }
    let took = machine.now().since(start);
    check!(took < 500 * MS, "ten times took {took} ns");
    Ok(())
}

const COUNT: &[u8] = &[
    0xb9, 0x40, 0x42, 0x0f, 0x00, // mov ecx, 1000000
    0xff, 0xc9, // 1: dec ecx
    0x75, 0xfc, // jnz 1b
    0x0f, 0x05, // syscall
];

fn far(machine: &Arc<dyn Machine>) -> Outcome {
    let mut program = Program::new(machine, COUNT)?;
    let mut interruptions = 0;
    while program.run_until(Instant::NEVER) == Trap::Interrupted {
        interruptions += 1;
        check!(interruptions < 1000, "interrupted {interruptions} times without a deadline");
    }
    check!(program.reg(crate::Reg::Rcx) == program.cpu.rip, "the loop did not end with its system call");
    Ok(())
}
