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
