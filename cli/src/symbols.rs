//! The names of the bare-metal kernel's functions, written into the room its file keeps for them
//! (`machines/metal/src/symbols.rs`), so that a panic can say where it came from.

use anyhow::{Context as _, Result, ensure};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _, SymbolKind};

/// Generic functions have names of several lines; this much tells them apart.
const LONGEST: usize = 120;

/// The kernel's file, with the names.
pub fn add_names(mut kernel: Vec<u8>) -> Result<Vec<u8>> {
    let (names, (start, room)) = {
        let file = object::File::parse(&*kernel).context("the kernel is no ELF file")?;
        let section = file.section_by_name(".symbols").context("the kernel has no room for names")?;
        (lines(&file), section.file_range().context("the room for names is not in the file")?)
    };
    let text = names.join("");
    // One byte ends them.
    ensure!(text.len() < usize::try_from(room)?, "the names of the kernel's functions need {} bytes", text.len());
    let start = usize::try_from(start)?;
    kernel
        .get_mut(start..start + text.len())
        .context("the room for names is cut off")?
        .copy_from_slice(text.as_bytes());
    Ok(kernel)
}

/// A line a function, by address.
fn lines(file: &object::File<'_>) -> Vec<String> {
    let functions = file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.is_definition());
    let mut all: Vec<(u64, String)> =
        functions.filter_map(|symbol| Some((symbol.address(), short(symbol.name().ok()?)))).collect();
    all.sort();
    all.dedup_by_key(|(address, _)| *address);
    all.into_iter().map(|(address, name)| format!("{address:x} {name}\n")).collect()
}

/// As a person writes it, without the hash, and not too long.
pub(crate) fn short(name: &str) -> String {
    let mut name = format!("{:#}", rustc_demangle::demangle(name));
    if let Some((at, _)) = name.char_indices().nth(LONGEST) {
        name.truncate(at);
        name.push('…');
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_written_and_not_too_long() {
        assert_eq!(short("_RNvCs1234_7mycrate3foo"), "mycrate::foo");
        assert_eq!(short(&"a".repeat(200)).chars().count(), LONGEST + 1);
    }

    #[test]
    fn what_is_no_kernel_is_refused() {
        assert!(add_names(b"text".to_vec()).is_err());
    }
}
