//! The host link's kernel side: starts programs for whoever started the machine, and works on files for them
//! (`aurora_abi::link`).
//!
//! One job reads frames. For each program there are jobs that carry its output, and one that waits for its end. A
//! program's `Exit` comes after all output it wrote before it ended. File operations are done by a process of the link's
//! own, which no table lists and which runs no program: what it may do is in its credentials and capabilities.

mod output;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::sync::atomic::{AtomicBool, Ordering};

use aurora_abi::Errno;
use aurora_abi::link::{Decoder, Frame, Kind, ProtocolError, Request, Spawn, encode};
use aurora_machine::Port;

use crate::boot::{FirstProgram, new_process, start_program};
use crate::ipc::pipe::{Pipe, PipeEnd};
use crate::memory::IoBuf;
use crate::sync::{Mutex, WaitQueue};
use crate::task::process::WaitStatus;
use crate::task::{Pid, Process, SigInfo, Signal, Thread};
use crate::tty::pty::OtherSide;
use crate::tty::{Tty, TtyDriver, TtyFile};
use crate::vfs::{Fd, FdTable, OpenFile, OpenFlags};
use crate::{Kernel, Next, kerror, syscall};
use output::{Output, OutputWindow, Unfinished, carry_output, flush_terminal};

/// Bytes of input the host may have under way for one program.
const WINDOW: usize = 64 * 1024;
/// Bytes of output kept before programs wait.
const OUTPUT_LIMIT: usize = 128 * 1024;

/// Starts the link.
pub(crate) fn start(kernel: &Arc<Kernel>) -> Result<(), Errno> {
    let link = Arc::new(Link {
        kernel: kernel.clone(),
        worker: new_process(kernel, Pid(0), Arc::new(FdTable::default()))?,
        output: Mutex::default(),
        drained: WaitQueue::new(),
        programs: Mutex::default(),
        closing: AtomicBool::new(false),
    });
    kernel.processes.reserve_up_to(Pid(1));
    link.send(Kind::Ready, 0, &[]);
    kernel.scheduler.spawn(write_output(link.clone()));
    kernel.scheduler.spawn(read_frames(link));
    Ok(())
}

struct Link {
    kernel: Arc<Kernel>,
    /// On whose behalf files are opened, read and written.
    worker: Arc<Thread>,
    /// Encoded frames the port has not taken.
    output: Mutex<VecDeque<u8>>,
    /// Woken when there is output to send, and when there is room for more.
    drained: WaitQueue,
    programs: Mutex<BTreeMap<u32, Arc<Program>>>,
    closing: AtomicBool,
}

/// A program the host started.
struct Program {
    process: Mutex<Option<Arc<Process>>>,
    /// Signals that came before it had started.
    early_signals: Mutex<Vec<Signal>>,
    input: Mutex<Input>,
    /// Woken when input came.
    input_came: WaitQueue,
    tty: Option<Arc<Tty>>,
    windows: Arc<[OutputWindow; 2]>,
    /// Set when the process has ended: output jobs finish what is there.
    ended: AtomicBool,
}

#[derive(Default)]
struct Input {
    bytes: VecDeque<u8>,
    is_complete: bool,
}

impl Link {
    fn send(&self, kind: Kind, id: u32, payload: &[u8]) {
        let mut bytes = Vec::with_capacity(payload.len() + 12);
        encode(kind, id, payload, &mut bytes);
        self.output.lock().extend(bytes);
        self.flush();
        self.drained.wake_all();
    }

    /// Gives the port what it takes. Returns whether everything left.
    fn flush(&self) -> bool {
        let mut output = self.output.lock();
        loop {
            let (first, _) = output.as_slices();
            if first.is_empty() {
                return true;
            }
            let (offered, taken) = (first.len(), self.kernel.machine.port_write(Port::Link, first));
            output.drain(..taken.min(offered));
            if taken < offered {
                return false;
            }
        }
    }

    /// Waits until there is room for more output.
    async fn room(&self) {
        self.drained.wait(|| (self.output.lock().len() < OUTPUT_LIMIT).then_some(())).await;
    }

    fn program(&self, id: u32) -> Option<Arc<Program>> {
        self.programs.lock().get(&id).cloned()
    }
}

async fn write_output(link: Arc<Link>) {
    loop {
        // Something to send, then a port that takes it.
        link.drained.wait(|| (!link.output.lock().is_empty()).then_some(())).await;
        link.kernel.ports.queue(Port::Link).wait(|| link.flush().then_some(())).await;
        link.drained.wake_all();
        if link.closing.load(Ordering::Acquire) {
            link.kernel.go_down(Next::PowerOff);
        }
    }
}

async fn read_frames(link: Arc<Link>) {
    let mut decoder = Decoder::default();
    let mut bytes = alloc::vec![0; 4096];
    loop {
        let read = || {
            let n = link.kernel.machine.port_read(Port::Link, &mut bytes);
            (n > 0).then_some(n)
        };
        let n = link.kernel.ports.queue(Port::Link).wait(read).await;
        decoder.push(bytes.get(..n).unwrap_or_default());
        if handle_all(&link, &mut decoder).is_err() {
            kerror!(link.kernel, "host link: what the host sent is not a frame; the link is closed");
            return;
        }
    }
}

fn handle_all(link: &Arc<Link>, decoder: &mut Decoder) -> Result<(), ProtocolError> {
    while let Some(frame) = decoder.next_frame()? {
        handle(link, frame)?;
    }
    Ok(())
}

fn handle(link: &Arc<Link>, frame: Frame) -> Result<(), ProtocolError> {
    match frame.kind {
        Kind::Spawn => {
            let spawn = Spawn::decode(&frame.payload)?;
            begin(link, frame.id, spawn);
            return Ok(());
        }
        Kind::Request => {
            let request = Request::decode(&frame.payload)?;
            link.kernel.scheduler.spawn(answer(link.clone(), frame.id, request));
            return Ok(());
        }
        Kind::Resize if frame.id == 0 => {
            let (rows, columns) = size(&frame)?;
            link.kernel.resize_console(rows, columns);
            return Ok(());
        }
        Kind::Shutdown => {
            link.closing.store(true, Ordering::Release);
            if link.flush() {
                link.kernel.go_down(Next::PowerOff);
            }
            return Ok(());
        }
        _ => {}
    }
    // A frame for a program that has ended was under way when it did.
    let Some(program) = link.program(frame.id) else { return Ok(()) };
    match frame.kind {
        Kind::Stdin => {
            let mut input = program.input.lock();
            if input.bytes.len() + frame.payload.len() > WINDOW {
                return Err(ProtocolError);
            }
            input.is_complete |= frame.payload.is_empty();
            input.bytes.extend(frame.payload);
            drop(input);
            program.input_came.wake_all();
        }
        Kind::Signal => {
            let number = frame.as_number().and_then(|n| u8::try_from(n).ok()).and_then(Signal::new);
            let process = program.process.lock().clone();
            match (number, process) {
                (Some(signal), Some(process)) => {
                    let _ = process.send(SigInfo::user(signal, crate::task::signal::SI_USER, Pid(0), 0));
                }
                (Some(signal), None) => program.early_signals.lock().push(signal),
                (None, _) => return Err(ProtocolError),
            }
        }
        Kind::Resize => {
            let (rows, columns) = size(&frame)?;
            if let Some(tty) = &program.tty {
                tty.resize(rows, columns);
            }
        }
        Kind::Taken => {
            let [stream, bytes] = frame.as_numbers().ok_or(ProtocolError)?;
            program.window(stream)?.grant(crate::num::to_usize(u64::from(bytes)));
        }
        Kind::CloseOutput => program.window(frame.as_number().ok_or(ProtocolError)?)?.close(),
        // What only the kernel sends.
        _ => return Err(ProtocolError),
    }
    Ok(())
}

fn size(frame: &Frame) -> Result<(u16, u16), ProtocolError> {
    let [r0, r1, c0, c1] = frame.payload.as_slice() else { return Err(ProtocolError) };
    Ok((u16::from_le_bytes([*r0, *r1]), u16::from_le_bytes([*c0, *c1])))
}

impl Program {
    /// The window of a stream, by its kind of frame.
    fn window(&self, stream: u32) -> Result<&OutputWindow, ProtocolError> {
        let [stdout, stderr] = &*self.windows;
        match stream {
            s if s == Kind::Stdout as u32 => Ok(stdout),
            s if s == Kind::Stderr as u32 => Ok(stderr),
            _ => Err(ProtocolError),
        }
    }
}

/// Does a file operation and tells the host what came of it.
async fn answer(link: Arc<Link>, id: u32, request: Request) {
    let mut work = pin!(async {
        let misses = link.kernel.memory.misses();
        loop {
            match syscall::host::request(&link.worker, request.clone()).await {
                Err(errno) => misses.again(errno).await?,
                done => return done,
            }
        }
    });
    let result = poll_fn(|cx| {
        // No program is at work: `/proc/self` is nobody.
        link.kernel.set_current(None);
        work.as_mut().poll(cx)
    })
    .await;
    let (errno, answer) = result.map_or_else(|e| (e.number(), Vec::new()), |answer| (0, answer));
    link.room().await;
    link.send(Kind::Reply, id, &[&u32::from(errno).to_le_bytes(), answer.as_slice()].concat());
}

/// A program's side of its streams, and the kernel's.
struct Streams {
    files: Arc<FdTable>,
    stdin: Option<(Arc<Pipe>, Arc<PipeEnd>)>,
    outputs: Vec<Output>,
    terminal: Option<OtherSide>,
}

/// The program's end of a stream: it reads, or it writes.
fn stream_end(kernel: &Kernel, pipe: &Arc<Pipe>, reads: bool) -> Result<Arc<OpenFile>, Errno> {
    let charge = kernel.memory.charge(crate::vfs::file::FILE_COST)?;
    let inode = kernel.anonymous.create_pipe(pipe, 0, 0, kernel.now());
    let flags = if reads { OpenFlags::empty() } else { OpenFlags::WRONLY };
    Ok(OpenFile::new(None, inode, pipe.end(reads, !reads), flags, charge))
}

impl Streams {
    fn pipes(kernel: &Kernel) -> Result<Self, Errno> {
        let files = Arc::new(FdTable::default());
        let stdin = Pipe::new(&kernel.memory);
        files.replace(Fd(0), stream_end(kernel, &stdin, true)?, false, 3)?;
        let mut outputs = Vec::new();
        for (fd, kind) in [(1, Kind::Stdout), (2, Kind::Stderr)] {
            let pipe = Pipe::new(&kernel.memory);
            files.replace(Fd(fd), stream_end(kernel, &pipe, false)?, false, 3)?;
            outputs.push((pipe.clone(), pipe.end(true, false), kind));
        }
        Ok(Self { files, stdin: Some((stdin.clone(), stdin.end(false, true))), outputs, terminal: None })
    }

    fn terminal(
        link: &Arc<Link>,
        id: u32,
        windows: &Arc<[OutputWindow; 2]>,
        (rows, columns): (u16, u16),
    ) -> Result<Self, Errno> {
        let files = Arc::new(FdTable::default());
        let driver = LinkDriver { link: link.clone(), id, windows: windows.clone() };
        let side = OtherSide::new(&link.kernel, Arc::new(driver), (0, 0), false)?;
        side.pty.tty.resize(rows, columns);
        side.pty.tty.speak_utf8();
        let name = format!("/dev/pts/{}", side.pty.number);
        let ops = Arc::new(TtyFile::new(&side.pty.tty));
        let file = super::open_device(&link.kernel, name.as_bytes(), ops)?;
        for fd in 0..3 {
            files.replace(Fd(fd), file.clone(), false, 3)?;
        }
        Ok(Self { files, stdin: None, outputs: Vec::new(), terminal: Some(side) })
    }
}

/// A terminal whose other side is the host.
struct LinkDriver {
    link: Arc<Link>,
    id: u32,
    windows: Arc<[OutputWindow; 2]>,
}

impl TtyDriver for LinkDriver {
    fn write(&self, bytes: &[u8]) -> usize {
        let [window, _] = &*self.windows;
        if window.is_closed() {
            return bytes.len();
        }
        let room = OUTPUT_LIMIT.saturating_sub(self.link.output.lock().len());
        let now = bytes.get(..bytes.len().min(room).min(window.room())).unwrap_or_default();
        if !now.is_empty() {
            window.use_up(now.len());
            self.link.send(Kind::Stdout, self.id, now);
        }
        now.len()
    }
}

/// Makes a program known, so that frames for it find it, and starts it.
fn begin(link: &Arc<Link>, id: u32, spawn: Spawn) {
    let windows = Arc::new([OutputWindow::new(), OutputWindow::new()]);
    let streams = match spawn.tty {
        Some(size) => Streams::terminal(link, id, &windows, size),
        None => Streams::pipes(&link.kernel),
    };
    let streams = match streams {
        Ok(streams) => streams,
        Err(errno) => return link.send(Kind::SpawnFailed, id, &u32::from(errno.number()).to_le_bytes()),
    };
    let program = Arc::new(Program {
        process: Mutex::default(),
        early_signals: Mutex::default(),
        input: Mutex::default(),
        input_came: WaitQueue::new(),
        tty: streams.terminal.as_ref().map(|side| side.pty.tty.clone()),
        windows,
        ended: AtomicBool::new(false),
    });
    link.programs.lock().insert(id, program.clone());
    link.kernel.scheduler.spawn(run(link.clone(), id, spawn, program, streams));
}

/// Starts a program and lives as long as it does.
async fn run(link: Arc<Link>, id: u32, spawn: Spawn, program: Arc<Program>, streams: Streams) {
    let kernel = link.kernel.clone();
    let started = match (spawn.argv.first().cloned(), kernel.processes.new_pid()) {
        (Some(path), Ok(pid)) => {
            kernel.set_awaited(pid, true);
            let files = streams.files.clone();
            let spec = FirstProgram { pid, path, argv: spawn.argv, env: spawn.env, cwd: spawn.cwd, files };
            let started = start_program(&kernel, spec).await;
            if started.is_err() {
                kernel.set_awaited(pid, false);
            }
            started
        }
        (_, Err(errno)) => Err(errno),
        (None, _) => Err(Errno::ENOENT),
    };
    match started {
        Ok(process) => live(&link, id, &program, process, streams).await,
        Err(errno) => {
            link.programs.lock().remove(&id);
            link.send(Kind::SpawnFailed, id, &u32::from(errno.number()).to_le_bytes());
        }
    }
}

async fn live(link: &Arc<Link>, id: u32, program: &Arc<Program>, process: Arc<Process>, streams: Streams) {
    let kernel = &link.kernel;
    let Streams { files, stdin, outputs, terminal } = streams;
    // The program has its own reference to its descriptors.
    drop(files);
    if let Some(tty) = &program.tty {
        tty.start_session(&process);
        kernel.scheduler.spawn(flush_terminal(link.clone(), tty.clone(), program.clone()));
    }
    *program.process.lock() = Some(process.clone());
    let early = core::mem::take(&mut *program.early_signals.lock());
    for signal in early {
        let _ = process.send(SigInfo::user(signal, crate::task::signal::SI_USER, Pid(0), 0));
    }
    link.send(Kind::Window, id, &u32::try_from(WINDOW).unwrap_or(0).to_le_bytes());
    kernel.scheduler.spawn(carry_input(link.clone(), id, program.clone(), stdin));
    let unfinished: Unfinished = Arc::new((Mutex::new(outputs.len()), WaitQueue::new()));
    for output in outputs {
        kernel.scheduler.spawn(carry_output(link.clone(), id, program.clone(), output, unfinished.clone()));
    }
    kernel.process_ended.wait(|| process.is_zombie().then_some(())).await;
    program.ended.store(true, Ordering::Release);
    program.input_came.wake_all();
    kernel.process_ended.wake_all();
    unfinished.1.wait(|| (*unfinished.0.lock() == 0).then_some(())).await;
    if let Some(tty) = &program.tty {
        tty.changed.wait(|| (tty.flush(), tty.is_drained()).1.then_some(())).await;
    }
    drop(terminal);
    link.programs.lock().remove(&id);
    let status = process.state().ended.unwrap_or(WaitStatus::Exited(0));
    kernel.set_awaited(process.pid, false);
    kernel.processes.remove_process(process.pid);
    link.room().await;
    link.send(Kind::Exit, id, &status.encode().to_le_bytes());
}

/// Brings the host's input to the program and grants more as it is taken.
async fn carry_input(link: Arc<Link>, id: u32, program: Arc<Program>, stdin: Option<(Arc<Pipe>, Arc<PipeEnd>)>) {
    loop {
        let next = || {
            let input = program.input.lock();
            let over = program.ended.load(Ordering::Acquire) || input.bytes.is_empty() && input.is_complete;
            (over || !input.bytes.is_empty()).then_some(over)
        };
        if program.input_came.wait(next).await {
            // Dropping the end tells the program that its input is complete.
            return;
        }
        let chunk: Vec<u8> = program.input.lock().bytes.iter().take(4096).copied().collect();
        let taken = match (&stdin, &program.tty) {
            (Some((pipe, _)), _) => match write_pipe(&program, pipe, &chunk).await {
                Some(taken) => taken,
                None => return,
            },
            (None, Some(tty)) => {
                let room = || Some(tty.input_room().min(chunk.len())).filter(|&r| r > 0);
                let room = tty.changed.wait(room).await;
                tty.input(chunk.get(..room).unwrap_or_default());
                room
            }
            (None, None) => return,
        };
        program.input.lock().bytes.drain(..taken);
        link.send(Kind::Window, id, &u32::try_from(taken).unwrap_or(0).to_le_bytes());
    }
}

/// Writes to a program's input; `None` once nobody will read it.
async fn write_pipe(program: &Program, pipe: &Pipe, chunk: &[u8]) -> Option<usize> {
    let write = || {
        if program.ended.load(Ordering::Acquire) {
            return Some(None);
        }
        match pipe.try_write(&mut IoBuf::kernel_in(chunk), false, false) {
            Ok(n) => Some(Some(n)),
            Err(crate::memory::IoError::WouldBlock) => None,
            Err(_) => Some(None),
        }
    };
    pipe.changed.wait(write).await
}
