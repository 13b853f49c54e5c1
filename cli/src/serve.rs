//! `aurora` without a command: the page, served on loopback.

use std::collections::HashMap;

use anyhow::Result;

use crate::server::PageServer;
use crate::{build, image, ui};

/// Builds the page, serves it, and says where, until the process is ended.
pub fn serve(port: u16) -> Result<()> {
    let folder = build::page()?;
    for package in image::base()?.packages() {
        ui::say(package);
    }
    let server = PageServer::start(folder, HashMap::new(), port)?;
    println!("http://{}/", server.address());
    ui::say("open that in a browser; ^C ends");
    loop {
        std::thread::park();
    }
}
