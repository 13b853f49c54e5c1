//! Namespaces of host names, uts_namespaces(7).

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::sync::{Guard, Mutex};

/// Host and domain name, uname(2).
#[derive(Clone)]
pub struct Names {
    /// `nodename`.
    pub host: Vec<u8>,
    /// `domainname`.
    pub domain: Vec<u8>,
}

/// The names some threads see.
pub struct UtsNamespace {
    /// Its number; the first has 1.
    pub id: u64,
    next: Arc<AtomicU64>,
    names: Mutex<Names>,
}

impl UtsNamespace {
    /// The first.
    pub fn first() -> Arc<Self> {
        let names = Names { host: b"aurora".to_vec(), domain: b"(none)".to_vec() };
        Arc::new(Self { id: 1, next: Arc::new(AtomicU64::new(2)), names: Mutex::new(names) })
    }

    /// Another that starts with the same names.
    pub fn fork(&self) -> Arc<Self> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self { id, next: self.next.clone(), names: Mutex::new(self.names().clone()) })
    }

    /// Its names.
    pub fn names(&self) -> Guard<'_, Names> {
        self.names.lock()
    }
}
