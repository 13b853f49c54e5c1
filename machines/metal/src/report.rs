//! What the machine itself says: the conformance suite's results, and why it stopped. On the console, and for a person
//! in front of it on the screen.

use alloc::sync::Arc;
use core::fmt::Write;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

use aurora_kernel::Kernel;
use aurora_kernel::tty::screen::Screen;
use aurora_machine::{Machine, conformance};
use spin::{Mutex, Once};

use crate::machine::Metal;
use crate::serial::Emergency;
use crate::{display, layout, power, symbols};

/// Runs the conformance suite (command line `conformance`), one line a case, and turns the machine off.
pub(crate) fn conformance(machine: Arc<Metal>) -> ! {
    let machine: Arc<dyn Machine> = machine;
    let (mut passed, mut failed) = (0, 0);
    conformance::run(&machine, &mut |case, result| {
        let line = match result {
            Ok(()) => {
                passed += 1;
                writeln!(Emergency, "ok {case}")
            }
            Err(why) => {
                failed += 1;
                writeln!(Emergency, "FAIL {case}: {why}")
            }
        };
        line.unwrap_or(());
    });
    writeln!(Emergency, "conformance: {passed} passed, {failed} failed").unwrap_or(());
    power::off()
}

/// Goes round in circles (command line `hang`): what the watchdog is for.
pub(crate) fn hang() -> ! {
    loop {
        core::hint::spin_loop();
    }
}

/// The kernel refused to start.
pub(crate) fn cannot_start(why: &str) -> ! {
    writeln!(Report::new(), "Aurora cannot start: {why}").unwrap_or(());
    power::fail()
}

/// The screen for last words, made while there is memory.
static SCREEN: Once<Mutex<Screen>> = Once::new();
/// Whose last words they are.
static KERNEL: Once<Arc<Kernel>> = Once::new();

/// Makes ready for last words on the screen.
pub(crate) fn prepare() {
    if let Some(display) = display::get() {
        SCREEN.call_once(|| Mutex::new(Screen::new(display)));
    }
}

/// Remembers the kernel, to say what it was doing.
pub(crate) fn watch(kernel: &Arc<Kernel>) {
    KERNEL.call_once(|| kernel.clone());
}

/// Goes to the console and, if there is one, to the screen. Takes no lock that anybody else takes.
struct Report {
    screen: Option<spin::MutexGuard<'static, Screen>>,
}

impl Report {
    /// White on red, where nobody can miss it.
    fn new() -> Self {
        let mut screen = SCREEN.get().and_then(Mutex::try_lock);
        if let Some(screen) = &mut screen {
            screen.write(b"\x1b[0;97;48;2;96;16;24m\x1b[2J\x1b[?25l\r\n");
        }
        Self { screen }
    }
}

impl Write for Report {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        Emergency.write_str(text)?;
        if let Some(screen) = &mut self.screen {
            for line in text.split_inclusive('\n') {
                screen.write(line.as_bytes());
                if line.ends_with('\n') {
                    screen.write(b"\r");
                }
            }
        }
        Ok(())
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if let (Some(screen), Some(display)) = (&mut self.screen, display::get()) {
            screen.paint(display);
        }
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    static PANICKED: AtomicBool = AtomicBool::new(false);
    x86_64::instructions::interrupts::disable();
    if PANICKED.swap(true, Ordering::Relaxed) {
        // Whoever reports must not need a report.
        power::fail();
    }
    tell(&mut Report::new(), info).unwrap_or(());
    power::fail()
}

fn tell(report: &mut Report, info: &PanicInfo<'_>) -> core::fmt::Result {
    writeln!(report, "\nAurora stopped: {}", info.message())?;
    if let Some(place) = info.location() {
        writeln!(report, "  at {place}")?;
    }
    if let Some(kernel) = KERNEL.get() {
        writeln!(report, "  doing: {}", kernel.doing())?;
    }
    writeln!(report, "\nCame from (addresses as in the kernel's file, for addr2line):")?;
    for address in Frames::here().map(layout::link_address) {
        // The call is before the address it returns to, which may already be another function's.
        match symbols::function_at(address - 1) {
            Some((name, offset)) => writeln!(report, "  {address:#x} {name}+{:#x}", offset + 1)?,
            None => writeln!(report, "  {address:#x}")?,
        }
    }
    writeln!(report, "The kernel is at {:#x}.", layout::image_start())
}

/// The return addresses on the kernel's stack, found by frame pointers.
struct Frames {
    pointer: u64,
}

impl Frames {
    /// The innermost first.
    fn here() -> impl Iterator<Item = u64> {
        let pointer: u64;
        // SAFETY: reads a register, which frame pointers are kept in.
        unsafe { core::arch::asm!("mov {}, rbp", out(reg) pointer, options(nomem, nostack, preserves_flags)) };
        const MOST: usize = 32;
        Self { pointer }.take(MOST)
    }
}

impl Iterator for Frames {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        // The stacks, the kernel's and those of traps, are all in the image's data.
        let stacks = layout::data_start()..layout::image_end() - 16;
        let guard = layout::stack_guard()..layout::stack_bottom();
        if !stacks.contains(&self.pointer) || guard.contains(&self.pointer) || !self.pointer.is_multiple_of(8) {
            return None;
        }
        let frame = self.pointer as *const u64;
        // SAFETY: inside the image's data, which is mapped, and aligned.
        let (outer, address) = unsafe { (frame.read(), frame.add(1).read()) };
        let code = layout::text_start()..layout::rodata_start();
        // A frame further in than the last would go round for ever; a trap's stack may lie anywhere.
        self.pointer = if outer == self.pointer { 0 } else { outer };
        code.contains(&address).then_some(address)
    }
}
