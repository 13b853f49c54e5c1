//! Fonts in the PC Screen Font format, versions 1 and 2. (The library the fonts come from reads version 1 wrongly.)

use alloc::collections::BTreeMap;

use crate::num::to_usize;

/// A bitmap font.
pub(super) struct Font {
    /// Pixels of a character.
    pub width: u32,
    pub height: u32,
    glyphs: &'static [u8],
    /// Bytes of a glyph.
    size: usize,
    index: BTreeMap<char, usize>,
}

impl Font {
    /// Reads a font file; `None` if it is none.
    pub(super) fn read(file: &'static [u8]) -> Option<Self> {
        match file {
            [0x36, 0x04, mode, height, ..] => Self::version_1(file, *mode, *height),
            [0x72, 0xb5, 0x4a, 0x86, ..] => Self::version_2(file),
            _ => None,
        }
    }

    /// The Unicode table is of UTF-16, a glyph's characters ended by 0xffff; 0xfffe starts sequences.
    fn version_1(file: &'static [u8], mode: u8, height: u8) -> Option<Self> {
        const MODE_512: u8 = 1;
        let count = if mode & MODE_512 != 0 { 512 } else { 256 };
        let size = usize::from(height);
        let (glyphs, table) = file.get(4..)?.split_at_checked(count * size)?;
        let mut index = BTreeMap::new();
        let units = table.chunks_exact(2).filter_map(|unit| Some(u16::from_le_bytes(*unit.first_chunk()?)));
        let mut glyph = 0;
        for unit in units {
            match unit {
                0xffff => glyph += 1,
                unit => {
                    char::from_u32(u32::from(unit)).map(|text| index.entry(text).or_insert(glyph));
                }
            }
        }
        Some(Self { width: 8, height: u32::from(height), glyphs, size, index })
    }

    /// The Unicode table is of UTF-8, a glyph's characters ended by 0xff; 0xfe starts sequences.
    fn version_2(file: &'static [u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_le_bytes(*file.get(at..)?.first_chunk()?));
        let [start, count, size] = [word(8)?, word(16)?, word(20)?].map(|n| to_usize(u64::from(n)));
        let (height, width) = (word(24)?, word(28)?);
        let (glyphs, table) = file.get(start..)?.split_at_checked(count.checked_mul(size)?)?;
        let mut index = BTreeMap::new();
        for (glyph, texts) in table.split(|&byte| byte == 0xff).enumerate() {
            let single = texts.split(|&byte| byte == 0xfe).next().unwrap_or_default();
            for text in core::str::from_utf8(single).unwrap_or_default().chars() {
                index.entry(text).or_insert(glyph);
            }
        }
        Some(Self { width, height, glyphs, size, index })
    }

    /// The rows of a character, each a bit a pixel from the highest; a question mark's for one the font has not.
    pub(super) fn rows(&self, text: char) -> impl Iterator<Item = &'static [u8]> {
        let glyph = self.index.get(&text).or_else(|| self.index.get(&'?')).copied().unwrap_or(0);
        let bytes = self.glyphs.get(glyph * self.size..).and_then(|rest| rest.get(..self.size)).unwrap_or_default();
        bytes.chunks(to_usize(u64::from(self.width.div_ceil(8))))
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use spleen_font::{FONT_8X16, FONT_16X32};

    use super::Font;

    fn picture(font: &Font, text: char) -> Vec<u32> {
        font.rows(text).map(|row| row.iter().map(|byte| byte.count_ones()).sum()).collect()
    }

    #[test]
    fn both_versions_have_letters_accents_and_lines() {
        for file in [FONT_8X16, FONT_16X32] {
            let font = Font::read(file).unwrap();
            for text in ['A', 'é', '─', '│', '█'] {
                let rows = picture(&font, text);
                assert_eq!(rows.len(), font.height as usize);
                assert!(rows.iter().any(|&count| count > 0), "{text}");
            }
            // A horizontal line has one kind of row, of full width; a full block nothing else.
            assert!(picture(&font, '─').iter().all(|&count| count == 0 || count == font.width));
            assert!(picture(&font, '█').iter().all(|&count| count == font.width));
            assert_eq!(picture(&font, '\u{10ffff}'), picture(&font, '?'));
        }
    }

    #[test]
    fn files_cut_short_are_no_fonts() {
        for file in [FONT_8X16, FONT_16X32] {
            assert!((0..100).all(|len| Font::read(&file[..len]).is_none()));
        }
    }
}
