//! The suite every machine passes. Filled by the machines' author; see `run`.
