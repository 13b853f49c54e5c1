//! What stays in memory although nobody uses it: the latest so many.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::sync::Mutex;

/// The place of a thing among those that are kept; 0 for none.
#[derive(Default)]
pub struct Age(AtomicU64);

/// What can be kept.
pub trait Aged {
    /// Its place.
    fn age(&self) -> &Age;
}

/// Keeps up to a limit of things alive. None is dropped under the lock: with it may go much more.
pub struct Kept<T> {
    inner: Mutex<Inner<T>>,
    limit: usize,
}

struct Inner<T> {
    by_age: BTreeMap<u64, Arc<T>>,
    last: u64,
}

impl<T: Aged> Kept<T> {
    /// Keeps up to `limit`.
    pub fn new(limit: usize) -> Self {
        Self { inner: Mutex::new(Inner { by_age: BTreeMap::new(), last: 0 }), limit }
    }

    /// How many it keeps.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Keeps a thing that is not kept yet; the oldest may go.
    pub fn keep(&self, thing: &Arc<T>) {
        let mut inner = self.inner.lock();
        inner.last += 1;
        let age = inner.last;
        thing.age().0.store(age, Ordering::Relaxed);
        inner.by_age.insert(age, thing.clone());
        let oldest = if inner.by_age.len() > self.limit { inner.by_age.pop_first() } else { None };
        drop(inner);
        drop(oldest);
    }

    /// Lets a thing go, if it is kept.
    pub fn let_go(&self, thing: &T) {
        let gone = self.inner.lock().by_age.remove(&thing.age().0.load(Ordering::Relaxed));
        drop(gone);
    }

    /// Lets all go, for which it takes no memory.
    pub fn clear(&self) {
        let all = mem::take(&mut self.inner.lock().by_age);
        drop(all);
    }

    /// Lets all go of which `is_gone` says so.
    pub fn let_go_all(&self, is_gone: impl Fn(&Arc<T>) -> bool) {
        let gone: Vec<_> = self.inner.lock().by_age.extract_if(.., |_, thing| is_gone(thing)).collect();
        drop(gone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Thing(Age);

    impl Aged for Thing {
        fn age(&self) -> &Age {
            &self.0
        }
    }

    #[test]
    fn the_oldest_goes_first_and_who_is_let_go_goes_at_once() {
        let kept = Kept::new(2);
        let things: [Arc<Thing>; 4] = Default::default();
        let alive = || things.each_ref().map(|thing| Arc::strong_count(thing) > 1);
        things[..3].iter().for_each(|thing| kept.keep(thing));
        assert_eq!(alive(), [false, true, true, false]);
        kept.let_go(&things[1]);
        kept.let_go(&things[0]);
        assert_eq!(alive(), [false, false, true, false]);
        kept.keep(&things[3]);
        kept.let_go_all(|thing| Arc::ptr_eq(thing, &things[2]));
        assert_eq!(alive(), [false, false, false, true]);
        kept.clear();
        assert_eq!(alive(), [false; 4]);
    }
}
