//! The framebuffer the loader set up.

use aurora_handover::Screen;
use aurora_machine::Display;
use spin::Once;

use crate::layout::DEVICE_MAP;

static SCREEN: Once<Framebuffer> = Once::new();

/// Pixels in memory.
pub(crate) struct Framebuffer {
    screen: Screen,
}

/// Remembers the screen. Its pixels have to be mapped before it is drawn on.
pub(crate) fn init(screen: Screen) {
    SCREEN.call_once(|| Framebuffer { screen });
}

/// The screen, where there is one.
pub(crate) fn get() -> Option<&'static Framebuffer> {
    SCREEN.get()
}

impl Framebuffer {
    /// `0x00RRGGBB` as this screen has it.
    fn encode(&self, pixel: u32) -> u32 {
        let [_, red, green, blue] = pixel.to_be_bytes();
        let parts = [red, green, blue].into_iter().zip(self.screen.shifts);
        parts.fold(0, |all, (part, shift)| all | u32::from(part) << shift)
    }

    /// Draws a part of a row that is inside the screen.
    fn row(&self, x: u32, y: u32, pixels: &[u32]) {
        let Screen { start, pitch, pixel_bytes, .. } = self.screen;
        let at = start.0 + u64::from(y) * u64::from(pitch) + u64::from(x) * u64::from(pixel_bytes);
        let mut at = (DEVICE_MAP + at) as *mut u8;
        for &pixel in pixels {
            let bytes = self.encode(pixel).to_le_bytes();
            if pixel_bytes == 4 {
                // SAFETY: a pixel of the screen, whose memory paging.rs mapped; four bytes, aligned like the screen.
                unsafe { at.cast::<u32>().write_volatile(u32::from_le_bytes(bytes)) };
            } else {
                for (i, byte) in bytes.into_iter().take(3).enumerate() {
                    // SAFETY: as above, one of three bytes.
                    unsafe { at.add(i).write_volatile(byte) };
                }
            }
            at = at.wrapping_add(usize::from(pixel_bytes));
        }
    }
}

impl Display for Framebuffer {
    fn size(&self) -> (u32, u32) {
        (self.screen.width, self.screen.height)
    }

    fn draw(&self, x: u32, y: u32, width: u32, pixels: &[u32]) {
        let visible = self.screen.width.saturating_sub(x).min(width) as usize;
        for (y, row) in (y..self.screen.height).zip(pixels.chunks(width.max(1) as usize)) {
            self.row(x, y, &row[..visible.min(row.len())]);
        }
    }
}
