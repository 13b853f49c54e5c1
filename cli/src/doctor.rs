//! `aurora doctor`: what is here and what is missing.

use anyhow::Result;

use crate::{image, setup};

/// Says what each command would use.
pub fn doctor() -> Result<()> {
    let programs: [(&str, &[&str]); 6] = [
        ("page, --machine browser", &["chromium", "chromium-browser", "google-chrome"]),
        ("--machine qemu", &["qemu-system-x86_64"]),
        ("--machine node", &["node"]),
        ("the page's packages", &["npm"]),
        ("tests in C", &["musl-gcc"]),
        ("wasm and bare metal with Debian's Rust", &["lld-22"]),
    ];
    for (purpose, names) in programs {
        match setup::find_program(names) {
            Some(path) => println!("{:<40} {}", purpose, path.display()),
            None => println!("{purpose:<40} missing: {}", names[0]),
        }
    }
    for package in image::base()?.packages() {
        println!("{:<40} {package}", "in the image");
    }
    Ok(())
}
