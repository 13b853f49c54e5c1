//! The machine in this process.

use std::time::Duration;

use anyhow::{Result, anyhow};
use aurora_hosted::{Config, Hosted};
use aurora_machine::Port;

use super::{Boot, Guard, Started};

struct InProcess(Option<Hosted>);

impl Guard for InProcess {
    fn verdict(&mut self) -> Option<String> {
        // It may still be running: turned off, it says what happened before.
        match self.0.take()?.stop(Duration::from_secs(2)) {
            Some(end) => end.err().map(|e| e.0),
            None => Some("its kernel does not answer".into()),
        }
    }
}

pub(super) fn start(boot: Boot) -> Result<Started> {
    let Boot { archive, command_line, memory, disks, recording, .. } = boot;
    let config = Config { memory, command_line, initramfs: archive, disks, recording };
    let hosted = Hosted::start(config).map_err(|e| anyhow!(e.0))?;
    let link = hosted.port(Port::Link);
    let console = Box::new(hosted.port(Port::Console));
    Ok(Started { link: (Box::new(link.clone()), Box::new(link)), console, guard: Box::new(InProcess(Some(hosted))) })
}
