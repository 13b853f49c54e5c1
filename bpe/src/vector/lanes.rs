//! Vectors as lanes.

/// A lane type.
pub(crate) trait Lane: Copy + 'static {
    const BYTES: usize;
    /// Lane `i` of `v`.
    fn get(v: &[u8; 16], i: usize) -> Self;
    /// Sets lane `i`.
    fn set(self, v: &mut [u8; 16], i: usize);
}

macro_rules! lanes {
    ($($t:ty)*) => {$(
        impl Lane for $t {
            const BYTES: usize = size_of::<$t>();
            #[inline(always)]
            fn get(v: &[u8; 16], i: usize) -> Self {
                let mut bytes = [0; size_of::<$t>()];
                bytes.copy_from_slice(&v[i * Self::BYTES..(i + 1) * Self::BYTES]);
                Self::from_le_bytes(bytes)
            }
            #[inline(always)]
            fn set(self, v: &mut [u8; 16], i: usize) {
                v[i * Self::BYTES..(i + 1) * Self::BYTES].copy_from_slice(&self.to_le_bytes());
            }
        }
    )*};
}
lanes!(u8 u16 u32 u64 i8 i16 i32 i64 f32 f64);

/// A vector made lane by lane, `N` bytes of it.
#[inline(always)]
pub(crate) fn build<L: Lane, const N: usize>(mut f: impl FnMut(usize) -> L) -> u128 {
    let mut out = [0; 16];
    for i in 0..N / L::BYTES {
        f(i).set(&mut out, i);
    }
    u128::from_le_bytes(out)
}

/// `f` of each pair of lanes.
#[inline(always)]
pub(crate) fn zip<L: Lane, const N: usize>(a: u128, b: u128, f: impl Fn(L, L) -> L) -> u128 {
    let (a, b) = (a.to_le_bytes(), b.to_le_bytes());
    build::<L, N>(|i| f(L::get(&a, i), L::get(&b, i)))
}

/// `f` of each lane.
#[inline(always)]
pub(crate) fn map<L: Lane, const N: usize>(a: u128, f: impl Fn(L) -> L) -> u128 {
    let a = a.to_le_bytes();
    build::<L, N>(|i| f(L::get(&a, i)))
}

/// Lane `i` of `v`.
#[inline(always)]
pub(crate) fn lane<L: Lane>(v: u128, i: usize) -> L {
    L::get(&v.to_le_bytes(), i)
}

/// `v` with lane `i` replaced.
#[inline(always)]
pub(crate) fn with_lane<L: Lane>(v: u128, i: usize, value: L) -> u128 {
    let mut bytes = v.to_le_bytes();
    value.set(&mut bytes, i);
    u128::from_le_bytes(bytes)
}
