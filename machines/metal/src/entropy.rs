//! Unpredictable bytes: ChaCha20, keyed from everything the machine has that an outsider cannot know.
//!
//! Sources are RDSEED or RDRAND where the processor has them, and the timing of port accesses and interrupts by the
//! cycle counter. On a processor without the instructions the timing is all there is: good against a guest's programs
//! and the network, not against whoever runs the virtual machine. New material is mixed in by XOR with the generator's
//! own output, so no source can take away what another gave.

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use raw_cpuid::CpuId;
use spin::{Mutex, Once};
use x86_64::instructions::port::Port;

use crate::clock;

static GENERATOR: Mutex<Option<ChaCha20Rng>> = Mutex::new(None);
/// What interrupts stirred in since the last key.
static POOL: AtomicU64 = AtomicU64::new(0);

#[derive(Clone, Copy)]
enum Source {
    RdSeed,
    RdRand,
    None,
}
static SOURCE: Once<Source> = Once::new();

/// Timed port accesses that make the first key.
const SAMPLES: usize = 128;

/// Notes the moment of an interrupt. Safe in a handler.
pub(crate) fn stir() {
    let pool = POOL.load(Ordering::Relaxed);
    POOL.store(pool.rotate_left(7) ^ clock::tsc(), Ordering::Relaxed);
}

/// Makes the first key.
pub(crate) fn init() {
    let mut rng = ChaCha20Rng::from_seed([0; 32]);
    for i in 0..SAMPLES {
        // SAFETY: reads the delay port, which means nothing and takes a little while.
        let _: u8 = unsafe { Port::new(0x80).read() };
        stir();
        if i % 8 == 7 {
            rekey(&mut rng);
        }
    }
    *GENERATOR.lock() = Some(rng);
}

/// Fills `buffer`.
pub(crate) fn fill(buffer: &mut [u8]) {
    let mut generator = GENERATOR.lock();
    let Some(rng) = generator.as_mut() else { panic!("entropy asked for before it was set up") };
    rekey(rng);
    rng.fill_bytes(buffer);
}

fn rekey(rng: &mut ChaCha20Rng) {
    let mut key = [0; 32];
    rng.fill_bytes(&mut key);
    let fresh = [hardware(), hardware(), POOL.swap(0, Ordering::Relaxed), clock::tsc()];
    for (chunk, fresh) in key.chunks_exact_mut(8).zip(fresh) {
        for (byte, new) in chunk.iter_mut().zip(fresh.to_le_bytes()) {
            *byte ^= new;
        }
    }
    *rng = ChaCha20Rng::from_seed(key);
}

/// A word of the processor's own generator; 0 where it has none or it does not answer.
fn hardware() -> u64 {
    let source = *SOURCE.call_once(|| {
        let cpuid = CpuId::new();
        match () {
            () if cpuid.get_extended_feature_info().is_some_and(|f| f.has_rdseed()) => Source::RdSeed,
            () if cpuid.get_feature_info().is_some_and(|f| f.has_rdrand()) => Source::RdRand,
            () => Source::None,
        }
    });
    for _ in 0..10 {
        let (word, ok): (u64, u8);
        // SAFETY: used only where CPUID says the instruction exists; it writes a register and the carry flag.
        unsafe {
            match source {
                Source::RdSeed => {
                    asm!("rdseed {}", "setc {}", out(reg) word, out(reg_byte) ok, options(nomem, nostack))
                }
                Source::RdRand => {
                    asm!("rdrand {}", "setc {}", out(reg) word, out(reg_byte) ok, options(nomem, nostack))
                }
                Source::None => return 0,
            }
        }
        if ok == 1 {
            return word;
        }
    }
    0
}
