use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

/// The last values that were put, by their keys; cheap to clone.
///
/// ## Why
/// It is written to by every request and read by people now and then. So a write takes the next place, which nobody else
/// is at, and moves the value in; to find one, all places are looked at.
#[derive(Debug)]
pub struct Recent<K, T>(Arc<Inner<K, T>>);

#[derive(Debug)]
struct Inner<K, T> {
    places: Box<[Place<K, T>]>,
    puts: AtomicUsize,
}

/// A key and its value, once there is one: a place that was never written to takes no memory.
type Place<K, T> = Mutex<Option<Box<(K, T)>>>;

impl<K, T> Clone for Recent<K, T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: PartialEq, T: Clone> Recent<K, T> {
    /// Keeps `most` values; none if that is zero.
    pub fn new(most: usize) -> Self {
        let places = std::iter::repeat_with(|| Mutex::new(None)).take(most).collect();
        Self(Arc::new(Inner { places, puts: AtomicUsize::new(0) }))
    }

    /// How many values it keeps.
    pub fn capacity(&self) -> usize {
        self.0.places.len()
    }

    /// Whether it keeps any.
    pub fn is_on(&self) -> bool {
        self.capacity() > 0
    }

    /// Keeps `value` in place of the oldest.
    pub fn put(&self, key: K, value: T) {
        let at = self.0.puts.fetch_add(1, Ordering::Relaxed);
        let Some(place) = at.checked_rem(self.capacity()).and_then(|at| self.0.places.get(at)) else { return };
        let mut place = place.lock();
        if let Some(kept) = place.as_deref_mut() {
            let oldest = std::mem::replace(kept, (key, value));
            // What it holds is given up after the lock.
            drop(place);
            drop(oldest);
        } else {
            *place = Some(Box::new((key, value)));
        }
    }

    /// The latest value of this key, if it is still kept.
    pub fn find(&self, key: &K) -> Option<T> {
        let (newer, older) = match self.0.puts.load(Ordering::Relaxed).checked_rem(self.capacity()) {
            Some(next) => self.0.places.split_at_checked(next)?,
            None => return None,
        };
        let latest_first = newer.iter().rev().chain(older.iter().rev());
        latest_first.map(|place| place.lock()).find_map(|place| {
            let (found, value) = place.as_deref()?;
            (found == key).then(|| value.clone())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_kept() {
        let recent = Recent::new(3);
        for key in 0..3 {
            recent.put(key, key * 10);
        }
        assert_eq!([0, 1, 2, 3].map(|key| recent.find(&key)), [Some(0), Some(10), Some(20), None]);
        recent.put(3, 30);
        recent.put(1, 11);
        assert_eq!([0, 1, 2, 3].map(|key| recent.find(&key)), [None, Some(11), Some(20), Some(30)]);
    }

    #[test]
    fn none_are_kept_where_none_are_wanted() {
        let recent = Recent::new(0);
        recent.put("a", 1);
        assert_eq!((recent.find(&"a"), recent.is_on()), (None, false));
    }

    #[test]
    fn writers_do_not_lose_each_others_values() {
        let recent = Recent::new(4_000);
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let recent = recent.clone();
                scope.spawn(move || (0..1_000).for_each(|n| recent.put((writer, n), n)));
            }
        });
        for key in (0..4).flat_map(|writer| (0..1_000).map(move |n| (writer, n))) {
            assert_eq!(recent.find(&key), Some(key.1));
        }
    }
}
