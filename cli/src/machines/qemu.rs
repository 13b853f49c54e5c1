//! A PC: the first serial line is the console, the second the link.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::child::{self, Scratch, boxed};
use super::disk;
use super::{Boot, Started, megabytes};
use crate::{build, setup};

pub(super) fn prepare() -> Result<(PathBuf, PathBuf)> {
    Ok((setup::qemu()?, build::metal()?))
}

/// The arguments all our uses of QEMU have in common.
pub(crate) fn arguments(kernel: &str, image: &str, command_line: &str, memory: u64) -> Result<Vec<String>> {
    let memory = format!("{}M", megabytes(memory)?);
    let all = [
        "-nodefaults",
        "-no-user-config",
        "-accel",
        "tcg",
        "-M",
        "q35",
        "-cpu",
        "max",
        "-m",
        &memory,
        "-display",
        "none",
        "-no-reboot",
        // A kernel that cannot go on ends QEMU with a status of its own.
        "-device",
        "isa-debug-exit,iobase=0xf4,iosize=4",
        "-kernel",
        kernel,
        "-initrd",
        image,
        "-append",
        command_line,
    ];
    Ok(all.map(str::to_owned).to_vec())
}

/// A disk image on PCI. One that cannot be written is a disk that cannot be; an error is the guest's to hear.
pub(crate) fn disk_arguments(number: usize, path: &Path, read_only: bool) -> [String; 4] {
    let read_only = if read_only { "on" } else { "off" };
    // A comma in the value is written twice.
    let path = path.to_string_lossy().replace(',', ",,");
    [
        "-drive".into(),
        format!("file={path},format=raw,if=none,id=disk{number},cache=writeback,discard=unmap,readonly={read_only}"),
        "-device".into(),
        format!("virtio-blk-pci,drive=disk{number},werror=report,rerror=report"),
    ]
}

pub(super) fn start(boot: Boot) -> Result<Started> {
    let (qemu, kernel) = prepare()?;
    let (scratch, folder) = Scratch::new("qemu")?;
    let image = folder.join("image");
    std::fs::write(&image, &boot.archive)?;
    let mut arguments =
        arguments(&kernel.to_string_lossy(), &image.to_string_lossy(), &boot.command_line, boot.memory)?;
    // QEMU's own words and the console share its standard error; standard input and output are the link.
    let lines = [
        "-chardev",
        "file,id=console,path=/dev/stderr",
        "-serial",
        "chardev:console",
        "-chardev",
        "stdio,id=link,signal=off",
        "-serial",
        "chardev:link",
    ];
    arguments.extend(lines.map(str::to_owned));
    let disks = disk::take(&boot.disks)?;
    for (number, disk) in disks.iter().enumerate() {
        arguments.extend(disk_arguments(number, &disk.path, disk.read_only));
    }
    let child = child::start("qemu", qemu, arguments, scratch)?;
    let link = boxed(child.stdout, child.stdin);
    Ok(Started { link, console: Box::new(child.stderr), guard: Box::new((child.guard, disks)) })
}
