//! Where a browser keeps disks: `web/test/disk-stores.mjs` tries every store in Chromium, without a machine, and
//! `web/test/disk-cuts.mjs` cuts the power of one with snapshots, in Node.

use std::collections::HashMap;
use std::process::Command;

use aurora_cli::server::PageServer;
use aurora_cli::{build, project, setup};

#[test]
fn every_store_of_a_browser_keeps_what_was_flushed() {
    let folder = build::page().unwrap_or_else(|e| panic!("{e:#}"));
    let chromium = setup::chromium().unwrap_or_else(|e| panic!("{e:#}"));
    let node = setup::node().unwrap_or_else(|e| panic!("{e:#}"));
    let blank = r#"<!doctype html><link rel="icon" href="data:," />"#;
    let files = HashMap::from([("/blank.html".to_owned(), blank.as_bytes().to_vec())]);
    let server = PageServer::start(folder, files, 0).expect("the page is served");
    let script = project::root().join("web/test/disk-stores.mjs");
    let url = format!("http://{}/", server.address());
    let out = Command::new(node).arg(script).arg(chromium).arg(url).output().expect("node runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&[out.stdout, out.stderr].concat()));
}

#[test]
fn a_disk_with_snapshots_survives_power_cuts() {
    let node = setup::node().unwrap_or_else(|e| panic!("{e:#}"));
    let out = Command::new(node).arg(project::root().join("web/test/disk-cuts.mjs")).output().expect("node runs");
    let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    print!("{said}");
    assert!(out.status.success(), "{said}");
}
