//! `aurora` as a person runs it.

fn aurora(arguments: &[&str]) -> (i32, String) {
    let out = std::process::Command::new(env!("CARGO_BIN_EXE_aurora")).args(arguments).output().expect("aurora runs");
    (out.status.code().unwrap_or(-1), String::from_utf8_lossy(&out.stderr).into_owned())
}

#[test]
fn a_bad_image_path_is_named() {
    let (status, said) = aurora(&["run", "--root", "/no/such/image", "--", "busybox", "true"]);
    assert_eq!(status, 125);
    assert!(said.contains("/no/such/image") && said.contains("No such file"), "{said}");
    let (status, said) = aurora(&["run", "--root", "/etc/passwd", "--", "busybox", "true"]);
    assert_eq!(status, 125);
    assert!(said.contains("/etc/passwd is neither"), "{said}");
    let (status, said) = aurora(&["run", "--file", "/no/such=/x", "--", "busybox", "true"]);
    assert_eq!(status, 125);
    assert!(said.contains("/no/such"), "{said}");
}

/// Standard output of a command that works.
fn said(arguments: &[&str]) -> String {
    let out = std::process::Command::new(env!("CARGO_BIN_EXE_aurora")).args(arguments).output().expect("aurora runs");
    assert!(out.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// A folder that is gone with the test.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("aurora-test-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("there is room");
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_string_lossy().into_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn an_image_is_built_listed_read_and_changed() {
    let scratch = Scratch::new("image");
    let (image, tree) = (scratch.path("image.cpio.gz"), scratch.path("tree"));
    std::fs::create_dir_all(scratch.path("tree/etc/sub")).expect("there is room");
    std::fs::write(scratch.path("tree/etc/name"), "one\n").expect("there is room");
    std::os::unix::fs::symlink("etc/name", scratch.path("tree/link")).expect("there is room");
    said(&["image", "build", &tree, "-o", &image]);
    assert_eq!(said(&["image", "cat", &image, "/link", "etc/name"]), "one\none\n");
    let list = said(&["image", "ls", &image]);
    assert!(list.contains(" /etc/name\n") && list.contains(" /link -> etc/name\n"), "{list}");
    let json = said(&["image", "ls", "--json", &image, "/etc/name"]);
    assert!(json.contains(r#""path": "/etc/name""#) && json.contains(r#""size": 4"#), "{json}");
    std::fs::write(scratch.path("two"), "two\n").expect("there is room");
    said(&["image", "cp", &scratch.path("two"), &format!("{image}:/var/lib/two")]);
    said(&["image", "cp", &scratch.path("tree/etc"), &format!("{image}:/var")]);
    assert_eq!(said(&["image", "cat", &image, "/var/lib/two", "/var/etc/name"]), "two\none\n");
    said(&["image", "cp", &format!("{image}:/var"), &scratch.path("out")]);
    assert_eq!(std::fs::read_to_string(scratch.path("out/lib/two")).expect("it was copied"), "two\n");
    let (status, said) = aurora(&["image", "cat", &image, "/none"]);
    assert_eq!((status, said.as_str()), (1, "aurora: /none is not in the image\n"));
    let (status, said) = aurora(&["image", "ls", &scratch.path("two")]);
    assert!(status == 1 && said.contains("is no image"), "{said}");
}

#[test]
fn a_file_of_the_host_can_be_added_to_an_archive_that_is_booted() {
    let scratch = Scratch::new("added");
    let image = scratch.path("image.cpio.gz");
    said(&["image", "build", "-o", &image]);
    std::fs::write(scratch.path("note"), "a note\n").expect("there is room");
    let file = format!("{}=/etc/note", scratch.path("note"));
    assert_eq!(said(&["run", "--root", &image, "--file", &file, "--", "busybox", "cat", "/etc/note"]), "a note\n");
}

#[test]
fn what_a_program_changes_on_an_image_it_runs_from_is_there_in_the_next_run() {
    let scratch = Scratch::new("root");
    let image = scratch.path("disk.img");
    said(&["image", "create", &image, "--size", "64M"]);
    let run = |script: &str| said(&["run", "--root", &image, "--", "busybox", "sh", "-c", script]);
    assert_eq!(run("mkdir /var/made; echo kept >/var/made/note"), "");
    let again = run("cat /var/made/note; echo more >>/var/made/note; mount | cut -d' ' -f1-5 | grep ' / '");
    assert_eq!(again, "kept\n/dev/vda on / type ext4\n");
    // No shell, and nobody who syncs.
    said(&["run", "--root", &image, "--", "busybox", "mv", "/var/made/note", "/var/note"]);
    assert_eq!(run("cat /var/note; ls /var/made"), "kept\nmore\n");
    assert_eq!(said(&["image", "cat", &image, "/var/note"]), "kept\nmore\n");
    said(&["image", "check", &image]);
}

#[test]
fn the_doctor_names_what_it_looked_for_and_says_it_to_scripts_too() {
    let out = std::process::Command::new(env!("CARGO_BIN_EXE_aurora"))
        .args(["doctor", "--json"])
        .env("PATH", "/nowhere")
        .output()
        .expect("aurora runs");
    assert_eq!(out.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&out.stdout).expect("it is JSON");
    let checks = report["checks"].as_array().expect("there are checks");
    let node = checks.iter().find(|check| check["name"] == "node").expect("node is among them");
    assert!(node["found"].is_null() && node["remedy"].as_str().is_some_and(|r| r.contains("nodejs")), "{node}");
}

#[test]
fn help_has_examples_and_shells_get_completions() {
    assert!(said(&["--help"]).contains("Examples:\n  aurora "));
    assert!(said(&["run", "--help"]).contains("--machine qemu"));
    for shell in ["bash", "zsh", "fish"] {
        assert!(said(&["completions", shell]).contains("doctor"), "{shell}");
    }
}

#[test]
fn the_command_line_tool_passes_streams_and_statuses_through() {
    let run = |script: &str| {
        let arguments = ["run", "--timeout", "30", "--", "busybox", "sh", "-c", script];
        let out = std::process::Command::new(env!("CARGO_BIN_EXE_aurora"))
            .args(arguments)
            .stdin(std::process::Stdio::null())
            .output()
            .expect("aurora runs");
        (
            out.status.code(),
            String::from_utf8_lossy(&out.stdout).into_owned(),
            String::from_utf8_lossy(&out.stderr).into_owned(),
        )
    };
    assert_eq!(run("echo out; echo err >&2; exit 3"), (Some(3), "out\n".into(), "err\n".into()));
    assert_eq!(run("kill -SEGV $$").0, Some(139));
    let (status, said) = aurora(&["run", "--", "no-such-program"]);
    assert_eq!((status, said.as_str()), (127, "aurora: no-such-program: No such file or directory\n"));
    let (status, said) = aurora(&["run", "--timeout", "0.5", "--", "busybox", "sleep", "100"]);
    assert_eq!(status, 124, "{said}");
    let (_, said) = aurora(&["run", "--trace", "syscalls", "--", "busybox", "true"]);
    assert!(said.contains("brk(") && said.contains("exit_group("), "{said}");
}
