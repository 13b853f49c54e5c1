//! A terminal on a display: the kernel's own, for machines with a screen, and where panics are shown.
//!
//! What always holds: the cursor is inside the grid, the scrolling region is at least one line, and painting draws only
//! the cells that changed.

mod control;
mod font;
mod grid;
pub mod keyboard;
mod paint;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;

use aurora_machine::Display;

use grid::Grid;
use paint::Painter;

/// Character cells, the state of whoever writes to them, and what of them the display shows.
pub struct Screen {
    parser: vte::Parser,
    terminal: Terminal,
    painter: Painter,
}

/// What control sequences act on.
struct Terminal {
    grid: Grid,
    /// The grid programs left when they switched to the alternate one.
    main: Option<Grid>,
    modes: Modes,
    /// Answers to be read as if they had been typed.
    replies: Vec<u8>,
}

/// What programs switch on and off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Modes {
    /// DECTCEM.
    cursor_shown: bool,
    /// DECAWM.
    wrap: bool,
    /// DECOM: rows count from the scrolling region's first.
    origin: bool,
    /// IRM.
    insert: bool,
    /// DECCKM: cursor keys send SS3 sequences.
    cursor_keys: bool,
    /// The character set in use is DEC's line drawing.
    drawing: [bool; 2],
    /// Which of the two sets SI and SO chose.
    shifted: bool,
}

impl Default for Modes {
    fn default() -> Self {
        Self {
            cursor_shown: true,
            wrap: true,
            origin: false,
            insert: false,
            cursor_keys: false,
            drawing: [false; 2],
            shifted: false,
        }
    }
}

impl Screen {
    /// An empty screen that fills `display`.
    pub fn new(display: &dyn Display) -> Self {
        let painter = Painter::new(display);
        let (rows, columns) = painter.size();
        let terminal =
            Terminal { grid: Grid::new(rows, columns), main: None, modes: Modes::default(), replies: Vec::new() };
        Self { parser: vte::Parser::new(), terminal, painter }
    }

    /// Rows and columns of characters.
    pub fn size(&self) -> (u16, u16) {
        self.painter.size()
    }

    /// Output: text and control sequences, as console_codes(4) has them.
    pub fn write(&mut self, bytes: &[u8]) {
        self.parser.advance(&mut self.terminal, bytes);
    }

    /// Takes what the terminal answered to questions in its output.
    pub fn take_replies(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.terminal.replies)
    }

    /// Whether cursor keys send application sequences.
    pub fn application_cursor_keys(&self) -> bool {
        self.terminal.modes.cursor_keys
    }

    /// Brings the display up to date.
    pub fn paint(&mut self, display: &dyn Display) {
        let cursor = self.terminal.modes.cursor_shown.then(|| self.terminal.grid.cursor());
        self.painter.paint(&self.terminal.grid, cursor, display);
    }

    /// The characters of a row, without those blank at its end.
    pub fn row_text(&self, row: u16) -> alloc::string::String {
        let text: alloc::string::String = self.terminal.grid.row(row).iter().map(|cell| cell.text).collect();
        text.trim_end().into()
    }
}
