//! One JSON object per request and line.

use std::cell::RefCell;
use std::io::Write;
use std::net::IpAddr;
use std::time::SystemTime;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::batch::{Flush, Lines};

const MAX_PATH: usize = 2 * 1024;
const MAX_USER_AGENT: usize = 512;

thread_local! {
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// The last second that was told, and how it begins the text of any moment within it.
    static SECOND: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
}

/// What is told of one request; the keys and their order are an interface, what is absent is null.
///
/// Never a query, never a token.
#[derive(Debug)]
pub struct Record<'a, P> {
    /// When the answer was complete.
    pub time: SystemTime,
    /// The request's id, as answered.
    pub request_id: &'a str,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// The method.
    pub method: Option<&'a str>,
    /// The canonical host.
    pub host: Option<&'a str>,
    /// The path as it came, without query.
    pub path: Option<&'a str>,
    /// The answer's status, if one was sent.
    pub status: Option<u16>,
    /// `allow` or `deny`.
    pub decision: Option<&'a str>,
    /// The reason's code.
    pub reason: Option<&'a str>,
    /// Who asked.
    pub user_id: Option<i64>,
    /// Who asked, by name.
    pub username: Option<&'a str>,
    /// The matched route.
    pub route_id: Option<i64>,
    /// The matched operation.
    pub operation: Option<&'a str>,
    /// The ids of the policies that determined the decision, as a sequence.
    pub policies: Option<P>,
    /// The snapshot's revision.
    pub revision: Option<i64>,
    /// The upstream, by name.
    pub upstream: Option<&'a str>,
    /// From the decision to the upstream's answer.
    pub upstream_ms: Option<f64>,
    /// From the request's head to the answer's end.
    pub total_ms: f64,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// `User-Agent`.
    pub user_agent: Option<&'a str>,
    /// The TLS version, if any.
    pub tls: Option<&'a str>,
    /// SHA-256 of the client's certificate, if it presented one.
    pub client_certificate: Option<&'a str>,
}

/// Where the lines go; cheap to clone.
#[derive(Clone, Debug)]
pub struct AccessLog {
    lines: Option<Lines>,
}

impl AccessLog {
    /// Writes lines to `sink` on a thread of its own, which ends once the guard is dropped.
    pub fn to(sink: impl Write + Send + 'static) -> (Self, Flush) {
        let (lines, flush) = Lines::to("access-log", sink);
        (Self { lines: Some(lines) }, flush)
    }

    /// Lines for which there was no room, or that could not be written.
    pub fn lost(&self) -> usize {
        self.lines.as_ref().map_or(0, Lines::lost)
    }

    /// Writes nothing.
    pub fn off() -> Self {
        Self { lines: None }
    }

    /// Whether lines go anywhere.
    pub fn is_on(&self) -> bool {
        self.lines.is_some()
    }

    /// Hands over one line, long text cut; never blocks.
    pub fn write(&self, mut record: Record<'_, impl Serialize>) {
        let Some(lines) = &self.lines else { return };
        record.path = record.path.map(|text| bounded(text, MAX_PATH));
        record.user_agent = record.user_agent.map(|text| bounded(text, MAX_USER_AGENT));
        LINE.with_borrow_mut(|line| {
            line.clear();
            if record.write(line).is_ok() {
                lines.put(line);
            }
        });
    }
}

/// Writes fields behind others. The keys are known to need no escapes, which a serializer would look for in each of them at
/// every request.
macro_rules! fields {
    ($line:ident, $record:ident: $($key:ident)*) => {
        $(
            $line.extend_from_slice(concat!(",\"", stringify!($key), "\":").as_bytes());
            serde_json::to_writer(&mut *$line, &$record.$key)?;
        )*
    };
}

impl<P: Serialize> Record<'_, P> {
    /// Puts one line behind what there is, with the line feed.
    fn write(&self, line: &mut Vec<u8>) -> serde_json::Result<()> {
        line.extend_from_slice(b"{\"time\":\"");
        put_time(line, self.time);
        line.push(b'"');
        fields!(line, self: request_id client method host path status decision reason user_id username route_id operation
            policies revision upstream upstream_ms total_ms bytes_in bytes_out user_agent tls client_certificate);
        line.extend_from_slice(b"}\n");
        Ok(())
    }
}

/// As RFC 3339 says, in microseconds. Most of it is the same for all requests of a second.
fn put_time(line: &mut Vec<u8>, time: SystemTime) {
    // A clock that stands before 1970 tells nothing.
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SECOND.with_borrow_mut(|(second, text)| {
        if *second != since.as_secs() {
            *second = since.as_secs();
            *text = DateTime::<Utc>::from(SystemTime::UNIX_EPOCH + since).format("%Y-%m-%dT%H:%M:%S.").to_string();
        }
        line.extend_from_slice(text.as_bytes());
    });
    let micros = since.subsec_micros();
    line.extend([100_000, 10_000, 1_000, 100, 10, 1].map(|unit| b"0123456789"[(micros / unit % 10) as usize]));
    line.push(b'Z');
}

fn bounded(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use parking_lot::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn keys_come_in_order_and_text_is_bounded() {
        let sink = Sink::default();
        let (access_log, guard) = AccessLog::to(sink.clone());
        let long = "\u{e9}\"\n".repeat(2_000);
        access_log.write(Record {
            time: SystemTime::UNIX_EPOCH + Duration::new(1_795_000_000, 123_456_789),
            request_id: "r",
            client: Some([127, 0, 0, 1].into()),
            method: Some("GET"),
            host: Some("a"),
            path: Some(&long),
            status: Some(403),
            decision: Some("deny"),
            reason: Some("no_grant"),
            user_id: Some(42),
            username: Some("alice"),
            route_id: None,
            operation: None,
            policies: Some([(); 0]),
            revision: Some(7),
            upstream: None,
            upstream_ms: None,
            total_ms: 1.5,
            bytes_in: 0,
            bytes_out: 10,
            user_agent: Some(&long),
            tls: None,
            client_certificate: None,
        });
        drop(guard);
        let text = String::from_utf8(sink.0.lock().clone()).unwrap();
        assert_eq!(text.lines().count(), 1);
        let mut at = 0;
        for key in [
            "time",
            "request_id",
            "client",
            "method",
            "host",
            "path",
            "status",
            "decision",
            "reason",
            "user_id",
            "username",
            "route_id",
            "operation",
            "policies",
            "revision",
            "upstream",
            "upstream_ms",
            "total_ms",
            "bytes_in",
            "bytes_out",
            "user_agent",
            "tls",
            "client_certificate",
        ] {
            at += text[at..].find(&format!("\"{key}\":")).unwrap_or_else(|| panic!("{key}")) + 1;
        }
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line.as_object().unwrap().len(), 23);
        assert_eq!(line["time"], "2026-11-18T11:06:40.123456Z");
        assert_eq!(line["client"], "127.0.0.1");
        assert!(line["route_id"].is_null());
        assert!(line["path"].as_str().unwrap().len() <= MAX_PATH);
        assert!(line["user_agent"].as_str().unwrap().len() <= MAX_USER_AGENT);
    }

    proptest::proptest! {
        #[test]
        fn moments_are_told_in_microseconds(seconds in 0_u64..200_000_000_000, nanos in 0_u32..1_000_000_000) {
            let time = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos);
            let mut line = Vec::new();
            put_time(&mut line, time);
            let expected = DateTime::<Utc>::from(time).format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
            proptest::prop_assert_eq!(String::from_utf8(line).unwrap(), expected);
        }
    }
}
