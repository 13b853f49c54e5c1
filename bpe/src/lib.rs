//! aurora-bpe
