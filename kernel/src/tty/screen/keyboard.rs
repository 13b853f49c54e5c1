//! A PC's keyboard: scan codes to what a terminal reads.

use alloc::vec::Vec;

use pc_keyboard::layouts::Us104Key;
use pc_keyboard::{DecodedKey, HandleControl, KeyCode, KeyEvent, KeyState, PS2Keyboard, ScancodeSet1};

/// Which keys are down, and the layout.
pub struct Keyboard {
    keys: PS2Keyboard<Us104Key, ScancodeSet1>,
    alt: bool,
}

impl Default for Keyboard {
    fn default() -> Self {
        let keys = PS2Keyboard::new(ScancodeSet1::new(), Us104Key, HandleControl::MapLettersToUnicode);
        Self { keys, alt: false }
    }
}

/// What keys without a character send; with the sequences of the `linux` terminal. Cursor keys are in `CURSOR`.
const SEQUENCES: [(KeyCode, &[u8]); 22] = [
    (KeyCode::Home, b"\x1b[1~"),
    (KeyCode::Insert, b"\x1b[2~"),
    (KeyCode::Delete, b"\x1b[3~"),
    (KeyCode::End, b"\x1b[4~"),
    (KeyCode::PageUp, b"\x1b[5~"),
    (KeyCode::PageDown, b"\x1b[6~"),
    (KeyCode::F1, b"\x1b[[A"),
    (KeyCode::F2, b"\x1b[[B"),
    (KeyCode::F3, b"\x1b[[C"),
    (KeyCode::F4, b"\x1b[[D"),
    (KeyCode::F5, b"\x1b[[E"),
    (KeyCode::F6, b"\x1b[17~"),
    (KeyCode::F7, b"\x1b[18~"),
    (KeyCode::F8, b"\x1b[19~"),
    (KeyCode::F9, b"\x1b[20~"),
    (KeyCode::F10, b"\x1b[21~"),
    (KeyCode::F11, b"\x1b[23~"),
    (KeyCode::F12, b"\x1b[24~"),
    (KeyCode::Backspace, b"\x7f"),
    (KeyCode::Return, b"\r"),
    (KeyCode::NumpadEnter, b"\r"),
    (KeyCode::Escape, b"\x1b"),
];

const CURSOR: [(KeyCode, u8); 4] =
    [(KeyCode::ArrowUp, b'A'), (KeyCode::ArrowDown, b'B'), (KeyCode::ArrowRight, b'C'), (KeyCode::ArrowLeft, b'D')];

impl Keyboard {
    /// Takes a scan code of set 1 and adds what it types to `typed`. `application`: cursor keys send SS3 sequences.
    pub fn scan_code(&mut self, code: u8, application: bool, typed: &mut Vec<u8>) {
        let Ok(Some(event)) = self.keys.add_byte(code) else { return };
        if matches!(event.code, KeyCode::LAlt | KeyCode::RAltGr) {
            self.alt = event.state == KeyState::Down;
        }
        let pressed = event.state != KeyState::Up;
        let key = event.code;
        let Some(decoded) = self.keys.process_keyevent(KeyEvent { code: key, state: event.state }) else { return };
        if !pressed {
            return;
        }
        let sequence = SEQUENCES.iter().find(|(code, _)| *code == key).map(|(_, sequence)| *sequence);
        let arrow = CURSOR.iter().find(|(code, _)| *code == key).map(|(_, letter)| *letter);
        match (sequence, arrow, decoded) {
            (Some(sequence), ..) => typed.extend(sequence),
            (_, Some(letter), _) => typed.extend([b'\x1b', if application { b'O' } else { b'[' }, letter]),
            (_, _, DecodedKey::Unicode(text)) => {
                if self.alt {
                    typed.push(b'\x1b');
                }
                typed.extend(text.encode_utf8(&mut [0; 4]).as_bytes());
            }
            _ => {}
        }
    }
}
