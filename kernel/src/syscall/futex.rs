//! futex(2).

use alloc::vec::Vec;

use aurora_abi::types::Timespec;
use aurora_abi::{Errno, abi_struct};
use aurora_machine::{Instant, VirtAddr};

use crate::ipc::futex::{self, WaitEnd, Word};
use crate::ipc::futex_owned;
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
const FUTEX_LOCK_PI: u32 = 6;
const FUTEX_UNLOCK_PI: u32 = 7;
const FUTEX_TRYLOCK_PI: u32 = 8;
const FUTEX_WAIT_BITSET: u32 = 9;
const FUTEX_WAKE_BITSET: u32 = 10;
const FUTEX_WAIT_REQUEUE_PI: u32 = 11;
const FUTEX_CMP_REQUEUE_PI: u32 = 12;
const FUTEX_LOCK_PI2: u32 = 13;

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
    let real = operation & FUTEX_CLOCK_REALTIME != 0;
    let operation = operation & !(FUTEX_PRIVATE | FUTEX_CLOCK_REALTIME);
    if real && !matches!(operation, FUTEX_WAIT_BITSET | FUTEX_WAIT_REQUEUE_PI | FUTEX_LOCK_PI2) {
        return Err(Errno::ENOSYS);
    }
    let space = cx.space()?;
    let table = &cx.kernel().futexes;
    match operation {
        FUTEX_WAIT => {
            let deadline = futex_deadline(cx, timeout, true, false).await?;
            futex_wait(cx, at, private, value, futex::ALL_BITS, deadline).await
        }
        FUTEX_WAIT_BITSET => {
            let deadline = futex_deadline(cx, timeout, false, real).await?;
            if value3 == 0 {
                return Err(Errno::EINVAL);
            }
            futex_wait(cx, at, private, value, value3, deadline).await
        }
        FUTEX_WAKE | FUTEX_WAKE_BITSET => {
            let bits = if operation == FUTEX_WAKE { futex::ALL_BITS } else { value3 };
            if bits == 0 {
                return Err(Errno::EINVAL);
            }
            let key = futex::key_of(&space, at, private).await?;
            if table.has_mutex_waiter(key) {
                return Err(Errno::EINVAL);
            }
            // As many as nobody can be, if the number is negative: Linux wakes one at least.
            Ok(table.wake(key, u64::from(value.cast_signed().max(1).cast_unsigned()), bits))
        }
        FUTEX_REQUEUE | FUTEX_CMP_REQUEUE => {
            let counts = (counted(value)?, counted(low32(timeout))?);
            let from = futex::key_of(&space, at, private).await?;
            let to = futex::key_of(&space, second, private).await?;
            if operation == FUTEX_CMP_REQUEUE && space.load_futex(at).await?.0 != value3 {
                return Err(Errno::EAGAIN);
            }
            let (woken, moved) = table.requeue(from, to, counts.0, counts.1);
            Ok(woken + moved)
        }
        FUTEX_WAKE_OP => {
            let first = futex::key_of(&space, at, private).await?;
            let other = futex::key_of(&space, second, private).await?;
            let matched = wake_operation(&space, second, value3).await?;
            let count = |value: u32| u64::from(value.cast_signed().max(1).cast_unsigned());
            let mut woken = table.wake(first, count(value), futex::ALL_BITS);
            if matched {
                woken += table.wake(other, count(low32(timeout)), futex::ALL_BITS);
            }
            Ok(woken)
        }
        FUTEX_LOCK_PI | FUTEX_LOCK_PI2 => {
            // The older of the two calls knows only the clock that can be set.
            let deadline = futex_deadline(cx, timeout, false, operation == FUTEX_LOCK_PI || real).await?;
            futex_owned::lock(cx.thread, at, private, sleep(cx, deadline)).await
        }
        FUTEX_TRYLOCK_PI => futex_owned::try_lock(cx.thread, at, private).await,
        FUTEX_UNLOCK_PI => futex_owned::unlock(cx.thread, at, private).await,
        FUTEX_WAIT_REQUEUE_PI => {
            let deadline = futex_deadline(cx, timeout, false, real).await?;
            let wanted = (at, value, futex::ALL_BITS);
            futex_owned::wait_requeue(cx.thread, wanted, second, private, sleep(cx, deadline)).await
        }
        FUTEX_CMP_REQUEUE_PI => {
            // It can be given to one only.
            if value != 1 {
                return Err(Errno::EINVAL);
            }
            futex_owned::requeue(cx.thread, (at, value3), second, private, counted(low32(timeout))?).await
        }
        _ => Err(Errno::ENOSYS),
    }
}

fn counted(value: u32) -> Result<u64, Errno> {
    u64::try_from(value.cast_signed()).map_err(|_| Errno::EINVAL)
}

fn sleep<'a>(cx: &'a Context<'_>, deadline: Option<Instant>) -> impl Future<Output = ()> + use<'a> {
    cx.thread.kernel().sleep_until(deadline.unwrap_or(Instant::NEVER))
}

abi_struct! {
    /// `struct futex_waitv`, futex(2).
    pub struct WaitWord(24) { pub value: u64, pub at: u64, pub flags: u32, pub reserved: u32, }
}

/// Most words of one call.
const MAX_WORDS: u32 = 128;
/// A word of 32 bits: the only size there is.
const SIZE_U32: u32 = 2;

pub(super) async fn futex_waitv(
    cx: &mut Context<'_>,
    words: UserPtr<WaitWord>,
    count: u32,
    flags: u32,
    timeout: u64,
    clock: u32,
) -> SysResult {
    if flags != 0 || count == 0 || count > MAX_WORDS || words.is_null() {
        return Err(Errno::EINVAL);
    }
    let deadline = match timeout {
        0 => None,
        _ if clock > 1 => return Err(Errno::EINVAL),
        _ => futex_deadline(cx, timeout, false, clock == 0).await?,
    };
    let space = cx.space()?;
    let mut all = Vec::new();
    for i in 0..u64::from(count) {
        let WaitWord { value, at, flags, reserved } = words.element(i).load(&space).await?;
        if flags & !(SIZE_U32 | FUTEX_PRIVATE) != 0 || flags & 3 != SIZE_U32 || reserved != 0 || value >> 32 != 0 {
            return Err(Errno::EINVAL);
        }
        all.push(Word { at: VirtAddr(at), private: flags & FUTEX_PRIVATE != 0, expected: low32(value) });
    }
    futex::wait_any(cx.thread, &all, sleep(cx, deadline)).await.map(|which| which as u64)
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
