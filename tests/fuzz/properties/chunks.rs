use bytes::BytesMut;
use cedargate::gateway::chunks::{BadChunk, Scanner};
use httparse::Status;

/// The most fields that a trailer section of 8 KiB has room for.
const MAX_FIELDS: usize = 2 * 1024;

/// What is made of a body, if it is not refused.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    content: Vec<u8>,
    /// Where it ends, if that has come.
    end: Option<usize>,
}

/// A chunked body has the same content and end however it is cut, and is refused however it is cut. What is made of it is
/// chunked as the strictest parser has it, with the same content; and `httparse`, by which others read chunks, finds the
/// same content and end in what was sent.
pub(super) fn holds(bytes: &[u8]) {
    let whole = in_pieces(bytes, bytes.len().max(1));
    for pieces in [bytes.len().div_ceil(2).max(1), 7] {
        assert_eq!(in_pieces(bytes, pieces), whole, "{pieces}: {}", bytes.escape_ascii());
    }
    if bytes.len() <= 512 {
        assert_eq!(in_pieces(bytes, 1), whole, "{}", bytes.escape_ascii());
    }
    if let Ok(whole) = whole {
        assert_eq!(by_httparse(bytes), whole, "{}", bytes.escape_ascii());
    }
}

/// Reads it in pieces of this length.
fn in_pieces(bytes: &[u8], length: usize) -> Result<Read, BadChunk> {
    let (mut scanner, mut made, mut left) = (Scanner::default(), BytesMut::new(), bytes);
    for piece in bytes.chunks(length) {
        let before = made.len();
        let rest = scanner.advance(piece, &mut made);
        if rest.is_err() {
            // Nothing is handed on of what came with the fault.
            assert_eq!(made.len(), before, "{}", bytes.escape_ascii());
        }
        let rest = rest?;
        left = &left[piece.len() - rest.len()..];
        assert!(left.starts_with(rest) && (rest.is_empty() || scanner.is_done()), "{}", bytes.escape_ascii());
        if scanner.is_done() {
            break;
        }
    }
    let (content, is_ended) = canonical(&made);
    assert_eq!(is_ended, scanner.is_done(), "{}", bytes.escape_ascii());
    Ok(Read { content, end: is_ended.then_some(bytes.len() - left.len()) })
}

/// The content of whole chunks of six digits each, and whether they end. Nothing follows the end, and no chunk before it is
/// empty.
fn canonical(made: &[u8]) -> (Vec<u8>, bool) {
    let (mut content, mut rest) = (Vec::new(), made);
    while !rest.is_empty() && rest != b"0\r\n\r\n" {
        let (line, after) = rest.split_at(8);
        let digits = std::str::from_utf8(line.strip_suffix(b"\r\n").unwrap()).unwrap();
        assert!(digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')), "{}", made.escape_ascii());
        let size = usize::from_str_radix(digits, 16).unwrap();
        assert!(size > 0, "{}", made.escape_ascii());
        content.extend_from_slice(&after[..size]);
        rest = after[size..].strip_prefix(b"\r\n").unwrap();
    }
    (content, !rest.is_empty())
}

fn by_httparse(bytes: &[u8]) -> Read {
    let shown = bytes.escape_ascii();
    let (mut content, mut at) = (Vec::new(), 0);
    loop {
        let line = httparse::parse_chunk_size(&bytes[at..]).unwrap_or_else(|_| panic!("no size at {at}: {shown}"));
        let Status::Complete((length, size)) = line else { return Read { content, end: None } };
        at += length;
        if size == 0 {
            break;
        }
        let size = usize::try_from(size).unwrap();
        let data = &bytes[at..bytes.len().min(at.saturating_add(size))];
        content.extend_from_slice(data);
        let after = &bytes[at + data.len()..];
        if data.len() < size || after.len() < 2 {
            assert!(b"\r\n".starts_with(after), "{shown}");
            return Read { content, end: None };
        }
        assert!(after.starts_with(b"\r\n"), "{shown}");
        at += data.len() + 2;
    }
    let mut fields = vec![httparse::EMPTY_HEADER; MAX_FIELDS];
    let trailers = httparse::parse_headers(&bytes[at..], &mut fields);
    let trailers = trailers.unwrap_or_else(|error| panic!("{error} at {at}: {shown}"));
    let end = if let Status::Complete((length, _)) = trailers { Some(at + length) } else { None };
    Read { content, end }
}
