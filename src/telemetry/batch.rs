//! Lines that another thread writes, many at once.
//!
//! ## Why
//! A line handed over by itself wakes the thread that writes it, and is written by a system call of its own: that costs
//! more than to make it. So lines are put behind one another, and who writes them takes all there are, a few milliseconds
//! after the first.

use std::io::{ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel as channel;
use parking_lot::{Condvar, Mutex};

/// How many bytes may wait; beyond, lines are lost rather than those who put them delayed.
const MOST: usize = 8 * 1024 * 1024;
/// What is kept of that when it is not needed.
const KEPT: usize = 256 * 1024;
/// How long lines are gathered.
const GATHER: Duration = Duration::from_millis(5);
/// How long the end waits for what is still to be written.
const LAST: Duration = Duration::from_secs(1);

/// Where lines are put; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines(Arc<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    queue: Mutex<Queue>,
    changed: Condvar,
    lost: AtomicUsize,
}

#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    is_over: bool,
}

/// Dropped, it has written what was put before.
#[derive(Debug)]
pub struct Flush {
    lines: Lines,
    written: channel::Receiver<()>,
}

impl Lines {
    /// Has a thread of this name write to `sink`.
    pub(super) fn to(name: &str, sink: impl Write + Send + 'static) -> (Self, Flush) {
        let lines = Self::default();
        let (tell, written) = channel::bounded(1);
        let writer = lines.clone();
        let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            writer.write(sink);
            // Whoever wanted to know has waited long enough otherwise.
            let _ = tell.send(());
        });
        if let Err(error) = spawned {
            tracing::error!(%error, "no thread to write {name}");
            lines.0.queue.lock().is_over = true;
        }
        (lines.clone(), Flush { lines, written })
    }

    /// Puts a line behind the others, with the line feed that ends it; never waits for them to be written.
    pub(super) fn put(&self, line: &[u8]) {
        let mut queue = self.0.queue.lock();
        if queue.is_over || queue.bytes.len() + line.len() > MOST {
            self.0.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let is_first = queue.bytes.is_empty();
        queue.bytes.extend_from_slice(line);
        drop(queue);
        if is_first {
            self.0.changed.notify_one();
        }
    }

    /// Lines for which there was no room, or that could not be written.
    pub(super) fn lost(&self) -> usize {
        self.0.lost.load(Ordering::Relaxed)
    }

    fn write(&self, mut sink: impl Write) {
        let mut taken = Vec::new();
        loop {
            let mut queue = self.0.queue.lock();
            while queue.bytes.is_empty() && !queue.is_over {
                self.0.changed.wait(&mut queue);
            }
            if !queue.is_over {
                // Ends early when all is over.
                self.0.changed.wait_for(&mut queue, GATHER);
            }
            std::mem::swap(&mut queue.bytes, &mut taken);
            let is_over = queue.is_over;
            drop(queue);
            let lost = write_lines(&mut sink, &taken);
            self.0.lost.fetch_add(lost, Ordering::Relaxed);
            taken.clear();
            taken.shrink_to(KEPT);
            if is_over {
                return;
            }
        }
    }
}

impl Drop for Flush {
    fn drop(&mut self) {
        self.lines.0.queue.lock().is_over = true;
        self.lines.0.changed.notify_all();
        // A sink that blocks must not hold the exit up.
        let _ = self.written.recv_timeout(LAST);
    }
}

/// Writes `lines` as far as `sink` takes them, and says how many it did not take, such as those for a full disk.
fn write_lines(sink: &mut impl Write, lines: &[u8]) -> usize {
    let (mut rest, mut lost) = (lines, 0);
    while !rest.is_empty() {
        match sink.write(rest) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => {
                let line = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
                rest = &rest[line..];
                lost += 1;
            }
            Ok(written) => rest = &rest[written..],
        }
    }
    // What is lost here was counted as written, and there is nothing to be told of it.
    let _ = sink.flush();
    lost
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::mpsc;

    use super::*;

    #[derive(Clone, Debug, Default)]
    struct Shared(Arc<Mutex<(Vec<u8>, usize)>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut seen = self.0.lock();
            seen.0.extend_from_slice(bytes);
            seen.1 += 1;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A disk with room for so many bytes.
    #[derive(Debug)]
    struct Disk(usize, Vec<u8>);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let room = self.0.min(bytes.len());
            if room == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            self.0 -= room;
            self.1.extend_from_slice(&bytes[..room]);
            Ok(room)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_line_is_written_in_order_and_many_at_once() {
        let sink = Shared::default();
        let (lines, flush) = Lines::to("lines", sink.clone());
        let expected: Vec<u8> = (0..10_000).flat_map(|n| format!("{n}\n").into_bytes()).collect();
        (0..10_000).for_each(|n| lines.put(format!("{n}\n").as_bytes()));
        drop(flush);
        let (seen, writes) = std::mem::take(&mut *sink.0.lock());
        assert_eq!(seen, expected);
        assert!(writes < 1_000, "{writes}");
        lines.put(b"too late\n");
        assert_eq!(lines.lost(), 1);
    }

    #[test]
    fn lines_without_room_are_lost_and_counted() {
        /// Blocks until its channel is dropped.
        struct Stuck(mpsc::Receiver<()>);
        impl Write for Stuck {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let _ = self.0.recv();
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (release, stuck) = mpsc::channel();
        let (lines, flush) = Lines::to("lines", Stuck(stuck));
        let line = [vec![b'a'; 64 * 1024], vec![b'\n']].concat();
        // One lot is being written at most, another waits.
        (0..3 * MOST / line.len()).for_each(|_| lines.put(&line));
        assert!(lines.lost() >= MOST / line.len() - 2, "{}", lines.lost());
        drop(release);
        drop(flush);
    }

    #[test]
    fn refused_lines_are_counted_and_those_after_them_tried() {
        let mut disk = Disk(6, Vec::new());
        assert_eq!(write_lines(&mut disk, b"one\ntwo\nthree\n"), 2);
        assert_eq!(disk.1, b"one\ntw");
        let mut full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        assert_eq!(write_lines(&mut full, b"one\ntwo\n"), 2);
    }
}
