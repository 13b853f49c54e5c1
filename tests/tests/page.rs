//! The page in headless Chromium: `web/test/page.mjs` types and reads, this starts the server it needs.

use std::collections::HashMap;
use std::process::Command;
use std::sync::Mutex;

use aurora_cli::server::PageServer;
use aurora_cli::{build, project, setup};

/// Timing is measured: one at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn page(test: &str) {
    run("page.mjs", test);
}

/// Those of the disk.
fn disk(test: &str) {
    setup::e2fsprogs("e2fsck").unwrap_or_else(|e| panic!("{e:#}"));
    run("disk.mjs", test);
}

fn run(script: &str, test: &str) {
    let folder = build::page().unwrap_or_else(|e| panic!("{e:#}"));
    let chromium = setup::chromium().unwrap_or_else(|e| panic!("{e:#}"));
    let node = setup::node().unwrap_or_else(|e| panic!("{e:#}"));
    let _turn = ONE_AT_A_TIME.lock();
    let server = PageServer::start(folder, HashMap::new(), 0).expect("the page is served");
    let url = format!("http://{}/", server.address());
    let out = Command::new(node)
        .arg(project::root().join("web/test").join(script))
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
    disk("a_snapshot_is_restored_in_a_new_worker");
}

#[test]
fn a_start_shows_its_log_and_how_far_it_is() {
    page("a_start_shows_its_log_and_how_far_it_is");
}

#[test]
fn a_kernel_panic_is_shown_with_its_message_and_place() {
    page("a_kernel_panic_is_shown_with_its_message_and_place");
}

#[test]
fn a_worker_that_hangs_is_named_until_it_answers() {
    page("a_worker_that_hangs_is_named_until_it_answers");
}

#[test]
fn a_worker_that_died_is_noticed_and_can_be_replaced() {
    page("a_worker_that_died_is_noticed_and_can_be_replaced");
}

#[test]
fn a_phone_has_the_keys_it_lacks_and_nothing_is_cut_off() {
    page("a_phone_has_the_keys_it_lacks_and_nothing_is_cut_off");
}

#[test]
fn the_window_tells_the_programs_its_size() {
    page("the_window_tells_the_programs_its_size");
}

#[test]
fn the_settings_are_kept_and_the_theme_follows_them() {
    page("the_settings_are_kept_and_the_theme_follows_them");
}

#[test]
fn text_is_copied_and_pasted() {
    page("text_is_copied_and_pasted");
}

#[test]
fn a_file_survives_a_reload_a_killed_browser_and_a_second_start() {
    disk("a_file_survives_a_reload_a_killed_browser_and_a_second_start");
}

#[test]
fn a_new_disk_is_fetched_as_it_is_touched_and_then_needs_no_network() {
    disk("a_new_disk_is_fetched_as_it_is_touched_and_then_needs_no_network");
}

#[test]
fn a_quota_the_browser_refuses_is_an_errno_and_what_was_synced_is_intact() {
    disk("a_quota_the_browser_refuses_is_an_errno_and_what_was_synced_is_intact");
}

#[test]
fn what_is_dirty_is_saved_when_the_page_goes() {
    disk("what_is_dirty_is_saved_when_the_page_goes");
}

#[test]
fn an_exported_disk_is_right_to_e2fsck_and_can_be_imported() {
    disk("an_exported_disk_is_right_to_e2fsck_and_can_be_imported");
}

#[test]
fn a_second_tab_is_told_may_look_at_a_copy_and_may_take_over() {
    disk("a_second_tab_is_told_may_look_at_a_copy_and_may_take_over");
}

#[test]
fn snapshots_are_listed_gone_back_to_and_deleted_and_a_reset_makes_all_new() {
    disk("snapshots_are_listed_gone_back_to_and_deleted_and_a_reset_makes_all_new");
}

#[test]
fn files_are_put_in_and_taken_out() {
    disk("files_are_put_in_and_taken_out");
}

#[test]
fn a_system_runs_from_the_database_and_from_the_cache_too() {
    disk("a_system_runs_from_the_database_and_from_the_cache_too");
}
