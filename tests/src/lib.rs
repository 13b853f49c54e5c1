//! What the whole-system tests share: the cases, the image they run in, Linux as the judge, and a machine to try.
//!
//! What always holds: what is right is never written down here. Every case runs on the host's Linux, in a root made from
//! the same image, and on a machine; the two have to say the same.
#![forbid(unsafe_code)]

pub mod cases;
pub mod compare;
pub mod disks;
pub mod linux;
pub mod programs;

use std::sync::OnceLock;
use std::time::Duration;

use aurora_cli::image::{self, Image};
use aurora_cli::link::Spawn;
use aurora_cli::machines::{Boot, Kind, Running};
use aurora_cli::project;

/// How long a machine may take to start while the others start too.
pub const START: Duration = Duration::from_secs(60);

/// The image of the tests: the one everybody boots, and the test programs in `/test`.
pub fn image() -> &'static Image {
    static IMAGE: OnceLock<Image> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let mut image = image::base().expect("the image is built");
        image.declare(&project::root().join("tests/musl.list")).expect("musl's loader is there");
        for (name, path) in programs::build().expect("the test programs are built") {
            image.add_file(path, &format!("/test/{name}")).expect("the test program is there");
        }
        image
    })
}

/// Debian's programs, as `tests/debian.list` declares them.
pub fn debian() -> &'static Image {
    static IMAGE: OnceLock<Image> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let mut image = Image::default();
        image.declare(&project::root().join("tests/debian.list")).expect("the image is built");
        let source = project::root().join("tests/programs/debuggee/debuggee.c");
        image.add_file(&source, "/test/debuggee.c").expect("it is there");
        for (name, path) in programs::debuggees().expect("what gdb looks at is built") {
            image.add_file(&path, &format!("/test/{name}")).expect("it is there");
        }
        image
    })
}

/// The image as an archive.
pub fn archive() -> &'static [u8] {
    static ARCHIVE: OnceLock<Vec<u8>> = OnceLock::new();
    ARCHIVE.get_or_init(|| image().to_cpio())
}

/// Boots a machine with the tests' image.
pub fn boot(kind: Kind) -> Running {
    boot_with(kind, 256 << 20)
}

/// The same with so many bytes of memory.
pub fn boot_with(kind: Kind, memory: u64) -> Running {
    kind.prepare().unwrap_or_else(|e| panic!("{kind:?} cannot be made: {e:#}"));
    let boot = Boot { archive: archive().to_vec(), command_line: "link quiet".into(), memory, ..Boot::default() };
    Running::start(kind, boot, START).unwrap_or_else(|e| panic!("{kind:?} does not start: {e:#}"))
}

/// `busybox sh -c` with a script.
pub fn shell(script: &str) -> Spawn {
    let argv = ["busybox", "sh", "-c", script].map(|word| word.as_bytes().to_vec()).to_vec();
    Spawn { tty: None, cwd: Vec::new(), argv, env: aurora_cli::link::environment(None) }
}
