//! The machine's ports as the kernel uses them: the console and the host link.

pub mod link;

use alloc::sync::{Arc, Weak};

use aurora_abi::Errno;
use aurora_machine::Port;

use crate::Kernel;
use crate::sync::WaitQueue;
use crate::tty::TtyFile;
use crate::vfs::path::Follow;
use crate::vfs::{FdTable, FileOps, Lookup, OpenFile, OpenFlags};

/// Who waits for the machine's ports.
pub struct Ports {
    console: WaitQueue,
    link: WaitQueue,
    keyboard: WaitQueue,
    /// The log is not shown on the console.
    quiet: bool,
}

impl Ports {
    /// Nobody waits yet.
    pub fn new(quiet: bool) -> Self {
        Self { console: WaitQueue::new(), link: WaitQueue::new(), keyboard: WaitQueue::new(), quiet }
    }
    /// Woken when a port is ready.
    pub fn queue(&self, port: Port) -> &WaitQueue {
        match port {
            Port::Console => &self.console,
            Port::Link => &self.link,
            Port::Keyboard => &self.keyboard,
        }
    }
    /// Whether the log stays off the console.
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }
}

/// A job that brings what is typed at the console to its terminal.
pub(crate) async fn console_input(kernel: Weak<Kernel>) {
    let mut bytes = [0; 256];
    loop {
        let Some(kernel) = kernel.upgrade() else { return };
        let tty = &kernel.consoles.serial;
        let read = || {
            tty.flush();
            let room = tty.input_room().min(bytes.len());
            let n = kernel.machine.port_read(Port::Console, bytes.get_mut(..room).unwrap_or_default());
            (n > 0).then_some(n)
        };
        let n = kernel.ports.console.wait(read).await;
        tty.input(bytes.get(..n).unwrap_or_default());
    }
}

/// Opens a device the kernel has at `path`, as programs see it.
pub(crate) fn open_device(kernel: &Arc<Kernel>, path: &[u8], ops: Arc<dyn FileOps>) -> Result<Arc<OpenFile>, Errno> {
    let root = kernel.vfs.root()?;
    let credentials = crate::security::Credentials::default();
    let (vfs, resolve) = (&kernel.vfs, crate::vfs::Resolve::empty());
    let lookup = Lookup { vfs, credentials: &credentials, root: root.clone(), start: root, resolve };
    let path = lookup.resolve(path, Follow::Yes)?;
    let charge = kernel.memory.charge(crate::vfs::file::FILE_COST)?;
    let inode = path.inode().clone();
    Ok(OpenFile::new(Some(path), inode, ops, OpenFlags::RDWR, charge))
}

/// Makes descriptors 0, 1 and 2 the console.
pub(crate) fn open_console(kernel: &Arc<Kernel>, files: &FdTable) -> Result<(), Errno> {
    let file = open_device(kernel, b"/dev/console", Arc::new(TtyFile::console(&kernel.consoles.console)))?;
    for _ in 0..3 {
        files.add(file.clone(), false, 0, 16)?;
    }
    Ok(())
}
