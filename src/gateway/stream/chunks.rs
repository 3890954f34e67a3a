//! The framing of a chunked request body, read strictly beside Pingora, which is lenient about it.
//!
//! ## Why
//! Two servers that find a chunk's end in different places find different next requests (CVE-2025-22871 and its kin:
//! bare LF, extensions, oversized sizes). And each chunk costs Pingora as much work as a large one. So it is given chunks
//! that we have made: of what came at once, in one piece, and without trailers, which nobody is asked about.

use std::io::Write as _;

use bytes::{BufMut as _, BytesMut};

use super::super::headers;

/// More hexadecimal digits do not fit every parser's integer.
const MAX_SIZE_DIGITS: u8 = 16;
/// No body may be larger, whatever the settings.
const MAX_SIZE: u64 = 1 << 40;
/// A chunk's size as we write it, with its line end: more than is ever read at once.
const SIZE_LINE: usize = 8;
/// The longest trailer section, in bytes.
const MAX_TRAILERS: usize = 8 * 1024;

/// A chunked body that parsers would read differently.
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
    /// After what is malformed.
    Refused,
}

/// Reads a chunked body (RFC 9112 7.1) as its bytes come in. Extensions are refused: nobody needs them, and parsers
/// differ over where they end.
#[derive(Debug)]
pub struct Scanner {
    state: State,
    digits: u8,
    /// Of the chunk that is being read; what is left of it while its data is read.
    size: u64,
    /// The trailer line that is being read.
    line: Vec<u8>,
    trailers: usize,
}

impl Default for Scanner {
    fn default() -> Self {
        Self { state: State::Size, digits: 0, size: 0, line: Vec::new(), trailers: 0 }
    }
}

impl Scanner {
    /// Takes what has come of the body, and appends its content to `into`, as one chunk, and an end when it ends. Returns
    /// what follows the body.
    ///
    /// # Errors
    /// The framing is not exactly that of RFC 9112. Nothing is appended then, and nothing more is taken.
    pub fn advance<'b>(&mut self, bytes: &'b [u8], into: &mut BytesMut) -> Result<&'b [u8], BadChunk> {
        let begin = into.len();
        // Room for the size of what cannot be more than all of it.
        into.put_bytes(b'0', SIZE_LINE);
        let rest = self.content(bytes, into).inspect_err(|_| self.state = State::Refused);
        if rest.is_err() {
            into.truncate(begin);
        }
        let rest = rest?;
        let content = into.len() - begin - SIZE_LINE;
        if content == 0 {
            into.truncate(begin);
        } else {
            // It has exactly as much room as it takes.
            let written = write!(&mut into[begin..begin + SIZE_LINE], "{content:0width$x}\r\n", width = SIZE_LINE - 2);
            written.map_err(|_| BadChunk)?;
            into.extend_from_slice(b"\r\n");
        }
        if self.is_done() {
            into.extend_from_slice(b"0\r\n\r\n");
        }
        Ok(rest)
    }

    fn content<'b>(&mut self, mut bytes: &'b [u8], into: &mut BytesMut) -> Result<&'b [u8], BadChunk> {
        while let [byte, rest @ ..] = bytes {
            match self.state {
                State::Done => break,
                State::Data => {
                    let here = bytes.len().min(usize::try_from(self.size).unwrap_or(usize::MAX));
                    into.extend_from_slice(&bytes[..here]);
                    self.size -= here as u64;
                    if self.size == 0 {
                        self.state = State::DataEnd;
                    }
                    bytes = &bytes[here..];
                    continue;
                }
                State::Size => self.size_byte(*byte)?,
                State::SizeEnd if *byte == b'\n' => {
                    self.state = if self.size == 0 { State::Trailer } else { State::Data };
                }
                State::DataEnd if *byte == b'\r' => self.state = State::DataLf,
                State::DataLf if *byte == b'\n' => (self.state, self.digits, self.size) = (State::Size, 0, 0),
                State::Trailer => self.trailer_byte(*byte)?,
                State::SizeEnd | State::DataEnd | State::DataLf | State::Refused => return Err(BadChunk),
            }
            bytes = rest;
        }
        Ok(bytes)
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
        if self.size > MAX_SIZE {
            return Err(BadChunk);
        }
        Ok(())
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
        headers::field(line).map_err(|_| BadChunk)?;
        self.line.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What Pingora is given, and what follows the body.
    fn scan(body: &[u8]) -> Result<(String, usize), BadChunk> {
        let (mut scanner, mut into) = (Scanner::default(), BytesMut::new());
        let rest = scanner.advance(body, &mut into)?.len();
        Ok((String::from_utf8_lossy(&into).into_owned(), rest))
    }

    #[test]
    fn plain_bodies_pass_in_one_piece() {
        for (body, given, rest) in [
            (&b"0\r\n\r\n"[..], "0\r\n\r\n", 0),
            (b"5\r\nhello\r\n0\r\n\r\n", "000005\r\nhello\r\n0\r\n\r\n", 0),
            (b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\nGET / \n junk", "000003\r\nabc\r\n0\r\n\r\n", 12),
            (b"0000000000000002\r\n\r\n\r\n0\r\nX-Sum: 1\r\nY:\r\n\r\n", "000002\r\n\r\n\r\n0\r\n\r\n", 0),
            (b"5\r\nhel", "000003\r\nhel\r\n", 0),
            (b"5\r", "", 0),
            (b"0\r\n\r", "", 0),
            (b"ffffffffff\r\nx", "000001\r\nx\r\n", 0),
        ] {
            assert_eq!(scan(body), Ok((given.to_owned(), rest)), "{}", body.escape_ascii());
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
            b"10000000001\r\n",
            b"8000000000000000\r\n",
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
    fn nothing_comes_of_what_is_malformed() {
        for (body, more) in [(&b"5\r\nhelloX"[..], &b"\r\n0\r\n\r\n"[..]), (b"2\r\n\r\n\r\n;", b"0\r\n\r\n")] {
            let (mut scanner, mut into) = (Scanner::default(), BytesMut::from("kept"));
            assert_eq!(scanner.advance(body, &mut into), Err(BadChunk));
            assert_eq!(scanner.advance(more, &mut into), Err(BadChunk));
            assert!(into == "kept" && !scanner.is_done(), "{}", into.escape_ascii());
        }
    }

    /// The content of chunks, however they are cut.
    fn content(body: &[u8], pieces: usize) -> Result<(Vec<u8>, bool), BadChunk> {
        let (mut scanner, mut into, mut content) = (Scanner::default(), BytesMut::new(), Vec::new());
        for piece in body.chunks(pieces) {
            scanner.content(piece, &mut into)?;
            content.extend_from_slice(&into.split());
        }
        Ok((content, scanner.is_done()))
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(body in "([0-9a-f]{1,2}\r\n[a-z]{0,6}\r?\n?){0,4}(0\r\n)?(A: b\r\n)?(\r\n)?.{0,3}", pieces in 1_usize..9) {
            let bytes = body.as_bytes();
            prop_assert_eq!(content(bytes, pieces), content(bytes, usize::MAX));
        }

        #[test]
        fn nothing_is_lost(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..20), pieces in 1_usize..99) {
            let mut body = Vec::new();
            for chunk in &chunks {
                body.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
                body.extend_from_slice(chunk);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(b"0\r\n\r\n");
            prop_assert_eq!(content(&body, pieces), Ok((chunks.concat(), true)));
            // What is given is a chunked body again, of the same content.
            let (mut scanner, mut into) = (Scanner::default(), BytesMut::new());
            for piece in body.chunks(pieces) {
                prop_assert_eq!(scanner.advance(piece, &mut into), Ok(&[][..]));
            }
            prop_assert_eq!(content(&into, usize::MAX), Ok((chunks.concat(), true)));
        }
    }
}
