//! Connections to upstreams that wait for their next request; each thread has its own.
//!
//! ## Why
//! Pingora's pool is made for threads that share it: for each request it starts a task that watches over the connection,
//! with a timer and three channels of its own. Where nobody shares, taking a connection is taking it off a list, and one
//! look at it tells whether it is still good; once a second somebody looks at those that nobody takes.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::link::Link;

/// Connections that are kept, by who may share them.
#[derive(Debug)]
pub(super) struct Pool {
    most: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// The longest kept first.
    groups: HashMap<u64, VecDeque<Idle>, foldhash::fast::RandomState>,
    count: usize,
}

#[derive(Debug)]
struct Idle {
    link: Link,
    until: Instant,
}

impl Pool {
    /// One for so many.
    pub(super) fn new(most: usize) -> Self {
        Self { most, kept: Mutex::default() }
    }

    /// The connection of `group` that was used last, if one is still good.
    pub(super) fn take(&self, group: u64) -> Option<Link> {
        let mut kept = self.kept.lock();
        let mut idle = kept.pop(group, VecDeque::pop_back)?;
        let now = Instant::now();
        loop {
            if now < idle.until && idle.link.is_quiet() {
                return Some(idle.link);
            }
            idle = kept.pop(group, VecDeque::pop_back)?;
        }
    }

    /// Keeps a connection of `group` for so long.
    pub(super) fn put(&self, group: u64, link: Link, idle: Duration) {
        if self.most == 0 {
            return;
        }
        let mut kept = self.kept.lock();
        if kept.count >= self.most {
            kept.drop_oldest();
        }
        kept.groups.entry(group).or_default().push_back(Idle { link, until: Instant::now() + idle });
        kept.count += 1;
    }

    /// Drops those whose time is over, and those that their upstreams have closed.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        let mut kept = self.kept.lock();
        kept.groups.retain(|_, group| {
            group.retain_mut(|idle| now < idle.until && idle.link.is_quiet());
            !group.is_empty()
        });
        kept.count = kept.groups.values().map(VecDeque::len).sum();
    }
}

impl Kept {
    fn pop(&mut self, group: u64, end: fn(&mut VecDeque<Idle>) -> Option<Idle>) -> Option<Idle> {
        let idle = end(self.groups.get_mut(&group)?)?;
        self.count -= 1;
        Some(idle)
    }

    fn drop_oldest(&mut self) {
        let first = |(group, idle): (&u64, &VecDeque<Idle>)| Some((idle.front()?.until, *group));
        if let Some((_, group)) = self.groups.iter().filter_map(first).min() {
            self.pop(group, VecDeque::pop_front);
        }
    }
}

#[cfg(test)]
mod tests {
    use pingora::protocols::l4::stream::Stream;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    /// A connection, and its other end.
    async fn link() -> (Link, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (Link::new(Box::new(Stream::from(near))), listener.accept().await.unwrap().0)
    }

    /// How many connections are kept, and of how many groups.
    fn size(pool: &Pool) -> (usize, usize) {
        let kept = pool.kept.lock();
        (kept.count, kept.groups.len())
    }

    /// Until what the other end did has arrived.
    async fn settle() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    #[tokio::test]
    async fn only_what_is_good_and_of_the_same_group_is_taken() {
        let pool = Pool::new(10);
        let mut far = Vec::new();
        for group in [1, 1, 1, 2] {
            let (link, end) = link().await;
            pool.put(group, link, LONG);
            far.push(end);
        }
        far[2].write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
        drop(far.remove(1));
        settle().await;
        assert!(pool.take(3).is_none());
        assert!(pool.take(1).is_some());
        // One has said something, one is closed.
        assert!(pool.take(1).is_none());
        assert!(pool.take(2).is_some() && pool.take(2).is_none());
        assert_eq!(size(&pool).0, 0);
    }

    #[tokio::test]
    async fn no_more_are_kept_than_there_is_room_for_nor_for_longer_than_they_may() {
        let pool = Pool::new(2);
        let mut far = Vec::new();
        for (group, idle) in [(1, LONG), (2, LONG * 2), (3, LONG * 3)] {
            let (link, end) = link().await;
            pool.put(group, link, idle);
            far.push(end);
        }
        assert!(pool.take(1).is_none());
        assert_eq!(size(&pool).0, 2);
        let (link, end) = link().await;
        far.push(end);
        pool.take(2).unwrap();
        pool.put(4, link, Duration::ZERO);
        pool.sweep();
        let (link, end) = self::link().await;
        far.push(end);
        pool.put(5, link, Duration::ZERO);
        assert!(pool.take(5).is_none());
        pool.sweep();
        assert_eq!(size(&pool), (1, 1));
        drop(far);
        settle().await;
        pool.sweep();
        assert_eq!(size(&pool), (0, 0));
    }

    #[tokio::test]
    async fn none_is_kept_where_none_is_wanted() {
        let (pool, (link, _end)) = (Pool::new(0), link().await);
        pool.put(1, link, LONG);
        assert!(pool.take(1).is_none());
    }
}
