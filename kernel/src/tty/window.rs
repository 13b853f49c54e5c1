//! The window of a serial terminal. A serial line carries no size, so the terminal at its other end is asked once a
//! session, by xterm's window manipulation `CSI 18 t`, which it answers with `CSI 8 ; rows ; columns t`. The answer is kept
//! from the programs. A terminal that does not know the question says nothing, and `resize` remains.

use alloc::vec::Vec;

/// What asks.
pub(super) const QUESTION: &[u8] = b"\x1b[18t";
/// How an answer starts; digits and a semicolon follow.
const START: &[u8] = b"\x1b[8;";
/// The longest answer: two numbers of five digits.
const LONGEST: usize = START.len() + 12;

/// Finds the answer in what comes in.
///
/// What always holds: only while an answer is awaited, and only as long as what came could be one, is input held back;
/// whoever types something else gets it, and is not listened to any more.
#[derive(Debug, Default)]
pub(super) struct Listener {
    awaiting: bool,
    held: Vec<u8>,
}

impl Listener {
    /// The question was asked.
    pub(super) fn start(&mut self) {
        self.awaiting = true;
    }

    /// Nobody needs to be asked any more.
    pub(super) fn stop(&mut self) -> Vec<u8> {
        self.awaiting = false;
        core::mem::take(&mut self.held)
    }

    /// What of this input is for the programs, and the size (rows, columns) if it was told.
    pub(super) fn hear(&mut self, bytes: &[u8]) -> (Vec<u8>, Option<(u16, u16)>) {
        let mut input = Vec::new();
        for (at, &byte) in bytes.iter().enumerate() {
            self.held.push(byte);
            if byte == b't'
                && let Some(size) = answer(&self.held)
            {
                self.held.clear();
                self.awaiting = false;
                input.extend_from_slice(bytes.get(at + 1..).unwrap_or_default());
                return (input, Some(size));
            }
            if !could_become_answer(&self.held) {
                input.append(&mut self.stop());
                input.extend_from_slice(bytes.get(at + 1..).unwrap_or_default());
                return (input, None);
            }
        }
        (input, None)
    }

    /// Whether an answer is awaited.
    pub(super) fn is_awaiting(&self) -> bool {
        self.awaiting
    }
}

fn could_become_answer(held: &[u8]) -> bool {
    let (start, rest) = held.split_at(held.len().min(START.len()));
    START.starts_with(start) && rest.iter().all(|b| b.is_ascii_digit() || *b == b';') && held.len() < LONGEST
}

/// The rows and columns of a whole answer.
fn answer(held: &[u8]) -> Option<(u16, u16)> {
    let numbers = held.strip_prefix(START)?.strip_suffix(b"t")?;
    let (rows, columns) = core::str::from_utf8(numbers).ok()?.split_once(';')?;
    Some((rows.parse().ok()?, columns.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn awaiting() -> Listener {
        let mut listener = Listener::default();
        listener.start();
        listener
    }

    #[test]
    fn an_answer_is_a_size_and_no_input() {
        assert_eq!(awaiting().hear(b"\x1b[8;33;101tls"), (b"ls".to_vec(), Some((33, 101))));
    }

    #[test]
    fn an_answer_may_come_in_pieces() {
        let mut listener = awaiting();
        for byte in b"\x1b[8;50;132" {
            assert_eq!(listener.hear(&[*byte]), (Vec::new(), None));
        }
        assert_eq!(listener.hear(b"t"), (Vec::new(), Some((50, 132))));
        assert!(!listener.is_awaiting());
    }

    #[test]
    fn what_is_typed_instead_is_input_and_ends_the_listening() {
        for typed in
            [&b"ls\n"[..], b"\x1b[A", b"\x1b[8;1;2~", b"\x1b[8;;t", b"\x1b[8;99999;1t", b"\x1b[8;1234567890123"]
        {
            let mut listener = awaiting();
            assert_eq!(listener.hear(typed), (typed.to_vec(), None));
            assert!(!listener.is_awaiting(), "{typed:?}");
        }
    }
}
