//! The npm package as others use it: packed, installed in an empty folder, used from there in Node, in a plain page, and
//! in a page that Vite built.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, ensure};
use aurora_cli::server::PageServer;
use aurora_cli::{build, image, project, setup};

/// A folder with the package installed and the examples beside it.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| install().unwrap_or_else(|e| panic!("{e:#}")))
}

fn install() -> Result<PathBuf> {
    let package = build::package()?;
    let folder = project::made("package")?.join("installed");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("vite/public"))?;
    fs::write(folder.join("package.json"), r#"{ "private": true, "type": "module" }"#)?;
    let mut npm = setup::npm_command()?;
    npm.current_dir(&folder).args(["install", "--offline", "--ignore-scripts", "--no-audit", "--no-fund"]);
    say(npm.arg(&package))?;
    let archive = image::gzip(&image::base()?.to_cpio())?;
    fs::write(folder.join("image.cpio.gz"), &archive)?;
    fs::write(folder.join("vite/public/image.cpio.gz"), &archive)?;
    fs::write(folder.join("blank.html"), r#"<!doctype html><link rel="icon" href="data:," />"#)?;
    let web = project::root().join("web");
    for file in ["examples/node.mjs", "examples/page.html", "test/api.js", "test/node-api.mjs", "test/report.mjs"] {
        let name = Path::new(file).file_name().context("a file has a name")?;
        fs::copy(web.join(file), folder.join(name))?;
    }
    for file in ["index.html", "main.ts", "tsconfig.json"] {
        fs::copy(web.join("examples/vite").join(file), folder.join("vite").join(file))?;
    }
    // The tool is a development dependency of ours; the example finds it where it would install it.
    std::os::unix::fs::symlink(web.join("node_modules/vite"), folder.join("node_modules/vite"))?;
    Ok(folder)
}

/// Runs a program to its end; returns what it said.
fn say(command: &mut Command) -> Result<String> {
    let out = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    print!("{said}");
    ensure!(out.status.success(), "{command:?}: {said}");
    Ok(said)
}

fn node(arguments: &[&str]) -> String {
    let node = setup::node().unwrap_or_else(|e| panic!("{e:#}"));
    say(Command::new(node).current_dir(folder()).args(arguments)).unwrap_or_else(|e| panic!("{e:#}"))
}

fn page(test: &str) {
    let server = PageServer::start(folder().to_owned(), HashMap::new(), 0).expect("the folder is served");
    let chromium = setup::chromium().unwrap_or_else(|e| panic!("{e:#}"));
    let script = project::root().join("web/test/package.mjs");
    node(&[&script.to_string_lossy(), &chromium.to_string_lossy(), &format!("http://{}/", server.address()), test]);
}

#[test]
fn the_package_keeps_its_promises_in_node() {
    node(&["node-api.mjs", "image.cpio.gz"]);
}

#[test]
fn the_package_keeps_its_promises_in_a_page() {
    page("api");
}

#[test]
fn the_node_example_prints_what_it_says() {
    let said = node(&["node.mjs", "image.cpio.gz"]);
    let expected =
        "4\n30\n100\n\n{ code: 0, signal: null }\nwritten by Node\n\nENOENT 2 ENOENT: no such file or directory";
    assert!(said.starts_with(expected), "{said}");
}

#[test]
fn the_example_page_runs_a_command() {
    page("example");
}

#[test]
fn the_vite_example_passes_the_type_checker_builds_and_runs() {
    let modules = project::root().join("web/node_modules");
    node(&[&modules.join("typescript/bin/tsc").to_string_lossy(), "-p", "vite"]);
    node(&[&modules.join("vite/bin/vite.js").to_string_lossy(), "build", "vite", "--base", "./"]);
    page("vite");
}

#[test]
fn the_package_contains_our_own_files_and_nothing_else() {
    let root = folder().join("node_modules/aurora-os");
    let mut pending = vec![root.clone()];
    while let Some(at) = pending.pop() {
        for entry in fs::read_dir(at).expect("it is a folder") {
            let path = entry.expect("it can be read").path();
            let name = path.strip_prefix(&root).expect("it is below").to_string_lossy().into_owned();
            let made = ["src/aurora.wasm", "src/rehearsal.cpio"];
            let known = ["package.json", "README.md", "LICENSE-MIT", "LICENSE-APACHE"];
            if path.is_dir() {
                pending.push(path);
            } else if !known.contains(&name.as_str()) && !made.contains(&name.as_str()) {
                let source = format!("web/{}", name.replace("types/", "src/").replace(".d.ts", ".js"));
                let types = source.replace(".js", ".ts");
                let ours = project::root().join(&source).exists() || project::root().join(types).exists();
                assert!(ours, "{name}");
            }
        }
    }
}
