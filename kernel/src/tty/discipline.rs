//! The line discipline: what typing and printing mean under given settings, termios(3).
//!
//! Pure state: bytes in, bytes and signals out. Where a rule looks odd it is Linux's `n_tty`, which programs and people
//! are used to.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use aurora_abi::types::Termios;

use crate::task::Signal;
use crate::tty::output::{Column, continues_character, is_control};
use crate::tty::termios::{
    ECHO, ECHOCTL, ECHOE, ECHOK, ECHOKE, ECHONL, ECHOPRT, ICANON, ICRNL, IEXTEN, IGNCR, INITIAL, INLCR, ISIG, ISTRIP,
    IUCLC, IXANY, IXON, Key, NOFLSH,
};

/// Bytes of input kept: Linux's `N_TTY_BUF_SIZE`, less the one it keeps free.
const INPUT_LIMIT: usize = 4095;

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
    /// `ECHOPRT` has begun to show what is erased.
    erasing: bool,
    /// Output was stopped with ^S.
    stopped: bool,
    /// What was echoed meanwhile.
    held: Vec<u8>,
    /// Where output stands.
    column: Column,
    /// Where the line being typed began.
    line_column: usize,
}

/// What typed bytes stood for besides input.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Typed {
    /// Signals for the foreground group.
    pub signals: Vec<Signal>,
    /// A signal threw away what had not been read or shown.
    pub flushed: bool,
}

/// Which erasing key was pressed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Erase {
    Character,
    Word,
    Line,
}

impl Default for Discipline {
    fn default() -> Self {
        Self {
            termios: INITIAL,
            ready: VecDeque::new(),
            lines: VecDeque::new(),
            line: Vec::new(),
            literal: false,
            erasing: false,
            stopped: false,
            held: Vec::new(),
            column: Column::default(),
            line_column: 0,
        }
    }
}

impl Discipline {
    /// The settings.
    pub fn termios(&self) -> Termios {
        self.termios
    }

    /// Changes the settings. What was typed stays: when lines end, it can be read at once.
    pub fn set_termios(&mut self, termios: Termios, out: &mut VecDeque<u8>) {
        let was_canonical = self.has_local(ICANON);
        self.termios = termios;
        if was_canonical != self.has_local(ICANON) {
            self.ready.extend(self.line.drain(..));
            self.lines.clear();
            if !was_canonical && !self.ready.is_empty() {
                self.lines.push_back(self.ready.len());
            }
            self.literal = false;
            self.erasing = false;
        }
        if self.termios.iflag & IXON == 0 {
            self.start(out);
        }
    }

    fn has_local(&self, flag: u32) -> bool {
        self.termios.lflag & flag != 0
    }

    /// Whether `byte` is what `key` is set to; 0 disables a key.
    fn is_key(&self, byte: u8, key: Key) -> bool {
        byte != 0 && self.key(key) == byte
    }

    /// What `key` is set to.
    pub fn key(&self, key: Key) -> u8 {
        self.termios.cc.get(key as usize).copied().unwrap_or(0)
    }

    /// Bytes of input there is room for. A line that fills all of it still takes its end, and what erases it.
    pub fn room(&self) -> usize {
        let room = INPUT_LIMIT.saturating_sub(self.ready.len() + self.line.len());
        if room == 0 && self.has_local(ICANON) && self.lines.is_empty() { 1 } else { room }
    }

    /// Whether ^S holds output back.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Holds output back.
    pub fn stop(&mut self) {
        self.stopped = true;
    }

    /// Lets output go on. Returns whether it was stopped.
    pub fn start(&mut self, out: &mut VecDeque<u8>) -> bool {
        out.extend(self.held.drain(..));
        core::mem::take(&mut self.stopped)
    }

    /// What a reader with room for `wanted` bytes can have now; `None` if it has to wait (termios(3), "Canonical and
    /// noncanonical mode").
    pub fn available(&self, wanted: usize) -> Option<usize> {
        if self.has_local(ICANON) {
            return self.lines.front().map(|line| wanted.min(*line));
        }
        let minimum = usize::from(self.key(Key::Minimum));
        let enough = self.ready.len() >= minimum.min(wanted).max(1);
        (enough || minimum == 0 && self.key(Key::Time) == 0).then_some(self.ready.len().min(wanted))
    }

    /// Whether poll(2) reports it readable.
    pub fn is_readable(&self) -> bool {
        if self.has_local(ICANON) {
            return !self.lines.is_empty();
        }
        let minimum = if self.key(Key::Time) == 0 { usize::from(self.key(Key::Minimum)) } else { 1 };
        self.ready.len() >= minimum.max(1)
    }

    /// Bytes FIONREAD tells.
    pub fn queued(&self) -> usize {
        if self.has_local(ICANON) { self.lines.iter().sum() } else { self.ready.len() }
    }

    /// Nanoseconds a reader waits for a byte before it goes with what there is: for the first one if `VMIN` is 0, else
    /// between two. `None` for as long as it takes.
    pub fn read_timeout(&self) -> Option<u64> {
        let time = u64::from(self.key(Key::Time));
        let running = self.key(Key::Minimum) == 0 || !self.ready.is_empty();
        (!self.has_local(ICANON) && time > 0 && running).then(|| time * 100_000_000)
    }

    /// The first `count` bytes a read would give, without taking them.
    pub fn peek(&self, count: usize) -> Vec<u8> {
        self.ready.iter().take(count).copied().collect()
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
        self.literal = false;
        self.erasing = false;
    }

    /// Takes typed bytes; echoes into `out`.
    pub fn input(&mut self, bytes: &[u8], out: &mut VecDeque<u8>) -> Typed {
        let mut typed = Typed::default();
        for &byte in bytes {
            self.input_byte(byte, out, &mut typed);
        }
        typed
    }

    fn input_byte(&mut self, byte: u8, out: &mut VecDeque<u8>, typed: &mut Typed) {
        let iflag = self.termios.iflag;
        let mut byte = if iflag & ISTRIP != 0 { byte & 0x7f } else { byte };
        if iflag & IUCLC != 0 && self.has_local(IEXTEN) {
            byte.make_ascii_lowercase();
        }
        if core::mem::take(&mut self.literal) {
            return self.accept(byte, false, out);
        }
        if iflag & IXON != 0 && self.flow_control(byte, out) {
            return;
        }
        if let Some(signal) = self.signal_key(byte) {
            return self.interrupt(byte, signal, out, typed);
        }
        if self.stopped && iflag & IXON != 0 && iflag & IXANY != 0 {
            self.start(out);
        }
        // A line's end shows as one wherever it can be one; a bare one in raw mode shows as any control character.
        let mut ends_line = self.has_local(ICANON) || iflag & INLCR != 0;
        match byte {
            b'\r' if iflag & IGNCR != 0 => return,
            b'\r' if iflag & ICRNL != 0 => (byte, ends_line) = (b'\n', true),
            b'\n' if iflag & INLCR != 0 => byte = b'\r',
            _ => {}
        }
        if self.has_local(ICANON) && self.edit(byte, out) {
            return;
        }
        self.accept(byte, ends_line, out);
    }

    fn flow_control(&mut self, byte: u8, out: &mut VecDeque<u8>) -> bool {
        if self.is_key(byte, Key::Start) {
            self.start(out);
            return true;
        }
        let stops = self.is_key(byte, Key::Stop);
        self.stopped |= stops;
        stops
    }

    fn signal_key(&self, byte: u8) -> Option<Signal> {
        let keys = [(Key::Interrupt, Signal::SIGINT), (Key::Quit, Signal::SIGQUIT), (Key::Suspend, Signal::SIGTSTP)];
        let found = keys.into_iter().find(|(key, _)| self.is_key(byte, *key)).map(|(_, signal)| signal);
        found.filter(|_| self.has_local(ISIG))
    }

    fn interrupt(&mut self, byte: u8, signal: Signal, out: &mut VecDeque<u8>, typed: &mut Typed) {
        if !self.has_local(NOFLSH) {
            self.flush_input();
            self.held.clear();
            typed.flushed = true;
        }
        if self.termios.iflag & IXON != 0 {
            self.start(out);
        }
        if self.has_local(ECHO) {
            self.echo_shown(byte, out);
        }
        typed.signals.push(signal);
    }

    /// Editing keys of canonical mode. Returns whether `byte` was one.
    fn edit(&mut self, byte: u8, out: &mut VecDeque<u8>) -> bool {
        let (extended, echo) = (self.has_local(IEXTEN), self.has_local(ECHO));
        match () {
            () if self.is_key(byte, Key::Erase) => self.erase(Erase::Character, out),
            () if self.is_key(byte, Key::Kill) => self.erase_line(out),
            () if extended && self.is_key(byte, Key::WordErase) => self.erase(Erase::Word, out),
            () if extended && self.is_key(byte, Key::LiteralNext) => {
                self.literal = true;
                if echo {
                    self.finish_erasing(out);
                }
                if echo && self.has_local(ECHOCTL) {
                    self.emit(b"^\x08", out);
                }
            }
            () if extended && echo && self.is_key(byte, Key::Reprint) => self.reprint(byte, out),
            () if byte == b'\n' => {
                if echo || self.has_local(ECHONL) {
                    self.emit(b"\n", out);
                }
                self.finish_line(Some(byte));
            }
            () if self.is_key(byte, Key::EndOfFile) => self.finish_line(None),
            () if self.is_key(byte, Key::EndOfLine) || extended && self.is_key(byte, Key::EndOfLine2) => {
                self.echo(byte, out);
                self.finish_line(Some(byte));
            }
            () => return false,
        }
        true
    }

    fn finish_line(&mut self, end: Option<u8>) {
        self.line.extend(end);
        self.lines.push_back(self.line.len());
        self.ready.extend(self.line.drain(..));
    }

    /// Takes a byte as input.
    fn accept(&mut self, byte: u8, ends_line: bool, out: &mut VecDeque<u8>) {
        let echo = self.has_local(ECHO);
        if echo && byte == b'\n' && ends_line {
            self.finish_erasing(out);
            self.emit(b"\n", out);
        } else if echo {
            self.finish_erasing(out);
            self.echo(byte, out);
        }
        if !self.has_local(ICANON) {
            self.ready.push_back(byte);
        } else {
            // In a full line the last byte is replaced.
            if self.ready.len() + self.line.len() >= INPUT_LIMIT {
                self.line.pop();
            }
            self.line.push(byte);
        }
    }

    /// Echoes a character of the line, noting where the line began.
    fn echo(&mut self, byte: u8, out: &mut VecDeque<u8>) {
        if !self.has_local(ECHO) {
            return;
        }
        if self.line.is_empty() {
            self.line_column = self.column.0;
        }
        self.echo_shown(byte, out);
    }

    fn echo_shown(&mut self, byte: u8, out: &mut VecDeque<u8>) {
        if self.has_local(ECHOCTL) && is_control(byte) && byte != b'\t' {
            self.emit(&[b'^', byte ^ 0x40], out);
        } else {
            self.emit(&[byte], out);
        }
    }

    /// Sends echoed bytes on their way: at once, or after ^Q.
    fn emit(&mut self, bytes: &[u8], out: &mut VecDeque<u8>) {
        if self.stopped {
            // Nobody types enough to make this matter, and a program that does loses only its echo.
            if self.held.len() < INPUT_LIMIT {
                let mut now = VecDeque::new();
                self.output(bytes, &mut now);
                self.held.extend(now);
            }
        } else {
            self.output(bytes, out);
        }
    }

    /// Processes what a program prints.
    pub fn output(&mut self, bytes: &[u8], out: &mut VecDeque<u8>) {
        self.column.output(&self.termios, bytes, out);
    }

    fn finish_erasing(&mut self, out: &mut VecDeque<u8>) {
        if core::mem::take(&mut self.erasing) {
            self.emit(b"/", out);
        }
    }

    /// Takes the last character off the line: all its bytes, if input is UTF-8.
    fn pop_char(&mut self) -> Option<Vec<u8>> {
        let start = self.line.iter().rposition(|&b| !continues_character(&self.termios, b))?;
        Some(self.line.split_off(start))
    }

    fn erase_line(&mut self, out: &mut VecDeque<u8>) {
        if self.line.is_empty() {
            return;
        }
        let echo = self.has_local(ECHO);
        if echo && [ECHOK, ECHOKE, ECHOE].into_iter().all(|flag| self.has_local(flag)) {
            return self.erase(Erase::Line, out);
        }
        self.line.clear();
        if echo {
            self.finish_erasing(out);
            self.echo_shown(self.key(Key::Kill), out);
            if self.has_local(ECHOK) {
                self.emit(b"\n", out);
            }
        }
    }

    fn erase(&mut self, what: Erase, out: &mut VecDeque<u8>) {
        if self.line.is_empty() {
            return;
        }
        let mut seen_word = false;
        while let Some(character) = self.pop_char() {
            let first = character.first().copied().unwrap_or(0);
            if what == Erase::Word {
                if is_word(first) {
                    seen_word = true;
                } else if seen_word {
                    self.line.extend(character);
                    break;
                }
            }
            if self.has_local(ECHO) {
                self.show_erased(what, &character, first, out);
            }
            if what == Erase::Character {
                break;
            }
        }
        if self.line.is_empty() && self.has_local(ECHO) {
            self.finish_erasing(out);
        }
    }

    fn show_erased(&mut self, what: Erase, character: &[u8], first: u8, out: &mut VecDeque<u8>) {
        if self.has_local(ECHOPRT) {
            if !core::mem::replace(&mut self.erasing, true) {
                self.emit(b"\\", out);
            }
            self.echo_shown(first, out);
            self.emit(character.get(1..).unwrap_or_default(), out);
        } else if what == Erase::Character && !self.has_local(ECHOE) {
            self.echo_shown(self.key(Key::Erase), out);
        } else if first == b'\t' {
            let back = self.tab_width();
            (0..back).for_each(|_| self.emit(b"\x08", out));
        } else {
            let shown = match (is_control(first), self.has_local(ECHOCTL)) {
                (true, true) => 2,
                (true, false) => 0,
                (false, _) => 1,
            };
            (0..shown).for_each(|_| self.emit(b"\x08 \x08", out));
        }
    }

    /// How wide the tab stood that was just taken off the line.
    fn tab_width(&self) -> usize {
        let since_tab = self.line.iter().rposition(|&b| b == b'\t').map(|at| at + 1);
        let before = self.line.get(since_tab.unwrap_or(0)..).unwrap_or_default();
        let width = |&b: &u8| match () {
            () if is_control(b) => 2 * usize::from(self.has_local(ECHOCTL)),
            () => usize::from(!continues_character(&self.termios, b)),
        };
        let columns: usize = before.iter().map(width).sum();
        let offset = if since_tab.is_none() { self.line_column } else { 0 };
        8 - ((columns + offset) & 7)
    }

    fn reprint(&mut self, byte: u8, out: &mut VecDeque<u8>) {
        self.finish_erasing(out);
        self.echo_shown(byte, out);
        self.emit(b"\n", out);
        for byte in self.line.clone() {
            self.echo_shown(byte, out);
        }
    }
}

/// Letters, digits and underscores make words, Latin-1's letters too, as Linux's tables have it.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0xc0 && !matches!(byte, 0xd7 | 0xf7)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tty::termios::IUTF8;

    fn typed(discipline: &mut Discipline, bytes: &[u8]) -> (Vec<u8>, Vec<Signal>) {
        let mut out = VecDeque::new();
        let typed = discipline.input(bytes, &mut out);
        (out.into(), typed.signals)
    }

    fn raw(minimum: u8, time: u8) -> Discipline {
        let mut discipline = Discipline::default();
        let mut termios = discipline.termios();
        termios.lflag &= !(ICANON | ECHO);
        (termios.cc[Key::Minimum as usize], termios.cc[Key::Time as usize]) = (minimum, time);
        discipline.set_termios(termios, &mut VecDeque::new());
        discipline
    }

    #[test]
    fn a_line_can_be_edited_until_it_is_entered() {
        let mut d = Discipline::default();
        d.termios.iflag |= IUTF8;
        let (echo, _) = typed(&mut d, "aä\x7fb\r".as_bytes());
        assert_eq!(echo, "aä\x08 \x08b\r\n".as_bytes());
        assert_eq!(d.available(10), Some(3));
        assert_eq!(d.peek(10), b"ab\n");
        d.consume(3);
        assert_eq!(d.available(10), None);
    }

    #[test]
    fn end_of_file_gives_an_empty_line() {
        let mut d = Discipline::default();
        typed(&mut d, b"x\x04\x04");
        assert_eq!(d.available(10), Some(1));
        d.consume(1);
        assert_eq!(d.available(10), Some(0));
        d.consume(0);
        assert_eq!(d.available(10), None);
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

    #[test]
    fn a_reader_waits_for_the_minimum_or_for_all_it_wants() {
        let mut d = raw(3, 0);
        typed(&mut d, b"ab");
        assert_eq!((d.available(10), d.available(2), d.is_readable()), (None, Some(2), false));
        typed(&mut d, b"c");
        assert_eq!((d.available(10), d.is_readable()), (Some(3), true));
        assert_eq!(raw(0, 0).available(1), Some(0));
        assert_eq!(raw(0, 1).available(1), None);
        assert_eq!((raw(0, 1).read_timeout(), raw(2, 1).read_timeout()), (Some(100_000_000), None));
    }

    #[test]
    fn a_tab_is_erased_to_where_it_began() {
        let mut d = Discipline::default();
        let (echo, _) = typed(&mut d, b"ab\t\x7f");
        assert_eq!(echo, b"ab\t\x08\x08\x08\x08\x08\x08");
    }

    #[test]
    fn what_is_typed_while_output_is_stopped_shows_afterwards() {
        let mut d = Discipline::default();
        assert_eq!(typed(&mut d, b"\x13ab").0, b"");
        assert_eq!(typed(&mut d, b"\x11").0, b"ab");
    }

    #[test]
    fn a_full_line_still_takes_its_end() {
        let mut d = Discipline::default();
        typed(&mut d, &[b'x'; 5000]);
        assert_eq!(d.room(), 1);
        typed(&mut d, b"\n");
        assert_eq!(d.available(9999), Some(4096));
        assert_eq!(d.room(), 0);
    }
}
