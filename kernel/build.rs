//! Makes the vDSO of `vdso/`: a small shared library for x86-64 programs, with the C compiler's assembler and linker.

use std::env;
use std::error::Error;
use std::path::PathBuf;
use std::process::Command;

const SOURCE: &str = "vdso/vdso.S";
const SCRIPT: &str = "vdso/vdso.lds";
/// Names its C compiler where `cc` makes programs for another system than x86-64 Linux.
const COMPILER: &str = "AURORA_X86_64_LINUX_CC";

fn main() -> Result<(), Box<dyn Error>> {
    for source in [SOURCE, SCRIPT] {
        println!("cargo::rerun-if-changed={source}");
    }
    println!("cargo::rerun-if-env-changed={COMPILER}");
    let host = env::var("HOST")?;
    let native = if host.starts_with("x86_64") && host.contains("linux") { "cc" } else { "x86_64-linux-gnu-gcc" };
    let compiler = env::var(COMPILER).unwrap_or_else(|_| native.into());
    let out = PathBuf::from(env::var("OUT_DIR")?).join("vdso.so");
    let mut cc = Command::new(&compiler);
    cc.args(["-nostdlib", "-shared", "-fPIC", "-Wl,-s", "-Wl,-Bsymbolic", "-Wl,--no-undefined", "-Wl,--eh-frame-hdr"]);
    cc.args(["-Wl,--hash-style=both", "-Wl,--build-id=sha1", "-Wl,-soname,linux-vdso.so.1"]);
    cc.args(["-Wl,-z,noexecstack", "-Wl,-z,max-page-size=4096"]).arg(format!("-Wl,-T,{SCRIPT}"));
    cc.arg("-o").arg(&out).arg(SOURCE);
    let made = cc.output().map_err(|error| {
        format!("{compiler}, a C compiler for x86-64 Linux, cannot be run ({error}); {COMPILER} can name another")
    })?;
    if !made.status.success() {
        return Err(format!("{cc:?} failed:\n{}", String::from_utf8_lossy(&made.stderr)).into());
    }
    Ok(())
}
