//! aurora-hosted
