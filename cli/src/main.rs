//! `aurora`: see `aurora --help`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use anyhow::Result;
use aurora_cli::image::{self, ImageCommand};
use aurora_cli::run::{self, MACHINE_FAILED, RunArgs};
use aurora_cli::{bench, build, doctor, long, serve};
use clap::{CommandFactory as _, Parser, Subcommand};

const EXAMPLES: &str = "Examples:
  aurora                                        the page, in a browser
  aurora run -- busybox sh -c 'uname -a; ps'    a program, here
  aurora run --machine qemu -- busybox top      the same on a PC
  aurora image build -o image.cpio.gz           an image for the page or the package
  aurora doctor                                 what is missing, and why

`aurora COMMAND --help` has more. Shell completions: `aurora completions --help`.";

/// One operating system kernel for silicon and for browser tabs
///
/// Without a command: builds what is missing and serves the page.
#[derive(Parser)]
#[command(name = "aurora", version, args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Where to serve the page; 0 is any free port
    #[arg(long, default_value_t = 0)]
    port: u16,
}

#[derive(Subcommand)]
enum Command {
    #[command(after_help = run::EXAMPLES)]
    Run(RunArgs),
    /// Make images, look into them, change them
    #[command(subcommand)]
    Image(ImageCommand),
    /// Say what is here, what is missing, what for, and how to get it
    ///
    /// The exit status is 1 if something is missing.
    Doctor {
        /// For scripts
        #[arg(long)]
        json: bool,
    },
    /// Measure
    Bench {
        /// What
        #[arg(value_enum)]
        what: Bench,
        /// For scripts
        #[arg(long)]
        json: bool,
        /// Only these, and no report: columns of the kernel's and the disks', first runs of programs of the processor's
        only: Vec<String>,
    },
    /// Run tests
    Test {
        /// The long ones, which leave reports in tests/reports
        #[arg(long, required = true)]
        long: bool,
        /// Only these
        only: Vec<String>,
    },
    /// Build the npm package aurora-os and say where it is
    Package,
    /// Take the README's pictures of the page anew
    Pictures,
    /// Print completions for a shell
    #[command(
        after_help = "Examples:\n  aurora completions bash > ~/.local/share/bash-completion/completions/aurora\n  \
                            aurora completions zsh > ~/.zfunc/_aurora\n  \
                            aurora completions fish > ~/.config/fish/completions/aurora.fish"
    )]
    Completions {
        /// Which
        shell: clap_complete::Shell,
    },
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Bench {
    /// The time to a prompt, or to the end of a small program
    Boot,
    /// Processor-bound programs: here, in Aurora, and in other emulators; writes bench/RESULTS.md
    Cpu,
    /// What disks take, beside Linux on the same PC and in v86; writes bench/DISK.md
    Disk,
    /// What the kernel takes, beside Linux on the same PC and in v86; writes bench/KERNEL.md
    Kernel,
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
        None => serve::serve(cli.port)?,
        Some(Command::Run(arguments)) => return run::run(arguments),
        Some(Command::Image(command)) => image::run(command)?,
        Some(Command::Doctor { json }) => return Ok(u8::from(!doctor::doctor(*json)?)),
        Some(Command::Bench { what: Bench::Boot, json, .. }) => drop(bench::boot(*json)?),
        Some(Command::Bench { what: Bench::Cpu, only, .. }) => bench::cpu::run(only)?,
        Some(Command::Bench { what: Bench::Disk, only, .. }) => bench::disk::run(only)?,
        Some(Command::Bench { what: Bench::Kernel, only, .. }) => bench::kernel::run(only)?,
        Some(Command::Test { only, .. }) => long::run(only)?,
        Some(Command::Package) => println!("{}", build::package()?.display()),
        Some(Command::Pictures) => bench::pictures()?,
        Some(Command::Completions { shell }) => {
            clap_complete::generate(*shell, &mut Cli::command(), "aurora", &mut std::io::stdout());
        }
    }
    Ok(0)
}
