//! Gives the linker a `libunwind.a`, which Rust's library asks for where everything is static: gcc's own unwinder, and a
//! stub of the one function of glibc it calls, which says that nothing was found.

use std::path::Path;
use std::process::Command;

const STUB: &str =
    "struct found; int _dl_find_object(void *at, struct found *out) { (void)at, (void)out; return -1; }\n";

fn main() {
    println!("cargo:rerun-if-changed=../unwind.rs");
    let out = std::env::var("OUT_DIR").expect("cargo says where");
    let out = Path::new(&out);
    let answer = Command::new("musl-gcc").arg("-print-file-name=libgcc_eh.a").output().expect("musl-gcc runs");
    let archive = String::from_utf8(answer.stdout).expect("a path is text");
    std::fs::copy(archive.trim(), out.join("libunwind.a")).expect("gcc has libgcc_eh.a");
    std::fs::write(out.join("stub.c"), STUB).expect("there is room");
    run(Command::new("musl-gcc").current_dir(out).args(["-c", "-O2", "stub.c"]));
    run(Command::new("ar").current_dir(out).args(["r", "libunwind.a", "stub.o"]));
    println!("cargo:rustc-link-search=native={}", out.display());
}

fn run(command: &mut Command) {
    assert!(command.status().is_ok_and(|status| status.success()), "{command:?} failed");
}
