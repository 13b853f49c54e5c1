//! The page that documents the Aurora gate, made from the tables. `AURORA_WRITE=1 cargo test -p aurora-kernel page` writes
//! it anew.

use std::format;
use std::string::{String, ToString as _};
use std::vec::Vec;

use crate::syscall::{Row, aurora, table};

const PLACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/aurora-calls.md");

const HEAD: &str = "# The Aurora gate

<!-- Made from kernel/src/syscall/aurora.rs by `AURORA_WRITE=1 cargo test -p aurora-kernel page`. -->

A program enters the kernel by `int 0x80`, with the number in RAX and the arguments in RDI, RSI, RDX, R10, and where there
are more in R8 and R9. The result is in RAX: a negative number from -4095 to -1 is an errno. All other registers stay.

The gate is open to executables with an ELF note of the owner `Aurora`, type 1, whose descriptor is the table's version, 1,
as a 32-bit number; to others every call is `ENOSYS`. `tests/programs/gate.s` is an example. The note in assembly:

```asm
    .section .note.aurora, \"a\", @note
    .balign 4
    .long 7, 4, 1               # lengths of owner and descriptor, type
    .asciz \"Aurora\"
    .balign 4
    .long 1                     # version of the table
```

A call does what its twin at the Linux gate does, with the same structures: its manual page is the documentation. The
capability is checked before the call; `EPERM` without it. What a socket needs depends on
its family, so it is not in the row: `Ipc` for those inside the machine, `NetSocket` for the internet.

| number | call | Linux twin | capability |
|---|---|---|---|
";

fn line(row: &Row) -> String {
    let twin = table::ROWS.iter().find(|twin| twin.handler == row.handler).map_or("", |twin| twin.name);
    let capability = row.capability.map_or(String::new(), |(kind, rights)| {
        let rights: Vec<String> = rights.iter_names().map(|(name, _)| name.to_lowercase()).collect();
        format!("{kind:?}, {}", rights.join(", "))
    });
    format!("| {} | `{}({})` | {twin} | {capability} |\n", row.number, row.name, row.arguments.join(", "))
}

#[test]
fn the_page_of_calls_says_what_the_table_says() {
    let page = HEAD.to_string() + &aurora::ROWS.iter().map(line).collect::<String>();
    if std::env::var_os("AURORA_WRITE").is_some() {
        std::fs::write(PLACE, &page).expect("docs/ is there");
    }
    assert_eq!(std::fs::read_to_string(PLACE).unwrap_or_default(), page, "docs/aurora-calls.md is stale");
}
