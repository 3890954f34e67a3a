//! A request of HTTP/1.1 that is nothing but its head.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header};
use pingora::http::{RequestHeader, header_value_from_raw};
use smallvec::SmallVec;

use super::super::head::{Body, Scanner, Span, connection};
use super::{Asked, Field};

/// As many fields as most requests have, so that what is known of them needs no memory of its own.
const FEW: usize = 16;

/// A head whose fields are pieces of what was read.
#[derive(Debug)]
pub(in crate::gateway) struct Request {
    raw: Bytes,
    method: Method,
    target: Span,
    headers: HeaderMap,
    /// How the names are spelled, in the order of `headers`.
    spelled: SmallVec<[Span; FEW]>,
    /// Whether the connection shall end with the answer.
    pub(super) is_last: bool,
}

impl Request {
    /// The one that `scanner` has read from `raw`; as it was, if there is more to it than a head and an answer.
    ///
    /// # Errors
    /// It is for Pingora.
    pub(in crate::gateway) fn plain(raw: BytesMut, scanner: &Scanner) -> Result<Self, BytesMut> {
        if scanner.asks_for_more() || scanner.body() != Body::Sized(0) {
            return Err(raw);
        }
        let raw = raw.freeze();
        match Self::read(&raw, scanner) {
            Some(request) => Ok(request),
            None => Err(BytesMut::from(raw)),
        }
    }

    fn read(raw: &Bytes, scanner: &Scanner) -> Option<Self> {
        let line = scanner.line();
        let method = Method::from_bytes(raw.get(line.method.range())?).ok()?;
        raw.get(line.target.range())?;
        let fields = scanner.fields();
        let mut headers = HeaderMap::try_with_capacity(fields.len()).ok()?;
        let mut spelled: SmallVec<[Span; FEW]> = SmallVec::with_capacity(fields.len());
        for field in fields {
            let name = HeaderName::from_bytes(raw.get(field.name.range())?).ok()?;
            raw.get(field.value.range())?;
            headers.try_append(name, header_value_from_raw(raw.slice(field.value.range()))).ok()?;
            spelled.push(field.name);
        }
        if headers.keys_len() < spelled.len() {
            // The map tells fields of one name together, where the first of them stood.
            let same = |one: Span, other: Span| raw[one.range()].eq_ignore_ascii_case(&raw[other.range()]);
            let sent = spelled.clone();
            spelled.sort_by_key(|name| sent.iter().position(|first| same(*first, *name)));
        }
        Some(Self { raw: raw.clone(), method, target: line.target, headers, spelled, is_last: scanner.is_last() })
    }

    pub(super) fn asked(&self) -> Asked<'_> {
        Asked {
            method: &self.method,
            target: &self.raw[self.target.range()],
            version: Version::HTTP_11,
            authority: None,
            headers: &self.headers,
        }
    }

    pub(super) fn fields(&self) -> impl Iterator<Item = Field<'_>> {
        self.headers.iter().zip(&self.spelled).map(|((name, value), spelled)| (name, &self.raw[spelled.range()], value))
    }

    /// The head as it came.
    pub(super) fn into_raw(self) -> BytesMut {
        let Self { raw, headers, .. } = self;
        drop(headers);
        BytesMut::from(raw)
    }
}

/// Whether the connection of `request` is asked for nothing but to stay or to go.
pub(super) fn is_plain(request: &RequestHeader) -> bool {
    let headers = &request.headers;
    let stays = |value: &HeaderValue| connection(value.as_bytes()).is_some();
    matches!(request.version, Version::HTTP_11 | Version::HTTP_2)
        && !headers.contains_key(header::UPGRADE)
        && !headers.contains_key(header::EXPECT)
        && headers.get_all(header::CONNECTION).iter().all(stays)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::head::Progress;
    use super::*;

    fn plain(head: &str) -> Result<Request, BytesMut> {
        let mut scanner = Scanner::default();
        assert_eq!(scanner.advance(head.as_bytes()), Progress::Complete, "{head:?}");
        Request::plain(BytesMut::from(head), &scanner)
    }

    #[test]
    fn what_is_more_than_a_head_is_left_as_it_was() {
        for (line, fields, is_plain, is_last) in [
            ("GET /a?b HTTP/1.1", "", true, false),
            ("POST / HTTP/1.1", "Content-Length: 0\r\n", true, false),
            ("GET / HTTP/1.1", "Connection: Keep-Alive\r\n", true, false),
            ("GET / HTTP/1.1", "Connection: Close\r\n", true, true),
            ("GET / HTTP/1.1", "Connection: keep-alive\r\nConnection: close\r\n", true, true),
            ("GET / HTTP/1.0", "", false, false),
            ("POST / HTTP/1.1", "Content-Length: 1\r\n", false, false),
            ("POST / HTTP/1.1", "Transfer-Encoding: chunked\r\n", false, false),
            ("GET / HTTP/1.1", "Connection: close, x-field\r\n", false, false),
            ("GET / HTTP/1.1", "Connection: x-field\r\n", false, false),
            ("GET / HTTP/1.1", "Connection:\r\n", false, false),
            ("GET / HTTP/1.1", "Upgrade: h2c\r\n", false, false),
            ("PUT / HTTP/1.1", "Expect: 100-continue\r\nContent-Length: 0\r\n", false, false),
        ] {
            let head = format!("{line}\r\nHost: a\r\n{fields}\r\n");
            match plain(&head) {
                Ok(request) => {
                    assert!(is_plain, "{head:?}");
                    assert_eq!(request.is_last, is_last, "{head:?}");
                    assert_eq!(request.into_raw(), head.as_bytes());
                }
                Err(raw) => {
                    assert!(!is_plain, "{head:?}");
                    assert_eq!(raw, head.as_bytes());
                }
            }
        }
    }

    #[test]
    fn a_head_is_read_as_it_was_sent() {
        let head = "\r\nGET /a%20b?c=d HTTP/1.1\r\nhOST: a:80\r\nX-One:\t 1 \r\nX-Empty:\r\nx-oNE: 2\r\n\r\n";
        let request = plain(head).unwrap();
        let Asked { method, target, version, authority, headers } = request.asked();
        assert_eq!((method, target, version, authority), (&Method::GET, &b"/a%20b?c=d"[..], Version::HTTP_11, None));
        assert_eq!(headers["host"], "a:80");
        let fields: Vec<_> = request.fields().map(|(_, spelled, value)| (spelled, value.as_bytes())).collect();
        let sent: [(&[u8], &[u8]); 4] = [(b"hOST", b"a:80"), (b"X-One", b"1"), (b"x-oNE", b"2"), (b"X-Empty", b"")];
        assert_eq!(fields, sent);
    }

    proptest! {
        #[test]
        fn no_value_gets_another_name(names in prop::collection::vec("[aAbB]{1,2}", 0..40)) {
            let lines = names.iter().enumerate().map(|(at, name)| format!("{name}: {name}-{at}\r\n"));
            let lines: Vec<String> = lines.collect();
            let request = plain(&format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", lines.concat())).unwrap();
            let mut seen: Vec<usize> = Vec::new();
            for (name, spelled, value) in request.fields().skip(1) {
                let (said, at) = value.to_str().unwrap().split_once('-').unwrap();
                prop_assert_eq!(said.as_bytes(), spelled);
                prop_assert_eq!(name.as_str(), said.to_lowercase());
                seen.push(at.parse().unwrap());
            }
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..names.len()).collect::<Vec<_>>());
        }
    }
}
