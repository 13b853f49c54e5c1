//! What printing means: the output half of the line discipline, termios(3) `c_oflag`.

use alloc::collections::VecDeque;

use aurora_abi::types::Termios;

use crate::tty::termios::{IUTF8, OCRNL, OLCUC, ONLCR, ONLRET, ONOCR, OPOST, XTABS};

/// Where the next character goes, counted from the left edge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Column(pub usize);

/// Whether Linux's `iscntrl` says so.
pub fn is_control(byte: u8) -> bool {
    byte.is_ascii_control()
}

/// Whether `byte` only continues a character of UTF-8.
pub fn continues_character(termios: &Termios, byte: u8) -> bool {
    termios.iflag & IUTF8 != 0 && byte & 0xc0 == 0x80
}

impl Column {
    /// Processes printed bytes into `out`.
    pub fn output(&mut self, termios: &Termios, bytes: &[u8], out: &mut VecDeque<u8>) {
        if termios.oflag & OPOST == 0 {
            out.extend(bytes);
            return;
        }
        for &byte in bytes {
            self.output_byte(termios, byte, out);
        }
    }

    fn output_byte(&mut self, termios: &Termios, byte: u8, out: &mut VecDeque<u8>) {
        let has = |flag: u32| termios.oflag & flag != 0;
        let mut byte = byte;
        match byte {
            b'\n' => {
                if has(ONLRET) || has(ONLCR) {
                    self.0 = 0;
                }
                if has(ONLCR) {
                    out.push_back(b'\r');
                }
            }
            b'\r' if has(ONOCR) && self.0 == 0 => return,
            b'\r' if has(OCRNL) => {
                byte = b'\n';
                if has(ONLRET) {
                    self.0 = 0;
                }
            }
            b'\r' => self.0 = 0,
            b'\t' => {
                let spaces = 8 - (self.0 & 7);
                self.0 += spaces;
                if termios.oflag & XTABS == XTABS {
                    out.extend((0..spaces).map(|_| b' '));
                    return;
                }
            }
            8 => self.0 = self.0.saturating_sub(1),
            _ if !is_control(byte) => {
                if has(OLCUC) {
                    byte.make_ascii_uppercase();
                }
                self.0 += usize::from(!continues_character(termios, byte));
            }
            _ => {}
        }
        out.push_back(byte);
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::tty::termios::INITIAL;

    fn printed(oflag: u32, text: &str) -> Vec<u8> {
        let mut out = VecDeque::new();
        Column::default().output(&Termios { oflag, iflag: IUTF8, ..INITIAL }, text.as_bytes(), &mut out);
        out.into()
    }

    #[test]
    fn lines_end_and_tabs_widen_as_the_settings_say() {
        assert_eq!(printed(OPOST | ONLCR, "a\nb"), b"a\r\nb");
        assert_eq!(printed(OPOST | ONLCR | XTABS, "ä\tb"), "ä       b".as_bytes());
        assert_eq!(printed(OPOST | OLCUC | OCRNL, "a\r"), b"A\n");
        assert_eq!(printed(0, "a\n"), b"a\n");
    }
}
