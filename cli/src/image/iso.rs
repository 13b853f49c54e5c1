//! A disc that PCs start from, by BIOS or UEFI: GRUB, the kernel, an image.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::gzip;
use crate::{build, project, setup, ui};

/// What making it takes.
const TOOLS: [(&str, &str); 3] = [("grub-mkrescue", "grub-common"), ("xorriso", "xorriso"), ("mformat", "mtools")];
/// GRUB for the two kinds of firmware: a folder each, and the package it is in.
const FIRMWARE: [(&str, &str); 2] =
    [("/usr/lib/grub/i386-pc", "grub-pc-bin"), ("/usr/lib/grub/x86_64-efi", "grub-efi-amd64-bin")];
/// The parts of GRUB that are used: the disc is a third of the size with these alone.
const MODULES: &str = "multiboot2 normal iso9660 all_video gzio search configfile boot part_gpt part_msdos fat";

/// Makes the disc. `archive` is the image's archive; `command_line` is the kernel's.
pub fn make(archive: &[u8], command_line: &str, output: &Path) -> Result<()> {
    install()?;
    let kernel = build::metal()?;
    let _lock = project::lock("iso")?;
    let tree = project::made("iso/boot/grub")?;
    let boot = project::made("iso/boot")?;
    let kernel = fs::read(&kernel).context("cannot read the kernel")?;
    fs::write(boot.join("aurora"), loaded(kernel).context("the kernel is no ELF file")?)?;
    fs::write(boot.join("image.cpio.gz"), gzip(archive)?)?;
    fs::write(tree.join("grub.cfg"), menu(command_line))?;
    let mut make = Command::new("grub-mkrescue");
    make.arg("-o").arg(output).arg(format!("--install-modules={MODULES}"));
    make.args(["--fonts=", "--locales=", "--themes="]).arg(project::made("iso")?);
    ui::run_quietly("making the disc", &mut make)?;
    ui::say(&format!("{}: {} KiB", output.display(), fs::metadata(output)?.len().div_ceil(1024)));
    Ok(())
}

fn install() -> Result<()> {
    let programs = TOOLS.iter().filter(|(program, _)| setup::find_program(&[program]).is_none());
    let firmware = FIRMWARE.iter().filter(|(folder, _)| !Path::new(folder).exists());
    let missing: Vec<&str> = programs.chain(firmware).map(|(_, package)| *package).collect();
    if missing.is_empty() { Ok(()) } else { setup::install(&missing) }
}

/// An ELF file without its symbols: what is loaded, and no table of sections.
fn loaded(mut elf: Vec<u8>) -> Option<Vec<u8>> {
    // Elf64_Ehdr and Elf64_Phdr, elf(5).
    const PROGRAM_HEADERS: usize = 32;
    const SECTION_HEADERS: usize = 40;
    const COUNT: usize = 56;
    const SECTIONS: usize = 60;
    const HEADER: usize = 56;
    let word = |at: usize| usize::try_from(u64::from_le_bytes(*elf.get(at..)?.first_chunk()?)).ok();
    let count = usize::from(u16::from_le_bytes(*elf.get(COUNT..)?.first_chunk()?));
    let first = word(PROGRAM_HEADERS)?;
    let ends = (0..count).map(|i| first + i * HEADER).map(|at| Some(word(at + 8)? + word(at + 32)?));
    let end = ends.collect::<Option<Vec<_>>>()?.into_iter().max()?;
    elf.get_mut(SECTION_HEADERS..SECTION_HEADERS + 8)?.fill(0);
    elf.get_mut(SECTIONS..SECTIONS + 4)?.fill(0);
    elf.truncate(end);
    Some(elf)
}

/// The kernel unpacks the image itself: GRUB would do it at a tenth of the speed.
fn menu(command_line: &str) -> String {
    format!(
        "set timeout=0\ninsmod all_video\nmenuentry Aurora {{\n  multiboot2 /boot/aurora {command_line}\n  \
         module2 --nounzip /boot/image.cpio.gz\n}}\n"
    )
}
