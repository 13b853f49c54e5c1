//! How structures are written to and read from a program's memory, byte for byte as the x86-64 ABI lays them out.

/// A value with a fixed layout in a program's memory.
pub trait Abi: Sized {
    /// Bytes it takes.
    const SIZE: usize;
    /// Writes it to the first [`Abi::SIZE`] bytes of `out`; what does not fit is left out.
    fn store(&self, out: &mut [u8]);
    /// Reads it from the first [`Abi::SIZE`] bytes of `bytes`; what is missing reads as zero.
    fn load(bytes: &[u8]) -> Self;
}

macro_rules! primitive {
    ($($t:ty),*) => {$(
        impl Abi for $t {
            const SIZE: usize = size_of::<$t>();
            #[inline]
            fn store(&self, out: &mut [u8]) {
                let bytes = self.to_le_bytes();
                match out.first_chunk_mut() {
                    Some(slot) => *slot = bytes,
                    None => out.iter_mut().zip(bytes).for_each(|(to, from)| *to = from),
                }
            }
            #[inline]
            fn load(bytes: &[u8]) -> Self {
                let raw = bytes.first_chunk().copied().unwrap_or_else(|| {
                    let mut raw = [0; size_of::<$t>()];
                    raw.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
                    raw
                });
                <$t>::from_le_bytes(raw)
            }
        }
    )*};
}
primitive!(u8, i8, u16, i16, u32, i32, u64, i64);

impl<T: Abi + Copy + Default, const N: usize> Abi for [T; N] {
    const SIZE: usize = T::SIZE * N;
    #[inline]
    fn store(&self, out: &mut [u8]) {
        for (value, slot) in self.iter().zip(out.chunks_mut(T::SIZE)) {
            value.store(slot);
        }
    }
    #[inline]
    fn load(bytes: &[u8]) -> Self {
        let mut all = [T::default(); N];
        for (slot, part) in all.iter_mut().zip(bytes.chunks(T::SIZE)) {
            *slot = T::load(part);
        }
        all
    }
}

/// Declares a structure whose fields follow one another without gaps: padding is written out as fields.
#[macro_export]
macro_rules! abi_struct {
    ($(#[$meta:meta])* pub struct $name:ident ($size:literal) { $($(#[$fmeta:meta])* pub $field:ident: $t:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[allow(missing_docs)]
        pub struct $name { $($(#[$fmeta])* pub $field: $t,)* }
        impl $crate::layout::Abi for $name {
            const SIZE: usize = $size;
            fn store(&self, out: &mut [u8]) {
                // With a length that is known, no field asks how much room is left.
                match out.first_chunk_mut::<$size>() {
                    Some(whole) => self.store_fields(whole),
                    None => self.store_fields(out),
                }
            }
            fn load(bytes: &[u8]) -> Self {
                match bytes.first_chunk::<$size>() {
                    Some(whole) => Self::load_fields(whole),
                    None => Self::load_fields(bytes),
                }
            }
        }
        impl $name {
            #[inline(always)]
            fn store_fields(&self, out: &mut [u8]) {
                let mut rest = out;
                $(
                    let n = <$t as $crate::layout::Abi>::SIZE.min(rest.len());
                    let (slot, tail) = rest.split_at_mut(n);
                    <$t as $crate::layout::Abi>::store(&self.$field, slot);
                    rest = tail;
                )*
                let _ = rest;
            }
            #[inline(always)]
            fn load_fields(bytes: &[u8]) -> Self {
                let mut rest = bytes;
                $(
                    let n = <$t as $crate::layout::Abi>::SIZE.min(rest.len());
                    let (slot, tail) = rest.split_at(n);
                    let $field = <$t as $crate::layout::Abi>::load(slot);
                    rest = tail;
                )*
                let _ = rest;
                Self { $($field,)* }
            }
        }
        const _: () = assert!(0 $(+ <$t as $crate::layout::Abi>::SIZE)* == $size);
    };
}
