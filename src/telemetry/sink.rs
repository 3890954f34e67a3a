use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Lines that a sink refused; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Failures(Arc<AtomicUsize>);

impl Failures {
    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts the lines that `sink` does not take, such as those for a full disk, and goes on with the next.
    pub(super) fn of<W>(&self, sink: W) -> Sink<W> {
        Sink { sink, failures: self.clone() }
    }
}

/// See [`Failures::of`].
#[derive(Debug)]
pub(super) struct Sink<W> {
    sink: W,
    failures: Failures,
}

impl<W: Write> Write for Sink<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.sink.write_all(line).is_err() {
            self.failures.0.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_lines_are_counted() {
        let failures = Failures::default();
        let mut sink = failures.of(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
        sink.write_all(b"one\n").and_then(|()| sink.write_all(b"two\n")).unwrap();
        assert_eq!(failures.count(), 2);
    }
}
