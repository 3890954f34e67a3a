//! Connections to upstreams that wait for their next request; each thread has its own.
//!
//! ## Why
//! Pingora's pool is made for threads that share it: for each request it starts a task that watches over the connection,
//! with a timer and three channels of its own. Where nobody shares, taking a connection is taking it off a list, and one
//! look at it tells whether it is still good; once a second somebody looks at those that nobody takes.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pingora::protocols::Stream;
use tokio::io::{AsyncRead as _, ReadBuf};

/// Connections that are kept, by who may share them.
#[derive(Debug)]
pub(super) struct Pool {
    most: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// The longest kept first; none is empty.
    groups: HashMap<u64, VecDeque<Idle>, foldhash::fast::RandomState>,
    count: usize,
}

#[derive(Debug)]
struct Idle {
    stream: Stream,
    until: Instant,
}

impl Pool {
    /// One for so many.
    pub(super) fn new(most: usize) -> Self {
        Self { most, kept: Mutex::default() }
    }

    /// The connection of `group` that was used last, if one is still good.
    pub(super) fn take(&self, group: u64) -> Option<Stream> {
        let mut kept = self.kept.lock();
        loop {
            let mut idle = kept.pop(group, VecDeque::pop_back)?;
            if is_quiet(&mut idle.stream) {
                return Some(idle.stream);
            }
        }
    }

    /// Keeps a connection of `group` for so long.
    pub(super) fn put(&self, group: u64, stream: Stream, idle: Duration) {
        if self.most == 0 {
            return;
        }
        let mut kept = self.kept.lock();
        if kept.count >= self.most {
            kept.drop_oldest();
        }
        kept.groups.entry(group).or_default().push_back(Idle { stream, until: Instant::now() + idle });
        kept.count += 1;
    }

    /// Drops those whose time is over, and those that their upstreams have closed.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        let mut kept = self.kept.lock();
        kept.groups.retain(|_, group| {
            group.retain_mut(|idle| now < idle.until && is_quiet(&mut idle.stream));
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

/// Whether nothing has come: who says something without being asked, be it that this is the end, is asked nothing.
fn is_quiet(stream: &mut Stream) -> bool {
    let mut byte = [0; 1];
    let mut read = ReadBuf::new(&mut byte);
    Pin::new(stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut read).is_pending()
}
