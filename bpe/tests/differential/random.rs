//! Random numbers that like the edges.

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// An integer, often one where something changes.
    pub fn integer(&mut self) -> u64 {
        let shift = self.below(64);
        match self.below(8) {
            0 => self.below(4),
            1 => self.below(4).wrapping_neg(),
            2 => 1 << shift,
            3 => (1u64 << shift).wrapping_sub(1 + self.below(2)),
            4 => self.next() >> shift,
            5 => self.pick(&[0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0x7fff_ffff, 0x8000_0000, 1 << 63, (1 << 63) - 1]),
            _ => self.next(),
        }
    }

    /// Half precision.
    pub fn f16(&mut self) -> u16 {
        let sign = (self.below(2) as u16) << 15;
        let fraction = self.next() as u16 & 0x3ff;
        sign | match self.below(7) {
            0 => 0,
            1 => fraction,
            2 => 0x7c00,
            3 => 0x7e00 | fraction >> 1,
            4 => 0x7c01 | fraction >> 1,
            5 => 0x3c00,
            _ => self.next() as u16 & 0x7fff,
        }
    }

    pub fn f32(&mut self) -> u32 {
        let sign = (self.below(2) as u32) << 31;
        sign | match self.below(12) {
            0 => 0,
            1 => 0x3f80_0000,
            2 => 0x7f80_0000,
            3 => 0x7fc0_0000 | self.next() as u32 & 0x3f_ffff,
            4 => 0x7f80_0001 | self.next() as u32 & 0x3f_ffff,
            5 => self.next() as u32 & 0x7f_ffff,
            6 => 0x0080_0000 + (self.next() as u32 & 0xff_ffff),
            7 => 0x7f00_0000 + (self.next() as u32 & 0x7f_ffff),
            8 => (self.below(1000) as f32).to_bits(),
            9 => (self.integer() as i32 as f32).abs().to_bits(),
            10 => 0x3f00_0000 + (self.next() as u32 & 0x1ff_ffff),
            _ => self.next() as u32 & 0x7fff_ffff,
        }
    }

    pub fn f64(&mut self) -> u64 {
        let sign = self.below(2) << 63;
        let fraction = self.next() & ((1 << 52) - 1);
        sign | match self.below(13) {
            0 => 0,
            1 => 0x3ff << 52,
            2 => 0x7ff << 52,
            3 => 0x7ff8 << 48 | fraction >> 1,
            4 => 0x7ff << 52 | fraction >> 1 | 1,
            5 => fraction >> self.below(52),
            6 => (1 + self.below(4)) << 52 | fraction,
            7 => (0x7fe - self.below(3)) << 52 | fraction,
            8 => (self.below(1000) as f64).to_bits(),
            9 => (self.integer() as i64 as f64).abs().to_bits(),
            10 => (0x3fe + self.below(3)) << 52 | fraction,
            11 => f64::from(f32::from_bits(self.f32() & 0x7fff_ffff)).to_bits() & !(1 << 63),
            _ => self.next() >> 1,
        }
    }

    /// An 80-bit number: significand, and sign and exponent.
    pub fn f80(&mut self) -> (u64, u16) {
        let sign = (self.below(2) as u16) << 15;
        let (significand, exponent) = match self.below(14) {
            0 => (0, 0),
            1 => (1 << 63, 0x3fff),
            2 => (1 << 63, 0x7fff),
            3 => (3 << 62 | self.next() >> 2, 0x7fff),
            4 => (1 << 63 | self.next() >> 2 | 1, 0x7fff),
            5 => (self.next() >> 1 >> self.below(63), 0),
            6 => (self.next() | 1 << 63, self.below(70) as u16),
            7 => (self.next() | 1 << 63, 0x7ffe - self.below(70) as u16),
            8 => (self.next(), self.next() as u16 & 0x7fff),
            9 => (self.next() | 1 << 63, 0x3fff - 70 + self.below(140) as u16),
            10 => ((self.next() | 1 << 63) & !0 << self.below(64), 0x3fff + self.below(64) as u16),
            11 => (self.next() << 40 | 1 << 63, 0x3fff - 130 + self.below(260) as u16),
            12 => (self.next() << 11 | 1 << 63, 0x3fff - 1030 + self.below(2060) as u16),
            _ => (self.next() | 1 << 63, 0x3fff - 40 + self.below(80) as u16),
        };
        (significand, sign | exponent)
    }

    /// 16 bytes for a vector register.
    pub fn vector(&mut self) -> u128 {
        let half = |r: &mut Self| match r.below(4) {
            0 => u64::from(r.f32()) | u64::from(r.f32()) << 32,
            1 | 2 => r.f64(),
            _ => r.integer(),
        };
        let kind = self.below(6);
        let lane32 = |r: &mut Self| u128::from(r.f32());
        match kind {
            0 => lane32(self) | lane32(self) << 32 | lane32(self) << 64 | lane32(self) << 96,
            1 => u128::from(self.f64()) | u128::from(self.f64()) << 64,
            2 => u128::from(self.integer()) | u128::from(self.integer()) << 64,
            3 => {
                // Small bytes, as strings have, with zeros among them.
                (0..16).fold(0, |v, i| v | u128::from(self.below(4)) << (8 * i))
            }
            4 => (0..8).fold(0, |v, i| v | u128::from(self.f16()) << (16 * i)),
            _ => u128::from(half(self)) | u128::from(half(self)) << 64,
        }
    }
}
