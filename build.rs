//! Links the program with packed relocations: a process reads all of them when it starts, and the
//! packed form saves 0.5 MB of its memory (docs/performance.md).

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if supports_packed_relocations() == Some(true) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// Whether the C library and the linker of this machine support packed relocations: glibc does
/// since version 2.36, and so do the linkers of the same age. `None` if the program is built for
/// another machine or another C library.
fn supports_packed_relocations() -> Option<bool> {
    let is_native = std::env::var("HOST").ok()? == std::env::var("TARGET").ok()?;
    let is_glibc = std::env::var("CARGO_CFG_TARGET_ENV").ok()? == "gnu";
    if !is_native || !is_glibc {
        return None;
    }
    let output = Command::new("getconf")
        .arg("GNU_LIBC_VERSION")
        .output()
        .ok()?;
    let version = String::from_utf8(output.stdout).ok()?;
    let (major, minor) = version.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?) >= (2, 36))
}
