//! The Limine protocol: responses to requests that lie in the kernel's image.

use core::ffi::CStr;

use limine::file::File;
use limine::framebuffer::{Framebuffer, MemoryModel};
use limine::memory_map::{Entry, EntryType};

use crate::{Archive, CommandLine, Handover, MemoryMap, Screen, Window, acpi};

/// What it answered.
pub struct Answers<'a> {
    /// The memory map.
    pub memory: &'a [&'a Entry],
    /// The first module.
    pub archive: Option<&'a File>,
    /// The command line.
    pub command_line: Option<&'a CStr>,
    /// The first framebuffer.
    pub screen: Option<Framebuffer<'a>>,
    /// Physical address of ACPI's root pointer.
    pub rsdp: u64,
}

/// Brings the answers into our form. `window` is the loader's own map of physical memory.
pub fn read(window: &Window, answers: &Answers<'_>) -> Handover {
    let mut ram = MemoryMap::new();
    // The image, the modules and the loader's own structures are RAM too: boot takes out what it still needs, and its
    // page tables have been replaced by then.
    const RAM: [EntryType; 3] =
        [EntryType::USABLE, EntryType::BOOTLOADER_RECLAIMABLE, EntryType::EXECUTABLE_AND_MODULES];
    for entry in answers.memory.iter().filter(|e| RAM.contains(&e.entry_type)) {
        ram.add(entry.base, entry.base.saturating_add(entry.length));
    }
    let archive = answers.archive.map(|file| Archive { start: window.physical(file.addr()), len: file.size() });
    Handover {
        ram,
        archive: archive.filter(|a| a.len > 0),
        command_line: CommandLine::new(answers.command_line.map_or(&[], CStr::to_bytes)),
        screen: answers.screen.as_ref().and_then(|s| screen(window, s)),
        acpi: acpi::Root::at(window, answers.rsdp),
    }
}

fn screen(window: &Window, buffer: &Framebuffer<'_>) -> Option<Screen> {
    let size = |value: u64| u32::try_from(value).ok();
    let eight_bits = [buffer.red_mask_size(), buffer.green_mask_size(), buffer.blue_mask_size()] == [8; 3];
    if buffer.memory_model() != MemoryModel::RGB || !eight_bits {
        return None;
    }
    let screen = Screen {
        start: window.physical(buffer.addr()),
        pitch: size(buffer.pitch())?,
        width: size(buffer.width())?,
        height: size(buffer.height())?,
        pixel_bytes: u8::try_from(buffer.bpp().div_ceil(8)).ok()?,
        shifts: [buffer.red_mask_shift(), buffer.green_mask_shift(), buffer.blue_mask_shift()],
    };
    screen.usable()
}
