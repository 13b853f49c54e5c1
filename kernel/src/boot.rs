//! Starting a system: from what the machine hands over to the first program.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64};

use aurora_abi::Errno;
use aurora_machine::{BootInfo, Machine, PAGE_SIZE};

use crate::block::Disks;
use crate::fs::tmpfs::{OpenDevice, Options, Tmpfs};
use crate::fs::{devfs, devpts, initramfs, procfs};
use crate::memory::MemoryControl;
use crate::memory::cache::PageQuota;
use crate::num::to_usize;
use crate::real_time::RealTime;
use crate::security::{CapabilityTable, Credentials};
use crate::sync::{Mutex, WaitQueue};
use crate::task::exec::{Program, load};
use crate::task::limits::Limits;
use crate::task::process::{NewProcess, PROCESS_COST, WaitStatus};
use crate::task::signal::{Actions, SignalSet};
use crate::task::thread::NewThread;
use crate::task::{Pid, Process, Thread};
use crate::tty::Consoles;
use crate::tty::virtual_terminal::keyboard_input;
use crate::vdso::Vdso;
use crate::vfs::inode::DeviceId;
use crate::vfs::mount::MountFlags;
use crate::vfs::path::Follow;
use crate::vfs::{FdTable, FileKind, FsContext, Inode, NewInode, PathRef, Vfs};
use crate::{BootError, Kernel, Next, device, kerror, klog, run, task};

/// Bytes of the kernel's heap for each name that is kept because it was used recently.
const NAME_COST: u64 = 512;
/// As many are kept however small the machine is.
const MIN_NAMES: usize = 4096;

/// The version `uname -r` shows: which Linux's interface this is.
pub const RELEASE: &str = "6.1.0-aurora";

/// What the command line says.
#[derive(Debug, Default, PartialEq, Eq)]
struct CommandLine {
    init: Option<String>,
    link: bool,
    quiet: bool,
    console: Option<String>,
    trace: bool,
    /// `root=/dev/vda1`: the volume with the first file system; without, the initial archive is it.
    root: Option<String>,
    /// `ro`.
    read_only: bool,
    profile: bool,
    /// `NAME=value` words the kernel has no use for: init's environment, as on Linux.
    environment: Vec<Vec<u8>>,
}

impl CommandLine {
    fn parse(line: &str) -> Self {
        let mut options = Self::default();
        for word in words(line) {
            let word = word.as_str();
            match word.split_once('=') {
                Some(("init", path)) => options.init = Some(path.to_string()),
                Some(("console", name)) => options.console = Some(name.to_string()),
                Some(("trace", "syscalls")) => options.trace = true,
                Some(("root", path)) => options.root = Some(path.trim_start_matches("/dev/").to_string()),
                None if word == "ro" => options.read_only = true,
                None if word == "profile" => options.profile = true,
                None if word == "link" => options.link = true,
                None if word == "quiet" => options.quiet = true,
                // A name with a dot is a module's parameter.
                Some((name, _)) if !name.contains('.') => options.environment.push(word.into()),
                _ => {}
            }
        }
        options
    }
}

/// The words of a command line. Double quotes keep spaces together; they are taken off around a word or a value, as Linux
/// does (`next_arg` of its lib/cmdline.c).
fn words(line: &str) -> Vec<String> {
    let mut quoted = false;
    let separate = |c: char| {
        quoted ^= c == '"';
        !quoted && c.is_ascii_whitespace()
    };
    let bare = |text: &str| text.strip_prefix('"').map(|t| t.strip_suffix('"').unwrap_or(t).to_string());
    let word = |word: &str| match word.split_once('=') {
        _ if word.starts_with('"') => bare(word),
        Some((name, value)) => bare(value).map(|value| alloc::format!("{name}={value}")),
        None => None,
    };
    let all = line.split(separate).filter(|word| !word.is_empty());
    all.map(|text| word(text).unwrap_or_else(|| text.to_string())).collect()
}

fn failed(what: &str) -> impl Fn(Errno) -> BootError + '_ {
    move |errno| BootError(format!("{what}: {errno:?}"))
}

impl Kernel {
    /// Starts a system: unpacks the initial archive, mounts what the kernel provides, starts init if the command line
    /// names one (`init=/sbin/init`), and the host link if it says `link`.
    pub fn boot(machine: Arc<dyn Machine>, info: BootInfo) -> Result<Arc<Self>, BootError> {
        let options = CommandLine::parse(&info.command_line);
        let kernel =
            Self::build(machine, &options, &info.command_line).map_err(failed("the kernel has not enough memory"))?;
        klog!(
            kernel,
            "Aurora {} on {}, {}",
            env!("CARGO_PKG_VERSION"),
            kernel.machine.name(),
            kernel.machine.processor_name()
        );
        let total = kernel.memory.phys().total_frames() * PAGE_SIZE;
        klog!(kernel, "memory: {} MiB, kernel heap {} MiB", total >> 20, kernel.machine.heap_limit() >> 20);
        if !info.command_line.is_empty() {
            klog!(kernel, "command line: {}", info.command_line);
        }
        if !options.link && options.init.is_none() {
            return Err(BootError("nothing to do: the command line has neither init= nor link".into()));
        }
        kernel.unpack(info.initramfs)?;
        kernel.start_services();
        let starting = kernel.clone();
        kernel.scheduler.spawn(async move {
            if let Err(BootError(why)) = starting.bring_up(options).await {
                kerror!(starting, "the system cannot start: {why}");
                starting.stop(Next::PowerOff);
            }
        });
        Ok(kernel)
    }

    /// What may have to wait for disks: mounts, then the first programs.
    async fn bring_up(self: &Arc<Self>, options: CommandLine) -> Result<(), BootError> {
        for complaint in self.disks.find_partitions().await {
            kerror!(self, "{complaint}");
        }
        for volume in self.disks.volumes() {
            klog!(self, "{}: {} MiB", volume.name, volume.sectors() >> 11);
        }
        if let Some(name) = &options.root {
            self.mount_root(name, options.read_only).await?;
        }
        self.mount_own().await.map_err(failed("mounting /dev, /proc and /sys"))?;
        if let Some(path) = &options.init {
            self.start_init(path, options.environment);
        }
        if options.link {
            device::link::start(self).map_err(failed("starting the host link"))?;
        }
        Ok(())
    }

    async fn mount_root(self: &Arc<Self>, name: &str, read_only: bool) -> Result<(), BootError> {
        let volume = self.disks.named(name).ok_or_else(|| {
            let names: Vec<_> = self.disks.volumes().iter().map(|v| v.name.clone()).collect();
            BootError(format!("there is no /dev/{name} for root=; there is: {}", names.join(" ")))
        })?;
        let cannot = |errno: Errno| BootError(format!("/dev/{name} cannot be mounted as root: {}", errno.text()));
        let root = crate::fs::ext4::mount(self, &volume, read_only).await.map_err(cannot)?;
        let flags = if read_only { MountFlags::RDONLY } else { MountFlags::empty() };
        let place = self.vfs.root().map_err(cannot)?;
        self.vfs.mount(root, place, &format!("/dev/{name}"), "ext4", flags).map_err(cannot)
    }

    fn build(machine: Arc<dyn Machine>, options: &CommandLine, line: &str) -> Result<Arc<Self>, Errno> {
        let memory = MemoryControl::new(&*machine)?;
        let real_time = RealTime::new(&*machine);
        let vdso = Vdso::new(&memory, machine.user_clock())?;
        vdso.set_real(real_time.ahead());
        let ns = real_time.at(machine.now());
        let now = aurora_abi::types::Timespec {
            sec: (ns / 1_000_000_000).cast_signed(),
            nsec: (ns % 1_000_000_000).cast_signed(),
        };
        let processes = Arc::new(task::table::ProcessTable::default());
        let consoles = Consoles::new(&machine, &processes, options.console.as_deref());
        let frames = memory.phys().total_frames();
        let disks = Arc::new(Disks::new(&*machine, &memory));
        let open_device: Arc<OpenDevice> = {
            let (machine, consoles, disks) = (machine.clone(), consoles.clone(), disks.clone());
            Arc::new(move |kind, id| devfs::open(&machine, &consoles, &disks, kind, id))
        };
        let root_options = Options { pages: frames / 4 * 3, inodes: frames.max(65536), dev: 1, mode: 0o755 };
        let root = Tmpfs::create(&memory, &open_device, &root_options, now)?;
        let memfd_options = Options { pages: frames, inodes: u64::MAX, dev: 2, mode: 0o700 };
        let max_threads = (machine.heap_limit() / 4 / PROCESS_COST).clamp(64, 30_000);
        Ok(Arc::new(Self {
            scheduler: task::scheduler::Scheduler::new(machine.clone()),
            timers: task::timer::Timers::default(),
            processes,
            ptys: Arc::default(),
            disks,
            file_systems: Mutex::default(),
            vfs: Vfs::new(root, "rootfs", to_usize(machine.heap_limit() / 16 / NAME_COST).max(MIN_NAMES)),
            anonymous: crate::fs::anonymous::AnonymousInodes::default(),
            futexes: crate::ipc::futex::FutexTable::default(),
            network: crate::net::Network::default(),
            watches: Arc::default(),
            message_queues: crate::ipc::mqueue::QueueNames::default(),
            system_v: crate::ipc::sysv::SystemV::default(),
            locks: crate::vfs::lock::FileLocks::default(),
            record_locks: crate::vfs::lock::RecordLocks::default(),
            ports: device::Ports::new(options.quiet),
            consoles,
            log: crate::log::Log::default(),
            unhandled: crate::task::unhandled::RateLimit::default(),
            shared_memory: PageQuota::new(frames),
            open_device: open_device.clone(),
            process_ended: WaitQueue::new(),
            awaited: Mutex::default(),
            max_threads,
            next_dev: AtomicU64::new(20),
            uts: task::uts::UtsNamespace::first(),
            memfds: Tmpfs::create(&memory, &open_device, &memfd_options, now)?,
            settings: crate::memory::settings::Settings::default(),
            command_line: line.to_string(),
            current: AtomicU64::new(0),
            current_call: AtomicU64::new(0),
            trace: AtomicBool::new(options.trace),
            profile: options.profile,
            real_time,
            vdso,
            stop: Mutex::default(),
            memory,
            machine,
        }))
    }

    fn unpack(self: &Arc<Self>, archive: Vec<u8>) -> Result<(), BootError> {
        if archive.is_empty() {
            return Ok(());
        }
        let size = archive.len();
        let result = initramfs::unpack(self, archive);
        let files = result.map_err(|e| BootError(format!("the initial archive cannot be unpacked: {e}")))?;
        klog!(self, "initramfs: {files} files from {} KiB", size / 1024);
        Ok(())
    }

    /// Finds a directory of the root, making it if it is not there.
    fn ensure_directory(&self, name: &[u8]) -> Result<PathRef, Errno> {
        let root = self.vfs.root()?;
        match root.dentry.lookup(name, &self.vfs.recent) {
            Ok(dentry) => Ok(PathRef { mount: root.mount, dentry }),
            Err(Errno::ENOENT) => {
                let new = NewInode {
                    mode: FileKind::Directory.bits() | 0o755,
                    uid: 0,
                    gid: 0,
                    rdev: DeviceId::default(),
                    target: &[],
                    now: self.now(),
                };
                let inode = root.inode().create(name, &new)?;
                let dentry = root.dentry.adopt(name, inode, &self.vfs.recent);
                Ok(PathRef { mount: root.mount, dentry })
            }
            Err(errno) => Err(errno),
        }
    }

    async fn mount_own(self: &Arc<Self>) -> Result<(), Errno> {
        let dev = self.new_dev()?;
        let misses = self.memory.misses();
        let place = misses.retry(|| self.ensure_directory(b"dev")).await?;
        self.mount_at(place, dev, "devtmpfs")?;
        let dev = self.vfs.cross(self.ensure_directory(b"dev")?);
        let dentry = dev.dentry.lookup(b"pts", &self.vfs.recent)?;
        self.mount_at(PathRef { mount: dev.mount, dentry }, devpts::root(&self.ptys, self.now()), "devpts")?;
        let place = misses.retry(|| self.ensure_directory(b"proc")).await?;
        self.mount_at(place, procfs::root(self), "proc")?;
        let place = misses.retry(|| self.ensure_directory(b"sys")).await?;
        self.mount_at(place, procfs::sysfs_root(self), "sysfs")
    }

    /// A `/dev` with all there is.
    pub(crate) fn new_dev(&self) -> Result<Arc<dyn Inode>, Errno> {
        let dev = self.new_tmpfs(self.memory.phys().total_frames() / 8, 0o755)?;
        devfs::populate(&dev, self.now())?;
        self.disks.volumes().iter().try_for_each(|volume| devfs::add_volume(&dev, volume, self.now()))?;
        Ok(dev)
    }

    fn mount_at(&self, place: PathRef, root: Arc<dyn Inode>, kind: &'static str) -> Result<(), Errno> {
        self.vfs.mount(root, place, kind, kind, MountFlags::empty())
    }

    /// A tmpfs of its own.
    pub(crate) fn new_tmpfs(&self, pages: u64, mode: u32) -> Result<Arc<dyn Inode>, Errno> {
        let dev = self.next_dev.fetch_add(1, core::sync::atomic::Ordering::Relaxed);
        let options = Options { pages, inodes: pages.max(1024), dev, mode };
        Tmpfs::create(&self.memory, &self.open_device, &options, self.now())
    }

    /// Jobs of the kernel's own.
    fn start_services(self: &Arc<Self>) {
        self.scheduler.spawn(device::console_input(Arc::downgrade(self)));
        self.scheduler.spawn(keyboard_input(Arc::downgrade(self)));
        self.scheduler.spawn(kill_when_short(Arc::downgrade(self)));
        self.scheduler.spawn(read_ahead(Arc::downgrade(self)));
    }

    fn start_init(self: &Arc<Self>, path: &str, environment: Vec<Vec<u8>>) {
        let kernel = self.clone();
        let path = path.as_bytes().to_vec();
        self.processes.reserve_up_to(Pid(1));
        self.set_awaited(Pid(1), true);
        self.scheduler.spawn(async move {
            let files = Arc::new(FdTable::default());
            let defaults =
                [&b"HOME=/"[..], b"TERM=linux", b"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"];
            let name = |word: &[u8]| word.split(|&b| b == b'=').next().map(<[u8]>::to_vec);
            let mut env: Vec<Vec<u8>> = defaults.iter().map(|e| e.to_vec()).collect();
            env.retain(|e| !environment.iter().any(|given| name(given) == name(e)));
            env.extend(environment);
            let spec = FirstProgram {
                pid: Pid(1),
                path: path.clone(),
                argv: Vec::from([path.clone()]),
                env,
                cwd: b"/".to_vec(),
                files: files.clone(),
            };
            let started = match device::open_console(&kernel, &files) {
                Ok(()) => start_program(&kernel, spec).await,
                Err(errno) => Err(errno),
            };
            let name = String::from_utf8_lossy(&path);
            match started {
                Ok(init) => {
                    kernel.process_ended.wait(|| init.is_zombie().then_some(())).await;
                    match init.state().ended {
                        Some(WaitStatus::Killed(signal, _)) => kerror!(kernel, "init was killed by {signal:?}"),
                        how => klog!(kernel, "init ended ({how:?}): nothing is left to run"),
                    }
                }
                Err(errno) => kerror!(kernel, "{name} cannot be started: {errno:?}"),
            }
            kernel.go_down(Next::PowerOff);
        });
    }
}

/// A program the kernel starts by itself.
pub(crate) struct FirstProgram {
    pub(crate) pid: Pid,
    pub(crate) path: Vec<u8>,
    pub(crate) argv: Vec<Vec<u8>>,
    pub(crate) env: Vec<Vec<u8>>,
    pub(crate) cwd: Vec<u8>,
    pub(crate) files: Arc<FdTable>,
}

/// A process without a parent, in a session of its own, as the superuser; it has one thread and no program yet.
pub(crate) fn new_process(kernel: &Arc<Kernel>, pid: Pid, files: Arc<FdTable>) -> Result<Arc<Thread>, Errno> {
    let charge = kernel.memory.charge(PROCESS_COST)?;
    let layout = crate::memory::layout::Layout::default();
    let empty = crate::memory::AddressSpace::new(&kernel.machine, &kernel.memory, layout)?;
    let process = Process::new(
        kernel,
        NewProcess {
            pid,
            parent: None,
            space: empty,
            actions: Arc::new(Actions::default()),
            limits: Limits::initial(kernel.max_threads / 2),
            credentials: Arc::new(Credentials::default()),
            capabilities: CapabilityTable::full(),
            exit_signal: 0,
            charge,
        },
    );
    Ok(Thread::new(NewThread {
        tid: pid,
        process,
        task: kernel.scheduler.new_task(0),
        name: Vec::new(),
        files,
        fs: FsContext::new(kernel.vfs.root()?, kernel.vfs.first_namespace()),
        mask: SignalSet::default(),
        uts: kernel.uts.clone(),
    }))
}

/// Starts a program in a [`new_process`].
pub(crate) async fn start_program(kernel: &Arc<Kernel>, spec: FirstProgram) -> Result<Arc<Process>, Errno> {
    let thread = new_process(kernel, spec.pid, spec.files)?;
    let process = thread.process.clone();
    let credentials = process.credentials();
    let misses = kernel.memory.misses();
    if !spec.cwd.is_empty() {
        let lookup = thread.lookup_from(&credentials, thread.fs().cwd());
        let cwd = misses.retry(|| lookup.resolve(&spec.cwd, Follow::Yes)).await?;
        if !cwd.inode().metadata().is_dir() {
            return Err(Errno::ENOTDIR);
        }
        thread.fs().set_cwd(cwd);
    }
    let (name, path) = misses.retry(|| find_program(&thread, &spec.path, &spec.env)).await?;
    let program = Program { path, name, argv: spec.argv, env: spec.env };
    let loaded = loop {
        match load(&thread, program.clone()).await {
            Ok(loaded) => break loaded,
            Err(errno) => misses.again(errno).await?,
        }
    };
    drop(process.set_space(Some(loaded.space)));
    thread.set_name(&loaded.name);
    process.set_credentials(loaded.credentials);
    process.opens_aurora_gate.store(loaded.opens_aurora_gate, core::sync::atomic::Ordering::Relaxed);
    *process.executable.lock() = Some(loaded.executable);
    process.threads.lock().push(thread.clone());
    kernel.processes.add_process(&process);
    kernel.processes.add_thread(&thread);
    run::start(&thread, loaded.cpu);
    Ok(process)
}

/// Finds a program as execvp(3) does: in `PATH` if the name has no slash.
fn find_program(thread: &Thread, name: &[u8], env: &[Vec<u8>]) -> Result<(Vec<u8>, PathRef), Errno> {
    let credentials = thread.process.credentials();
    let lookup = thread.lookup_from(&credentials, thread.fs().cwd());
    if name.contains(&b'/') {
        return Ok((name.to_vec(), lookup.resolve(name, Follow::Yes)?));
    }
    let path = env.iter().find_map(|e| e.strip_prefix(b"PATH=")).unwrap_or(b"/bin:/usr/bin");
    for directory in path.split(|&b| b == b':') {
        let mut full = directory.to_vec();
        full.push(b'/');
        full.extend_from_slice(name);
        if let Ok(found) = lookup.resolve(&full, Follow::Yes)
            && found.inode().metadata().kind() == FileKind::Regular
        {
            return Ok((full, found));
        }
    }
    Err(Errno::ENOENT)
}

/// Reads what is asked for in advance.
async fn read_ahead(kernel: Weak<Kernel>) {
    while let Some(memory) = kernel.upgrade().map(|kernel| kernel.memory.clone()) {
        let (cache, pages) = memory.ahead().next().await;
        let (Some(kernel), Some(cache)) = (kernel.upgrade(), cache.upgrade()) else { continue };
        kernel.scheduler.spawn(async move {
            // Whoever wants these pages will try again, and hear what is wrong with them.
            let _ = cache.read_ahead(pages).await;
        });
    }
}

/// The out-of-memory killer: ends the process that takes most memory.
async fn kill_when_short(kernel: Weak<Kernel>) {
    loop {
        let Some(kernel) = kernel.upgrade() else { return };
        kernel.memory.wait_shortage().await;
        let processes = kernel.processes.processes();
        if processes.iter().any(|p| !p.is_zombie() && p.ending().is_some()) {
            // Somebody is already on the way out.
            continue;
        }
        kernel.vfs.recent.clear();
        let living = processes.iter().filter(|p| p.pid != Pid(1) && !p.is_zombie());
        let scored = living.filter_map(|p| Some((p.oom_pages()?, p)));
        match scored.max_by_key(|(pages, _)| *pages) {
            Some((_, victim)) => victim.kill_for_memory(),
            // What is left must not be killed; then it is on whoever cannot go on.
            None => kernel.memory.note_no_victim(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn quotes_keep_spaces_together_and_go_from_around_words_and_values() {
        let line = r#"quiet  only="read 1 byte" "a=b c" d=e"f g"h x="open end"#;
        assert_eq!(words(line), ["quiet", "only=read 1 byte", "a=b c", r#"d=e"f g"h"#, "x=open end"]);
        assert!(words("  ").is_empty());
    }
}
