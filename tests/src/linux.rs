//! Linux, the judge: the host's kernel, with the tests' image as its root.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use aurora_cli::image::Image;
use aurora_cli::link::{Output, Spawn, Status};
use aurora_cli::setup;
use std::os::unix::process::ExitStatusExt as _;

/// Makes the namespace's own `/proc` and the devices the image promises, then starts the program, which must not be
/// process 1: Linux spares that one most signals. Descriptors the tests happen to have are not its business: the room
/// of its table shows.
///
/// Mounts are the namespace's own, except in a chroot, whose root is no mount that could be made private: there they are
/// taken back.
const ENTER: &str = r#"
root=$1; shift
mount --make-rprivate / 2>&- || shared=1
# The programs' root is a mount, as a machine's is.
mount --bind "$root" "$root" || exit 98
for fd in /proc/self/fd/*; do fd=${fd##*/}; ((fd > 2)) && eval "exec $fd>&-"; done
device() { mknod -m 666 "$root/dev/$1" c "$2" "$3"; }
mount -t proc proc "$root/proc" && mount -t tmpfs -o mode=755 dev "$root/dev" || exit 98
mkdir -p "$root/sys" && mount -t sysfs -o ro sysfs "$root/sys" || exit 98
device null 1 3; device zero 1 5; device full 1 7; device random 1 8; device urandom 1 9; device tty 5 0
ln -s /proc/self/fd "$root/dev/fd"
for stream in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${stream%:*}" "$root/dev/${stream#*:}"; done
mkdir "$root/dev/shm" "$root/dev/pts" && ln -s pts/ptmx "$root/dev/ptmx" || exit 98
for options in ,gid=5 ''; do
  mount -t devpts -o newinstance,ptmxmode=666,mode=620$options devpts "$root/dev/pts" 2>/dev/null && break
done
cd "$root" || exit 98
exec 3<&0
# Signals that whoever runs the tests ignores (nohup does) are not its business either, nor how nice they are.
# Not in the background, where the signals of the keys that interrupt are ignored, and not in place of the shell.
lift=()
[ "$(nice -n "-$(nice)" nice 2>&-)" = 0 ] && lift=(nice -n "-$(nice)")
"${lift[@]}" env --default-signal chroot . "$@" <&3 3<&-
status=$?
cd / && [ -z "$shared" ] || umount -l "$root"
exit $status
"#;

/// A root directory with the image in it, removed when dropped.
pub struct Linux {
    root: PathBuf,
}

impl Linux {
    /// Unpacks the tests' image.
    pub fn new() -> Result<Self> {
        Self::with(crate::image())
    }

    /// Unpacks an image.
    pub fn with(image: &Image) -> Result<Self> {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("aurora-linux-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&root)?;
        let linux = Self { root };
        image.write_to(&linux.root)?;
        let nothing = Spawn { argv: vec![b"sh".to_vec(), b"-c".to_vec(), b"true".to_vec()], ..crate::shell("") };
        let answer = linux.output(&nothing, b"", Duration::from_secs(60))?;
        let words = String::from_utf8_lossy(&answer.stderr).into_owned();
        ensure!(answer.status == Some(Status::Exited(0)) && words.is_empty(), "Linux cannot be asked here: {words}");
        Ok(linux)
    }

    /// Where its root is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Runs a program to its end, as [`aurora_cli::link::Client::output`] does in a machine.
    pub fn output(&self, spawn: &Spawn, stdin: &[u8], timeout: Duration) -> Result<Output> {
        let mut command = Command::new("unshare");
        // A process id and mount namespace of its own, as a machine is; as an ordinary user, in a user namespace.
        if setup::is_root() {
            command.args(["--mount", "--propagation", "unchanged", "--pid", "--fork", "--kill-child"]);
        } else {
            command.args(["--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child"]);
        }
        command.args(["bash", "-c", ENTER, "bash"]).arg(&self.root);
        command.env_clear();
        for word in spawn.argv.iter() {
            command.arg(os(word));
        }
        for pair in &spawn.env {
            let mut parts = pair.splitn(2, |&b| b == b'=');
            if let (Some(name), Some(value)) = (parts.next(), parts.next()) {
                command.env(os(name), os(value));
            }
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        finish(command, stdin, timeout)
    }
}

fn os(bytes: &[u8]) -> &std::ffi::OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(bytes)
}

fn finish(mut command: Command, stdin: &[u8], timeout: Duration) -> Result<Output> {
    let mut child = command.spawn().context("cannot run unshare")?;
    let mut input = child.stdin.take().context("its input is a pipe")?;
    let stdin = stdin.to_vec();
    // A program that does not read its input is right too.
    std::thread::spawn(move || drop(input.write_all(&stdin)));
    let (killer, start) = (child.id(), Instant::now());
    let watch = std::sync::mpsc::channel::<()>();
    let guard = std::thread::spawn(move || {
        if watch.1.recv_timeout(timeout) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            let _ = Command::new("kill").args(["-KILL", &killer.to_string()]).status();
        }
    });
    let out = child.wait_with_output();
    drop(watch.0);
    let _ = guard.join();
    ensure!(start.elapsed() < timeout, "Linux took too long");
    let out = out?;
    let status = match (out.status.code(), out.status.signal()) {
        (Some(code), _) => Status::Exited(code as u8),
        (None, Some(signal)) => Status::Killed(signal as u8),
        (None, None) => Status::Exited(0),
    };
    Ok(Output { stdout: out.stdout, stderr: out.stderr, status: Some(status), errno: None })
}

impl Drop for Linux {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.root);
    }
}
