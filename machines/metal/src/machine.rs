//! The machine the kernel gets: memory divided at boot, and the contract's calls spread over this crate's parts.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use aurora_machine::{
    BlockDevice, BootInfo, Display, Instant, Machine, PAGE_SIZE, PhysAddr, PhysMemory, Port, SpaceRoot, Trap,
    UserClock, UserContext, VirtRange,
};
use raw_cpuid::{CpuId, Hypervisor};
use x86_64::instructions::interrupts;

use aurora_handover::{Archive, Handover, MemoryMap, Window};

use crate::irq::Pending;
use crate::layout::{direct, direct_map, image_end, image_phys, image_start, text_start};
use crate::paging::Device;
use crate::serial::Line;
use crate::user::Spaces;
use crate::virtio::{self, VirtioDisk};
use crate::{apic, clock, display, entropy, heap, irq, paging, power, ps2, serial, trap, watchdog};

const MIB: u64 = 1 << 20;

/// A PC.
pub(crate) struct Metal {
    memory: Arc<PhysMemory>,
    heap: u64,
    processor: String,
    spaces: Spaces,
    virtio: Vec<Arc<VirtioDisk>>,
    /// The same, as the kernel sees them.
    disks: Vec<Arc<dyn BlockDevice>>,
    /// What is wrong with disks that are not among them.
    complaints: Vec<String>,
}

/// Turns what the loader left into a machine, and what the kernel is told.
pub(crate) fn set_up(window: &Window, handover: Handover, random: u64) -> (Metal, BootInfo) {
    let tables = handover.acpi.map(|root| root.tables(window)).unwrap_or_default();
    let mut free = handover.ram.clone();
    free.remove(image_phys(image_start()), image_phys(image_end()));
    // Firmware with disks to drive reserves more memory than QEMU leaves free above the archive: that may reach into what
    // is no RAM to us, and it is there nevertheless, as Linux takes it.
    let mut shown = handover.ram.clone();
    if let Some(archive) = handover.archive {
        let end = archive.start.0 + archive.len;
        free.remove(archive.start.0, end);
        shown.add(archive.start.0 & !(PAGE_SIZE - 1), end.next_multiple_of(PAGE_SIZE));
    }
    let registers = [apic::base(), irq::find_io_apic(&tables)].into_iter().chain(power::find_registers(&tables));
    let pixels = handover.screen.map(|s| Device::Pixels(s.start, u64::from(s.pitch) * u64::from(s.height)));
    let root = paging::build(&shown, &mut free, registers.map(Device::Registers).chain(pixels), random);
    handover.screen.into_iter().for_each(display::init);
    // boot.s has done its work.
    free.add(image_phys(image_start()), image_phys(text_start()));
    apic::init();
    irq::init();
    clock::init();
    entropy::init();
    let heap = set_up_heap(&handover, &mut free);
    let info = BootInfo {
        command_line: String::from_utf8_lossy(handover.command_line.as_bytes()).into_owned(),
        initramfs: handover.archive.map(copy_archive).unwrap_or_default(),
    };
    if let Some(archive) = handover.archive {
        let (start, end) = (archive.start.0, archive.start.0 + archive.len);
        let parts = handover.ram.ranges().iter().map(|ram| (start.max(ram.start.0), end.min(ram.end.0)));
        parts.filter(|(start, end)| start < end).for_each(|(start, end)| free.add(start, end));
    }
    let (virtio, complaints) = virtio::disks(&info.command_line, &mut |at, len| {
        paging::add_device(root, &mut free, Device::Window(at, len));
        virtio::registers(at, len)
    });
    // SAFETY: the direct map shows all RAM, and `free` holds only what nobody else uses: not the image, the tables, the
    // heap, nor any more the archive. The loader's own structures in it have been copied.
    let memory = unsafe { PhysMemory::new(direct(PhysAddr(0)), free.ranges(), Some(root)) };
    debug_assert!(memory.window() as u64 == direct_map());
    let disks = virtio.iter().map(|disk| disk.clone() as Arc<dyn BlockDevice>).collect();
    let (processor, spaces) = (processor_name(), Spaces::new(root));
    let metal = Metal { memory, heap, processor, spaces, virtio, disks, complaints };
    (metal, info)
}

/// An eighth of RAM, between 16 MiB and 1 GiB; more by what boot puts there: the archive, and 8 bytes per frame.
fn set_up_heap(handover: &Handover, free: &mut MemoryMap) -> u64 {
    let ram = handover.ram.bytes();
    let last = handover.ram.ranges().iter().map(|r| r.end.frame_number()).max().unwrap_or(0);
    let archive = handover.archive.map_or(0, |a| a.len);
    let wanted = (ram / 8).clamp(16 * MIB, 1024 * MIB) + archive + last * 9;
    let bytes = wanted.next_multiple_of(PAGE_SIZE);
    let Some(start) = free.take(bytes, PAGE_SIZE, u64::MAX) else {
        panic!(
            "{} MiB of RAM are too few: the kernel's heap wants {} MiB in one piece, the largest is {} MiB",
            ram / MIB,
            bytes / MIB,
            free.largest() / MIB
        )
    };
    // SAFETY: just taken from the free memory, and the direct map shows it.
    unsafe { heap::init(start, bytes) };
    bytes
}

fn copy_archive(archive: Archive) -> Vec<u8> {
    // SAFETY: RAM at the direct map that was kept out of the free memory: the loader wrote it, nobody does now.
    unsafe { core::slice::from_raw_parts(direct::<u8>(archive.start), archive.len as usize) }.to_owned()
}

/// The brand string; QEMU's own processor says so, whatever model it plays, because it is not exactly that one.
fn processor_name() -> String {
    let cpuid = CpuId::new();
    let mut name = cpuid.get_processor_brand_string().map_or("x86-64".to_owned(), |b| b.as_str().trim().to_owned());
    let hypervisor = cpuid.get_hypervisor_info().map(|h| h.identify());
    if hypervisor == Some(Hypervisor::QEMU) && !name.contains("QEMU") {
        name.push_str(" on QEMU");
    }
    name
}

impl Metal {
    /// What is wrong with disks that cannot be used.
    pub(crate) fn complaints(&self) -> &[String] {
        &self.complaints
    }

    /// Whether disks may have answers.
    pub(crate) fn disks_have_news(&self, pending: Pending) -> bool {
        if pending.disks() {
            self.virtio.iter().for_each(|disk| disk.acknowledge());
        }
        pending.disks() || self.virtio.iter().any(|disk| disk.wants_polling())
    }

    /// Waits for an interrupt, at most until `until`.
    pub(crate) fn idle(&self, until: Instant) {
        // A disk that does not interrupt is looked at so often.
        const POLLING_NS: u64 = 50_000;
        let polled = self.virtio.iter().any(|disk| disk.wants_polling());
        let until = if polled { until.min(clock::now() + POLLING_NS) } else { until };
        // With interrupts off a port cannot become pending between the look and the HLT: STI takes effect after it.
        while !irq::is_pending() && clock::now() < until {
            apic::arm(until);
            interrupts::enable_and_hlt();
            interrupts::disable();
            watchdog::alive();
        }
    }
}

impl Machine for Metal {
    fn name(&self) -> &'static str {
        "metal"
    }
    fn processor_name(&self) -> &str {
        &self.processor
    }
    fn memory(&self) -> &Arc<PhysMemory> {
        &self.memory
    }
    fn heap_limit(&self) -> u64 {
        self.heap
    }
    fn run(&self, cpu: &mut UserContext, space: SpaceRoot, until: Instant) -> Trap {
        self.spaces.run(cpu, space, until)
    }
    fn invalidate(&self, space: SpaceRoot, range: VirtRange) {
        self.spaces.invalidate(space, range);
    }
    fn retire(&self, space: SpaceRoot) {
        self.spaces.retire(space);
    }
    fn now(&self) -> Instant {
        clock::now()
    }
    fn user_clock(&self) -> Option<UserClock> {
        clock::user_clock()
    }
    fn realtime_ns(&self) -> u64 {
        clock::realtime_ns()
    }
    fn entropy(&self, buffer: &mut [u8]) {
        entropy::fill(buffer);
    }
    fn extended_features(&self) -> u64 {
        trap::extended_features()
    }
    fn display(&self) -> Option<&dyn Display> {
        display::get().map(|screen| screen as &dyn Display)
    }
    fn disks(&self) -> &[Arc<dyn BlockDevice>] {
        &self.disks
    }
    fn port_write(&self, port: Port, bytes: &[u8]) -> usize {
        match port {
            Port::Console => serial::write(Line::Console, bytes),
            Port::Link => serial::write(Line::Link, bytes),
            Port::Keyboard => bytes.len(),
        }
    }
    fn port_read(&self, port: Port, buffer: &mut [u8]) -> usize {
        match port {
            Port::Console => serial::read(Line::Console, buffer),
            Port::Link => serial::read(Line::Link, buffer),
            Port::Keyboard => ps2::read(buffer),
        }
    }
}
