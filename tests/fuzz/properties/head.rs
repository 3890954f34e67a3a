use cedargate::gateway::head::{Bounds, Progress, Scanner};
use cedargate::gateway::headers;
use cedargate::http::{host, target};
use http::{HeaderMap, HeaderName, HeaderValue, Version};

/// A head is judged alike however it is cut. One that is complete has one request line, one host and one framing at most,
/// and `httparse`, which Pingora and half of the world use, reads the same method, target, version and fields in it, and
/// the same end.
pub(super) fn holds(bytes: &[u8]) {
    let whole = Scanner::default().advance(bytes);
    assert_eq!(in_pieces(bytes, bytes.len().div_ceil(2).max(1)), whole, "{}", bytes.escape_ascii());
    if bytes.len() <= 512 {
        assert_eq!(in_pieces(bytes, 1), whole, "{}", bytes.escape_ascii());
    }
    if whole == Progress::Complete {
        complete(bytes);
    }
}

fn in_pieces(bytes: &[u8], length: usize) -> Progress {
    let mut scanner = Scanner::default();
    let mut end = 0;
    loop {
        end = (end + length).min(bytes.len());
        let progress = scanner.advance(&bytes[..end]);
        if progress != Progress::Partial || end == bytes.len() {
            return progress;
        }
    }
}

fn complete(bytes: &[u8]) {
    let shown = bytes.escape_ascii();
    let mut head = bytes;
    while let Some(rest) = head.strip_prefix(b"\r\n") {
        head = rest;
    }
    let blank = bytes.len() - head.len();
    let end = head.windows(4).position(|four| four == b"\r\n\r\n").expect("a blank line") + 4;
    let head = &head[..end];
    for (at, byte) in head.iter().enumerate() {
        match byte {
            b'\r' => assert_eq!(head[at + 1], b'\n', "{shown}"),
            b'\n' => assert_eq!(head[at - 1], b'\r', "{shown}"),
            _ => {}
        }
    }

    let mut fields = vec![httparse::EMPTY_HEADER; Bounds::default().fields];
    let mut request = httparse::Request::new(&mut fields);
    let parsed = request.parse(bytes).unwrap_or_else(|error| panic!("{error}: {shown}"));
    assert_eq!(parsed, httparse::Status::Complete(blank + end), "{shown}");
    let line = format!("{} {} HTTP/1.{}\r\n", request.method.unwrap(), request.path.unwrap(), request.version.unwrap());
    assert!(head.starts_with(line.as_bytes()), "{line:?}: {shown}");
    assert!(target::is_plain(request.path.unwrap().as_bytes()), "{shown}");

    let lines = head.split(|byte| *byte == b'\n').count() - 3;
    assert_eq!(request.headers.len(), lines, "{shown}");
    let mut map = HeaderMap::new();
    for field in request.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).unwrap_or_else(|error| panic!("{error}: {shown}"));
        let value = HeaderValue::from_bytes(field.value).unwrap_or_else(|error| panic!("{error}: {shown}"));
        map.append(name, value);
    }
    one_host_and_framing(&map, if request.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 });
}

fn one_host_and_framing(fields: &HeaderMap, version: Version) {
    let count = |name: &str| fields.get_all(name).iter().count();
    assert!(count("host") == 1 || (version == Version::HTTP_10 && count("host") == 0), "{fields:?}");
    if let Some(value) = fields.get("host") {
        assert!(host::canonical(value.as_bytes()).is_ok(), "{fields:?}");
    }
    assert!(count("content-length") + count("transfer-encoding") <= 1, "{fields:?}");
    if let Some(length) = fields.get("content-length") {
        assert!(length.to_str().unwrap().parse::<u64>().is_ok(), "{fields:?}");
    }
    if let Some(coding) = fields.get("transfer-encoding") {
        assert!(coding.as_bytes().eq_ignore_ascii_case(b"chunked") && version == Version::HTTP_11, "{fields:?}");
    }
    if headers::check(fields).is_ok() {
        for name in fields.keys().filter(|name| name.as_str().contains('_')) {
            let dashed = name.as_str().replace('_', "-");
            assert!(!headers::is_reserved(&dashed), "{fields:?}");
        }
    }
}
