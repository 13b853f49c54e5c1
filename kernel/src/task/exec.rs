//! execve(2): a new program in an old process.
//!
//! Everything that can fail happens before the point of no return: the new address space is whole before it replaces
//! the old one.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use aurora_abi::{Abi, Errno};
use aurora_machine::{PAGE_SIZE, UserContext, VirtAddr, VirtRange};

use crate::memory::area::Label;
use crate::memory::layout::{Layout, brk_gap, pie_base, vdso_hint};
use crate::memory::map::{Place, Request};
use crate::memory::{AddressSpace, Backing, Prot};
use crate::security::credentials::CAP_SYS_PTRACE;
use crate::security::{Credentials, EXECUTE};
use crate::task::elf::{Elf, read_file};
use crate::task::exit::release_mutexes;
use crate::task::limits::{Resource, UNLIMITED};
use crate::task::process::WaitStatus;
use crate::task::{Signal, Thread};
use crate::vfs::inode::{S_ISGID, S_ISUID};
use crate::vfs::mount::MountFlags;
use crate::vfs::path::Follow;
use crate::vfs::{FileKind, OpenFile, OpenFlags, PathRef};

/// A program to execute.
#[derive(Clone)]
pub struct Program {
    /// What is executed.
    pub path: PathRef,
    /// The path it was called by, for `AT_EXECFN`.
    pub name: Vec<u8>,
    /// Arguments.
    pub argv: Vec<Vec<u8>>,
    /// Environment.
    pub env: Vec<Vec<u8>>,
}

/// Longest single argument: Linux's `MAX_ARG_STRLEN`.
pub const MAX_ARG: usize = 32 * 4096;
/// Of personality(2): everything at the same place each time.
const ADDR_NO_RANDOMIZE: u32 = 0x4_0000;
/// Most interpreters of interpreters.
const MAX_SCRIPTS: u32 = 4;

/// A program loaded into an address space of its own, ready to run.
pub struct Loaded {
    /// Its memory.
    pub space: Arc<AddressSpace>,
    /// Its first registers.
    pub cpu: UserContext,
    /// The file that was loaded.
    pub executable: PathRef,
    /// Its identities.
    pub credentials: Credentials,
    /// It runs with more than its caller had.
    pub is_privileged: bool,
    /// It carries the note that opens `INT 0x80`.
    pub opens_aurora_gate: bool,
    /// Last component of the path, the thread's name.
    pub name: Vec<u8>,
}

/// Loads `program` for `thread`.
pub async fn load(thread: &Thread, program: Program) -> Result<Loaded, Errno> {
    let credentials = thread.process.credentials();
    let name = program.name.rsplit(|&b| b == b'/').next().unwrap_or_default().to_vec();
    let mut program = program;
    for _ in 0..=MAX_SCRIPTS {
        let cache = check_executable(&program.path, &credentials)?;
        let mut head = [0; 256];
        let n = read_file(&cache, 0, &mut head)?;
        match script_line(head.get(..n).unwrap_or_default())? {
            Some((interpreter, argument)) => {
                let lookup = thread.lookup_from(&credentials, thread.fs().cwd());
                let path = lookup.resolve(&interpreter, Follow::Yes)?;
                let mut argv = Vec::from([interpreter.clone()]);
                argv.extend(argument);
                argv.push(program.name);
                argv.extend(program.argv.into_iter().skip(1));
                program = Program { path, name: interpreter, argv, env: program.env };
            }
            None => return load_elf(thread, program, &credentials, name).await,
        }
    }
    Err(Errno::ELOOP)
}

fn check_executable(path: &PathRef, credentials: &Credentials) -> Result<Arc<crate::memory::PageCache>, Errno> {
    let metadata = path.inode().metadata();
    if metadata.kind() != FileKind::Regular || path.mount.flags().contains(MountFlags::NOEXEC) {
        return Err(Errno::EACCES);
    }
    credentials.may_access(&metadata, EXECUTE)?;
    path.inode().cache().cloned().ok_or(Errno::EACCES)
}

/// The interpreter and its one argument, if the file starts with `#!`.
#[allow(clippy::type_complexity)]
fn script_line(head: &[u8]) -> Result<Option<(Vec<u8>, Option<Vec<u8>>)>, Errno> {
    let Some(rest) = head.strip_prefix(b"#!") else { return Ok(None) };
    let end = rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len());
    let line = rest.get(..end).unwrap_or_default().trim_ascii();
    if line.is_empty() && end == rest.len() {
        // Linux takes the zeros behind a file that ends here for a name, and the empty name for the working directory.
        return Err(Errno::EACCES);
    }
    if line.is_empty() || line.contains(&0) {
        return Err(Errno::ENOEXEC);
    }
    let split = line.iter().position(|b| matches!(b, b' ' | b'\t'));
    let (interpreter, argument) = line.split_at(split.unwrap_or(line.len()));
    let argument = argument.trim_ascii();
    Ok(Some((interpreter.to_vec(), (!argument.is_empty()).then(|| argument.to_vec()))))
}

async fn load_elf(
    thread: &Thread,
    program: Program,
    credentials: &Credentials,
    name: Vec<u8>,
) -> Result<Loaded, Errno> {
    let kernel = thread.kernel();
    let elf = read_elf(&program.path)?;
    let stack_limit = thread.process.limits.get(Resource::Stack);
    let mut random = [0; 48];
    kernel.machine.entropy(&mut random);
    if thread.process.personality.load(Ordering::Relaxed) & ADDR_NO_RANDOMIZE != 0 {
        // The places; what the program gets for itself stays random.
        random.iter_mut().take(32).for_each(|byte| *byte = 0);
    }
    let word = |i: usize| u64::load(random.get(i * 8..).unwrap_or_default());
    let layout = Layout::new([word(0), word(1)], stack_limit);
    let stack_top = layout.stack_top;
    let space = AddressSpace::new(&kernel.machine, &kernel.memory, layout)?;
    let mut loader = Loader { space: &space, charge_from: kernel };
    let interpreter = match &elf.interpreter {
        Some(path) => {
            let lookup = thread.lookup_from(credentials, thread.fs().cwd());
            let path = lookup.resolve(path, Follow::Yes)?;
            check_executable(&path, credentials)?;
            let elf = read_elf(&path)?;
            Some((path, elf))
        }
        None => None,
    };
    // A static position-independent program goes where mmap puts things, one with an interpreter lower.
    let base = elf.is_position_independent.then(|| pie_base(word(2)));
    let (bias, end) = loader.map_elf(&program.path, &elf, base).await.inspect_err(|&e| end_if_cut(thread, e))?;
    let entry = VirtAddr(elf.entry.wrapping_add(bias));
    let (start, interpreter_base) = match &interpreter {
        Some((path, elf)) => {
            let (bias, _) = loader.map_elf(path, elf, None).await.inspect_err(|&e| end_if_cut(thread, e))?;
            (VirtAddr(elf.entry.wrapping_add(bias)), bias)
        }
        None => (entry, 0),
    };
    space.start_heap((end + brk_gap(word(3))).page_ceil().ok_or(Errno::ENOMEM)?);
    loader.map_stack(stack_top, elf.executable_stack)?;
    let above_stack = vdso_hint(stack_top, word(3) >> 32);
    let vdso = kernel.vdso.map(&space, above_stack).await?;
    let (identity, is_privileged) = identity_after(thread, &program.path, credentials);
    let auxiliary = [
        (6, PAGE_SIZE),
        (17, 100),
        (3, elf.headers_at.wrapping_add(bias)),
        (4, 56),
        (5, u64::from(elf.header_count)),
        (7, interpreter_base),
        (8, 0),
        (9, entry.0),
        (11, u64::from(identity.uid)),
        (12, u64::from(identity.euid)),
        (13, u64::from(identity.gid)),
        (14, u64::from(identity.egid)),
        (23, u64::from(is_privileged)),
        (33, vdso.0),
        (51, 2048),
    ];
    let stack = Stack { space: &space, at: stack_top, stack_limit };
    let rsp = stack.fill(&program, &auxiliary, &random).await?;
    let mut cpu = UserContext::new(start.0, rsp.0);
    cpu.set_flags(0);
    let opens_aurora_gate = elf.opens_aurora_gate;
    let credentials = identity;
    Ok(Loaded { space, cpu, executable: program.path, credentials, is_privileged, opens_aurora_gate, name })
}

/// A file that ends before its segments do has passed for a program: as on Linux, whose old memory is gone by then, the
/// process that became it dies.
fn end_if_cut(thread: &Thread, errno: Errno) {
    if errno == Errno::EFAULT {
        thread.process.begin_end(WaitStatus::Killed(Signal::SIGSEGV, false));
    }
}

fn read_elf(path: &PathRef) -> Result<Elf, Errno> {
    Elf::read(path.inode().cache().ok_or(Errno::EACCES)?)
}

/// Identities after set-user-ID and set-group-ID bits.
fn identity_after(thread: &Thread, path: &PathRef, old: &Credentials) -> (Credentials, bool) {
    let metadata = path.inode().metadata();
    let mut new = old.clone();
    // Who traces a program must not get its privileges.
    let ignored = path.mount.flags().contains(MountFlags::NOSUID)
        || thread.process.no_new_privs.load(Ordering::Relaxed)
        || thread.trace.lock().tracer().is_some_and(|t| !t.credentials().is_capable(CAP_SYS_PTRACE));
    if !ignored && metadata.mode & S_ISUID != 0 {
        new.euid = metadata.uid;
    }
    if !ignored && metadata.mode & S_ISGID != 0 && metadata.mode & 0o010 != 0 {
        new.egid = metadata.gid;
    }
    (new.suid, new.fsuid, new.sgid, new.fsgid) = (new.euid, new.euid, new.egid, new.egid);
    let privileged = new.euid != new.uid || new.egid != new.gid;
    new.caps_after_exec(privileged);
    (new, privileged)
}

struct Loader<'a> {
    space: &'a Arc<AddressSpace>,
    charge_from: &'a crate::Kernel,
}

impl Loader<'_> {
    /// Maps all segments; returns what was added to their addresses, and where they end.
    async fn map_elf(&mut self, path: &PathRef, elf: &Elf, base: Option<VirtAddr>) -> Result<(u64, VirtAddr), Errno> {
        let cache = path.inode().cache().cloned().ok_or(Errno::EACCES)?;
        let charge = self.charge_from.memory.charge(crate::vfs::file::FILE_COST)?;
        let ops: Arc<dyn crate::vfs::FileOps> = Arc::new(crate::fs::RegularFile);
        let file = OpenFile::new(Some(path.clone()), path.inode().clone(), ops, OpenFlags::empty(), charge);
        let (start, len) = elf.extent();
        let len = (len + PAGE_SIZE - 1) & !(PAGE_SIZE - 1);
        // Reserve the whole extent first, so that segments stay together.
        let place = match (elf.is_position_independent, base) {
            (true, Some(base)) => Place::Near(base),
            (true, None) => Place::Near(VirtAddr(0)),
            (false, _) => Place::FixedFree(start),
        };
        let at = self.map(place, len, Prot::empty(), Backing::Anonymous, Label::None)?;
        let bias = at.0.wrapping_sub(start.0);
        self.space.unmap(at, len)?;
        let mut end = at;
        let mut code: Option<VirtRange> = None;
        for segment in &elf.segments {
            let segment_at = VirtAddr(segment.vaddr.wrapping_add(bias));
            let page = segment_at.page_floor();
            let in_page = segment_at.page_offset() as u64;
            if segment.filesz > 0 {
                let backing = Backing::Cache {
                    cache: cache.clone(),
                    first: (segment.offset - in_page) / PAGE_SIZE,
                    file: Some(file.clone()),
                };
                self.map(Place::Fixed(page), in_page + segment.filesz, segment.prot, backing, Label::None)?;
            }
            self.map_zeros(segment_at, segment.filesz, segment.memsz, segment.prot).await?;
            let segment_end = segment_at + segment.memsz;
            if segment.prot.contains(Prot::EXEC) && code.is_none() {
                code = Some(VirtRange { start: segment_at, end: segment_end });
            }
            end = end.max(segment_end);
        }
        self.space.update_layout(|l| l.code = l.code.or(code));
        Ok((bias, end))
    }

    /// What of a segment is not in the file reads as zero, and so does the rest of the page after it.
    async fn map_zeros(&self, at: VirtAddr, filesz: u64, memsz: u64, prot: Prot) -> Result<(), Errno> {
        let file_end = at + filesz;
        let end = (at + memsz).page_ceil().ok_or(Errno::ENOEXEC)?;
        let next_page = if filesz > 0 { file_end.page_ceil() } else { Some(at.page_floor()) };
        let next_page = next_page.ok_or(Errno::ENOEXEC)?;
        if filesz > 0 && memsz > filesz && prot.contains(Prot::WRITE) {
            // To the page's end, not only the segment's: glibc's dynamic linker allocates from there and counts on zeros.
            self.space.zero_out(file_end, crate::num::to_usize(next_page - file_end)).await?;
        }
        if end > next_page {
            self.map(Place::Fixed(next_page), end - next_page, prot, Backing::Anonymous, Label::None)?;
        }
        Ok(())
    }

    fn map_stack(&self, top: VirtAddr, executable: bool) -> Result<(), Errno> {
        let mut prot = Prot::READ | Prot::WRITE;
        if executable {
            prot |= Prot::EXEC;
        }
        let start = top.page_ceil().ok_or(Errno::ENOMEM)? - 33 * PAGE_SIZE;
        self.space.map(Request {
            grows_down: true,
            ..request(Place::Fixed(start), 33 * PAGE_SIZE, prot, Backing::Anonymous, Label::Stack)
        })?;
        Ok(())
    }

    fn map(&self, place: Place, len: u64, prot: Prot, backing: Backing, label: Label) -> Result<VirtAddr, Errno> {
        self.space.map(request(place, len, prot, backing, label)).map_err(|e| match e {
            Errno::EEXIST | Errno::EPERM => Errno::ENOMEM,
            e => e,
        })
    }
}

fn request(place: Place, len: u64, prot: Prot, backing: Backing, label: Label) -> Request {
    Request { place, len, prot, shared: false, grows_down: false, no_reserve: false, backing, label, limit: UNLIMITED }
}

/// Writes the first contents of a stack: strings, then vectors (psABI, "Process Initialization").
struct Stack<'a> {
    space: &'a AddressSpace,
    at: VirtAddr,
    stack_limit: u64,
}

impl Stack<'_> {
    async fn fill(mut self, program: &Program, auxiliary: &[(u64, u64)], random: &[u8]) -> Result<VirtAddr, Errno> {
        let strings = program.argv.iter().chain(&program.env);
        let total: u64 = strings.map(|s| s.len() as u64 + 9).sum();
        if total > (self.stack_limit / 4).clamp(128 * 1024, 6 << 20) {
            return Err(Errno::E2BIG);
        }
        self.at = self.at - 8; // The null word at the very top.
        let name = self.push_string(&program.name).await?;
        let env = self.push_strings(&program.env).await?;
        let argv = self.push_strings(&program.argv).await?;
        let platform = self.push_string(b"x86_64").await?;
        let seed = self.push(random.get(32..48).unwrap_or_default()).await?;
        let mut words: Vec<u64> = Vec::from([argv.len() as u64]);
        words.extend(argv.iter().map(|a| a.0));
        words.push(0);
        words.extend(env.iter().map(|a| a.0));
        words.push(0);
        for &(kind, value) in auxiliary {
            words.extend([kind, value]);
        }
        words.extend([25, seed.0, 31, name.0, 15, platform.0, 0, 0]);
        self.at = VirtAddr((self.at.0 - words.len() as u64 * 8) & !15);
        let mut bytes = alloc::vec![0; words.len() * 8];
        for (word, slot) in words.iter().zip(bytes.chunks_mut(8)) {
            word.store(slot);
        }
        self.space.copy_out(self.at, &bytes).await?;
        let range = |list: &[VirtAddr], all: &[Vec<u8>]| {
            let (&start, len) = (list.first()?, all.iter().map(|s| s.len() as u64 + 1).sum());
            VirtRange::new(start, len)
        };
        let (arguments, environment) = (range(&argv, &program.argv), range(&env, &program.env));
        let vectors = (argv.len() + env.len() + 3) as u64 * 8;
        let auxiliary_at = VirtRange::new(self.at + vectors, bytes.len() as u64 - vectors);
        self.space.update_layout(|l| {
            (l.arguments, l.environment, l.auxiliary) = (arguments, environment, auxiliary_at);
        });
        Ok(self.at)
    }

    async fn push(&mut self, bytes: &[u8]) -> Result<VirtAddr, Errno> {
        self.at = self.at - bytes.len() as u64;
        self.space.copy_out(self.at, bytes).await?;
        Ok(self.at)
    }

    async fn push_string(&mut self, text: &[u8]) -> Result<VirtAddr, Errno> {
        self.at = self.at - (text.len() as u64 + 1);
        self.space.copy_out(self.at, text).await?;
        self.space.copy_out(self.at + text.len() as u64, &[0]).await?;
        Ok(self.at)
    }

    /// Pushes strings so that the first is lowest; returns where they are.
    async fn push_strings(&mut self, strings: &[Vec<u8>]) -> Result<Vec<VirtAddr>, Errno> {
        let mut bytes = Vec::new();
        for text in strings {
            bytes.extend_from_slice(text);
            bytes.push(0);
        }
        let start = self.push(&bytes).await?;
        let mut at = start;
        let place = |text: &Vec<u8>| {
            let here = at;
            at = at + text.len() as u64 + 1;
            here
        };
        Ok(strings.iter().map(place).collect())
    }
}

/// Replaces the calling thread's program. Other threads of the process are ended first, and this one goes on as the
/// first: with the process's number.
pub async fn execute(thread: &Arc<Thread>, cpu: &mut UserContext, program: Program) -> Result<(), Errno> {
    let loaded = load(thread, program).await?;
    let process = &thread.process;
    end_other_threads(thread).await?;
    release_mutexes(thread).await;
    if thread.tid() != process.pid {
        thread.kernel().processes.renumber(thread, process.pid);
        thread.kernel().set_current(Some(thread));
    }
    // From here on nothing fails.
    let files = thread.files().fork();
    let old = process.set_space(Some(loaded.space));
    if let Some(done) = process.vfork_done.lock().take() {
        done.signal();
    }
    drop(old);
    let closed = files.take(|_, close_on_exec| close_on_exec);
    for file in &closed {
        let metadata = file.inode.metadata();
        thread.kernel().record_locks.release(process.pid, (metadata.dev, metadata.ino));
    }
    drop(closed);
    drop(thread.set_files(Some(files)));
    let actions = process.actions.lock().after_exec();
    *process.actions.lock() = actions;
    *thread.alternate_stack.lock() = aurora_abi::types::StackT { flags: 2, ..Default::default() };
    thread.clear_child_tid.store(0, Ordering::Relaxed);
    thread.robust_list.store(0, Ordering::Relaxed);
    thread.rseq.forget();
    thread.forget_debug_registers();
    process.timers.clear();
    thread.set_name(&loaded.name);
    if loaded.is_privileged {
        thread.parent_death_signal.store(0, Ordering::Relaxed);
    }
    process.set_dumpable(u8::from(!loaded.is_privileged));
    process.set_credentials(loaded.credentials);
    *process.executable.lock() = Some(loaded.executable);
    process.has_executed.store(true, Ordering::Relaxed);
    process.opens_aurora_gate.store(loaded.opens_aurora_gate, Ordering::Relaxed);
    process.exit_signal.store(u32::from(Signal::SIGCHLD.number()), Ordering::Relaxed);
    *cpu = loaded.cpu;
    Ok(())
}

/// Ends all threads of the process but this one, and waits until they are gone.
async fn end_other_threads(thread: &Arc<Thread>) -> Result<(), Errno> {
    let process = &thread.process;
    let alone = || process.threads.lock().len() <= 1;
    if alone() {
        return Ok(());
    }
    for other in process.threads.lock().iter().filter(|t| !Arc::ptr_eq(t, thread)) {
        other.must_end.store(true, Ordering::Release);
        other.wake();
    }
    process.events.wait(|| (alone() || thread.must_stop_running()).then_some(())).await;
    if alone() { Ok(()) } else { Err(Errno::EAGAIN) }
}
