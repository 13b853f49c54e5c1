//! futex(2).

use aurora_abi::Errno;
use aurora_abi::types::Timespec;
use aurora_machine::{Instant, VirtAddr};

use crate::ipc::futex::{self, WaitEnd};
use crate::memory::UserPtr;
use crate::num::low32;
use crate::syscall::time::to_ns;
use crate::syscall::{Context, Restart, SysResult};

const FUTEX_PRIVATE: u32 = 128;
const FUTEX_CLOCK_REALTIME: u32 = 256;
const FUTEX_WAIT: u32 = 0;
const FUTEX_WAKE: u32 = 1;
const FUTEX_REQUEUE: u32 = 3;
const FUTEX_CMP_REQUEUE: u32 = 4;
const FUTEX_WAKE_OP: u32 = 5;
const FUTEX_WAIT_BITSET: u32 = 9;
const FUTEX_WAKE_BITSET: u32 = 10;

pub(super) async fn futex(
    cx: &mut Context<'_>,
    at: VirtAddr,
    operation: u32,
    value: u32,
    timeout: u64,
    second: VirtAddr,
    value3: u32,
) -> SysResult {
    let private = operation & FUTEX_PRIVATE != 0;
    let space = cx.space()?;
    let table = &cx.kernel().futexes;
    match operation & !(FUTEX_PRIVATE | FUTEX_CLOCK_REALTIME) {
        FUTEX_WAIT => {
            let deadline = futex_deadline(cx, timeout, true, false).await?;
            futex_wait(cx, at, private, value, futex::ALL_BITS, deadline).await
        }
        FUTEX_WAIT_BITSET => {
            if value3 == 0 {
                return Err(Errno::EINVAL);
            }
            let real = operation & FUTEX_CLOCK_REALTIME != 0;
            let deadline = futex_deadline(cx, timeout, false, real).await?;
            futex_wait(cx, at, private, value, value3, deadline).await
        }
        FUTEX_WAKE => {
            let key = futex::key_of(&space, at, private).await?;
            Ok(table.wake(key, u64::from(value).max(1), futex::ALL_BITS))
        }
        FUTEX_WAKE_BITSET => {
            if value3 == 0 {
                return Err(Errno::EINVAL);
            }
            let key = futex::key_of(&space, at, private).await?;
            Ok(table.wake(key, u64::from(value).max(1), value3))
        }
        op @ (FUTEX_REQUEUE | FUTEX_CMP_REQUEUE) => {
            let from = futex::key_of(&space, at, private).await?;
            let to = futex::key_of(&space, second, private).await?;
            if op == FUTEX_CMP_REQUEUE && space.load_futex(at).await?.0 != value3 {
                return Err(Errno::EAGAIN);
            }
            let (woken, moved) = table.requeue(from, to, u64::from(value), u64::from(low32(timeout)));
            Ok(if op == FUTEX_CMP_REQUEUE { woken + moved } else { woken })
        }
        FUTEX_WAKE_OP => {
            let (first, other) =
                (futex::key_of(&space, at, private).await?, futex::key_of(&space, second, private).await?);
            let matched = wake_operation(&space, second, value3).await?;
            let mut woken = table.wake(first, u64::from(value), futex::ALL_BITS);
            if matched {
                woken += table.wake(other, u64::from(low32(timeout)), futex::ALL_BITS);
            }
            Ok(woken)
        }
        _ => Err(Errno::ENOSYS),
    }
}

/// Changes the second word of `FUTEX_WAKE_OP` and tells whether its old value passes the comparison.
async fn wake_operation(space: &crate::memory::AddressSpace, at: VirtAddr, coded: u32) -> Result<bool, Errno> {
    let signed12 = |v: u32| ((v & 0xfff) << 20).cast_signed() >> 20;
    let (operand, compared) = (signed12(coded >> 12), signed12(coded));
    let operand = if coded >> 31 != 0 { 1i32.wrapping_shl(operand.cast_unsigned()) } else { operand };
    let operand = operand.cast_unsigned();
    loop {
        let (old, _) = space.load_futex(at).await?;
        let new = match coded >> 28 & 7 {
            0 => operand,
            1 => old.wrapping_add(operand),
            2 => old | operand,
            3 => old & !operand,
            4 => old ^ operand,
            _ => return Err(Errno::ENOSYS),
        };
        if space.compare_exchange(at, old, new).await? == old {
            let (old, compared) = (old.cast_signed(), compared);
            return Ok(match coded >> 24 & 15 {
                0 => old == compared,
                1 => old != compared,
                2 => old < compared,
                3 => old <= compared,
                4 => old > compared,
                5 => old >= compared,
                _ => return Err(Errno::ENOSYS),
            });
        }
    }
}

async fn futex_deadline(cx: &Context<'_>, timeout: u64, relative: bool, real: bool) -> Result<Option<Instant>, Errno> {
    let Some(timeout) = UserPtr::<Timespec>::new(timeout).non_null() else { return Ok(None) };
    let ns = to_ns(timeout.load(&*cx.space()?).await?)?;
    let now = cx.kernel().machine.now();
    Ok(Some(match () {
        () if relative => now + ns,
        () if real => now + ns.saturating_sub(cx.kernel().realtime_ns()),
        () => Instant(ns),
    }))
}

pub(super) async fn futex_wait(
    cx: &Context<'_>,
    at: VirtAddr,
    private: bool,
    value: u32,
    bits: u32,
    deadline: Option<Instant>,
) -> SysResult {
    let sleep = cx.kernel().sleep_until(deadline.unwrap_or(Instant::NEVER));
    match futex::wait(cx.thread, at, private, value, bits, sleep).await? {
        WaitEnd::Woken => Ok(0),
        WaitEnd::TimedOut => Err(Errno::ETIMEDOUT),
        WaitEnd::Interrupted if deadline.is_none() => Err(Errno::ERESTARTSYS),
        WaitEnd::Interrupted => {
            *cx.thread.restart.lock() = Some(Restart::Futex(at.0, value, bits, private, deadline));
            Err(Errno::ERESTARTBLOCK)
        }
    }
}
