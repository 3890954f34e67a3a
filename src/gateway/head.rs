//! The raw head of an HTTP/1 request, read strictly before Pingora reads it leniently.
//!
//! ## Why
//! Pingora escapes raw spaces, controls and `<>"` in the request line, drops `#fragment`, drops
//! `Content-Length` beside `Transfer-Encoding`, and forwards repeated or comma-joined lengths. After that
//! nobody can tell what the client sent, so the bytes themselves are checked first.

use std::ops::Range;

use smallvec::SmallVec;

use crate::http::target::{self, MAX_TARGET};
use crate::http::{host, is_method};
use crate::model::Reason;

use super::headers;

/// What a request line has besides its target, in bytes.
const AROUND_TARGET: usize = 64;
/// So many fields are noted without memory of their own; most requests have fewer.
const FEW: usize = 16;

/// How large a head may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// All of it, in bytes.
    pub bytes: usize,
    /// Header fields.
    pub fields: usize,
    /// The target, in bytes; never more than [`MAX_TARGET`].
    pub target: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { bytes: 64 * 1024, fields: 128, target: MAX_TARGET }
    }
}

/// How far a head has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The blank line has not come yet.
    Partial,
    /// The head is complete and well formed.
    Complete,
    /// It is refused, whatever may follow.
    Refused(Reason),
}

/// What follows a head (RFC 9112 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// So many bytes.
    Sized(u64),
    /// Chunks.
    Chunked,
}

/// Where something stands in a head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// `part` of `all`; where it is too far behind for a head, nothing that is there.
    fn of(all: &[u8], part: &[u8]) -> Self {
        let start = part.as_ptr().addr() - all.as_ptr().addr();
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Self { start: place(start), end: place(start + part.len()) }
    }

    /// The same, for slicing.
    pub fn range(self) -> Range<usize> {
        let place = |at: u32| usize::try_from(at).unwrap_or(usize::MAX);
        place(self.start)..place(self.end)
    }
}

/// Where the parts of a request line stand.
#[derive(Clone, Copy, Debug, Default)]
pub struct Line {
    /// The method.
    pub method: Span,
    /// Path and query.
    pub target: Span,
}

/// Where a field stands.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Its name.
    pub name: Span,
    /// Its value, without the blanks around it.
    pub value: Span,
}

/// Reads a head as its bytes come in; each byte is looked at once.
#[derive(Debug, Default)]
pub struct Scanner {
    bounds: Bounds,
    line_start: usize,
    scanned: usize,
    fields: usize,
    hosts: usize,
    lengths: usize,
    length: u64,
    codings: usize,
    http_10: bool,
    line: Option<Line>,
    places: SmallVec<[Place; FEW]>,
    asks_for_more: bool,
    is_last: bool,
}

impl Scanner {
    /// For one head.
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, ..Self::default() }
    }

    /// Where the body begins, once the head is complete.
    pub fn end(&self) -> usize {
        self.line_start
    }

    /// What follows a head that is complete.
    pub fn body(&self) -> Body {
        if self.codings > 0 { Body::Chunked } else { Body::Sized(self.length) }
    }

    /// Where the parts of the request line are, once the head is complete.
    pub fn line(&self) -> Line {
        self.line.unwrap_or_default()
    }

    /// Where the fields are, in their order, once the head is complete.
    pub fn fields(&self) -> &[Place] {
        &self.places
    }

    /// Whether something is asked for besides an answer by HTTP/1.1, on a connection that stays or ends: another protocol, a
    /// word before the body is sent, fields that belong to the connection.
    pub fn asks_for_more(&self) -> bool {
        self.asks_for_more || self.http_10
    }

    /// Whether the connection shall end with the answer.
    pub fn is_last(&self) -> bool {
        self.is_last
    }

    /// Looks at what has been added to `head` since the last call.
    pub fn advance(&mut self, head: &[u8]) -> Progress {
        while let Some(found) = memchr::memchr(b'\n', &head[self.scanned..]) {
            let end = self.scanned + found;
            let Some(line) = head[self.line_start..end].strip_suffix(b"\r") else {
                return self.refused();
            };
            self.scanned = end + 1;
            self.line_start = end + 1;
            if self.line_start > self.bounds.bytes {
                return Progress::Refused(Reason::HeadersTooLarge);
            }
            let outcome = match (self.line.is_some(), line) {
                // RFC 9112 2.2: blank lines before the request line are ignored.
                (false, []) => continue,
                (false, _) => self.request_line(head, line),
                (true, []) => return self.finish().map_or_else(Progress::Refused, |()| Progress::Complete),
                (true, _) => self.field(head, line),
            };
            if let Err(reason) = outcome {
                return Progress::Refused(reason);
            }
        }
        self.scanned = head.len();
        self.bounded(head.len()).map_or_else(Progress::Refused, |()| Progress::Partial)
    }

    /// Whether more may come, after so many bytes.
    fn bounded(&self, bytes: usize) -> Result<(), Reason> {
        if bytes > self.bounds.bytes {
            return Err(Reason::HeadersTooLarge);
        }
        match self.line.is_none() && bytes - self.line_start > self.bounds.target + AROUND_TARGET {
            true => Err(Reason::TargetTooLong),
            false => Ok(()),
        }
    }

    fn refused(&self) -> Progress {
        Progress::Refused(if self.line.is_some() { Reason::BadRequest } else { Reason::BadTarget })
    }

    fn request_line(&mut self, head: &[u8], line: &[u8]) -> Result<(), Reason> {
        let mut words = line.split(|b| *b == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(Reason::BadTarget);
        };
        self.http_10 = match version {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            _ => return Err(Reason::BadRequest),
        };
        if !is_method(method) {
            return Err(Reason::BadRequest);
        }
        if method == b"CONNECT" {
            return Err(Reason::MethodNotAllowed);
        }
        if target.len() > self.bounds.target {
            return Err(Reason::TargetTooLong);
        }
        self.line = Some(Line { method: Span::of(head, method), target: Span::of(head, target) });
        if target::is_plain(target) { Ok(()) } else { Err(Reason::BadTarget) }
    }

    fn field(&mut self, head: &[u8], line: &[u8]) -> Result<(), Reason> {
        self.fields += 1;
        if self.fields > self.bounds.fields {
            return Err(Reason::HeadersTooLarge);
        }
        let (name, value) = headers::field(line).map_err(|_| Reason::BadRequest)?;
        self.places.push(Place { name: Span::of(head, name), value: Span::of(head, value) });
        if name.eq_ignore_ascii_case(b"host") {
            self.hosts += 1;
            return host::name(value).map(|_| ()).map_err(|_| Reason::BadRequest);
        } else if name.eq_ignore_ascii_case(b"content-length") {
            self.lengths += 1;
            self.length = headers::length(value).ok_or(Reason::BadRequest)?;
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.codings += 1;
            return if value.eq_ignore_ascii_case(b"chunked") { Ok(()) } else { Err(Reason::BadRequest) };
        } else if name.eq_ignore_ascii_case(b"connection") {
            match connection(value) {
                Some(stays) => self.is_last |= !stays,
                None => self.asks_for_more = true,
            }
        } else if name.eq_ignore_ascii_case(b"upgrade") || name.eq_ignore_ascii_case(b"expect") {
            self.asks_for_more = true;
        }
        Ok(())
    }

    /// What only the whole head tells (RFC 9112 3.2, 6.1; CVE-2026-2835, CVE-2021-21299).
    fn finish(&self) -> Result<(), Reason> {
        let one_host = self.hosts == 1 || (self.http_10 && self.hosts == 0);
        let one_framing = self.lengths + self.codings <= 1;
        let known_framing = self.codings == 0 || !self.http_10;
        if one_host && one_framing && known_framing { Ok(()) } else { Err(Reason::BadRequest) }
    }
}

/// Whether the connection stays, where `value` of a field `Connection` says that and nothing more.
pub(super) fn connection(value: &[u8]) -> Option<bool> {
    let stays = value.eq_ignore_ascii_case(b"keep-alive");
    (stays || value.eq_ignore_ascii_case(b"close")).then_some(stays)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scan(head: &str) -> Progress {
        Scanner::default().advance(head.as_bytes())
    }

    #[test]
    fn request_lines() {
        for (line, expected) in [
            ("GET / HTTP/1.1", Progress::Complete),
            ("GET /a?b=c HTTP/1.0", Progress::Complete),
            ("GET  /admin HTTP/1.1", Progress::Refused(Reason::BadTarget)),
            ("GET /a b HTTP/1.1", Progress::Refused(Reason::BadTarget)),
            ("GET /a\tb HTTP/1.1", Progress::Refused(Reason::BadTarget)),
            ("GET /a\0b HTTP/1.1", Progress::Refused(Reason::BadTarget)),
            ("GET /\u{e9} HTTP/1.1", Progress::Refused(Reason::BadTarget)),
            ("GET /a#b HTTP/1.1", Progress::Refused(Reason::BadTarget)),
            ("GET /<a> HTTP/1.1", Progress::Refused(Reason::BadTarget)),
            ("GET http://a/x HTTP/1.1", Progress::Refused(Reason::BadTarget)),
            ("GET * HTTP/1.1", Progress::Refused(Reason::BadTarget)),
            ("OPTIONS * HTTP/1.1", Progress::Refused(Reason::BadTarget)),
            ("GET a:80 HTTP/1.1", Progress::Refused(Reason::BadTarget)),
            ("GET /", Progress::Refused(Reason::BadTarget)),
            ("GET / HTTP/1.1 ", Progress::Refused(Reason::BadTarget)),
            ("GET / HTTP/2.0", Progress::Refused(Reason::BadRequest)),
            ("get / HTTP/1.1", Progress::Refused(Reason::BadRequest)),
            ("CONNECT a:80 HTTP/1.1", Progress::Refused(Reason::MethodNotAllowed)),
        ] {
            assert_eq!(scan(&format!("{line}\r\nHost: a\r\n\r\n")), expected, "{line:?}");
        }
    }

    #[test]
    fn fields() {
        for (fields, fine) in [
            ("Host: a\r\nContent-Length: 5\r\n", true),
            ("Host: a\r\nTransfer-Encoding: Chunked\r\n", true),
            ("", false),
            ("Host: a\r\nHost: a\r\n", false),
            ("Host: a\r\nContent-Length: 5, 5\r\n", false),
            ("Host: a\r\nContent-Length: +5\r\n", false),
            ("Host: a\r\nContent-Length: \r\n", false),
            ("Host: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n", false),
            ("Host: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n", false),
            ("Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", false),
            ("Host: a\r\nTransfer-Encoding: gzip, chunked\r\n", false),
            ("Host: a\r\nTransfer-Encoding: identity\r\n", false),
            ("Host: a\r\nTransfer-Encoding: \x0bchunked\r\n", false),
            ("Host: a\r\n: x\r\n", false),
            ("Host: u@a\r\n", false),
            ("Host: \r\n", false),
            ("Host: a/b\r\n", false),
            ("Host : a\r\n", false),
            ("Host: a\r\n folded\r\n", false),
            ("Host: a\r\nx: a\0b\r\n", false),
            ("Host: a\r\nx: a\rb\r\n", false),
            ("Host: a\r\nx:\r b\r\n", false),
            ("Host: a\r\nx: b\r\r\n", false),
            ("Host: a\r\nContent-Length:\x0c5\r\n", false),
            ("Host:\t a \t\r\nx: \t \r\n", true),
            ("Host: a\r\nx\r\n", false),
            ("Host: a\nx: b\r\n", false),
        ] {
            let expected = if fine { Progress::Complete } else { Progress::Refused(Reason::BadRequest) };
            assert_eq!(scan(&format!("POST / HTTP/1.1\r\n{fields}\r\n")), expected, "{fields:?}");
        }
        assert_eq!(scan("GET / HTTP/1.0\r\n\r\n"), Progress::Complete);
        let coded = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(scan(coded), Progress::Refused(Reason::BadRequest));
    }

    #[test]
    fn bounds() {
        let Bounds { bytes, fields, target } = Bounds::default();
        for endless in ["a".repeat(target + AROUND_TARGET + 1), format!("GET /{} HTTP/1.1\r\n", "a".repeat(target))] {
            assert_eq!(scan(&endless), Progress::Refused(Reason::TargetTooLong));
        }
        let with = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "x: y\r\n".repeat(count));
        assert_eq!(scan(&with(fields - 1)), Progress::Complete);
        assert_eq!(scan(&with(fields)), Progress::Refused(Reason::HeadersTooLarge));
        for end in ["", "\r\n\r\n"] {
            let large = format!("GET / HTTP/1.1\r\nHost: a\r\nx: {}{end}", "y".repeat(bytes));
            assert_eq!(scan(&large), Progress::Refused(Reason::HeadersTooLarge));
        }
        let tight = Bounds { bytes: 60, fields: 2, target: 3 };
        let tightly = |head: &str| Scanner::new(tight).advance(head.as_bytes());
        assert_eq!(tightly("GET /ab HTTP/1.1\r\nHost: a\r\na: b\r\n\r\n"), Progress::Complete);
        assert_eq!(tightly("GET /abc HTTP/1.1\r\nHost: a\r\n\r\n"), Progress::Refused(Reason::TargetTooLong));
        let scanned = |head: &str| {
            let mut scanner = Scanner::default();
            assert_eq!(scanner.advance(head.as_bytes()), Progress::Complete);
            (scanner.end(), scanner.body())
        };
        assert_eq!(
            scanned("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"),
            (56, Body::Chunked)
        );
        let sized = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0005\r\n\r\n";
        assert_eq!(scanned(sized), (sized.len(), Body::Sized(5)));
        assert_eq!(scan("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nBODY"), Progress::Complete);
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(head in "(\r\n)?(GET|get) (/a|/ |#)?( HTTP/1.[01])?(\r\n|\n)(Host: a\r\n|x:\r\n| y\r\n){0,3}(\r\n)?.{0,5}", cut in any::<prop::sample::Index>()) {
            let whole = scan(&head);
            let mut scanner = Scanner::default();
            let mut pieces = scanner.advance(&head.as_bytes()[..cut.index(head.len())]);
            if pieces == Progress::Partial {
                pieces = scanner.advance(head.as_bytes());
            }
            prop_assert_eq!(whole, pieces);
        }
    }
}
