//! What the reports have in common.

use std::process::Command;

use anyhow::Result;

use super::v86;
use crate::setup;

/// The middle one.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A rate as people read it.
pub(super) fn short(rate: f64) -> String {
    match rate {
        r if r >= 1e6 => format!("{:.0} M", r / 1e6),
        r if r >= 1e3 => format!("{:.0} k", r / 1e3),
        r => format!("{r:.0}"),
    }
}

/// The date, and what took part.
pub(super) fn versions() -> Vec<String> {
    let said = |program: &str, argument: &str| {
        let out = setup::answer(Command::new(program).arg(argument))?;
        out.lines().next().map(str::to_owned)
    };
    let processor = std::fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|l| l.starts_with("model name"))?;
        Some(line.split_once(": ")?.1.to_owned())
    });
    let program = |found: Result<std::path::PathBuf>| Some(found.ok()?.to_string_lossy().into_owned());
    [
        said("date", "+%Y-%m-%d"),
        processor,
        program(setup::chromium()).and_then(|p| said(&p, "--version")),
        program(setup::node()).and_then(|p| said(&p, "--version")).map(|v| format!("Node {v}")),
        program(setup::qemu_user()).and_then(|p| said(&p, "--version")),
        v86::version().map(|v| format!("npm v86 {v} with Debian's kernel for 32-bit PCs, in the same Chromium")),
        said("gcc", "--version").map(|v| format!("{v}, -O2 -static")),
    ]
    .into_iter()
    .flatten()
    .collect()
}
