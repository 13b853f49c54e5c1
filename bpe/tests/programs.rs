//! Runs a static ELF with the few system calls a small program makes: `AURORA_PROGRAM="/path args" cargo test -p aurora-bpe
//! --release --test programs -- --nocapture`. A way to measure and to find bugs before there is a kernel.

mod support;

use std::io::Write;
use std::time::Instant;

use aurora_machine::{Reg, Trap, VirtAddr, VirtRange};
use support::{Guest, RW, RWX};

const STACK_TOP: u64 = 0x7fff_0000_0000;
const MMAP_BASE: u64 = 0x7000_0000_0000;

struct Process {
    guest: Guest,
    brk: u64,
    mapped: u64,
    started: Instant,
}

fn u16_at(b: &[u8], at: usize) -> u64 {
    u16::from_le_bytes([b[at], b[at + 1]]).into()
}
fn u64_at(b: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(b[at..at + 8].try_into().expect("eight bytes"))
}

impl Process {
    fn load(image: &[u8], args: &[&str]) -> Self {
        let mut guest = Guest::new(512);
        let (entry, phoff, phnum) = (u64_at(image, 24), u64_at(image, 32), u16_at(image, 56));
        // PIE images are put where they are at home.
        let base = if u16_at(image, 16) == 3 { 0x5555_0000_0000 } else { 0 };
        let (mut brk, mut headers) = (0, 0);
        for i in 0..phnum as usize {
            let header = &image[phoff as usize + i * 56..];
            if u64_at(header, 0) as u32 != 1 {
                continue;
            }
            let (offset, addr) = (u64_at(header, 8), base + u64_at(header, 16));
            let (filesz, memsz) = (u64_at(header, 32), u64_at(header, 40));
            if offset == 0 {
                headers = addr + phoff;
            }
            let start = addr & !4095;
            let mut page = start;
            while page < addr + memsz {
                if guest.table.query(VirtAddr(page)).is_none() {
                    guest.map(page, 4096, &[], RWX);
                }
                page += 4096;
            }
            guest.write(addr, &image[offset as usize..(offset + filesz) as usize]);
            brk = brk.max((addr + memsz + 4095) & !4095);
        }
        guest.map(STACK_TOP - (1 << 20), 1 << 20, &[], RW);
        let mut at = STACK_TOP - 4096;
        let mut words = vec![args.len() as u64];
        for arg in args {
            guest.write(at, format!("{arg}\0").as_bytes());
            words.push(at);
            at += arg.len() as u64 + 1;
        }
        guest.write(STACK_TOP - 64, &[7; 16]);
        words.extend([0, 0]);
        let aux = [(3, headers), (4, 56), (5, phnum), (6, 4096), (9, base + entry), (25, STACK_TOP - 64), (0, 0)];
        words.extend(aux.iter().flat_map(|&(k, v)| [k, v]));
        let sp = (STACK_TOP - 8192) & !15;
        guest.write(sp, &words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<_>>());
        guest.cpu = aurora_machine::UserContext::new(base + entry, sp);
        Self { guest, brk, mapped: MMAP_BASE, started: Instant::now() }
    }

    fn fault_in(&mut self, start: u64, end: u64) {
        let mut page = start;
        while page < end {
            if self.guest.table.query(VirtAddr(page)).is_none() {
                self.guest.map(page, 4096, &[], RWX);
            }
            page += 4096;
        }
    }

    fn time(&self) -> [u8; 16] {
        let now = self.started.elapsed();
        let mut out = [0; 16];
        out[..8].copy_from_slice(&now.as_secs().to_le_bytes());
        out[8..].copy_from_slice(&u64::from(now.subsec_nanos()).to_le_bytes());
        out
    }

    /// The result, or the exit status.
    fn syscall(&mut self) -> Result<i64, i32> {
        let reg = |r| self.guest.cpu.reg(r);
        let (a, b, c) = (reg(Reg::Rdi), reg(Reg::Rsi), reg(Reg::Rdx));
        Ok(match reg(Reg::Rax) {
            1 => {
                let data = self.guest.read(b, c as usize);
                std::io::stdout().write_all(&data).expect("stdout");
                c as i64
            }
            20 => {
                let mut total = 0;
                for i in 0..c {
                    let (at, len) = (self.guest.read_u64(b + i * 16), self.guest.read_u64(b + i * 16 + 8));
                    std::io::stdout().write_all(&self.guest.read(at, len as usize)).expect("stdout");
                    total += len as i64;
                }
                total
            }
            9 => {
                let at = self.mapped;
                let len = (b + 4095) & !4095;
                self.mapped += len + 4096;
                self.fault_in(at, at + len);
                at as i64
            }
            11 => {
                let len = (b + 4095) & !4095;
                for page in (a..a + len).step_by(4096) {
                    self.guest.table.cursor(VirtRange::user()).unmap(VirtAddr(page));
                }
                let root = self.guest.table.root();
                self.guest.processor.invalidate(root, VirtRange::new(VirtAddr(a), len).expect("a range"));
                0
            }
            12 => {
                if a > self.brk {
                    self.fault_in(self.brk, (a + 4095) & !4095);
                    self.brk = (a + 4095) & !4095;
                }
                self.brk as i64
            }
            10 | 13 | 14 | 16 | 72 | 131 | 218 | 273 => 0,
            39 | 110 | 186 => 1,
            102 | 104 | 107 | 108 => 0,
            158 => {
                self.guest.cpu.fs_base = b;
                0
            }
            228 => {
                let time = self.time();
                self.guest.write(b, &time);
                0
            }
            60 | 231 => return Err(a as i32),
            _ => -38,
        })
    }

    fn run(&mut self) -> i32 {
        loop {
            match self.guest.run(&mut 100_000_000) {
                Trap::Syscall => match self.syscall() {
                    Ok(result) => self.guest.cpu.set_reg(Reg::Rax, result as u64),
                    Err(status) => return status,
                },
                Trap::Interrupted => {}
                trap => {
                    let code = self.guest.read(self.guest.cpu.rip, 15);
                    panic!("{trap:?} at {:#x}: {code:02x?}\n{:x?}", self.guest.cpu.rip, self.guest.cpu.gpr);
                }
            }
        }
    }
}

#[test]
fn a_static_program_runs_to_its_end() {
    let Ok(command) = std::env::var("AURORA_PROGRAM") else { return };
    let args: Vec<&str> = command.split(' ').collect();
    let image = std::fs::read(args[0]).expect("the program");
    let mut process = Process::load(&image, &args);
    let started = Instant::now();
    let status = process.run();
    let (seconds, retired) = (started.elapsed().as_secs_f64(), process.guest.processor.retired());
    eprintln!("status {status}, {retired} instructions, {:.1} MIPS", retired as f64 / seconds / 1e6);
    assert_eq!(status, 0);
}
