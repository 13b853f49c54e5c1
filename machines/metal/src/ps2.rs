//! The keyboard behind a PC's 8042 controller, which translates its scan codes to set 1.
//!
//! What always holds: what is typed while the ring is full is lost, nothing older is.

use spin::Mutex;
use x86_64::instructions::port::Port;

const DATA: u16 = 0x60;
/// Status when read, command when written.
const CONTROL: u16 = 0x64;
const RING: usize = 256;

// Status.
const OUTPUT_FULL: u8 = 1;
const INPUT_FULL: u8 = 1 << 1;
/// What is in the output buffer came from the mouse.
const FROM_MOUSE: u8 = 1 << 5;

// Commands.
const READ_CONFIGURATION: u8 = 0x20;
const WRITE_CONFIGURATION: u8 = 0x60;
const DISABLE_MOUSE: u8 = 0xa7;
const DISABLE_KEYBOARD: u8 = 0xad;
const ENABLE_KEYBOARD: u8 = 0xae;

// Configuration.
const KEYBOARD_INTERRUPT: u8 = 1;
const MOUSE_INTERRUPT: u8 = 1 << 1;
const TRANSLATE: u8 = 1 << 6;

/// To the keyboard itself: send what is typed.
const ENABLE_SCANNING: u8 = 0xf4;

/// How often the controller is asked before it counts as missing.
const PATIENCE: u32 = 100_000;

static KEYS: Mutex<Keys> = Mutex::new(Keys { codes: [0; RING], put: 0, taken: 0 });

struct Keys {
    codes: [u8; RING],
    put: usize,
    taken: usize,
}

fn status() -> u8 {
    // SAFETY: the controller's status register, or nothing, which reads as ones.
    unsafe { Port::new(CONTROL).read() }
}

fn wait(mask: u8, value: u8) -> Option<()> {
    (0..PATIENCE).any(|_| status() & mask == value).then_some(())
}

fn send(port: u16, byte: u8) -> Option<()> {
    wait(INPUT_FULL, 0)?;
    // SAFETY: the controller takes commands and data here.
    unsafe { Port::new(port).write(byte) };
    Some(())
}

fn data() -> u8 {
    // SAFETY: the controller's output buffer.
    unsafe { Port::new(DATA).read() }
}

/// Turns the keyboard on, with interrupts. Returns whether there is one.
pub(crate) fn init() -> bool {
    status() != 0xff && set_up().is_some()
}

fn set_up() -> Option<()> {
    send(CONTROL, DISABLE_KEYBOARD)?;
    send(CONTROL, DISABLE_MOUSE)?;
    while status() & OUTPUT_FULL != 0 {
        data();
    }
    send(CONTROL, READ_CONFIGURATION)?;
    wait(OUTPUT_FULL, OUTPUT_FULL)?;
    let configuration = data() & !MOUSE_INTERRUPT | KEYBOARD_INTERRUPT | TRANSLATE;
    send(CONTROL, WRITE_CONFIGURATION)?;
    send(DATA, configuration)?;
    send(CONTROL, ENABLE_KEYBOARD)?;
    send(DATA, ENABLE_SCANNING)
}

/// Handles the keyboard's interrupt. Returns whether there is something for the kernel.
pub(crate) fn interrupt() -> bool {
    let mut keys = KEYS.lock();
    let mut came = false;
    loop {
        let status = status();
        if status & OUTPUT_FULL == 0 {
            return came;
        }
        let code = data();
        if status & FROM_MOUSE == 0 && keys.put - keys.taken < RING {
            let at = keys.put % RING;
            keys.codes[at] = code;
            keys.put += 1;
            came = true;
        }
    }
}

/// Takes scan codes.
pub(crate) fn read(buffer: &mut [u8]) -> usize {
    let mut keys = KEYS.lock();
    let n = buffer.len().min(keys.put - keys.taken);
    for byte in &mut buffer[..n] {
        *byte = keys.codes[keys.taken % RING];
        keys.taken += 1;
    }
    n
}
