//! The framing of a chunked request body, read strictly beside Pingora, which is lenient about it.
//!
//! ## Why
//! Two servers that find a chunk's end in different places find different next requests (CVE-2025-22871 and its kin:
//! bare LF, extensions, oversized sizes). Pingora sends bodies on in chunks of its own, so that no oddity passes, but
//! what a client with two readings meant is not ours to guess.

use std::time::Instant;

use crate::http::bytes;

use super::super::headers;

/// More hexadecimal digits do not fit every parser's integer.
const MAX_SIZE_DIGITS: u8 = 16;
/// The longest trailer section, in bytes.
const MAX_TRAILERS: usize = 8 * 1024;
/// So many chunks may be small at once, and that many more for each second: each costs as much work as a large one.
const SMALL_CHUNKS: u64 = 1_000;
const SMALL_CHUNKS_PER_SECOND: u64 = 1_000;
/// A chunk of so many bytes is worth its work.
const LARGE: u64 = 64;

/// A chunked body that parsers would read differently, or whose chunks cost more than they carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed chunked body")]
pub struct BadChunk;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Within a chunk's size.
    Size,
    /// After the size and its CR.
    SizeEnd,
    /// So many bytes of data are left.
    Data,
    /// After a chunk's data.
    DataEnd,
    /// After the CR that follows the data.
    DataLf,
    /// Within a line of the trailer section.
    Trailer,
    /// After the last byte.
    Done,
}

/// Reads a chunked body (RFC 9112 7.1) as its bytes come in. Extensions are refused: nobody needs them, and parsers
/// differ over where they end.
#[derive(Debug)]
pub struct Scanner {
    state: State,
    digits: u8,
    /// Of the chunk that is being read; what is left of it while its data is read.
    size: u64,
    small: u64,
    since: Option<Instant>,
    /// The trailer line that is being read.
    line: Vec<u8>,
    trailers: usize,
}

impl Default for Scanner {
    fn default() -> Self {
        Self { state: State::Size, digits: 0, size: 0, small: 0, since: None, line: Vec::new(), trailers: 0 }
    }
}

impl Scanner {
    /// Looks at what has come. What follows the body's end is not looked at.
    ///
    /// # Errors
    /// The framing is not exactly that of RFC 9112, or the chunks are too small for their number.
    pub fn advance(&mut self, mut bytes: &[u8]) -> Result<(), BadChunk> {
        while let [byte, rest @ ..] = bytes {
            match self.state {
                State::Done => return Ok(()),
                State::Data => {
                    let here = bytes.len().min(usize::try_from(self.size).unwrap_or(usize::MAX));
                    self.size -= here as u64;
                    if self.size == 0 {
                        self.state = State::DataEnd;
                    }
                    bytes = &bytes[here..];
                    continue;
                }
                State::Size => self.size_byte(*byte)?,
                State::SizeEnd if *byte == b'\n' => self.begin()?,
                State::DataEnd if *byte == b'\r' => self.state = State::DataLf,
                State::DataLf if *byte == b'\n' => (self.state, self.digits, self.size) = (State::Size, 0, 0),
                State::Trailer => self.trailer_byte(*byte)?,
                State::SizeEnd | State::DataEnd | State::DataLf => return Err(BadChunk),
            }
            bytes = rest;
        }
        Ok(())
    }

    /// Whether the whole body has been seen.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    fn size_byte(&mut self, byte: u8) -> Result<(), BadChunk> {
        if byte == b'\r' && self.digits > 0 {
            self.state = State::SizeEnd;
            return Ok(());
        }
        let digit = char::from(byte).to_digit(16).ok_or(BadChunk)?;
        self.digits += 1;
        if self.digits > MAX_SIZE_DIGITS {
            return Err(BadChunk);
        }
        self.size = self.size << 4 | u64::from(digit);
        Ok(())
    }

    fn begin(&mut self) -> Result<(), BadChunk> {
        self.state = if self.size == 0 { State::Trailer } else { State::Data };
        if self.size >= LARGE {
            return Ok(());
        }
        self.small += 1;
        let since = *self.since.get_or_insert_with(Instant::now);
        let is_within = self.small <= SMALL_CHUNKS
            || self.small <= SMALL_CHUNKS + since.elapsed().as_secs().saturating_mul(SMALL_CHUNKS_PER_SECOND);
        if is_within { Ok(()) } else { Err(BadChunk) }
    }

    fn trailer_byte(&mut self, byte: u8) -> Result<(), BadChunk> {
        self.trailers += 1;
        if self.trailers > MAX_TRAILERS {
            return Err(BadChunk);
        }
        if byte != b'\n' {
            self.line.push(byte);
            return Ok(());
        }
        let line = self.line.strip_suffix(b"\r").ok_or(BadChunk)?;
        if line.is_empty() {
            self.state = State::Done;
            self.line = Vec::new();
            return Ok(());
        }
        let colon = memchr::memchr(b':', line).ok_or(BadChunk)?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if name.is_empty() || !bytes::all(name, bytes::token) || headers::has_controls(value) {
            return Err(BadChunk);
        }
        self.line.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scan(body: &[u8]) -> Result<bool, BadChunk> {
        let mut scanner = Scanner::default();
        scanner.advance(body).map(|()| scanner.is_done())
    }

    #[test]
    fn plain_bodies_pass() {
        for (body, done) in [
            (&b"0\r\n\r\n"[..], true),
            (b"5\r\nhello\r\n0\r\n\r\n", true),
            (b"A\r\n0123456789\r\na\r\n\r\n\r\n\r\n\r\n\r\n\r\n0\r\n\r\nGET / \n junk", true),
            (b"0000000000000005\r\nhello\r\n0\r\nX-Sum: 1\r\nY:\r\n\r\n", true),
            (b"5\r\nhel", false),
            (b"5\r", false),
            (b"0\r\n\r", false),
            (b"ffffffffffffffff\r\nx", false),
        ] {
            assert_eq!(scan(body), Ok(done), "{}", body.escape_ascii());
        }
    }

    #[test]
    fn every_second_reading_is_refused() {
        for body in [
            &b"\r\n"[..],
            b"5\nhello\r\n",
            b"5\r\nhello\n",
            b"5\r\nhelloX",
            b"5\r\nhello\rX",
            b"5;a=b\r\nhello\r\n",
            b"5 \r\nhello\r\n",
            b" 5\r\nhello\r\n",
            b"+5\r\n",
            b"-5\r\n",
            b"0x5\r\n",
            b"5\r\r\n",
            b"5\rhello",
            b"00000000000000005\r\n",
            b"g\r\n",
            b"0\r\n\n",
            b"0\r\nX: 1\n\r\n",
            b"0\r\nX : 1\r\n\r\n",
            b"0\r\n: 1\r\n\r\n",
            b"0\r\n folded\r\n\r\n",
            b"0\r\nX: a\0b\r\n\r\n",
            b"0\r\nnone\r\n\r\n",
        ] {
            assert_eq!(scan(body), Err(BadChunk), "{}", body.escape_ascii());
        }
        let long = format!("0\r\nX: {}\r\n\r\n", "a".repeat(MAX_TRAILERS));
        assert_eq!(scan(long.as_bytes()), Err(BadChunk));
    }

    #[test]
    fn crumbs_are_bounded_and_large_chunks_are_not() {
        assert_eq!(scan("1\r\na\r\n".repeat(500).as_bytes()), Ok(false));
        assert_eq!(scan("1\r\na\r\n".repeat(10_000).as_bytes()), Err(BadChunk));
        let large = format!("40\r\n{}\r\n", "a".repeat(64));
        assert_eq!(scan(large.repeat(10_000).as_bytes()), Ok(false));
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(body in "([0-9a-f]{1,2}\r\n[a-z]{0,6}\r?\n?){0,4}(0\r\n)?(A: b\r\n)?(\r\n)?.{0,3}", cut in any::<prop::sample::Index>()) {
            let bytes = body.as_bytes();
            let (head, tail) = bytes.split_at(cut.index(bytes.len() + 1).min(bytes.len()));
            let mut scanner = Scanner::default();
            let pieces = scanner.advance(head).and_then(|()| scanner.advance(tail)).map(|()| scanner.is_done());
            prop_assert_eq!(scan(bytes), pieces);
        }

        #[test]
        fn what_we_would_send_passes(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..20)) {
            let mut body = Vec::new();
            for chunk in &chunks {
                body.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
                body.extend_from_slice(chunk);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(b"0\r\n\r\n");
            prop_assert_eq!(scan(&body), Ok(true));
        }
    }
}
