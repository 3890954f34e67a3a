//! An answer, read part by part.
//!
//! ## Why
//! Pingora's reader copies each head, and takes 64 KiB for each body however short. Here a head's values and a body's parts
//! are pieces of what was read.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header};
use httparse::{EMPTY_HEADER, ParserConfig, Status};
use pingora::http::{ResponseHeader, header_value_from_raw};
use pingora::protocols::http::HttpTask;
use pingora::{BError, Error, ErrorType, Result, RetryType};

use super::super::headers;
use super::chunks::{Chunks, Step};
use super::link::Link;

/// What Pingora takes as well: most answers have far fewer fields, so that is tried first.
const MOST_FIELDS: usize = 256;
const FEW_FIELDS: usize = 32;
const LARGEST_HEAD: usize = 1024 * 1024;
/// What is read at once: of a head, and of a body that is not nearly over.
const HEAD_PIECE: usize = 4 * 1024;
const BODY_PIECE: usize = 64 * 1024;
/// So much of small chunks is told as one part.
const GATHERED: usize = 8 * 1024;

/// An answer that is being read.
#[derive(Debug)]
pub(super) struct Answer {
    link: Link,
    /// How long the upstream may say nothing.
    patience: Duration,
    /// Whether it answers HEAD, so that there is a head and nothing more.
    is_bare: bool,
    /// What was read and is not told yet.
    read: BytesMut,
    expected: Expected,
    /// For how long the connection can be kept; not at all if it cannot.
    keep: Option<Duration>,
}

#[derive(Debug)]
enum Expected {
    Head,
    /// So many bytes more of a body.
    Sized(u64),
    Chunks(Chunks),
    /// A body that ends with the connection.
    Rest,
    Nothing,
}

impl Answer {
    /// The one that comes by `link`, where nobody may be silent for longer than `patience`; the connection can be kept for
    /// `idle`.
    pub(super) fn new(link: Link, is_bare: bool, patience: Duration, idle: Duration) -> Self {
        Self { link, patience, is_bare, read: BytesMut::new(), expected: Expected::Head, keep: Some(idle) }
    }

    /// The next part. What was begun when this is dropped is gone on with the next time.
    ///
    /// # Errors
    /// It is no answer, it ends too early, or nothing comes.
    pub(super) async fn next(&mut self) -> Result<HttpTask> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// The connection of an answer that was read to its end, and for how long it can be kept, if it can.
    pub(super) fn reusable(self) -> Option<(Link, Duration)> {
        let is_over = matches!(self.expected, Expected::Nothing) && self.read.is_empty();
        self.keep.filter(|_| is_over).map(|keep| (self.link, keep))
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<HttpTask>> {
        loop {
            if let Some(part) = self.part()? {
                return Poll::Ready(Ok(part));
            }
            let piece = match self.expected {
                Expected::Head => HEAD_PIECE,
                Expected::Sized(left) => usize::try_from(left).unwrap_or(BODY_PIECE).min(BODY_PIECE),
                _ => BODY_PIECE,
            };
            self.read.reserve(piece);
            match ready!(self.link.poll_read(context, &mut self.read, self.patience)) {
                Ok(0) => return Poll::Ready(self.ended()),
                Ok(_) => {}
                Err(error) => return Poll::Ready(self.failed(error)),
            }
        }
    }

    /// The next part of what was read.
    fn part(&mut self) -> Result<Option<HttpTask>> {
        let body = |body: BytesMut, is_end| Some(HttpTask::Body(Some(body.freeze()), is_end));
        Ok(match &mut self.expected {
            Expected::Nothing => Some(HttpTask::Done),
            Expected::Head if self.read.is_empty() => None,
            Expected::Head => self.head()?,
            _ if self.read.is_empty() => None,
            Expected::Sized(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(self.read.len());
                *left -= here as u64;
                let is_end = *left == 0;
                if is_end {
                    self.expected = Expected::Nothing;
                }
                body(self.read.split_to(here), is_end)
            }
            Expected::Chunks(_) => self.chunks()?,
            Expected::Rest => body(self.read.split(), false),
        })
    }

    /// The content of the chunks that were read, many small ones together.
    fn chunks(&mut self) -> Result<Option<HttpTask>, Fault> {
        let Expected::Chunks(chunks) = &mut self.expected else { return Ok(None) };
        let mut content: Option<BytesMut> = None;
        while content.as_ref().is_none_or(|content| content.len() < GATHERED) {
            match chunks.next(&mut self.read).map_err(|_| Fault::Odd("malformed chunks"))? {
                Step::More => break,
                Step::Content(more) => match &mut content {
                    Some(content) => content.extend_from_slice(&more),
                    None => content = Some(more),
                },
                Step::End => {
                    self.expected = Expected::Nothing;
                    return Ok(Some(HttpTask::Body(content.map(BytesMut::freeze), true)));
                }
            }
        }
        Ok(content.map(|content| HttpTask::Body(Some(content.freeze()), false)))
    }

    fn head(&mut self) -> Result<Option<HttpTask>> {
        let Some((mut head, length)) = parse::<FEW_FIELDS>(&self.read).or_else(|error| match error {
            Fault::TooMany => parse::<MOST_FIELDS>(&self.read),
            bad @ (Fault::Parse(_) | Fault::Odd(_)) => Err(bad),
        })?
        else {
            return if self.read.len() > LARGEST_HEAD { Err(Fault::Odd("too large a head").into()) } else { Ok(None) };
        };
        let bytes = self.read.split_to(length).freeze();
        head.fields(&bytes)?;
        let Head { mut answer, .. } = head;
        if answer.headers.contains_key(header::TRANSFER_ENCODING) {
            // RFC 9112 6.3: it overrides what the length says, which nobody else shall believe.
            answer.remove_header(&header::CONTENT_LENGTH);
        }
        self.expect(&answer)?;
        let is_end = matches!(self.expected, Expected::Nothing);
        Ok(Some(HttpTask::Header(Box::new(answer), is_end)))
    }

    /// Sets what follows a head (RFC 9112 6.3), and whether another answer may.
    fn expect(&mut self, head: &ResponseHeader) -> Result<()> {
        let length = length(&head.headers)?;
        self.expected = match head.status {
            // Nobody asks for another protocol this way, so whatever follows is not an answer.
            StatusCode::SWITCHING_PROTOCOLS => Expected::Rest,
            status if status.is_informational() => return Ok(()),
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => Expected::Nothing,
            _ if self.is_bare => Expected::Nothing,
            _ if headers::is_chunked(&head.headers) => Expected::Chunks(Chunks::default()),
            _ => match length {
                Some(0) => Expected::Nothing,
                Some(length) => Expected::Sized(length),
                None => Expected::Rest,
            },
        };
        let is_coded = head.headers.contains_key(header::TRANSFER_ENCODING);
        let stays = match connection(&head.headers) {
            Some(stays) => stays,
            None => head.version == Version::HTTP_11,
        };
        let keeps =
            stays && !matches!(self.expected, Expected::Rest) && !(is_coded && head.version == Version::HTTP_10);
        let longest = announced(&head.headers).unwrap_or(Duration::MAX);
        self.keep = self.keep.filter(|_| keeps).map(|idle| idle.min(longest));
        Ok(())
    }

    /// What the end of the connection means.
    fn ended(&mut self) -> Result<HttpTask> {
        if matches!(self.expected, Expected::Rest) {
            self.expected = Expected::Nothing;
            return Ok(HttpTask::Done);
        }
        let is_head = matches!(self.expected, Expected::Head);
        let what = if is_head { "while reading response headers" } else { "before the end of the body" };
        let mut error = Error::explain(ErrorType::ConnectionClosed, what);
        if is_head {
            error.retry = RetryType::ReusedOnly;
        }
        Err(error)
    }

    fn failed(&self, error: std::io::Error) -> Result<HttpTask> {
        if error.kind() == ErrorKind::TimedOut && error.raw_os_error().is_none() {
            return Error::e_explain(ErrorType::ReadTimedout, "reading an answer");
        }
        let is_stale = matches!(self.expected, Expected::Head) && error.raw_os_error().is_some();
        let mut error = Error::because(ErrorType::ReadError, "reading an answer", error);
        if is_stale {
            error.retry = RetryType::ReusedOnly;
        }
        Err(error)
    }
}

/// Why a head could not be read.
enum Fault {
    TooMany,
    Parse(httparse::Error),
    Odd(&'static str),
}

impl From<Fault> for BError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::TooMany => Error::explain(ErrorType::InvalidHTTPHeader, "too many fields"),
            Fault::Odd(what) => Error::explain(ErrorType::InvalidHTTPHeader, what),
            Fault::Parse(error) => Error::because(ErrorType::InvalidHTTPHeader, "reading an answer", error),
        }
    }
}

/// A head whose fields are still where they were read.
struct Head {
    answer: ResponseHeader,
    /// Where each name and each value begins and ends.
    places: smallvec::SmallVec<[[usize; 4]; FEW_FIELDS]>,
}

impl Head {
    fn fields(&mut self, bytes: &Bytes) -> Result<()> {
        for [name, name_end, value, value_end] in &self.places {
            let value = header_value_from_raw(bytes.slice(*value..*value_end));
            self.answer.append_header(bytes.slice(*name..*name_end), value)?;
        }
        Ok(())
    }
}

/// The head at the beginning of `read`, and how long it is; `None` while it is not there whole.
fn parse<const MOST: usize>(read: &[u8]) -> Result<Option<(Head, usize)>, Fault> {
    let mut fields = [EMPTY_HEADER; MOST];
    let mut parsed = httparse::Response::new(&mut fields);
    let mut config = ParserConfig::default();
    // Both are taken away before anybody sees them (RFC 9112 5.1, 5.2).
    config.allow_spaces_after_header_name_in_responses(true);
    config.allow_obsolete_multiline_headers_in_responses(true);
    let length = match config.parse_response(&mut parsed, read) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Fault::TooMany),
        Err(error) => return Err(Fault::Parse(error)),
    };
    let bad = |_| Fault::Odd("no status");
    let mut answer = ResponseHeader::build(parsed.code.unwrap_or(0), Some(parsed.headers.len() + 4)).map_err(bad)?;
    answer.set_version(if parsed.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 });
    answer.set_reason_phrase(parsed.reason).map_err(bad)?;
    let start = read.as_ptr().addr();
    let places = parsed.headers.iter().map(|field| {
        let (name, value) = (field.name.as_ptr().addr() - start, field.value.as_ptr().addr() - start);
        [name, name + field.name.len(), value, value + field.value.len()]
    });
    let places = places.collect();
    Ok(Some((Head { answer, places }, length)))
}

/// The length that a head announces; the same one said again is one (RFC 9110 8.6).
fn length(fields: &HeaderMap) -> Result<Option<u64>, Fault> {
    let mut length = None;
    let all = fields.get_all(header::CONTENT_LENGTH).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    for one in all {
        let one = headers::length(one.trim_ascii()).ok_or(Fault::Odd("no length"))?;
        if length.is_some_and(|known| known != one) {
            return Err(Fault::Odd("two lengths"));
        }
        length = Some(one);
    }
    Ok(length)
}

/// Whether the connection stays, if a head says so or otherwise.
fn connection(fields: &HeaderMap) -> Option<bool> {
    let mut stays = None;
    let all = fields.get_all(header::CONNECTION).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    for option in all {
        let option = option.trim_ascii();
        if option.eq_ignore_ascii_case(b"close") {
            return Some(false);
        }
        stays = stays.or(option.eq_ignore_ascii_case(b"keep-alive").then_some(true));
    }
    stays
}

/// For how long the upstream says that it keeps the connection.
fn announced(fields: &HeaderMap) -> Option<Duration> {
    let said: &HeaderValue = fields.get(HeaderName::from_static("keep-alive"))?;
    let seconds = said.to_str().ok()?.split(',').find_map(|part| part.trim().strip_prefix("timeout="))?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use pingora::protocols::l4::stream::Stream;
    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);
    const IDLE: Duration = Duration::from_mins(1);

    /// What was read of an answer: the status of each head, the fields of the last one, the body, and for how long the
    /// connection may be kept.
    #[derive(Debug, Default, PartialEq, Eq)]
    struct Seen {
        statuses: Vec<u16>,
        fields: Vec<(String, String)>,
        body: Vec<u8>,
        keep: Option<Duration>,
    }

    /// Reads what comes in these pieces on a connection that is closed then, or stays open.
    async fn read(pieces: &[&[u8]], is_bare: bool, closes: bool) -> Result<Seen> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut far = listener.accept().await.unwrap().0;
        far.set_nodelay(true).unwrap();
        let pieces: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.to_vec()).collect();
        let sending = tokio::spawn(async move {
            for piece in pieces {
                // The other end may have seen enough.
                let _ = far.write_all(&piece).await;
                tokio::task::yield_now().await;
            }
            (!closes).then_some(far)
        });
        let patience = if closes { PATIENCE } else { Duration::from_millis(300) };
        let mut answer = Answer::new(Link::new(Box::new(Stream::from(near))), is_bare, patience, IDLE);
        let mut seen = Seen::default();
        loop {
            let part = answer.next().await?;
            let is_end = part.is_end();
            match part {
                HttpTask::Header(head, _) => {
                    seen.statuses.push(head.status.as_u16());
                    let field = |(name, value): (&HeaderName, &HeaderValue)| {
                        (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
                    };
                    seen.fields = head.headers.iter().map(field).collect();
                }
                HttpTask::Body(body, _) => seen.body.extend_from_slice(&body.unwrap_or_default()),
                _ => {}
            }
            if is_end {
                break;
            }
        }
        let _open = sending.await.unwrap();
        seen.keep = answer.reusable().map(|(_, keep)| keep);
        Ok(seen)
    }

    async fn whole(bytes: &str, closes: bool) -> Result<Seen> {
        read(&[bytes.as_bytes()], false, closes).await
    }

    #[tokio::test]
    async fn bodies_end_where_their_heads_say() {
        for (bytes, closes, body, keep) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false, "ok", Some(IDLE)),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\nContent-Length: 2\r\n\r\nok", false, "ok", Some(IDLE)),
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false, "", Some(IDLE)),
            ("HTTP/1.1 204 No Content\r\n\r\n", false, "", Some(IDLE)),
            ("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", false, "", Some(IDLE)),
            ("HTTP/1.1 200 OK\r\n\r\nto the end", true, "to the end", None),
            ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", false, "ok", None),
            ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", false, "ok", Some(IDLE)),
            ("HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 2\r\n\r\nok", false, "ok", None),
            (
                "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5, max=9\r\nContent-Length: 2\r\n\r\nok",
                false,
                "ok",
                Some(Duration::from_secs(5)),
            ),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", false, "ok", Some(IDLE)),
            ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", false, "ok", None),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
                false,
                "ok",
                Some(IDLE),
            ),
            // Something follows that nobody has asked for.
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n", false, "ok", None),
            ("HTTP/1.1 204 No Content\r\n\r\nbody", false, "", None),
        ] {
            let seen = whole(bytes, closes).await.unwrap();
            assert_eq!((String::from_utf8_lossy(&seen.body).as_ref(), seen.keep), (body, keep), "{bytes:?}");
        }
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(read(&[head], true, false).await.unwrap().keep, Some(IDLE));
    }

    #[tokio::test]
    async fn hints_come_before_the_answer() {
        let hints = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
        let seen = whole(&format!("{hints}HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: b\r\n\r\nok"), false).await;
        let seen = seen.unwrap();
        assert_eq!((seen.statuses, seen.body), (vec![100, 103, 200], b"ok".to_vec()));
        assert!(seen.fields.contains(&("x-a".to_owned(), "b".to_owned())), "{:?}", seen.fields);
    }

    #[tokio::test]
    async fn what_is_no_answer_is_refused() {
        let many = "X-A: b\r\n".repeat(MOST_FIELDS + 1);
        let some = "X-A: b\r\n".repeat(MOST_FIELDS - 1);
        let large = "a".repeat(LARGEST_HEAD + 1);
        for (bytes, etype) in [
            ("SSH-2.0-OpenSSH\r\n", ErrorType::InvalidHTTPHeader),
            ("HTTP/1.1 999999 OK\r\n\r\n", ErrorType::InvalidHTTPHeader),
            ("HTTP/1.1 099 OK\r\n\r\n", ErrorType::InvalidHTTPHeader),
            ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nok", ErrorType::InvalidHTTPHeader),
            ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", ErrorType::InvalidHTTPHeader),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", ErrorType::InvalidHTTPHeader),
            (&format!("HTTP/1.1 200 OK\r\n{many}\r\n"), ErrorType::InvalidHTTPHeader),
            (&format!("HTTP/1.1 200 OK\r\nX-A: {large}"), ErrorType::InvalidHTTPHeader),
            ("HTTP/1.1 200 OK\r\nContent-Le", ErrorType::ConnectionClosed),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", ErrorType::ConnectionClosed),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", ErrorType::ConnectionClosed),
        ] {
            let refused = whole(bytes, true).await.map(|seen| seen.statuses).unwrap_err();
            assert_eq!(*refused.etype(), etype, "{:?}", bytes.get(..60));
        }
        let seen = whole(&format!("HTTP/1.1 200 OK\r\n{some}Content-Length: 0\r\n\r\n"), false).await.unwrap();
        assert_eq!(seen.fields.len(), MOST_FIELDS);
    }

    #[tokio::test]
    async fn silence_is_not_waited_for() {
        for bytes in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok"] {
            let refused = whole(bytes, false).await.map(|seen| seen.statuses).unwrap_err();
            assert_eq!(*refused.etype(), ErrorType::ReadTimedout, "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn folded_values_come_out_straight() {
        let seen = whole("HTTP/1.1 200 OK\r\nX-A : b\r\n c\r\nContent-Length: 0\r\n\r\n", false).await.unwrap();
        let (_, value) = seen.fields.iter().find(|(name, _)| name == "x-a").unwrap();
        assert!(value.starts_with('b') && value.ends_with('c') && !value.contains(['\r', '\n']), "{value:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        #[test]
        fn pieces_make_no_difference(body in "[a-z]{0,30}", is_chunked in any::<bool>(), cut in 1..40_usize) {
            let framed = match is_chunked {
                true if body.is_empty() => "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
                true => format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\nX: y\r\n\r\n", body.len()),
                false => format!("Content-Length: {}\r\n\r\n{body}", body.len()),
            };
            let bytes = format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nX-A: b\r\n{framed}");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let pieces: Vec<&[u8]> = bytes.as_bytes().chunks(cut).collect();
            let (once, often) = runtime.block_on(async {
                (read(&[bytes.as_bytes()], false, true).await.unwrap(), read(&pieces, false, true).await.unwrap())
            });
            prop_assert_eq!(&once, &often);
            prop_assert_eq!((once.statuses, once.body, once.keep), (vec![100, 200], body.into_bytes(), Some(IDLE)));
        }
    }
}
