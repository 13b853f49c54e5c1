//! A file of the host as a disk.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use aurora_kernel::BootError;
use aurora_machine::{BlockError, SECTOR_SIZE};
use aurora_virtual::DiskImage;

pub(crate) struct FileDisk {
    file: File,
    size: u64,
    read_only: bool,
    recording: Option<(Arc<Recording>, u8)>,
}

/// What was done to a machine's disks, in order: what a power cut at any moment would have left can be made of it.
pub(crate) struct Recording(Mutex<BufWriter<File>>);

impl Recording {
    /// Starts a file of records, each as [`crate::Record`] reads it.
    pub(crate) fn start(path: &Path) -> Result<Arc<Self>, BootError> {
        let file = File::create(path).map_err(|e| BootError(format!("{} cannot be written: {e}", path.display())))?;
        Ok(Arc::new(Self(Mutex::new(BufWriter::new(file)))))
    }

    fn add(&self, disk: u8, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&[disk])?;
        file.write_all(&offset.to_le_bytes())?;
        file.write_all(&(bytes.len() as u64).to_le_bytes())?;
        file.write_all(bytes)?;
        if bytes.is_empty() { file.flush() } else { Ok(()) }
    }
}

impl FileDisk {
    /// Opens an image, for reading alone if it cannot be written.
    pub(crate) fn open(path: &Path, recording: Option<(Arc<Recording>, u8)>) -> Result<Self, BootError> {
        let cannot =
            |error: std::io::Error| BootError(format!("the disk {} cannot be opened: {error}", path.display()));
        let (file, read_only) = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => (file, false),
            Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) => {
                (File::open(path).map_err(cannot)?, true)
            }
            Err(error) => return Err(cannot(error)),
        };
        let size = file.metadata().map_err(cannot)?.len() / SECTOR_SIZE * SECTOR_SIZE;
        Ok(Self { file, size, read_only, recording })
    }
}

/// Keeps a machine's images from other machines until it is dropped.
pub(crate) struct Locks(#[expect(dead_code, reason = "closing them is what unlocks")] Vec<File>);

impl Locks {
    /// Takes the images of these paths, those that can be written.
    pub(crate) fn take(paths: &[std::path::PathBuf]) -> Result<Self, BootError> {
        let mut files = Vec::new();
        for path in paths {
            let Ok(file) = OpenOptions::new().read(true).write(true).open(path) else { continue };
            if file.try_lock().is_err() {
                return Err(BootError(format!("the disk {} is in use by another machine", path.display())));
            }
            files.push(file);
        }
        Ok(Self(files))
    }
}

fn told(error: std::io::Error) -> BlockError {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => BlockError::NoSpace,
        _ => BlockError::Io,
    }
}

impl DiskImage for FileDisk {
    fn size(&self) -> u64 {
        self.size
    }

    fn is_read_only(&self) -> bool {
        self.read_only
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), BlockError> {
        self.file.read_exact_at(out, offset).map_err(told)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), BlockError> {
        if let Some((recording, disk)) = &self.recording {
            recording.add(*disk, offset, bytes).map_err(told)?;
        }
        self.file.write_all_at(bytes, offset).map_err(told)
    }

    fn flush(&self) -> Result<(), BlockError> {
        if let Some((recording, disk)) = &self.recording {
            recording.add(*disk, 0, &[]).map_err(told)?;
        }
        self.file.sync_data().map_err(told)
    }
}
