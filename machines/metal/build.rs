//! Links with `link.ld`, wherever cargo was started.

fn main() {
    let here = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    println!("cargo:rustc-link-arg-bins=-T{here}/link.ld");
    println!("cargo:rustc-link-arg-bins=-zmax-page-size=4096");
    println!("cargo:rustc-link-arg-bins=--no-dynamic-linker");
    for file in ["link.ld", "src/boot.s", "src/trap.s"] {
        println!("cargo:rerun-if-changed={file}");
    }
}
