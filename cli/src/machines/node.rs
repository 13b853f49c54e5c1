//! WebAssembly in Node: the link over its standard input and output, the console on its standard error.

use std::path::PathBuf;

use anyhow::Result;

use super::child::{self, Scratch, boxed};
use super::{Boot, Started, megabytes};
use crate::{build, project, setup};

pub(super) fn prepare() -> Result<(PathBuf, PathBuf)> {
    Ok((setup::node()?, build::wasm()?))
}

pub(super) fn start(boot: Boot) -> Result<Started> {
    let (node, wasm) = prepare()?;
    let (scratch, folder) = Scratch::new("node")?;
    let image = folder.join("image");
    std::fs::write(&image, &boot.archive)?;
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    let mut arguments = vec![
        text(project::root().join("web/node.mjs")),
        "--link".into(),
        "--wasm".into(),
        text(wasm),
        "--image".into(),
        text(image),
        "--memory".into(),
        megabytes(boot.memory)?.to_string(),
        "--append".into(),
        boot.command_line,
    ];
    for disk in boot.disks {
        arguments.extend(["--disk".into(), text(disk)]);
    }
    let child = child::start("node", node, arguments, scratch)?;
    let link = boxed(child.stdout, child.stdin);
    Ok(Started { link, console: Box::new(child.stderr), guard: Box::new(child.guard) })
}
