//! Numbers in blocks, and conversions that say what happens to values that do not fit.
//!
//! Reading beyond the end of a slice gives zero and writing there does nothing, so that no offset that came from a disk
//! can make a panic. Offsets are checked where they are read; this is the net below.

/// The bytes `at..at + N`, zeros where there are none.
fn take<const N: usize>(data: &[u8], at: usize) -> [u8; N] {
    data.get(at..at.saturating_add(N)).and_then(|s| s.try_into().ok()).unwrap_or([0; N])
}

pub(crate) fn u8_at(data: &[u8], at: usize) -> u8 {
    data.get(at).copied().unwrap_or(0)
}
pub(crate) fn le16(data: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(take(data, at))
}
pub(crate) fn le32(data: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(take(data, at))
}
pub(crate) fn be16(data: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(take(data, at))
}
pub(crate) fn be32(data: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(take(data, at))
}
pub(crate) fn be64(data: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(take(data, at))
}

/// Copies `bytes` to `at`, if they fit.
pub(crate) fn put(data: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(to) = data.get_mut(at..at.saturating_add(bytes.len())) {
        to.copy_from_slice(bytes);
    }
}
pub(crate) fn put8(data: &mut [u8], at: usize, value: u8) {
    put(data, at, &[value]);
}
pub(crate) fn put16(data: &mut [u8], at: usize, value: u16) {
    put(data, at, &value.to_le_bytes());
}
pub(crate) fn put32(data: &mut [u8], at: usize, value: u32) {
    put(data, at, &value.to_le_bytes());
}
pub(crate) fn put_be16(data: &mut [u8], at: usize, value: u16) {
    put(data, at, &value.to_be_bytes());
}
pub(crate) fn put_be32(data: &mut [u8], at: usize, value: u32) {
    put(data, at, &value.to_be_bytes());
}

/// The bytes of a range, as far as there are any.
pub(crate) fn slice(data: &[u8], from: usize, to: usize) -> &[u8] {
    let to = to.min(data.len());
    data.get(from.min(to)..to).unwrap_or(&[])
}
/// The bytes of a range to write to, as far as there are any.
pub(crate) fn slice_mut(data: &mut [u8], from: usize, to: usize) -> &mut [u8] {
    let to = to.min(data.len());
    data.get_mut(from.min(to)..to).unwrap_or(&mut [])
}
/// Fills a range with zeros.
pub(crate) fn clear(data: &mut [u8], from: usize, to: usize) {
    slice_mut(data, from, to).fill(0);
}
/// Moves bytes within a block, as far as they fit.
pub(crate) fn shift(data: &mut [u8], from: usize, to: usize, count: usize) {
    if from.saturating_add(count) <= data.len() && to.saturating_add(count) <= data.len() {
        data.copy_within(from..from.saturating_add(count), to);
    }
}

/// `value` as a host length; what the host cannot count becomes the largest length there is.
pub(crate) fn to_usize(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}
/// A 32-bit number as an index.
pub(crate) fn index(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}
/// A host length as a number.
pub(crate) fn to_u64(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}
/// The low 32 bits.
#[allow(clippy::cast_possible_truncation)]
pub(crate) const fn low32(value: u64) -> u32 {
    value as u32
}
/// The high 32 bits.
pub(crate) const fn high32(value: u64) -> u32 {
    low32(value >> 32)
}
/// The low 16 bits.
#[allow(clippy::cast_possible_truncation)]
pub(crate) const fn low16(value: u32) -> u16 {
    value as u16
}
/// The high 16 bits.
pub(crate) const fn high16(value: u32) -> u16 {
    low16(value >> 16)
}
/// The low 8 bits.
#[allow(clippy::cast_possible_truncation)]
pub(crate) const fn low8(value: u32) -> u8 {
    value as u8
}
/// A host length below 64 KiB.
#[allow(clippy::cast_possible_truncation)]
pub(crate) const fn short(value: usize) -> u16 {
    value as u16
}
/// A host length as 32 bits.
#[allow(clippy::cast_possible_truncation)]
pub(crate) const fn word(value: usize) -> u32 {
    value as u32
}
