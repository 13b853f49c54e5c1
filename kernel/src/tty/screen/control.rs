//! Control sequences: ECMA-48 and DEC's, as console_codes(4) lists them.

use alloc::format;
use vte::{Params, Perform};

use super::grid::{Color, Grid, Style};
use super::{Modes, Terminal};
use crate::num::low8;

/// DEC's line drawing set, from `` ` `` on.
const DRAWING: [char; 31] = [
    '◆', '▒', '␉', '␌', '␍', '␊', '°', '±', '␤', '␋', '┘', '┐', '┌', '└', '┼', '⎺', '⎻', '─', '⎼', '⎽', '├', '┤', '┴',
    '┬', '│', '≤', '≥', 'π', '≠', '£', '·',
];

impl Perform for Terminal {
    fn print(&mut self, text: char) {
        let drawing = self.modes.drawing.get(usize::from(self.modes.shifted)).copied().unwrap_or_default();
        let text = match text {
            '`'..='~' if drawing => DRAWING.get(text as usize - '`' as usize).copied().unwrap_or(text),
            _ => text,
        };
        self.grid.put(text, self.modes.wrap, self.modes.insert);
    }

    fn execute(&mut self, byte: u8) {
        let place = self.grid.cursor();
        match byte {
            b'\x08' => self.grid.go_to(place.row, place.column.saturating_sub(1)),
            b'\t' => self.grid.tab(),
            b'\n' | b'\x0b' | b'\x0c' => self.grid.line_feed(),
            b'\r' => self.grid.go_to(place.row, 0),
            b'\x0e' => self.modes.shifted = true,
            b'\x0f' => self.modes.shifted = false,
            _ => {}
        }
    }

    fn esc_dispatch(&mut self, intermediates: &[u8], _: bool, byte: u8) {
        match (intermediates, byte) {
            ([], b'D') => self.grid.line_feed(),
            ([], b'E') => {
                self.execute(b'\r');
                self.grid.line_feed();
            }
            ([], b'M') => self.grid.reverse_line_feed(),
            ([], b'7') => self.grid.save_cursor(),
            ([], b'8') => self.grid.restore_cursor(),
            ([], b'c') => self.reset(),
            ([b'('], set) => self.modes.drawing = [set == b'0', self.modes.drawing[1]],
            ([b')'], set) => self.modes.drawing = [self.modes.drawing[0], set == b'0'],
            _ => {}
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], ignore: bool, action: char) {
        if ignore {
            return;
        }
        match intermediates {
            [] => self.control(params, action),
            [b'?'] => self.private(params, action),
            _ => {}
        }
    }
}

/// The parameter at `index`, where zero and nothing mean one.
fn count(params: &Params, index: usize) -> u16 {
    number(params, index).max(1)
}

fn number(params: &Params, index: usize) -> u16 {
    params.iter().nth(index).and_then(<[u16]>::first).copied().unwrap_or(0)
}

impl Terminal {
    fn reset(&mut self) {
        self.grid = Grid::new(self.grid.rows(), self.grid.columns());
        self.main = None;
        self.modes = Modes::default();
    }

    fn control(&mut self, params: &Params, action: char) {
        let grid = &mut self.grid;
        let (place, n) = (grid.cursor(), count(params, 0));
        match action {
            'A' => grid.up(n),
            'B' | 'e' => grid.down(n),
            'C' | 'a' => grid.go_to(place.row, place.column.saturating_add(n)),
            'D' => grid.go_to(place.row, place.column.saturating_sub(n)),
            'E' => {
                grid.down(n);
                grid.go_to(grid.cursor().row, 0);
            }
            'F' => {
                grid.up(n);
                grid.go_to(grid.cursor().row, 0);
            }
            'G' | '`' => grid.go_to(place.row, n - 1),
            'd' => self.go_to_line(n - 1, place.column),
            'H' | 'f' => self.go_to_line(n - 1, count(params, 1) - 1),
            'J' => self.erase_display(number(params, 0)),
            'K' => match number(params, 0) {
                0 => grid.erase_in_line(place.column, u16::MAX),
                1 => grid.erase_in_line(0, place.column + 1),
                2 => grid.erase_in_line(0, u16::MAX),
                _ => {}
            },
            'L' => grid.lines_below().into_iter().for_each(|lines| grid.scroll_down(lines, n)),
            'M' => grid.lines_below().into_iter().for_each(|lines| grid.scroll_up(lines, n)),
            'P' => grid.delete_cells(n),
            '@' => grid.insert_cells(n),
            'X' => grid.erase_in_line(place.column, place.column.saturating_add(n)),
            'S' => grid.scroll_up(grid.region(), n),
            'T' => grid.scroll_down(grid.region(), n),
            'm' => set_style(&mut grid.style, params),
            'r' => {
                let last = match number(params, 1) {
                    0 => grid.rows(),
                    row => row,
                };
                grid.set_region(n - 1, last - 1);
                self.go_to_line(0, 0);
            }
            's' => grid.save_cursor(),
            'u' => grid.restore_cursor(),
            'h' | 'l' if number(params, 0) == 4 => self.modes.insert = action == 'h',
            'n' => self.report(number(params, 0)),
            'c' => self.replies.extend(b"\x1b[?6c"),
            _ => {}
        }
    }

    /// To a line that counts from the region's first in origin mode.
    fn go_to_line(&mut self, row: u16, column: u16) {
        let (first, last) = if self.modes.origin { self.grid.region() } else { (0, u16::MAX) };
        self.grid.go_to(row.saturating_add(first).min(last), column);
    }

    fn erase_display(&mut self, which: u16) {
        let place = self.grid.cursor();
        let grid = &mut self.grid;
        match which {
            0 => {
                grid.erase_in_line(place.column, u16::MAX);
                grid.erase_lines(place.row + 1, u16::MAX);
            }
            1 => {
                grid.erase_lines(0, place.row);
                grid.erase_in_line(0, place.column + 1);
            }
            2 | 3 => grid.erase_lines(0, u16::MAX),
            _ => {}
        }
    }

    fn report(&mut self, what: u16) {
        let place = self.grid.cursor();
        match what {
            5 => self.replies.extend(b"\x1b[0n"),
            6 => self.replies.extend(format!("\x1b[{};{}R", place.row + 1, place.column + 1).into_bytes()),
            _ => {}
        }
    }

    fn private(&mut self, params: &Params, action: char) {
        let on = match action {
            'h' => true,
            'l' => false,
            _ => return,
        };
        for mode in params.iter().filter_map(<[u16]>::first) {
            match mode {
                1 => self.modes.cursor_keys = on,
                6 => {
                    self.modes.origin = on;
                    self.go_to_line(0, 0);
                }
                7 => self.modes.wrap = on,
                25 => self.modes.cursor_shown = on,
                47 | 1047 => self.use_alternate(on),
                1048 if on => self.grid.save_cursor(),
                1048 => self.grid.restore_cursor(),
                1049 if on => {
                    self.grid.save_cursor();
                    self.use_alternate(true);
                }
                1049 => {
                    self.use_alternate(false);
                    self.grid.restore_cursor();
                }
                _ => {}
            }
        }
    }

    /// The alternate grid starts empty, with the cursor where it was; leaving it shows the main one as it was.
    fn use_alternate(&mut self, on: bool) {
        if on && self.main.is_none() {
            let place = self.grid.cursor();
            let empty = Grid::new(self.grid.rows(), self.grid.columns());
            self.main = Some(core::mem::replace(&mut self.grid, empty));
            self.grid.go_to(place.row, place.column);
        } else if !on && let Some(main) = self.main.take() {
            self.grid = main;
        }
    }
}

/// SGR.
fn set_style(style: &mut Style, params: &Params) {
    let mut all = params.iter().flat_map(|p| p.iter().copied());
    while let Some(code) = all.next() {
        match code {
            0 => *style = Style::PLAIN,
            1 => style.bold = true,
            4 => style.underline = true,
            7 => style.reverse = true,
            2 | 22 => style.bold = false,
            24 => style.underline = false,
            27 => style.reverse = false,
            30..=37 => style.foreground = Color::Indexed(low8(u64::from(code - 30))),
            38 => style.foreground = color(&mut all).unwrap_or(style.foreground),
            39 => style.foreground = Color::Default,
            40..=47 => style.background = Color::Indexed(low8(u64::from(code - 40))),
            48 => style.background = color(&mut all).unwrap_or(style.background),
            49 => style.background = Color::Default,
            90..=97 => style.foreground = Color::Indexed(low8(u64::from(code - 90 + 8))),
            100..=107 => style.background = Color::Indexed(low8(u64::from(code - 100 + 8))),
            _ => {}
        }
    }
}

/// What follows 38 and 48: `5;index` or `2;red;green;blue`.
fn color(codes: &mut impl Iterator<Item = u16>) -> Option<Color> {
    let kind = codes.next()?;
    let mut byte = || codes.next().map(|code| low8(u64::from(code)));
    match kind {
        5 => byte().map(Color::Indexed),
        2 => Some(Color::Rgb(byte()?, byte()?, byte()?)),
        _ => None,
    }
}
