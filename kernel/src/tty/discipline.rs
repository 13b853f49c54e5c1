//! The line discipline: what typing and printing mean under given settings, termios(3).
//!
//! Pure state: bytes in, bytes and signals out.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use aurora_abi::types::Termios;

use crate::task::Signal;
use crate::tty::termios::{
    ECHO, ECHOCTL, ECHOE, ECHOK, ECHOKE, ECHONL, ICANON, ICRNL, IEXTEN, IGNCR, INITIAL, INLCR, ISIG, ISTRIP, IUTF8,
    IXANY, IXON, Key, NOFLSH, OCRNL, ONLCR, ONLRET, ONOCR, OPOST,
};

/// Bytes of input kept: Linux's `N_TTY_BUF_SIZE`.
const INPUT_LIMIT: usize = 4096;

/// State of a line discipline.
pub struct Discipline {
    termios: Termios,
    /// What readers may have; in canonical mode whole lines.
    ready: VecDeque<u8>,
    /// Lengths of the lines in `ready`, in canonical mode; a line may be empty (end of file).
    lines: VecDeque<usize>,
    /// The line being typed.
    line: Vec<u8>,
    /// The next byte is taken as it is.
    literal: bool,
    /// Output was stopped with ^S.
    stopped: bool,
    column: usize,
}

impl Default for Discipline {
    fn default() -> Self {
        Self {
            termios: INITIAL,
            ready: VecDeque::new(),
            lines: VecDeque::new(),
            line: Vec::new(),
            literal: false,
            stopped: false,
            column: 0,
        }
    }
}

impl Discipline {
    /// The settings.
    pub fn termios(&self) -> Termios {
        self.termios
    }

    /// Changes the settings. What was typed stays: when lines end, it can be read at once.
    pub fn set_termios(&mut self, termios: Termios) {
        let was_canonical = self.has_local(ICANON);
        self.termios = termios;
        if was_canonical && !self.has_local(ICANON) {
            self.ready.extend(self.line.drain(..));
            self.lines.clear();
        } else if !was_canonical && self.has_local(ICANON) && !self.ready.is_empty() {
            self.lines.push_back(self.ready.len());
        }
        if self.termios.iflag & IXON == 0 {
            self.stopped = false;
        }
    }

    fn has_local(&self, flag: u32) -> bool {
        self.termios.lflag & flag != 0
    }

    /// Whether `byte` is what `key` is set to; 0 disables a key.
    fn is_key(&self, byte: u8, key: Key) -> bool {
        byte != 0 && self.termios.cc.get(key as usize) == Some(&byte)
    }

    fn key(&self, key: Key) -> u8 {
        self.termios.cc.get(key as usize).copied().unwrap_or(0)
    }

    /// Bytes of input there is room for.
    pub fn room(&self) -> usize {
        INPUT_LIMIT.saturating_sub(self.ready.len() + self.line.len())
    }

    /// Whether ^S holds output back.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// What can be read now, in bytes; `None` if a reader has to wait.
    pub fn available(&self) -> Option<usize> {
        if self.has_local(ICANON) {
            return self.lines.front().copied();
        }
        let minimum = usize::from(self.key(Key::Minimum));
        let enough = self.ready.len() >= minimum.max(1);
        (enough || minimum == 0 && self.key(Key::Time) == 0).then_some(self.ready.len())
    }

    /// Whether poll(2) reports it readable.
    pub fn is_readable(&self) -> bool {
        if self.has_local(ICANON) { !self.lines.is_empty() } else { !self.ready.is_empty() }
    }

    /// Bytes FIONREAD tells.
    pub fn queued(&self) -> usize {
        if self.has_local(ICANON) { self.lines.iter().sum() } else { self.ready.len() }
    }

    /// Nanoseconds a reader waits for a first byte before it gets none (`VMIN` 0, `VTIME` set).
    pub fn read_timeout(&self) -> Option<u64> {
        let time = self.key(Key::Time);
        let timed = !self.has_local(ICANON) && self.key(Key::Minimum) == 0 && time > 0;
        timed.then(|| u64::from(time) * 100_000_000)
    }

    /// The bytes a read would give, without taking them.
    pub fn peek(&self, limit: usize) -> Vec<u8> {
        let n = self.available().unwrap_or(self.ready.len()).min(limit);
        self.ready.iter().take(n).copied().collect()
    }

    /// Takes `count` bytes a reader got. A line is gone when all of it was taken.
    pub fn consume(&mut self, count: usize) {
        self.ready.drain(..count.min(self.ready.len()));
        if let Some(left) = self.lines.front_mut() {
            *left = left.saturating_sub(count);
            if *left == 0 {
                self.lines.pop_front();
            }
        }
    }

    /// Forgets input that was not read.
    pub fn flush_input(&mut self) {
        self.ready.clear();
        self.lines.clear();
        self.line.clear();
    }

    /// Takes typed bytes; echoes into `out`. Returns the signals they stand for.
    pub fn input(&mut self, bytes: &[u8], out: &mut VecDeque<u8>) -> Vec<Signal> {
        let mut signals = Vec::new();
        for &byte in bytes {
            self.input_byte(byte, out, &mut signals);
        }
        signals
    }

    fn input_byte(&mut self, byte: u8, out: &mut VecDeque<u8>, signals: &mut Vec<Signal>) {
        let iflag = self.termios.iflag;
        let mut byte = if iflag & ISTRIP != 0 { byte & 0x7f } else { byte };
        if core::mem::take(&mut self.literal) {
            self.accept(byte, out);
            return;
        }
        match byte {
            b'\r' if iflag & IGNCR != 0 => return,
            b'\r' if iflag & ICRNL != 0 => byte = b'\n',
            b'\n' if iflag & INLCR != 0 => byte = b'\r',
            _ => {}
        }
        if iflag & IXON != 0 && self.flow_control(byte) {
            return;
        }
        if self.has_local(ISIG)
            && let Some(signal) = self.signal_key(byte)
        {
            if !self.has_local(NOFLSH) {
                self.flush_input();
                out.clear();
            }
            self.echo(byte, out);
            signals.push(signal);
            return;
        }
        if self.has_local(ICANON) && self.edit(byte, out) {
            return;
        }
        self.accept(byte, out);
    }

    fn flow_control(&mut self, byte: u8) -> bool {
        if self.is_key(byte, Key::Stop) {
            self.stopped = true;
            return true;
        }
        let start = self.is_key(byte, Key::Start);
        if start || self.stopped && self.termios.iflag & IXANY != 0 {
            self.stopped = false;
        }
        start
    }

    fn signal_key(&self, byte: u8) -> Option<Signal> {
        let keys = [(Key::Interrupt, Signal::SIGINT), (Key::Quit, Signal::SIGQUIT), (Key::Suspend, Signal::SIGTSTP)];
        keys.into_iter().find(|(key, _)| self.is_key(byte, *key)).map(|(_, signal)| signal)
    }

    /// Editing keys of canonical mode. Returns whether `byte` was one.
    fn edit(&mut self, byte: u8, out: &mut VecDeque<u8>) -> bool {
        let extended = self.has_local(IEXTEN);
        match () {
            () if self.is_key(byte, Key::Erase) => self.erase_char(out),
            () if self.is_key(byte, Key::Kill) => self.erase_line(byte, out),
            () if extended && self.is_key(byte, Key::WordErase) => self.erase_word(out),
            () if extended && self.is_key(byte, Key::LiteralNext) => {
                self.literal = true;
                if self.has_local(ECHO) && self.has_local(ECHOCTL) {
                    out.extend(b"^\x08");
                }
            }
            () if extended && self.is_key(byte, Key::Reprint) => self.reprint(byte, out),
            () if self.is_key(byte, Key::EndOfFile) => self.finish_line(),
            () if byte == b'\n' || self.is_key(byte, Key::EndOfLine) || self.is_key(byte, Key::EndOfLine2) => {
                if self.has_local(ECHO) || byte == b'\n' && self.has_local(ECHONL) {
                    self.echo_always(byte, out);
                }
                self.line.push(byte);
                self.finish_line();
            }
            () => return false,
        }
        true
    }

    fn finish_line(&mut self) {
        self.lines.push_back(self.line.len());
        self.ready.extend(self.line.drain(..));
    }

    /// Takes a byte as input.
    fn accept(&mut self, byte: u8, out: &mut VecDeque<u8>) {
        if self.room() <= 1 && self.has_local(ICANON) {
            // A full line: bell, as Linux rings it, and the byte is lost.
            out.push_back(7);
            return;
        }
        self.echo(byte, out);
        if self.has_local(ICANON) {
            self.line.push(byte);
        } else {
            self.ready.push_back(byte);
        }
    }

    fn echo(&mut self, byte: u8, out: &mut VecDeque<u8>) {
        if self.has_local(ECHO) {
            self.echo_always(byte, out);
        }
    }

    fn echo_always(&mut self, byte: u8, out: &mut VecDeque<u8>) {
        match shown(byte, self.has_local(ECHOCTL)) {
            Shown::Caret(letter) => out.extend([b'^', letter]),
            Shown::Plain => self.output(&[byte], out),
        }
    }

    /// Takes the last character off the line, all its bytes if input is UTF-8. Returns how wide it stood.
    fn pop_char(&mut self) -> Option<usize> {
        let mut byte = self.line.pop()?;
        if self.termios.iflag & IUTF8 != 0 {
            while byte & 0xc0 == 0x80 {
                let Some(before) = self.line.pop() else { break };
                byte = before;
            }
        }
        Some(match shown(byte, self.has_local(ECHOCTL)) {
            Shown::Caret(_) => 2,
            Shown::Plain => 1,
        })
    }

    fn erase_char(&mut self, out: &mut VecDeque<u8>) {
        if let Some(width) = self.pop_char() {
            self.show_erased(width, out);
        }
    }

    fn show_erased(&self, width: usize, out: &mut VecDeque<u8>) {
        if self.has_local(ECHO) && self.has_local(ECHOE) {
            (0..width).for_each(|_| out.extend(b"\x08 \x08"));
        }
    }

    fn erase_word(&mut self, out: &mut VecDeque<u8>) {
        let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b >= 0x80;
        let mut seen_word = false;
        while let Some(&last) = self.line.last() {
            if is_word(last) {
                seen_word = true;
            } else if seen_word {
                break;
            }
            self.erase_char(out);
        }
    }

    fn erase_line(&mut self, byte: u8, out: &mut VecDeque<u8>) {
        if self.has_local(ECHOKE) {
            while !self.line.is_empty() {
                self.erase_char(out);
            }
            return;
        }
        self.line.clear();
        self.echo(byte, out);
        if self.has_local(ECHOK) {
            self.echo(b'\n', out);
        }
    }

    fn reprint(&mut self, byte: u8, out: &mut VecDeque<u8>) {
        self.echo(byte, out);
        self.echo(b'\n', out);
        for byte in self.line.clone() {
            self.echo(byte, out);
        }
    }

    /// Processes what a program prints.
    pub fn output(&mut self, bytes: &[u8], out: &mut VecDeque<u8>) {
        let oflag = self.termios.oflag;
        if oflag & OPOST == 0 {
            out.extend(bytes);
            return;
        }
        for &byte in bytes {
            match byte {
                b'\n' if oflag & ONLCR != 0 => {
                    self.column = 0;
                    out.extend(b"\r\n");
                }
                b'\r' if oflag & ONOCR != 0 && self.column == 0 => {}
                b'\r' if oflag & OCRNL != 0 => {
                    if oflag & ONLRET != 0 {
                        self.column = 0;
                    }
                    out.push_back(b'\n');
                }
                _ => {
                    match byte {
                        b'\r' => self.column = 0,
                        8 => self.column = self.column.saturating_sub(1),
                        0x20.. => self.column += 1,
                        _ => {}
                    }
                    out.push_back(byte);
                }
            }
        }
    }
}

enum Shown {
    Plain,
    Caret(u8),
}

/// How a typed byte is echoed.
fn shown(byte: u8, control: bool) -> Shown {
    match byte {
        b'\n' | b'\t' => Shown::Plain,
        0..=31 | 127 if control => Shown::Caret(byte ^ 0x40),
        _ => Shown::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(discipline: &mut Discipline, bytes: &[u8]) -> (Vec<u8>, Vec<Signal>) {
        let mut out = VecDeque::new();
        let signals = discipline.input(bytes, &mut out);
        (out.into(), signals)
    }

    #[test]
    fn a_line_can_be_edited_until_it_is_entered() {
        let mut d = Discipline::default();
        let (echo, _) = typed(&mut d, "aä\x7fb\r".as_bytes());
        assert_eq!(echo, "aä\x08 \x08b\r\n".as_bytes());
        assert_eq!(d.available(), Some(3));
        assert_eq!(d.peek(10), b"ab\n");
        d.consume(3);
        assert_eq!(d.available(), None);
    }

    #[test]
    fn end_of_file_gives_an_empty_line() {
        let mut d = Discipline::default();
        typed(&mut d, b"x\x04\x04");
        assert_eq!(d.available(), Some(1));
        d.consume(1);
        assert_eq!(d.available(), Some(0));
        d.consume(0);
        assert_eq!(d.available(), None);
    }

    #[test]
    fn interrupt_is_a_signal_and_empties_the_line() {
        let mut d = Discipline::default();
        let (echo, signals) = typed(&mut d, b"abc\x03");
        assert!(echo.ends_with(b"^C"));
        assert_eq!(signals, [Signal::SIGINT]);
        typed(&mut d, b"\n");
        assert_eq!(d.peek(10), b"\n");
    }
}
