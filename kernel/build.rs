//! Makes the vDSO of `vdso/`: a small shared library for x86-64 programs, with the C compiler's assembler and linker.

use std::path::PathBuf;
use std::process::Command;

const SOURCES: [&str; 2] = ["vdso/vdso.S", "vdso/vdso.lds"];
/// Names its C compiler where `cc` makes programs for another system than x86-64 Linux.
const COMPILER: &str = "AURORA_X86_64_LINUX_CC";

fn main() {
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
    }
    println!("cargo::rerun-if-env-changed={COMPILER}");
    let host = std::env::var("HOST").unwrap_or_default();
    let native = if host.starts_with("x86_64") && host.contains("linux") { "cc" } else { "x86_64-linux-gnu-gcc" };
    let compiler = std::env::var(COMPILER).unwrap_or_else(|_| native.into());
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo names a folder")).join("vdso.so");
    let [source, script] = SOURCES;
    let mut cc = Command::new(&compiler);
    cc.args(["-nostdlib", "-shared", "-fPIC", "-Wl,-s", "-Wl,-Bsymbolic", "-Wl,--no-undefined", "-Wl,--eh-frame-hdr"]);
    cc.args(["-Wl,--hash-style=both", "-Wl,--build-id=sha1", "-Wl,-soname,linux-vdso.so.1"]);
    cc.args(["-Wl,-z,noexecstack", "-Wl,-z,max-page-size=4096"]).arg(format!("-Wl,-T,{script}"));
    match cc.arg("-o").arg(&out).arg(source).output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => panic!("{cc:?} failed:\n{}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => {
            panic!("{compiler}, a C compiler for x86-64 Linux, cannot be run ({error}); {COMPILER} can name another")
        }
    }
}
