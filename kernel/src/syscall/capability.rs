//! Aurora's own calls, from 1000 on: the capability table.

use aurora_abi::Errno;
use aurora_machine::VirtAddr;

use crate::security::capability::SLOTS;
use crate::security::{Kind, Rights};
use crate::syscall::{Context, SysResult};
use crate::task::Pid;

/// `cap_query(pid, out)`: writes 64 bytes, the rights in each slot (READ 1, WRITE 2, EXEC 4). Pid 0 is the caller;
/// another process's table needs `CAP_QUERY`. Returns the number of slots.
pub(super) async fn cap_query(cx: &mut Context<'_>, pid: Pid, out: VirtAddr) -> SysResult {
    let caller = &cx.thread.process;
    let process = if pid.0 == 0 || pid == caller.pid {
        caller.clone()
    } else {
        caller.capabilities.check(Kind::CapQuery, Rights::READ)?;
        cx.kernel().processes.process(pid).ok_or(Errno::ESRCH)?
    };
    let mut table = [0; 64];
    for (slot, byte) in (0..SLOTS).zip(&mut table) {
        *byte = process.capabilities.get(slot).bits();
    }
    cx.space()?.copy_out(out, &table).await?;
    Ok(u64::from(SLOTS))
}

/// `cap_drop(slot, rights)`: gives rights up, for this process and all it starts from now on. There is no way back.
pub(super) fn cap_drop(cx: &mut Context<'_>, slot: u32, rights: u32) -> SysResult {
    let rights = u8::try_from(rights).ok().and_then(Rights::from_bits).ok_or(Errno::EINVAL)?;
    if slot >= SLOTS {
        return Err(Errno::EINVAL);
    }
    cx.thread.process.capabilities.drop_rights(slot, rights);
    Ok(0)
}
