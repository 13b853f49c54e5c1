//! Character cells, the cursor, and the operations control sequences are made of.

use alloc::vec::Vec;

/// A colour as programs name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Color {
    /// The terminal's own.
    Default,
    /// One of the 256.
    Indexed(u8),
    /// Red, green, blue.
    Rgb(u8, u8, u8),
}

/// How a character looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Style {
    pub foreground: Color,
    pub background: Color,
    pub bold: bool,
    pub underline: bool,
    pub reverse: bool,
}

impl Style {
    pub(super) const PLAIN: Self =
        Self { foreground: Color::Default, background: Color::Default, bold: false, underline: false, reverse: false };
}

/// A place for a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub text: char,
    pub style: Style,
}

/// A place in the grid, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub row: u16,
    pub column: u16,
}

/// Cells and what goes on in them.
pub(super) struct Grid {
    rows: u16,
    columns: u16,
    cells: Vec<Cell>,
    cursor: Place,
    /// The last column was written: the next character goes to the next line.
    wraps: bool,
    pub style: Style,
    saved: (Place, Style),
    /// First and last line that scroll.
    region: (u16, u16),
}

impl Grid {
    pub(super) fn new(rows: u16, columns: u16) -> Self {
        let blank = Cell { text: ' ', style: Style::PLAIN };
        Self {
            rows,
            columns,
            cells: alloc::vec![blank; usize::from(rows) * usize::from(columns)],
            cursor: Place::default(),
            wraps: false,
            style: Style::PLAIN,
            saved: (Place::default(), Style::PLAIN),
            region: (0, rows.saturating_sub(1)),
        }
    }

    pub(super) fn rows(&self) -> u16 {
        self.rows
    }

    pub(super) fn columns(&self) -> u16 {
        self.columns
    }

    pub(super) fn cursor(&self) -> Place {
        self.cursor
    }

    pub(super) fn region(&self) -> (u16, u16) {
        self.region
    }

    /// An erased cell keeps the background in use.
    fn blank(&self) -> Cell {
        let style = Style { background: self.style.background, ..Style::PLAIN };
        Cell { text: ' ', style }
    }

    fn at(&self, row: u16, column: u16) -> usize {
        usize::from(row) * usize::from(self.columns) + usize::from(column)
    }

    pub(super) fn row(&self, row: u16) -> &[Cell] {
        self.cells.get(self.at(row, 0)..self.at(row + 1, 0)).unwrap_or_default()
    }

    fn columns_of(&mut self, row: u16, from: u16, to: u16) -> &mut [Cell] {
        let range = self.at(row, from)..self.at(row, to);
        self.cells.get_mut(range).unwrap_or_default()
    }

    /// Writes a character where the cursor is and moves on.
    pub(super) fn put(&mut self, text: char, wrap: bool, insert: bool) {
        if self.wraps && wrap {
            self.cursor.column = 0;
            self.line_feed();
        }
        if insert {
            self.insert_cells(1);
        }
        let (Place { row, column }, style) = (self.cursor, self.style);
        if let Some(cell) = self.columns_of(row, column, column + 1).first_mut() {
            *cell = Cell { text, style };
        }
        self.wraps = column + 1 == self.columns;
        if !self.wraps {
            self.cursor.column += 1;
        }
    }

    /// Moves the cursor, as far as there is a grid.
    pub(super) fn go_to(&mut self, row: u16, column: u16) {
        self.cursor =
            Place { row: row.min(self.rows.saturating_sub(1)), column: column.min(self.columns.saturating_sub(1)) };
        self.wraps = false;
    }

    /// Moves up, not past the region when inside it.
    pub(super) fn up(&mut self, count: u16) {
        let stop = if self.cursor.row >= self.region.0 { self.region.0 } else { 0 };
        self.go_to(self.cursor.row.saturating_sub(count).max(stop), self.cursor.column);
    }

    /// Moves down, not past the region when inside it.
    pub(super) fn down(&mut self, count: u16) {
        let stop = if self.cursor.row <= self.region.1 { self.region.1 } else { self.rows };
        self.go_to(self.cursor.row.saturating_add(count).min(stop), self.cursor.column);
    }

    /// To the next line, scrolling at the region's end.
    pub(super) fn line_feed(&mut self) {
        self.wraps = false;
        if self.cursor.row == self.region.1 {
            self.scroll_up(self.region, 1);
        } else if self.cursor.row + 1 < self.rows {
            self.cursor.row += 1;
        }
    }

    /// To the line above, scrolling at the region's start.
    pub(super) fn reverse_line_feed(&mut self) {
        self.wraps = false;
        if self.cursor.row == self.region.0 {
            self.scroll_down(self.region, 1);
        } else {
            self.cursor.row = self.cursor.row.saturating_sub(1);
        }
    }

    /// To the next tab stop, of which every eighth column has one.
    pub(super) fn tab(&mut self) {
        self.go_to(self.cursor.row, (self.cursor.column / 8 + 1).saturating_mul(8));
    }

    /// Lines `first` to `last` move up; blank ones come in at the bottom.
    pub(super) fn scroll_up(&mut self, (first, last): (u16, u16), count: u16) {
        let count = count.min(last + 1 - first);
        let (blank, range) = (self.blank(), self.at(first, 0)..self.at(last + 1, 0));
        let moved = self.at(count, 0);
        if let Some(cells) = self.cells.get_mut(range) {
            cells.copy_within(moved.., 0);
            let kept = cells.len() - moved;
            cells.get_mut(kept..).unwrap_or_default().fill(blank);
        }
    }

    /// Lines `first` to `last` move down; blank ones come in at the top.
    pub(super) fn scroll_down(&mut self, (first, last): (u16, u16), count: u16) {
        let count = count.min(last + 1 - first);
        let (blank, range) = (self.blank(), self.at(first, 0)..self.at(last + 1, 0));
        let moved = self.at(count, 0);
        if let Some(cells) = self.cells.get_mut(range) {
            cells.copy_within(..cells.len() - moved, moved);
            cells.get_mut(..moved).unwrap_or_default().fill(blank);
        }
    }

    /// Where the cursor is, if that is inside the region, to the region's end: what IL and DL act on.
    pub(super) fn lines_below(&self) -> Option<(u16, u16)> {
        let (first, last) = self.region;
        (first..=last).contains(&self.cursor.row).then_some((self.cursor.row, last))
    }

    /// Makes room at the cursor; what is pushed over the edge is lost.
    pub(super) fn insert_cells(&mut self, count: u16) {
        let (blank, Place { row, column }) = (self.blank(), self.cursor);
        let count = usize::from(count.min(self.columns - column));
        let cells = self.columns_of(row, column, self.columns_end());
        cells.copy_within(..cells.len() - count, count);
        cells.get_mut(..count).unwrap_or_default().fill(blank);
    }

    /// Takes cells out at the cursor.
    pub(super) fn delete_cells(&mut self, count: u16) {
        let (blank, Place { row, column }) = (self.blank(), self.cursor);
        let count = usize::from(count.min(self.columns - column));
        let cells = self.columns_of(row, column, self.columns_end());
        cells.copy_within(count.., 0);
        let kept = cells.len() - count;
        cells.get_mut(kept..).unwrap_or_default().fill(blank);
    }

    fn columns_end(&self) -> u16 {
        self.columns
    }

    /// Blanks columns of the cursor's line.
    pub(super) fn erase_in_line(&mut self, from: u16, to: u16) {
        let (blank, row, to) = (self.blank(), self.cursor.row, to.min(self.columns));
        self.columns_of(row, from.min(to), to).fill(blank);
    }

    /// Blanks whole lines.
    pub(super) fn erase_lines(&mut self, from: u16, to: u16) {
        let blank = self.blank();
        let range = self.at(from, 0)..self.at(to.min(self.rows), 0);
        self.cells.get_mut(range).unwrap_or_default().fill(blank);
    }

    /// Sets which lines scroll; nonsense sets them all.
    pub(super) fn set_region(&mut self, first: u16, last: u16) {
        let last = last.min(self.rows.saturating_sub(1));
        self.region = if first < last { (first, last) } else { (0, self.rows.saturating_sub(1)) };
    }

    pub(super) fn save_cursor(&mut self) {
        self.saved = (self.cursor, self.style);
    }

    pub(super) fn restore_cursor(&mut self) {
        let (place, style) = self.saved;
        self.style = style;
        self.go_to(place.row, place.column);
    }
}
