//! A screen of pixels.

/// Draws for the kernel. Pixels are `0x00RRGGBB`.
pub trait Display: Send + Sync {
    /// Width and height in pixels.
    fn size(&self) -> (u32, u32);

    /// Draws a rectangle, `width` pixels a row, its upper left corner at `x`, `y`. What lies outside is cut off.
    fn draw(&self, x: u32, y: u32, width: u32, pixels: &[u32]);
}
