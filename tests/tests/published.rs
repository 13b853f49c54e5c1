//! Disks that begin as a published image, in Chromium and in Node: what is touched is fetched and no more, what was fetched
//! and written is there without a network, and what is not what was published is an error and says so.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use aurora_cli::image::disk::DiskImage;
use aurora_cli::image::{self, publish};
use aurora_cli::server::PageServer;
use aurora_cli::{build, project, setup};
use aurora_tests::disks::Folder;
use serde_json::Value;

const SIZE: u64 = 64 << 20;
/// Bytes of a file nobody touches, and of one a piece of which is damaged.
const UNTOUCHED: usize = 24 << 20;
const MARKED: usize = 4 * publish::CHUNK as usize;
/// The most that may travel until a system has started: the kernel, and what of the image it touches.
const MOST: u64 = 6 << 20;

/// Bytes nothing can pack.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let word = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        Some(state.to_le_bytes())
    };
    std::iter::from_fn(word).take(len / 8).flatten().collect()
}

/// What a site serves.
struct Site {
    files: HashMap<String, Vec<u8>>,
    key: String,
    busybox: String,
}

fn publish(folder: &Path) -> Site {
    let (plain, site) = (folder.join("disk.img"), folder.join("site"));
    let (untouched, marked) = (folder.join("untouched"), folder.join("marked"));
    let all = noise(UNTOUCHED + MARKED);
    let (first, second) = all.split_at(UNTOUCHED);
    fs::write(&untouched, first).expect("a file");
    fs::write(&marked, second).expect("a file");
    let mut tree = image::base().expect("the image is built");
    tree.add_file(&untouched, "/untouched").expect("a file");
    tree.add_file(&marked, "/marked").expect("a file");
    let mut disk = DiskImage::create(&plain, SIZE, "published").expect("a disk");
    disk.add(&tree).expect("it has room");
    disk.finish().expect("it is written");
    let done = publish::publish(&plain, &site, &folder.join("key")).expect("it is published");

    let manifest = fs::read(site.join("manifest")).expect("a manifest");
    // A piece in the middle of the marked file.
    let bytes = fs::read(&plain).expect("the disk");
    let middle = second.get(MARKED / 2..MARKED / 2 + 64).expect("a middle");
    let at = bytes.windows(64).position(|window| window == middle).expect("the file is on the disk");
    let number = at / publish::CHUNK as usize;
    let hash: String = manifest[24 + number * 32..][..32].iter().map(|byte| format!("{byte:02x}")).collect();

    let files = publish::files(&site).expect("what was published");
    let mut served = HashMap::new();
    for (name, bytes) in files {
        let mut damaged = bytes.clone();
        if name.ends_with(&hash) {
            damaged[100] ^= 1;
        }
        served.insert(format!("/damaged/{name}"), damaged);
        served.insert(format!("/published/{name}"), bytes);
    }
    let busybox = image::sha256(tree.file("/bin/busybox").expect("busybox"));
    Site { files: served, key: done.key, busybox }
}

/// What every page has.
fn blank() -> HashMap<String, Vec<u8>> {
    let steps = fs::read(project::root().join("web/test/published-steps.js")).expect("the steps");
    let blank = br#"<!doctype html><link rel="icon" href="data:," />"#.to_vec();
    HashMap::from([("/blank.html".to_owned(), blank), ("/steps.js".to_owned(), steps)])
}

fn serve(files: &HashMap<String, Vec<u8>>, port: u16) -> PageServer {
    let page = build::page().unwrap_or_else(|e| panic!("{e:#}"));
    let all = blank().into_iter().chain(files.clone()).collect();
    PageServer::start(page, all, port).expect("the page is served")
}

fn step(place: &str, server: &PageServer, folder: &Path, step: &str, image: &str, key: &str) -> Value {
    let page = format!("http://{}/", server.address());
    let mut node = Command::new(setup::node().unwrap_or_else(|e| panic!("{e:#}")));
    node.arg(project::root().join("web/test/published.mjs")).arg(place).arg(&page).arg(folder);
    let name = if image == "damaged" { "damaged.img" } else { "root.img" };
    let out = node.args([step, name, &format!("{page}{image}/"), key]).output().expect("node runs");
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{step}: {said}{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_str(said.trim()).unwrap_or_else(|e| panic!("{step}: {e}: {said}"))
}

fn all_of_it(name: &str, place: &str) {
    let folder = Folder::new(&format!("published-{name}"));
    let site = publish(&folder.0);
    let server = serve(&site.files, 0);
    let port = server.address().port();

    let stranger = step(place, &server, &folder.0, "stranger", "published", &"5a".repeat(32));
    assert!(stranger["failed"].as_str().is_some_and(|why| why.contains("not signed")), "{stranger}");

    let before = server.sent();
    let first = step(place, &server, &folder.0, "first", "published", &site.key);
    let travelled = server.sent() - before;
    println!("{name}: {travelled} bytes until the end of the first start");
    assert_eq!(first["said"], format!("{}  -\n", site.busybox), "{first}");
    assert!(travelled < MOST, "{travelled} bytes travelled");

    let ordinary = step(place, &server, &folder.0, "ordinary", "published", &site.key);
    assert!(ordinary["failed"].as_str().is_some_and(|why| why.contains("published image")), "{ordinary}");

    let damaged = step(place, &server, &folder.0, "damaged", "damaged", &site.key);
    let said = damaged["said"].as_str().unwrap_or_default();
    assert!(said.contains("I/O error") || said.contains("Input/output error"), "{damaged}");
    assert!(said.contains(&site.busybox), "{damaged}");
    assert!(damaged["heard"].to_string().contains("is not what was published"), "{damaged}");

    // The page is still there, the image is not.
    drop(server);
    let server = serve(&HashMap::new(), port);
    let again = step(place, &server, &folder.0, "again", "published", &site.key);
    let said = again["said"].as_str().unwrap_or_default();
    assert!(said.contains(&format!("{}  -\nkept\n", site.busybox)), "{again}");
    assert!(said.contains("missing"), "{again}");
    assert!(again["heard"].to_string().contains("cannot be fetched"), "{again}");
}

#[test]
fn a_page_starts_from_what_it_touches_of_a_published_image() {
    let chromium = setup::chromium().unwrap_or_else(|e| panic!("{e:#}"));
    all_of_it("chromium", &chromium.to_string_lossy());
}

#[test]
fn node_starts_from_what_it_touches_of_a_published_image() {
    all_of_it("node", "node");
}
