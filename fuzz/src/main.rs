//! One batch of the fuzzer: the image, and the first round.
#![forbid(unsafe_code)]

use anyhow::{Context as _, Result};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().context("aurora-fuzz IMAGE SEED");
    let archive = std::fs::read(next()?)?;
    aurora_fuzz::batch(archive, next()?.parse()?)
}
