//! What a client's HTTP/2 frames cost, counted before the library works on them.
//!
//! ## Why
//! A frame of nine bytes can cost as much as a request (CVE-2023-44487, CVE-2019-9512 to 9518). The `h2` library bounds
//! the memory of floods and some of their work; here each connection has an allowance of frames that carry nothing.
//! Streams that are cancelled have a smaller one: each may have reached a back end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::sleep_until;

/// `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n`
const PREFACE: usize = 24;
const HEAD: usize = 9;
/// Used up allowances are whole again after this time.
const REFILL: Duration = Duration::from_secs(10);
/// A frame with so many bytes of payload is worth its work.
const LARGE: usize = 16;
/// So many bytes sent allow the client a frame to say that it has them.
const BYTES_PER_FRAME: u64 = 1_024;
/// So many bytes sent are an answer that was waited for, and excuse one that was not.
const BYTES_PER_RESET: u64 = 256;
/// Small frames with data are ordinary for interactive streams, so that they weigh less than empty ones.
const DATA_WEIGHT: f64 = 1.0 / 4.0;

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const CONTINUATION: u8 = 0x9;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// How many frames a client may send that carry nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowances {
    /// Cancelled streams within ten seconds.
    pub resets: u32,
    /// Other frames without content within ten seconds.
    pub empty: u32,
}

/// An allowance that fills up again with time.
#[derive(Debug)]
struct Bucket {
    left: f64,
    most: f64,
}

impl Bucket {
    fn new(most: u32) -> Self {
        Self { left: most.into(), most: most.into() }
    }

    fn refill(&mut self, elapsed: Duration) {
        self.left = (self.left + self.most * elapsed.as_secs_f64() / REFILL.as_secs_f64()).min(self.most);
    }

    fn earn(&mut self, count: u64) {
        self.left += f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    }

    fn take(&mut self, amount: f64) -> bool {
        self.left -= amount;
        self.left >= 0.0
    }
}

/// Reads the heads of frames as bytes come in.
#[derive(Debug)]
pub struct Meter {
    /// Bytes that are not looked at: the preface, or a frame's payload.
    skip: usize,
    head: [u8; HEAD],
    filled: usize,
    /// Whether the payload that is skipped ends a block of header fields.
    ends_block: bool,
    resets: Bucket,
    empty: Bucket,
    last: Instant,
    /// Of which the client may have told that it has them.
    told: u64,
    /// Which have excused cancelled streams.
    excused: u64,
    watch: Arc<Watch>,
}

/// What the meter tells whoever drives the connection.
#[derive(Debug, Default)]
pub struct Watch {
    state: Mutex<State>,
    changed: Notify,
    sent: AtomicU64,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    is_flood: bool,
    /// Since when a block of header fields has been arriving.
    block_since: Option<Instant>,
}

impl Watch {
    /// Counts what was sent to the client.
    pub fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Whether the client has sent too many frames.
    pub fn is_flood(&self) -> bool {
        self.state.lock().is_flood
    }

    /// Waits until the client has sent too many frames, or takes longer than `patience` for one block of header fields.
    pub async fn offence(&self, patience: Duration) -> Offence {
        loop {
            let changed = self.changed.notified();
            let state = *self.state.lock();
            if state.is_flood {
                return Offence::Flood;
            }
            let Some(since) = state.block_since else {
                changed.await;
                continue;
            };
            let deadline = since + patience;
            tokio::select! {
                () = changed => {}
                () = sleep_until(deadline.into()) => {
                    if self.state.lock().block_since == Some(since) {
                        return Offence::SlowHeaders;
                    }
                }
            }
        }
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
        self.changed.notify_one();
    }
}

/// What a client is disconnected for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offence {
    /// Too many frames that carry nothing.
    Flood,
    /// Header fields that take too long.
    SlowHeaders,
}

impl Meter {
    /// For one connection from its first byte.
    pub fn new(allowances: Allowances, watch: Arc<Watch>) -> Self {
        Self {
            skip: PREFACE,
            head: [0; HEAD],
            filled: 0,
            ends_block: false,
            resets: Bucket::new(allowances.resets),
            empty: Bucket::new(allowances.empty),
            last: Instant::now(),
            told: 0,
            excused: 0,
            watch,
        }
    }

    /// Looks at what has come; false once it is too much.
    pub fn advance(&mut self, mut bytes: &[u8], now: Instant) -> bool {
        self.refill(now);
        while !bytes.is_empty() {
            if self.skip > 0 {
                let here = self.skip.min(bytes.len());
                self.skip -= here;
                bytes = &bytes[here..];
                if self.skip == 0 {
                    self.payload_ended();
                }
                continue;
            }
            let here = (HEAD - self.filled).min(bytes.len());
            self.head[self.filled..self.filled + here].copy_from_slice(&bytes[..here]);
            self.filled += here;
            bytes = &bytes[here..];
            if self.filled == HEAD {
                self.filled = 0;
                if !self.frame(now) {
                    self.watch.set(|state| state.is_flood = true);
                    return false;
                }
            }
        }
        true
    }

    fn refill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.last);
        self.last = now;
        self.resets.refill(elapsed);
        self.empty.refill(elapsed);
        let sent = self.watch.sent.load(Ordering::Relaxed);
        let earned = (sent - self.told) / BYTES_PER_FRAME;
        self.told += earned * BYTES_PER_FRAME;
        // More than the allowance may be earned: acknowledgements of a long download come in a crowd.
        self.empty.earn(earned);
        let excuses = (sent - self.excused) / BYTES_PER_RESET;
        self.excused += excuses * BYTES_PER_RESET;
        self.resets.earn(excuses);
        self.resets.left = self.resets.left.min(self.resets.most);
    }

    /// Counts the frame whose head is complete; false if it is one too many.
    fn frame(&mut self, now: Instant) -> bool {
        let [a, b, c, kind, flags, ..] = self.head;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        self.skip = length;
        if matches!(kind, HEADERS | CONTINUATION) {
            self.ends_block = flags & END_HEADERS != 0;
            if kind == HEADERS && !(self.ends_block && length == 0) {
                self.watch.set(|state| state.block_since = Some(now));
            }
        }
        let allowed = match kind {
            RST_STREAM => self.resets.take(1.0),
            DATA if length == 0 && flags & END_STREAM != 0 => true,
            HEADERS if length > 0 => true,
            DATA if length > 0 => length >= LARGE || self.empty.take(DATA_WEIGHT),
            CONTINUATION if length >= LARGE => true,
            _ => self.empty.take(1.0),
        };
        if length == 0 {
            self.payload_ended();
        }
        allowed
    }

    fn payload_ended(&mut self) {
        if std::mem::take(&mut self.ends_block) {
            self.watch.set(|state| state.block_since = None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let mut bytes = u32::try_from(payload).unwrap().to_be_bytes()[1..].to_vec();
        bytes.extend_from_slice(&[kind, flags, 0, 0, 0, 1]);
        bytes.resize(HEAD + payload, 0);
        bytes
    }

    fn meter() -> (Meter, Arc<Watch>) {
        let watch = Arc::<Watch>::default();
        let mut meter = Meter::new(Allowances { resets: 10, empty: 50 }, Arc::clone(&watch));
        assert!(meter.advance(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Instant::now()));
        (meter, watch)
    }

    /// How many of these frames pass, in pieces of one byte.
    fn passing(kind: u8, flags: u8, payload: usize) -> usize {
        let (mut meter, watch) = meter();
        let now = Instant::now();
        let bytes = frame(kind, flags, payload);
        let passed = (0..10_000).take_while(|_| bytes.iter().all(|byte| meter.advance(&[*byte], now))).count();
        assert_eq!(watch.is_flood(), passed < 10_000);
        passed
    }

    #[test]
    fn frames_without_content_are_bounded() {
        assert_eq!(passing(RST_STREAM, 0, 4), 10);
        // SETTINGS, PING, WINDOW_UPDATE, PRIORITY, one that nobody knows
        for (kind, payload) in [(0x4, 0), (0x6, 8), (0x8, 4), (0x2, 5), (0x42, 0)] {
            assert_eq!(passing(kind, 0, payload), 50, "{kind}");
        }
        assert_eq!(passing(DATA, 0, 0), 50);
        assert_eq!(passing(CONTINUATION, 0, 1), 50);
        assert_eq!(passing(HEADERS, 0, 0), 50);
        assert_eq!(passing(DATA, 0, 1), 200);
        assert_eq!(passing(DATA, 0, 16), 10_000);
        assert_eq!(passing(DATA, END_STREAM, 0), 10_000);
        assert_eq!(passing(HEADERS, END_HEADERS, 20), 10_000);
    }

    #[test]
    fn allowances_come_back_with_time_and_with_what_is_sent() {
        let (mut meter, watch) = meter();
        let start = Instant::now();
        let ping = frame(0x6, 0, 8);
        assert!(meter.advance(&ping.repeat(50), start));
        assert!(meter.advance(&ping.repeat(25), start + REFILL / 2));
        let update = frame(0x8, 0, 4);
        watch.sent(1_000 * 1_024);
        assert!(meter.advance(&update.repeat(1_000), start + REFILL / 2));
        assert!(!meter.advance(&update.repeat(100), start + REFILL / 2));
    }

    #[test]
    fn answers_excuse_cancelled_streams() {
        let (mut meter, watch) = meter();
        let (now, reset) = (Instant::now(), frame(RST_STREAM, 0, 4));
        for _ in 0..100 {
            watch.sent(2 * 256);
            assert!(meter.advance(&reset.repeat(2), now));
        }
        // They are not saved up.
        watch.sent(1_000_000);
        assert!(meter.advance(&reset.repeat(10), now));
        assert!(!meter.advance(&reset, now));
    }

    #[tokio::test]
    async fn a_block_that_does_not_end_is_told() {
        let (mut meter, watch) = meter();
        let patience = Duration::from_millis(20);
        meter.advance(&frame(HEADERS, END_HEADERS, 30), Instant::now());
        let waited = tokio::time::timeout(patience * 3, watch.offence(patience)).await;
        assert!(waited.is_err());
        meter.advance(&frame(HEADERS, 0, 30), Instant::now());
        assert_eq!(watch.offence(patience).await, Offence::SlowHeaders);
        meter.advance(&frame(CONTINUATION, END_HEADERS, 30), Instant::now());
        assert!(tokio::time::timeout(patience * 3, watch.offence(patience)).await.is_err());
    }
}
