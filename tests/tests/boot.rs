//! Power-on: discs started by BIOS and UEFI, a screen and a keyboard, and what a machine says when it stops.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use aurora_cli::machines::{Boot, Kind, Running};
use aurora_cli::pc::{Pc, Picture};
use aurora_cli::{build, image, project, setup};
use aurora_kernel::tty::screen::Screen;
use aurora_machine::Display;
use aurora_tests::shell;

const PATIENCE: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(10);
const PROMPT: &str = "root@aurora:~# ";

/// The disc, made once.
fn disc() -> String {
    static DISC: OnceLock<PathBuf> = OnceLock::new();
    let disc = DISC.get_or_init(|| {
        let path = project::made("programs").expect("a folder").join("aurora.iso");
        let archive = image::base().expect("an image").to_cpio();
        image::iso::make(&archive, "init=/sbin/init", &path).expect("a disc");
        path
    });
    disc.display().to_string()
}

/// One PC at a time: how long they take is measured.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a screen of the kernel's shows after this output, pixel for pixel.
fn shown(output: &str) -> Picture {
    const SIZE: (u32, u32) = (1024, 768);
    struct Canvas(Mutex<Picture>);
    impl Display for Canvas {
        fn size(&self) -> (u32, u32) {
            SIZE
        }
        fn draw(&self, x: u32, y: u32, width: u32, pixels: &[u32]) {
            let mut picture = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            picture.put(x as usize, y as usize, width as usize, pixels);
        }
    }
    let canvas = Canvas(Mutex::new(Picture::black(SIZE.0 as usize, SIZE.1 as usize)));
    let mut screen = Screen::new(&canvas);
    screen.write(output.as_bytes());
    screen.paint(&canvas);
    canvas.0.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// A disc in a PC with a screen: to the prompt, then keys, what they bring to the screen, and a panic.
fn boots(firmware: &[String], limit: Duration) -> Result<()> {
    let arguments = [words(&["-vga", "std", "-cdrom", &disc()]), firmware.to_vec()].concat();
    let _alone = alone();
    let mut pc = Pc::start(&arguments)?;
    let took = pc.wait_for(PROMPT, PATIENCE)?;
    println!("prompt after {took:?}");
    assert!(took < limit, "the prompt came after {took:?}");
    pc.keys("clear; echo Typed; uname -m; echo done >/dev/ttyS0\n")?;
    pc.wait_for("done", SOON)?;
    let expected = shown(&format!("Typed\r\nx86_64\r\n{PROMPT}"));
    pc.wait_for_picture(SOON, |picture| picture.difference(&expected) < 0.001)?;
    pc.keys("echo c >/proc/sysrq-trigger\n")?;
    pc.wait_for("Aurora stopped: sysrq triggered crash", SOON)?;
    pc.wait_for("kernel/src/fs/procfs/sysrq.rs", SOON)?;
    pc.wait_for("in write", SOON)?;
    pc.wait_for_picture(SOON, |picture| picture.share(0x60_1018) > 0.9)
}

#[test]
fn a_disc_boots_by_bios_shows_what_is_typed_and_its_panic() -> Result<()> {
    boots(&[], Duration::from_secs(3))
}

#[test]
fn a_disc_boots_by_uefi_shows_what_is_typed_and_its_panic() -> Result<()> {
    let folder = setup::ovmf()?;
    let drive = |file: &str, more: &str| format!("if=pflash,format=raw,{more},file={}/{file}", folder.display());
    let firmware = ["-drive".into(), drive("OVMF_CODE_4M.fd", "readonly=on")];
    let variables = ["-drive".into(), drive("OVMF_VARS_4M.fd", "snapshot=on")];
    boots(&[firmware, variables].concat(), Duration::from_secs(10))
}

#[test]
fn ten_boots_are_at_ten_addresses_and_a_panic_says_where_it_was() -> Result<()> {
    let _alone = alone();
    let archive = image::base()?.to_cpio();
    let mut addresses = BTreeSet::new();
    for _ in 0..10 {
        let boot = Boot {
            archive: archive.clone(),
            command_line: "link".into(),
            memory: 128 << 20,
            show_console: false,
            ..Boot::default()
        };
        let mut machine = Running::start(Kind::Qemu, boot, PATIENCE)?;
        let error = machine.client.output(&shell("echo c > /proc/sysrq-trigger"), b"", PATIENCE).err();
        let said = machine.explain(&error.context("the machine goes on")?);
        assert!(said.contains("Aurora stopped: sysrq triggered crash"), "{said}");
        assert!(said.contains("at kernel/src/fs/procfs/sysrq.rs") && said.contains("in write"), "{said}");
        let frames: Vec<&str> = said.lines().filter(|line| line.starts_with("  0xffffffff8")).collect();
        assert!(frames.len() > 5 && frames.iter().all(|frame| frame.contains("+0x")), "{said}");
        assert!(frames.iter().any(|frame| frame.contains("procfs::sysrq")), "{said}");
        let (_, rest) = said.split_once("The kernel is at ").context("no address")?;
        addresses.insert(rest.split('.').next().unwrap_or_default().to_owned());
    }
    assert_eq!(addresses.len(), 10, "{addresses:?}");
    Ok(())
}

/// What `stty size` says on a serial line whose other end says this when it is asked for its size.
fn serial_size(answer: &str, size: &str) -> Result<()> {
    let kernel = build::metal()?.display().to_string();
    let archive = image_file("serial.cpio")?;
    let _alone = alone();
    let mut pc = Pc::start(&words(&["-kernel", &kernel, "-initrd", &archive, "-append", "init=/sbin/init"]))?;
    pc.wait_for("\x1b[18t", PATIENCE)?;
    pc.send(answer)?;
    pc.wait_for(PROMPT, SOON)?;
    pc.send("stty size\n")?;
    pc.wait_for(&format!("stty size\r\n{size}\r\n"), SOON)?;
    Ok(())
}

#[test]
fn the_terminal_on_a_serial_line_is_asked_for_its_size() -> Result<()> {
    serial_size("\x1b[8;33;101t", "33 101")?;
    // Told by nobody, it is unknown, as on Linux.
    serial_size("", "stty: standard input")
}

/// The base image in a file QEMU can load.
fn image_file(name: &str) -> Result<String> {
    let archive = project::made("programs")?.join(name);
    project::write_whole(&archive, &image::base()?.to_cpio())?;
    Ok(archive.display().to_string())
}

#[test]
fn the_watchdog_names_a_kernel_that_hangs() -> Result<()> {
    let kernel = build::metal()?.display().to_string();
    let archive = image_file("hang.cpio")?;
    let _alone = alone();
    let mut pc = Pc::start(&words(&["-kernel", &kernel, "-initrd", &archive, "-append", "hang link"]))?;
    let took = pc.wait_for("Aurora stopped: the kernel has hung for ten seconds, at 0xffffffff", PATIENCE)?;
    assert!(took > Duration::from_secs(9), "{took:?}");
    pc.wait_for("doing: no thread", SOON)?;
    Ok(())
}
