//! A file of procfs: text that is made anew whenever it is read from its start, as Linux's `seq_file` does.

use alloc::sync::Arc;
use alloc::vec::Vec;

use aurora_abi::Errno;

use super::block::Block;
use super::{Kernel, ProcessText, SetProcess, SetSystem, Subject, SystemText, process};
use crate::memory::{IoBuf, IoError};
use crate::sync::Mutex;
use crate::vfs::{Fd, FileOps, OpenFile};

/// Where the text comes from.
pub(super) enum Source {
    System(Arc<Kernel>, SystemText),
    Block(Arc<Kernel>, Block),
    Process(Subject, ProcessText),
    Descriptor(Subject, Fd),
}

impl Source {
    fn make(&self) -> Result<Vec<u8>, Errno> {
        match self {
            Self::System(kernel, make) => Ok(make(kernel)),
            Self::Block(kernel, block) => block.text(kernel),
            Self::Process(subject, make) => make(subject),
            Self::Descriptor(subject, fd) => process::describe_state(subject, *fd),
        }
    }
}

/// Who takes what is written to a file.
pub(super) enum Writer {
    Nobody,
    System(Arc<Kernel>, SetSystem),
    Process(Subject, SetProcess),
}

/// Most bytes a setting takes.
const SETTING_MAX: usize = 4096;

/// An open file of procfs.
pub(super) struct TextFile {
    source: Source,
    writer: Writer,
    /// What was made at the last read from the start.
    text: Mutex<Vec<u8>>,
}

impl TextFile {
    pub(super) fn open(source: Source, writer: Writer) -> Arc<dyn FileOps> {
        Arc::new(Self { source, writer, text: Mutex::default() })
    }
}

impl FileOps for TextFile {
    fn read_at(&self, _: &OpenFile, offset: u64, out: &mut IoBuf<'_>) -> Result<usize, IoError> {
        if offset == 0 {
            let text = self.source.make()?;
            *self.text.lock() = text;
        }
        let text = core::mem::take(&mut *self.text.lock());
        let start = out.done();
        let rest = text.get(crate::num::to_usize(offset)..).unwrap_or_default();
        let want = rest.len().min(out.remaining());
        let moved = out.put(rest.get(..want).unwrap_or_default());
        *self.text.lock() = text;
        if moved < want { out.stopped(start) } else { Ok(moved) }
    }

    fn write_at(&self, _: &OpenFile, _: u64, input: &mut IoBuf<'_>) -> Result<usize, IoError> {
        if matches!(self.writer, Writer::Nobody) {
            // Only the superuser gets so far.
            return Err(Errno::EIO.into());
        }
        let start = input.done();
        let mut bytes = alloc::vec![0; input.remaining().min(SETTING_MAX)];
        let taken = input.take(&mut bytes);
        if taken < bytes.len() {
            return input.stopped(start);
        }
        let result = match &self.writer {
            Writer::Nobody => Ok(()),
            Writer::System(kernel, set) => set(kernel, &bytes),
            Writer::Process(subject, set) => set(subject, &bytes),
        };
        if let Err(errno) = result {
            input.untake(taken);
            return Err(errno.into());
        }
        Ok(taken)
    }

    fn size(&self, _: &OpenFile) -> u64 {
        0
    }

    fn seekable(&self) -> bool {
        true
    }
}
