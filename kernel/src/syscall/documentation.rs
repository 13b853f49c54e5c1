//! The pages that document the two gates, made from the tables. `AURORA_WRITE=1 cargo test -p aurora-kernel page` writes
//! them anew.

use std::format;
use std::string::{String, ToString as _};
use std::vec::Vec;

use crate::syscall::absent::ABSENT;
use crate::syscall::{Row, aurora, table};

const AURORA_HEAD: &str = "# The Aurora gate

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

const LINUX_HEAD: &str = "# The Linux gate

<!-- Made from kernel/src/syscall/table.rs by `AURORA_WRITE=1 cargo test -p aurora-kernel page`. -->

The system calls of x86-64 Linux, by the numbers and with the structures of its `syscall` gate. Manual pages of section 2
say what they do; where we differ from Linux is a line in `tests/cases/calls.exceptions`. A call that needs a capability and
whose process has dropped it is `EPERM`. What a socket needs depends on its family: `Ipc` inside the machine, `NetSocket`
for the internet.

| number | call | capability |
|---|---|---|
";

fn capability(row: &Row) -> String {
    row.capability.map_or(String::new(), |(kind, rights)| {
        let rights: Vec<String> = rights.iter_names().map(|(name, _)| name.to_lowercase()).collect();
        format!("{kind:?}, {}", rights.join(", "))
    })
}

fn call(row: &Row) -> String {
    format!("`{}({})`", row.name, row.arguments.join(", "))
}

fn aurora_page() -> String {
    let line = |row: &Row| {
        let twin = table::ROWS.iter().find(|twin| twin.handler == row.handler).map_or("", |twin| twin.name);
        format!("| {} | {} | {twin} | {} |\n", row.number, call(row), capability(row))
    };
    AURORA_HEAD.to_string() + &aurora::ROWS.iter().map(line).collect::<String>()
}

fn linux_page() -> String {
    // Calls of our own have numbers Linux will not use.
    let rows = table::ROWS.iter().filter(|row| row.number < 1000);
    let line = |row: &Row| format!("| {} | {} | {} |\n", row.number, call(row), capability(row));
    let absent: Vec<String> = ABSENT.iter().map(|(number, name)| format!("{number} `{name}`")).collect();
    let lines: String = rows.map(line).collect();
    format!("{LINUX_HEAD}{lines}\n## Not here\n\nThese are `ENOSYS`: {}.\n", absent.join(", "))
}

fn is_current(page: &str, name: &str) {
    let place = format!("{}/../docs/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("AURORA_WRITE").is_some() {
        std::fs::write(&place, page).expect("docs/ is there");
    }
    assert_eq!(std::fs::read_to_string(&place).unwrap_or_default(), page, "docs/{name} is stale");
}

#[test]
fn the_pages_of_calls_say_what_the_tables_say() {
    is_current(&aurora_page(), "aurora-calls.md");
    is_current(&linux_page(), "linux-calls.md");
}

#[test]
fn a_call_is_either_here_or_not() {
    assert!(ABSENT.is_sorted());
    assert!(ABSENT.iter().all(|(number, _)| table::ROWS.iter().all(|row| row.number != *number)));
}
