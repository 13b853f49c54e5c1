//! epoll_create(2), epoll_ctl(2), epoll_wait(2).

use alloc::sync::Arc;
use core::task::Poll;

use aurora_abi::types::Timespec;
use aurora_abi::{Abi, Errno, abi_struct};
use aurora_machine::{Instant, USER_END};

use crate::ipc::epoll::{Change, Epoll, EpollFile, ITEM_COST, Wanted, of};
use crate::memory::UserPtr;
use crate::num::to_usize;
use crate::syscall::poll::{after_ms, set_mask};
use crate::syscall::time::to_ns;
use crate::syscall::{Context, SysResult, event};
use crate::vfs::{Fd, OpenFlags};

abi_struct! {
    /// `struct epoll_event`, packed on x86-64.
    pub struct EpollEvent(12) { pub events: u32, pub data: u64, }
}

const MAX_EVENTS: i32 = i32::MAX / 12;
/// Most events taken at a time, so that the kernel's own list stays small.
const BATCH: usize = 1024;

pub(super) fn epoll_create(cx: &mut Context<'_>, size: i32) -> SysResult {
    if size <= 0 { Err(Errno::EINVAL) } else { epoll_create1(cx, 0) }
}

pub(super) fn epoll_create1(cx: &mut Context<'_>, flags: u32) -> SysResult {
    let flags = OpenFlags::from_bits_retain(flags);
    if !OpenFlags::CLOEXEC.contains(flags) {
        return Err(Errno::EINVAL);
    }
    event::add(cx, Arc::new(EpollFile(Epoll::new())), flags)
}

const ADD: u32 = 1;
const DELETE: u32 = 2;
const MODIFY: u32 = 3;

pub(super) async fn epoll_ctl(
    cx: &mut Context<'_>,
    epfd: Fd,
    operation: u32,
    fd: Fd,
    event: UserPtr<EpollEvent>,
) -> SysResult {
    let wanted = if operation == DELETE {
        Wanted { events: 0, data: 0 }
    } else {
        let EpollEvent { events, data } = event.load(&*cx.space()?).await?;
        Wanted { events, data }
    };
    let epoll_file = cx.thread.file(epfd)?;
    let file = cx.thread.file(fd)?;
    if file.ops.wait_queue().is_none() {
        return Err(Errno::EPERM);
    }
    if Arc::ptr_eq(&epoll_file, &file) {
        return Err(Errno::EINVAL);
    }
    let epoll = of(&epoll_file).ok_or(Errno::EINVAL)?;
    let change = match operation {
        ADD => Change::Add(wanted),
        DELETE => Change::Delete,
        MODIFY => Change::Modify(wanted),
        _ => return Err(Errno::EINVAL),
    };
    epoll.change(fd, &file, change, || cx.kernel().memory.charge(ITEM_COST))?;
    Ok(0)
}

pub(super) async fn epoll_wait(
    cx: &mut Context<'_>,
    epfd: Fd,
    events: UserPtr<EpollEvent>,
    most: i32,
    timeout: i32,
) -> SysResult {
    let deadline = after_ms(cx, timeout);
    wait(cx, epfd, events, most, deadline).await
}

pub(super) async fn epoll_pwait(
    cx: &mut Context<'_>,
    epfd: Fd,
    events: UserPtr<EpollEvent>,
    most: i32,
    timeout: i32,
    mask: UserPtr<u64>,
    size: u64,
) -> SysResult {
    let deadline = after_ms(cx, timeout);
    set_mask(cx, mask, size).await?;
    wait(cx, epfd, events, most, deadline).await
}

pub(super) async fn epoll_pwait2(
    cx: &mut Context<'_>,
    epfd: Fd,
    events: UserPtr<EpollEvent>,
    most: i32,
    timeout: UserPtr<Timespec>,
    mask: UserPtr<u64>,
    size: u64,
) -> SysResult {
    let deadline = match timeout.non_null() {
        Some(timeout) => Some(cx.kernel().machine.now() + to_ns(timeout.load(&*cx.space()?).await?)?),
        None => None,
    };
    set_mask(cx, mask, size).await?;
    wait(cx, epfd, events, most, deadline).await
}

async fn wait(
    cx: &Context<'_>,
    epfd: Fd,
    events: UserPtr<EpollEvent>,
    most: i32,
    deadline: Option<Instant>,
) -> SysResult {
    let file = cx.thread.file(epfd)?;
    let most = u64::try_from(most).ok().filter(|&n| n > 0 && n <= u64::from(MAX_EVENTS.cast_unsigned()));
    let most = most.ok_or(Errno::EINVAL)?;
    let end = events.addr().checked_add(most * EpollEvent::SIZE as u64);
    if end.is_none_or(|end| end > USER_END) {
        return Err(Errno::EFAULT);
    }
    let epoll = of(&file).ok_or(Errno::EINVAL)?;
    loop {
        let told = tell(cx, epoll, events, to_usize(most).min(BATCH)).await?;
        let over = deadline.is_some_and(|d| cx.kernel().machine.now() >= d);
        if told > 0 || over {
            return Ok(told);
        }
        let mut ticket = epoll.changed.ticket();
        let mut sleep = core::pin::pin!(cx.kernel().sleep_until(deadline.unwrap_or(Instant::NEVER)));
        let ready = core::future::poll_fn(|context| {
            ticket.register(context.waker());
            if epoll.has_ready() { Poll::Ready(()) } else { sleep.as_mut().poll(context) }
        });
        cx.thread.interruptible(ready).await.ok_or(Errno::EINTR)?;
    }
}

/// Writes ready events to the program; returns how many.
async fn tell(cx: &Context<'_>, epoll: &Epoll, out: UserPtr<EpollEvent>, most: usize) -> SysResult {
    let taken = epoll.take_ready(most);
    if taken.is_empty() {
        return Ok(0);
    }
    let space = cx.space()?;
    let mut told = 0;
    for Wanted { events, data } in taken.events() {
        if let Err(errno) = out.element(told).store(&space, &EpollEvent { events, data }).await {
            epoll.give_back(&taken, to_usize(told));
            return if told > 0 { Ok(told) } else { Err(errno) };
        }
        told += 1;
    }
    Ok(told)
}
