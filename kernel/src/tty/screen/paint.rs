//! Cells to pixels.

use alloc::vec::Vec;

use aurora_machine::Display;
use spleen_font::{FONT_8X16, FONT_16X32};

use super::font::Font;
use super::grid::{Cell, Color, Grid, Place, Style};
use crate::num::to_usize;

/// Displays at least this wide get the large font.
const LARGE: u32 = 2400;

/// The first sixteen colours, those of the page's terminal; the rest of the 256 are a cube and a ramp.
const PALETTE: [u32; 16] = [
    0x1b_1f2a, 0xe0_6c75, 0x98_c379, 0xe5_c07b, 0x61_afef, 0xc6_78dd, 0x56_b6c2, 0xd7_dae0, 0x5c_6370, 0xff_7b86,
    0xb5_e890, 0xff_d58f, 0x8c_c8ff, 0xe0_9bf5, 0x7f_dbe6, 0xff_ffff,
];
const FOREGROUND: u32 = 0xd7_dae0;
const BACKGROUND: u32 = 0x0f_111a;

/// A character as it is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Shown {
    text: char,
    foreground: u32,
    background: u32,
    underline: bool,
}

/// Draws what changed.
pub(super) struct Painter {
    font: Option<Font>,
    cell: (u32, u32),
    rows: u16,
    columns: u16,
    /// What the display has; `None` where nobody has drawn yet.
    shown: Vec<Option<Shown>>,
}

impl Painter {
    pub(super) fn new(display: &dyn Display) -> Self {
        let (width, height) = display.size();
        let font = Font::read(if width >= LARGE { FONT_16X32 } else { FONT_8X16 });
        let cell = font.as_ref().map_or((8, 16), |font| (font.width, font.height));
        let count = |pixels: u32, of: u32| u16::try_from(pixels / of).unwrap_or(u16::MAX).clamp(1, 1000);
        let (rows, columns) = (count(height, cell.1), count(width, cell.0));
        let shown = alloc::vec![None; usize::from(rows) * usize::from(columns)];
        Self { font, cell, rows, columns, shown }
    }

    pub(super) fn size(&self) -> (u16, u16) {
        (self.rows, self.columns)
    }

    pub(super) fn paint(&mut self, grid: &Grid, cursor: Option<Place>, display: &dyn Display) {
        for row in 0..self.rows {
            for (column, cell) in (0..self.columns).zip(grid.row(row)) {
                let mut wanted = appearance(cell);
                if cursor == Some(Place { row, column }) {
                    core::mem::swap(&mut wanted.foreground, &mut wanted.background);
                }
                let index = usize::from(row) * usize::from(self.columns) + usize::from(column);
                if let Some(shown) = self.shown.get_mut(index).filter(|shown| **shown != Some(wanted)) {
                    *shown = Some(wanted);
                    self.draw(row, column, wanted, display);
                }
            }
        }
    }

    fn draw(&self, row: u16, column: u16, what: Shown, display: &dyn Display) {
        const MOST: usize = 16 * 32;
        let mut pixels = [what.background; MOST];
        let width = to_usize(u64::from(self.cell.0));
        let rows = self.font.iter().flat_map(|font| font.rows(what.text));
        for (row, pixels) in rows.zip(pixels.chunks_mut(width)) {
            let bits = row.iter().flat_map(|byte| (0..8).map(move |bit| byte & 0x80 >> bit != 0));
            for (_, pixel) in bits.zip(pixels).filter(|(on, _)| *on) {
                *pixel = what.foreground;
            }
        }
        let len = to_usize(u64::from(self.cell.0 * self.cell.1));
        if what.underline {
            let at = len - 2 * width;
            pixels.get_mut(at..at + width).unwrap_or_default().fill(what.foreground);
        }
        let (x, y) = (u32::from(column) * self.cell.0, u32::from(row) * self.cell.1);
        display.draw(x, y, self.cell.0, pixels.get(..len).unwrap_or_default());
    }
}

fn appearance(cell: &Cell) -> Shown {
    let Style { foreground, background, bold, underline, reverse } = cell.style;
    let foreground = match foreground {
        // What bold meant when there were eight colours.
        Color::Indexed(index @ 0..8) if bold => rgb(Color::Indexed(index + 8), FOREGROUND),
        Color::Default if bold => 0xff_ffff,
        color => rgb(color, FOREGROUND),
    };
    let background = rgb(background, BACKGROUND);
    let (foreground, background) = if reverse { (background, foreground) } else { (foreground, background) };
    Shown { text: cell.text, foreground, background, underline }
}

fn rgb(color: Color, default: u32) -> u32 {
    let mix = |r: u8, g: u8, b: u8| u32::from_be_bytes([0, r, g, b]);
    let level = |step: u8| if step == 0 { 0 } else { 55 + 40 * step };
    match color {
        Color::Default => default,
        Color::Rgb(r, g, b) => mix(r, g, b),
        Color::Indexed(index @ 0..16) => PALETTE.get(usize::from(index)).copied().unwrap_or(default),
        Color::Indexed(index @ 16..232) => {
            let index = index - 16;
            mix(level(index / 36), level(index / 6 % 6), level(index % 6))
        }
        Color::Indexed(index) => {
            let gray = 8 + 10 * (index - 232);
            mix(gray, gray, gray)
        }
    }
}
