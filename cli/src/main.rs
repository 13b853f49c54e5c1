//! `aurora`: see `aurora --help`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use anyhow::Result;
use aurora_cli::run::{self, MACHINE_FAILED, RunArgs};
use aurora_cli::{bench, doctor, long, serve};
use clap::{Parser, Subcommand};

/// One operating system kernel for silicon and for browser tabs
///
/// Without a command: builds what is missing and serves the page.
#[derive(Parser)]
#[command(name = "aurora", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Where to serve the page; 0 is any free port
    #[arg(long, default_value_t = 0)]
    port: u16,
}

#[derive(Subcommand)]
enum Command {
    Run(RunArgs),
    /// Say what is here and what is missing
    Doctor,
    /// Measure
    Bench {
        /// What
        #[arg(value_enum)]
        what: Bench,
    },
    /// Run tests
    Test {
        /// The long ones, which leave reports in tests/reports
        #[arg(long, required = true)]
        long: bool,
        /// Only these: boot, differential, fuzz
        only: Vec<String>,
    },
    /// Take the README's pictures of the page anew
    Pictures,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Bench {
    /// The time to a prompt, or to the end of a small program
    Boot,
    /// Processor-bound programs: here, in Aurora, and in other emulators; writes bench/RESULTS.md
    Cpu,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match command(&cli) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("aurora: {error:#}");
            ExitCode::from(if matches!(cli.command, Some(Command::Run(_))) { MACHINE_FAILED } else { 1 })
        }
    }
}

fn command(cli: &Cli) -> Result<u8> {
    match &cli.command {
        None => serve::serve(cli.port).map(|()| 0),
        Some(Command::Run(arguments)) => run::run(arguments),
        Some(Command::Doctor) => doctor::doctor().map(|()| 0),
        Some(Command::Bench { what: Bench::Boot }) => bench::boot().map(|_| 0),
        Some(Command::Bench { what: Bench::Cpu }) => bench::cpu::run().map(|()| 0),
        Some(Command::Test { only, .. }) => long::run(only).map(|()| 0),
        Some(Command::Pictures) => bench::pictures().map(|()| 0),
    }
}
