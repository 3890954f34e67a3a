//! Answers that go on for long: decided anew while they do, and ended when they are no longer allowed.
//!
//! ## Why
//! A WebSocket that was opened in the morning is not to outlive the role that opened it. So what may take long is listed
//! with all that its decision hangs on, and is asked about again whenever the snapshot is another one, the keys that
//! tokens are verified with are, or its token or a role of its user ends. Policies that look at the time of day are asked
//! then too, but not because time has passed.
//!
//! An ordinary answer has a length and is soon over: it is not listed, and costs nothing here. Whether another will be
//! long nobody knows before its head; a gRPC call may stay without one for as long as its upstream's time allows, and is
//! listed from its beginning. What has announced few bytes and takes long over them is listed while it does.

mod anew;
mod driven;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use parking_lot::Mutex;
use pingora::http::ResponseHeader;
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::http::{RequestId, Target};
use crate::model::{Claims, ClientCertificate, Reason, Timestamp, UpstreamName};
use crate::telemetry::logs::SECURITY;
use crate::telemetry::{Ended, Metrics};

use super::peer::Peer;

pub(super) use anew::watch;
pub(super) use driven::{Due, drive, expect_by, is_leaving, leaving};

/// Answers of so many bytes and more may take long.
const LONG: u64 = 64 * 1024;
/// Locks that share the work.
const SHARDS: usize = 16;
/// How often some WebSocket connections are closed while the gateway stops.
const CLOSING: Duration = Duration::from_millis(50);

/// How an answer is ended so that its client can tell.
#[derive(Clone, Debug)]
pub(super) enum Manner {
    /// It breaks off: a chunked body without its last chunk, an HTTP/2 stream that is reset.
    Cut,
    /// Nothing but the connection's end marks its own: the connection is reset.
    Reset(Arc<Peer>),
    /// A close frame (RFC 6455 5.5.1).
    WebSocket(Arc<Peer>),
    /// Trailers that say so.
    Grpc,
}

/// What a decision about an answer that goes on hangs on.
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) request_id: RequestId,
    pub(super) method: Method,
    pub(super) target: Target,
    pub(super) host: String,
    pub(super) client: IpAddr,
    pub(super) certificate: Option<Arc<ClientCertificate>>,
    /// The token as it came, for when other keys verify, and what it says.
    pub(super) token: Option<(HeaderValue, Arc<Claims>)>,
    pub(super) upstream: UpstreamName,
    pub(super) manner: Manner,
    /// The snapshot that it was decided on.
    pub(super) revision: i64,
}

/// One answer that goes on.
#[derive(Debug)]
pub(super) struct Open {
    terms: Terms,
    /// The snapshot that it was last decided on.
    revision: AtomicI64,
    /// The keys that its token was last verified with.
    keys: AtomicU64,
    /// When its token or a role of its user ends by itself, in seconds since 1970.
    until: AtomicI64,
    end: Mutex<End>,
}

#[derive(Debug)]
struct End {
    tell: Option<oneshot::Sender<()>>,
    told: Option<(Ended, Reason)>,
}

impl Open {
    /// Why it was ended, if it was.
    pub(super) fn ended(&self) -> Option<(Ended, Reason)> {
        self.end.lock().told
    }

    fn is_told(&self) -> bool {
        self.end.lock().told.is_some()
    }

    pub(super) fn manner(&self) -> &Manner {
        &self.terms.manner
    }

    /// Has it ended; false if it has been told already.
    fn tell(&self, cause: Ended, reason: Reason) -> bool {
        let mut end = self.end.lock();
        let Some(tell) = end.tell.take() else { return false };
        end.told = Some((cause, reason));
        // Over by itself meanwhile.
        tell.send(()).is_ok()
    }
}

type Shard = Mutex<HashMap<u64, Arc<Open>, foldhash::fast::RandomState>>;

/// All answers of one gateway that go on.
#[derive(Debug)]
pub(super) struct Streams {
    shards: [Shard; SHARDS],
    next: AtomicU64,
    metrics: Arc<Metrics>,
}

/// The place of one of them in the list, until dropped.
#[derive(Debug)]
pub(super) struct Listed {
    streams: Arc<Streams>,
    number: u64,
    pub(super) open: Arc<Open>,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.streams.shard(self.number).lock().remove(&self.number);
        self.streams.metrics.connections().stream_closed();
    }
}

impl Streams {
    pub(super) fn new(metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { shards: Default::default(), next: AtomicU64::new(0), metrics })
    }

    /// Lists an answer that goes on; whoever drives its request is told when it shall end.
    pub(super) fn open(self: &Arc<Self>, terms: Terms) -> Listed {
        let (tell, told) = oneshot::channel();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let open = Arc::new(Open {
            revision: AtomicI64::new(terms.revision),
            // Looked at once more, soon: keys may have changed since its token was verified.
            keys: AtomicU64::new(u64::MAX),
            until: AtomicI64::new(0),
            terms,
            end: Mutex::new(End { tell: Some(tell), told: None }),
        });
        self.shard(number).lock().insert(number, Arc::clone(&open));
        self.metrics.connections().stream_opened();
        driven::opened(told, Arc::clone(&open));
        Listed { streams: Arc::clone(self), number, open }
    }

    fn shard(&self, number: u64) -> &Shard {
        &self.shards[usize::try_from(number).unwrap_or_default() % SHARDS]
    }

    /// Those that `of` picks, as of now.
    fn picked(&self, of: impl Fn(&Open) -> bool) -> impl Iterator<Item = Vec<Arc<Open>>> {
        self.shards.iter().map(move |shard| shard.lock().values().filter(|open| of(open)).cloned().collect())
    }

    /// Ends one, and says so.
    fn end(&self, open: &Open, cause: Ended, reason: Reason) {
        if !open.tell(cause, reason) {
            return;
        }
        self.metrics.connections().ended(cause);
        if cause != Ended::Stopping {
            tracing::info!(
                target: SECURITY,
                reason = reason.code(),
                cause = cause.code(),
                request.id = %open.terms.request_id,
                client = %open.terms.client,
                subject = open.terms.token.as_ref().map(|(_, claims)| claims.subject.as_str()),
                path = open.terms.target.raw_path(),
                "stream ended"
            );
        }
    }

    /// Closes WebSocket connections, which do not end by themselves, spread over `time`: their clients all come back at once
    /// otherwise. Never done, for whatever is opened meanwhile.
    pub(super) async fn close_web_sockets(&self, time: Duration) {
        let rounds = (time.as_millis() / CLOSING.as_millis()).max(1);
        for left in (1..=rounds).rev().chain(std::iter::repeat(1)) {
            let is_web_socket = |open: &Open| matches!(open.terms.manner, Manner::WebSocket(_)) && !open.is_told();
            let all: Vec<_> = self.picked(is_web_socket).flatten().collect();
            let share = all.len().div_ceil(usize::try_from(left).unwrap_or(usize::MAX));
            for open in &all[..share] {
                self.end(open, Ended::Stopping, Reason::Allowed);
            }
            sleep(CLOSING).await;
        }
    }
}

/// Whether an answer with this head may take long.
pub(super) fn may_last(answer: &ResponseHeader, method: &Method) -> bool {
    if answer.status == StatusCode::SWITCHING_PROTOCOLS {
        return true;
    }
    let has_none = matches!(answer.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) || method == Method::HEAD;
    let length = answer.headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    !has_none && length.is_none_or(|length| length >= LONG)
}

/// Whether `headers` are of a gRPC request; the kind for browsers has its trailers in the body.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let rest = kind.and_then(|kind| kind.strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ')))
}

/// How a gRPC call is told why it is refused, or no longer permitted: by trailers, or in the head where there is none yet.
pub(super) fn farewell(reason: Reason) -> HeaderMap {
    // As clients translate the status of HTTP, which not all of them do.
    let status = match reason.status() {
        400 => "13",
        401 => "16",
        403 => "7",
        404 | 405 => "12",
        429 | 502..=504 => "14",
        _ => "2",
    };
    let mut fields = HeaderMap::with_capacity(2);
    fields.insert(HeaderName::from_static("grpc-status"), HeaderValue::from_static(status));
    fields.insert(HeaderName::from_static("grpc-message"), HeaderValue::from_static(reason.detail()));
    fields
}

/// The same for one that was let in: whatever the cause, it is no longer permitted.
pub(super) fn last_farewell(reason: Reason) -> HeaderMap {
    let mut fields = farewell(Reason::StreamEnded);
    fields.insert(HeaderName::from_static("grpc-message"), HeaderValue::from_static(reason.detail()));
    fields
}

/// What ended answers of this reason.
fn cause(reason: Reason) -> Ended {
    match reason {
        Reason::ExpiredToken => Ended::Expired,
        Reason::Revoked | Reason::UserInactive | Reason::InvalidToken => Ended::Revoked,
        Reason::UnknownRoute | Reason::MethodNotAllowed | Reason::UpstreamUnreachable => Ended::Gone,
        _ => Ended::Denied,
    }
}

/// Now, in seconds since 1970.
fn seconds() -> i64 {
    Timestamp::now().unix_seconds()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_last_is_known_by_its_head() {
        let lasts = |status: u16, length: Option<&str>, method: &Method| {
            let mut head = ResponseHeader::build(status, None).unwrap();
            if let Some(length) = length {
                head.insert_header(header::CONTENT_LENGTH, length).unwrap();
            }
            may_last(&head, method)
        };
        for (status, length, expected) in [
            (101, None, true),
            (200, None, true),
            (200, Some("0"), false),
            (200, Some("65535"), false),
            (200, Some("65536"), true),
            // What is not understood is no promise.
            (200, Some("1, 1"), true),
            (204, None, false),
            (304, None, false),
            (503, None, true),
        ] {
            assert_eq!(lasts(status, length, &Method::GET), expected, "{status} {length:?}");
        }
        assert!(!lasts(200, None, &Method::HEAD));
    }

    #[test]
    fn grpc_is_told_from_its_kind_for_browsers() {
        for (kind, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;charset=x", true),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("application/json", false),
        ] {
            let headers = [(header::CONTENT_TYPE, HeaderValue::from_static(kind))].into_iter().collect();
            assert_eq!(is_grpc(&headers), expected, "{kind}");
        }
        assert!(!is_grpc(&HeaderMap::new()));
    }

    #[test]
    fn refusals_have_a_status_of_grpc() {
        for reason in Reason::ALL.iter().filter(|reason| **reason != Reason::Allowed) {
            let fields = farewell(*reason);
            let status: u8 = fields["grpc-status"].to_str().unwrap().parse().unwrap();
            assert!((1..=16).contains(&status), "{reason:?}");
            // What else would have to be encoded.
            assert!(fields["grpc-message"].to_str().unwrap().chars().all(|c| c.is_ascii_graphic() || c == ' '));
        }
        assert_eq!(last_farewell(Reason::Revoked)["grpc-status"], "7");
    }
}
