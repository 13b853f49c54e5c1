//! A static glibc program of Rust's standard library: threads, locks, channels, hash maps, files, processes.
//! Prints nothing that differs between two runs.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex, RwLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

thread_local!(static OWN: std::cell::Cell<u32> = const { std::cell::Cell::new(1) });

fn counting() {
    let (sum, total) = (Arc::new(Mutex::new(0u64)), Arc::new(AtomicU64::new(0)));
    let threads: Vec<_> = (0..8)
        .map(|i| {
            let (sum, total) = (sum.clone(), total.clone());
            thread::spawn(move || {
                OWN.set(OWN.get() + i);
                for _ in 0..5000 {
                    *sum.lock().unwrap() += 1;
                    total.fetch_add(2, Ordering::Relaxed);
                }
                OWN.get()
            })
        })
        .collect();
    let own: u32 = threads.into_iter().map(|t| t.join().unwrap()).sum();
    println!("counted {} {} own {own}", sum.lock().unwrap(), total.load(Ordering::Relaxed));
}

fn channels() {
    let (sender, receiver) = mpsc::sync_channel::<(usize, u64)>(4);
    for i in 0..4 {
        let sender = sender.clone();
        thread::spawn(move || (0..250).for_each(|n| sender.send((i, n)).unwrap()));
    }
    drop(sender);
    let mut sums = BTreeMap::new();
    receiver.iter().for_each(|(i, n)| *sums.entry(i).or_insert(0) += n);
    println!("sums {sums:?}");
}

fn waiting() {
    let barrier = Arc::new(Barrier::new(4));
    let leaders: usize = (0..4)
        .map(|_| {
            let barrier = barrier.clone();
            thread::spawn(move || usize::from(barrier.wait().is_leader()))
        })
        .collect::<Vec<_>>()
        .into_iter()
        .map(|t| t.join().unwrap())
        .sum();
    let pair = Arc::new((Mutex::new(false), Condvar::new()));
    let other = pair.clone();
    let waker = thread::spawn(move || {
        thread::sleep(Duration::from_millis(10));
        *other.0.lock().unwrap() = true;
        other.1.notify_one();
    });
    let ready = pair.1.wait_while(pair.0.lock().unwrap(), |ready| !*ready).unwrap();
    println!("leaders {leaders} woken {}", *ready);
    drop(ready);
    waker.join().unwrap();
    let start = Instant::now();
    let (guard, timeout) = pair.1.wait_timeout(pair.0.lock().unwrap(), Duration::from_millis(15)).unwrap();
    drop(guard);
    println!("timed out {} after enough {}", timeout.timed_out(), start.elapsed() >= Duration::from_millis(15));
    let lock = Arc::new(RwLock::new(0));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| *lock.write().unwrap() += 1);
        }
    });
    println!("written {}", *lock.read().unwrap());
}

fn panics() {
    std::panic::set_hook(Box::new(|_| {}));
    let result = thread::spawn(|| -> u32 { panic!("on purpose") }).join();
    println!("a thread's panic is caught: {:?}", result.unwrap_err().downcast_ref::<&str>());
    println!("unwinding: {:?}", std::panic::catch_unwind(|| [1, 2, 3][std::hint::black_box(7)]).is_err());
}

fn files() {
    let path = "threads.txt";
    std::fs::write(path, "one\ntwo\nthree\n").unwrap();
    let lines: Vec<String> = BufReader::new(std::fs::File::open(path).unwrap()).lines().map(Result::unwrap).collect();
    let meta = std::fs::metadata(path).unwrap();
    println!("{lines:?} {} {}", meta.len(), meta.is_file());
    std::fs::remove_file(path).unwrap();
    println!("{}", std::fs::read(path).unwrap_err());
    let map: HashMap<String, usize> = lines.into_iter().map(|l| (l.clone(), l.len())).collect();
    let mut keys: Vec<_> = map.iter().collect();
    keys.sort();
    println!("{keys:?}");
}

fn processes() {
    let mut child = Command::new("/bin/busybox")
        .args(["tr", "a-z", "A-Z"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"through a child").unwrap();
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    println!("{said} {}", child.wait().unwrap());
    println!("{}", Command::new("/no/such/program").spawn().unwrap_err());
    println!("{:?}", Command::new("/bin/busybox").args(["sh", "-c", "kill -TERM $$"]).status().unwrap());
}

fn main() {
    counting();
    channels();
    waiting();
    panics();
    files();
    processes();
    println!("{:.6} {:e} {}", std::f64::consts::PI.sin().abs(), 1.5e300, f32::MAX);
    println!("{:?}", "3.25e2".parse::<f64>());
}
