//! The terminal `aurora` itself was started on.

use std::io::IsTerminal as _;

use anyhow::Result;
use rustix::termios::{self, OptionalActions, Termios};

/// Whether a person sits at both ends: then a program gets a terminal too.
pub fn is_interactive() -> bool {
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}

/// Every key goes to the program while this lives, `^C` too.
pub struct RawMode(Termios);

impl RawMode {
    /// Remembers how the terminal is and makes it raw.
    pub fn enter() -> Result<Self> {
        let before = termios::tcgetattr(rustix::stdio::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &raw)?;
        Ok(Self(before))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        let _ = termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Drain, &self.0);
    }
}

/// Rows and columns.
pub fn size() -> Option<(u16, u16)> {
    let size = termios::tcgetwinsize(rustix::stdio::stdout()).ok()?;
    Some((size.ws_row, size.ws_col))
}
