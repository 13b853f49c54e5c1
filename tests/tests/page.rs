//! The page in headless Chromium: `web/test/page.mjs` types and reads, this starts the server it needs.

use std::collections::HashMap;
use std::process::Command;
use std::sync::Mutex;

use aurora_cli::server::PageServer;
use aurora_cli::{build, project, setup};

/// Timing is measured: one at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn page(test: &str) {
    let folder = build::page().unwrap_or_else(|e| panic!("{e:#}"));
    let chromium = setup::chromium().unwrap_or_else(|e| panic!("{e:#}"));
    let node = setup::node().unwrap_or_else(|e| panic!("{e:#}"));
    let _turn = ONE_AT_A_TIME.lock();
    let server = PageServer::start(folder, HashMap::new(), 0).expect("the page is served");
    let url = format!("http://{}/", server.address());
    let out = Command::new(node)
        .arg(project::root().join("web/test/page.mjs"))
        .arg(chromium)
        .args([&url, test])
        .output()
        .expect("node runs");
    let said = [out.stdout, out.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    print!("{said}");
    assert!(out.status.success(), "{test}: {said}");
}

#[test]
fn the_page_boots_takes_input_shows_output_and_reloads() {
    page("boots_types_reads_and_reloads");
}

#[test]
fn control_c_ends_a_busy_loop_within_100_ms() {
    page("control_c_ends_a_busy_loop_within_100_ms");
}

#[test]
fn a_timer_of_the_page_is_on_time_while_a_program_computes() {
    page("a_timer_of_the_page_is_on_time_while_a_program_computes");
}

#[test]
fn output_nobody_looks_at_grows_no_queue() {
    page("output_nobody_looks_at_grows_no_queue");
}

#[test]
fn an_idle_machine_burns_no_core() {
    page("an_idle_machine_burns_no_core");
}

#[test]
fn a_snapshot_is_restored_in_a_new_worker() {
    page("a_snapshot_is_restored_in_a_new_worker");
}
