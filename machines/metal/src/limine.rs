//! Limine's way in: the requests in the image, and what came of them. It maps physical memory and the image itself.

use aurora_handover::Window;
use aurora_handover::limine::{Answers, read};
use limine::BaseRevision;
use limine::request::{
    ExecutableAddressRequest, ExecutableCmdlineRequest, FramebufferRequest, HhdmRequest, MemoryMapRequest,
    ModuleRequest, RequestsEndMarker, RequestsStartMarker, RsdpRequest,
};

use crate::{clock, layout, paging, report, serial};

macro_rules! requests {
    ($($name:ident: $kind:ty = $value:expr;)*) => {$(
        #[used]
        #[unsafe(link_section = ".data.limine")]
        static $name: $kind = $value;
    )*};
}

#[used]
#[unsafe(link_section = ".data.limine.start")]
static START: RequestsStartMarker = RequestsStartMarker::new();
#[used]
#[unsafe(link_section = ".data.limine_end")]
static END: RequestsEndMarker = RequestsEndMarker::new();

requests! {
    // The last one that maps the first 4 GiB whatever is there: ACPI's tables are in no RAM.
    REVISION: BaseRevision = BaseRevision::with_revision(2);
    MAP: HhdmRequest = HhdmRequest::new();
    IMAGE: ExecutableAddressRequest = ExecutableAddressRequest::new();
    MEMORY: MemoryMapRequest = MemoryMapRequest::new();
    MODULES: ModuleRequest = ModuleRequest::new();
    COMMAND_LINE: ExecutableCmdlineRequest = ExecutableCmdlineRequest::new();
    SCREEN: FramebufferRequest = FramebufferRequest::new();
    ACPI: RsdpRequest = RsdpRequest::new();
}

/// Where boot.s goes on, on our own stack.
#[unsafe(no_mangle)]
extern "C" fn limine_start() -> ! {
    serial::init();
    let (Some(map), Some(image), Some(memory)) = (MAP.get_response(), IMAGE.get_response(), MEMORY.get_response())
    else {
        report::cannot_start("the Limine protocol's answers are missing")
    };
    layout::set_image_map(image.virtual_base() - image.physical_base());
    layout::set_direct_map(map.offset());
    // SAFETY: Limine maps the first 4 GiB there, and nobody writes to what it left until it has been read.
    let window = unsafe { Window::new(map.offset() as *const u8, paging::BOOT_MAPPED) };
    let rsdp = ACPI.get_response().map_or(0, |r| r.address() as u64);
    let answers = Answers {
        memory: memory.entries(),
        archive: MODULES.get_response().and_then(|r| r.modules().first().copied()),
        command_line: COMMAND_LINE.get_response().map(|r| r.cmdline()),
        screen: SCREEN.get_response().and_then(|r| r.framebuffers().next()),
        // A virtual address up to revision 2.
        rsdp: rsdp.checked_sub(map.offset()).unwrap_or(rsdp),
    };
    let handover = read(&window, &answers);
    crate::start(&window, Ok(handover), clock::tsc())
}
