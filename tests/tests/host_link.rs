//! What the host link promises to those who embed a machine: files through the kernel, and streams that do not hold one
//! another up.

use std::time::{Duration, Instant};

use aurora_cli::link::{Client, Event, Request, Status, Stream};
use aurora_cli::machines::Kind;
use aurora_tests::boot;

const ENOENT: u32 = 2;
const EEXIST: u32 = 17;
const EISDIR: u32 = 21;
const EINVAL: u32 = 22;
const ENOTEMPTY: u32 = 39;
const O_WRONLY_CREAT_TRUNC: u32 = 0o1101;
const O_DIRECTORY: u32 = 0o200_000;

fn ask(client: &Client, request: Request) -> Result<Vec<u8>, u32> {
    client.request(&request).expect("the machine runs")
}

fn open(client: &Client, path: &str, flags: u32) -> Result<u32, u32> {
    let answer = ask(client, Request::Open { flags, mode: 0o644, path: path.into() })?;
    Ok(u32::from_le_bytes(answer.try_into().expect("a descriptor is four bytes")))
}

fn shell(client: &Client, script: &str) -> String {
    let out = client.output(&aurora_tests::shell(script), b"", Duration::from_secs(60)).expect("the machine runs");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

#[test]
fn files_the_host_writes_are_there_for_programs_and_the_other_way_round() {
    let machine = boot(Kind::Hosted);
    let client = &machine.client;
    let path = |p: &str| p.as_bytes().to_vec();
    assert_eq!(ask(client, Request::MakeDirectory { mode: 0o755, path: path("/tmp/d") }), Ok(vec![]));
    let fd = open(client, "/tmp/d/f", O_WRONLY_CREAT_TRUNC).expect("it can be made");
    assert_eq!(ask(client, Request::Write { fd, data: b"hello\n".to_vec() }), Ok(6u32.to_le_bytes().to_vec()));
    assert_eq!(ask(client, Request::Close { fd }), Ok(vec![]));
    assert_eq!(shell(client, "cat /tmp/d/f; stat -c '%a %U %s' /tmp/d/f"), "hello\n644 root 6\n");
    shell(client, "echo more >> /tmp/d/f; ln -s f /tmp/d/l");
    let fd = open(client, "/tmp/d/l", 0).expect("a link is followed");
    assert_eq!(ask(client, Request::Read { fd, count: 1 << 20 }), Ok(b"hello\nmore\n".to_vec()));
    assert_eq!(ask(client, Request::Read { fd, count: 1 << 20 }), Ok(vec![]));
    let list = open(client, "/tmp/d", O_DIRECTORY).expect("a directory can be opened");
    let names = ask(client, Request::ReadDirectory { fd: list }).expect("and read");
    assert!(names.windows(2).any(|w| w == b"f\0") && names.windows(2).any(|w| w == b"l\0"));
    assert_eq!(ask(client, Request::ReadDirectory { fd: list }), Ok(vec![]));
    let size_of = |follow| {
        let stat = ask(client, Request::Stat { follow, path: path("/tmp/d/l") }).expect("it is there");
        u64::from_le_bytes(stat[48..56].try_into().expect("eight bytes"))
    };
    assert_eq!((size_of(true), size_of(false)), (11, 1));
}

#[test]
fn file_requests_fail_as_the_calls_of_programs_do() {
    let machine = boot(Kind::Hosted);
    let client = &machine.client;
    let path = |p: &str| p.as_bytes().to_vec();
    assert_eq!(open(client, "/none/f", 0), Err(ENOENT));
    assert_eq!(open(client, "/tmp", 1), Err(EISDIR));
    assert_eq!(ask(client, Request::MakeDirectory { mode: 0o755, path: path("/tmp") }), Err(EEXIST));
    assert_eq!(ask(client, Request::Remove { directory: true, path: path("/etc") }), Err(ENOTEMPTY));
    assert_eq!(ask(client, Request::Remove { directory: false, path: path("/etc") }), Err(EISDIR));
    assert_eq!(open(client, "/tmp/a\0b", O_WRONLY_CREAT_TRUNC), Err(EINVAL));
    let fd = open(client, "/etc/passwd", 0).expect("it is there");
    assert_eq!(ask(client, Request::Close { fd: u32::MAX }), Ok(vec![]));
    assert_eq!(ask(client, Request::Read { fd, count: 1 }), Err(9));
}

#[test]
fn output_nobody_takes_stops_its_program_and_no_other() {
    let machine = boot(Kind::Hosted);
    let client = &machine.client;
    let _unread = client.spawn(&aurora_tests::shell("exec yes")).expect("it starts");
    assert_eq!(shell(client, "seq 1 100000 | wc -l"), "100000\n");
    assert_eq!(shell(client, "head -c 65536 /dev/zero | wc -c"), "65536\n");
}

#[test]
fn a_program_whose_output_the_host_closed_gets_a_broken_pipe() {
    let machine = boot(Kind::Hosted);
    let program = machine.client.spawn(&aurora_tests::shell("exec yes")).expect("it starts");
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match program.next(deadline).expect("the machine runs") {
            Event::Stdout(_) => program.input.close_output(Stream::Stdout).expect("the link is open"),
            Event::Exit(status) => {
                assert_eq!(Status::from_wait(status), Status::Killed(13));
                return;
            }
            other => panic!("{other:?}"),
        }
    }
}
