//! The content of a chunked body (RFC 9112 7.1).

use bytes::{Buf as _, BytesMut};

/// The longest line that says how large a chunk is, and all trailers together, in bytes.
const LONGEST_LINE: usize = 4 * 1024;
const MOST_TRAILERS: usize = 64 * 1024;
/// Sizes of more digits do not fit.
const MOST_DIGITS: usize = 15;

/// A chunk that is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed chunks")]
pub(super) struct BadChunk;

/// How far a chunked body is read.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    at: At,
    trailers: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Size,
    /// So many bytes of content follow.
    Content(u64),
    /// The end of a chunk's line.
    Break,
    Trailers,
}

/// What has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Too little to tell.
    More,
    Content(BytesMut),
    /// The end of the body, trailers left out.
    End,
}

impl Chunks {
    /// Takes the next part off `read`.
    pub(super) fn next(&mut self, read: &mut BytesMut) -> Result<Step, BadChunk> {
        loop {
            match self.at {
                At::Size => {
                    let Some(line) = line(read, LONGEST_LINE)? else { return Ok(Step::More) };
                    self.at = match size(&line)? {
                        0 => At::Trailers,
                        size => At::Content(size),
                    };
                }
                At::Content(_) if read.is_empty() => return Ok(Step::More),
                At::Content(left) => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(read.len());
                    let left = left - here as u64;
                    self.at = if left == 0 { At::Break } else { At::Content(left) };
                    return Ok(Step::Content(read.split_to(here)));
                }
                At::Break => {
                    match read.get(..2) {
                        Some(b"\r\n") => read.advance(2),
                        None if b"\r\n".starts_with(&read[..]) => return Ok(Step::More),
                        _ => return Err(BadChunk),
                    }
                    self.at = At::Size;
                }
                At::Trailers => {
                    let Some(line) = line(read, MOST_TRAILERS)? else { return Ok(Step::More) };
                    if line.is_empty() {
                        return Ok(Step::End);
                    }
                    self.trailers += line.len();
                    if self.trailers > MOST_TRAILERS {
                        return Err(BadChunk);
                    }
                }
            }
        }
    }
}

/// Takes a line off, if there is a whole one.
fn line(read: &mut BytesMut, longest: usize) -> Result<Option<BytesMut>, BadChunk> {
    let Some(end) = memchr::memchr(b'\n', read) else {
        return if read.len() > longest { Err(BadChunk) } else { Ok(None) };
    };
    if end > longest {
        return Err(BadChunk);
    }
    let mut line = read.split_to(end + 1);
    if !line.ends_with(b"\r\n") {
        return Err(BadChunk);
    }
    line.truncate(end - 1);
    Ok(Some(line))
}

/// The size that a line says; extensions are nobody's business.
fn size(line: &[u8]) -> Result<u64, BadChunk> {
    let digits = line.split(|b| *b == b';').next().unwrap_or_default().trim_ascii_end();
    if digits.is_empty() || digits.len() > MOST_DIGITS || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(BadChunk);
    }
    let digits = std::str::from_utf8(digits).map_err(|_| BadChunk)?;
    u64::from_str_radix(digits, 16).map_err(|_| BadChunk)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The content of what comes in these pieces, whether that is all of it, and what follows.
    fn read(pieces: &[&[u8]]) -> Result<(Vec<u8>, bool, Vec<u8>), BadChunk> {
        let (mut chunks, mut buffer, mut content) = (Chunks::default(), BytesMut::new(), Vec::new());
        for piece in pieces {
            buffer.extend_from_slice(piece);
            loop {
                match chunks.next(&mut buffer)? {
                    Step::More => break,
                    Step::Content(more) => content.extend_from_slice(&more),
                    Step::End => return Ok((content, true, buffer.to_vec())),
                }
            }
        }
        Ok((content, false, buffer.to_vec()))
    }

    #[test]
    fn content_without_its_frame() {
        let body = b"5\r\nhello\r\n1;a=\"b\"\r\n!\r\n0\r\nX-Sum: 1\r\n\r\nHTTP/1.1";
        assert_eq!(read(&[body]), Ok((b"hello!".to_vec(), true, b"HTTP/1.1".to_vec())));
        assert_eq!(read(&[b"A\r\n01234"]), Ok((b"01234".to_vec(), false, Vec::new())));
        assert_eq!(read(&[b"0\r\n\r"]), Ok((Vec::new(), false, b"\r".to_vec())));
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for bad in [
            &b"\r\n"[..],
            b"g\r\n",
            b"-1\r\n",
            b"+1\r\na\r\n",
            b"0x1\r\na\r\n",
            b" 1\r\na\r\n",
            b"1\na\r\n",
            b"1\r\nab\r\n",
            b"1\r\na\n",
            b"1000000000000000\r\n",
            b"0\r\n\n",
        ] {
            assert_eq!(read(&[bad]), Err(BadChunk), "{}", bad.escape_ascii());
        }
        assert_eq!(read(&[&vec![b'1'; LONGEST_LINE + 1]]), Err(BadChunk));
        let trailers = [b"0\r\n".to_vec(), b"a: b\r\n".repeat(MOST_TRAILERS / 4 + 1)].concat();
        assert_eq!(read(&[&trailers]), Err(BadChunk));
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6), cut in 1..17_usize,
        ) {
            let framed = |chunk: &Vec<u8>| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat();
            let mut body: Vec<u8> = chunks.iter().flat_map(framed).collect();
            body.extend_from_slice(b"0\r\n\r\n");
            let pieces: Vec<&[u8]> = body.chunks(cut).collect();
            prop_assert_eq!(read(&pieces), Ok((chunks.concat(), true, Vec::new())));
        }

        #[test]
        fn nothing_panics(body in prop::collection::vec(prop::sample::select(b"0a1;\r\n x".to_vec()), 0..60), cut in 1..9_usize) {
            let pieces: Vec<&[u8]> = body.chunks(cut).collect();
            let _ = read(&pieces);
        }
    }
}
