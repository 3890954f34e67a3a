//! How a client stands, and how it is told.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// The contract's fields.
pub const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const WINDOW: HeaderName = HeaderName::from_static("x-ratelimit-window");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
/// Those that are to become a standard (draft-ietf-httpapi-ratelimit-headers-10).
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// What a client has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Which limit it is, in a word.
    pub policy: &'static str,
    /// Requests allowed within the window.
    pub limit: u32,
    /// The window.
    pub window: Duration,
    /// Requests that would be served now.
    pub remaining: u32,
    /// When all of the limit will be there again.
    pub reset: Duration,
}

/// Too many requests, or too many failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// How the client stands: with nothing left.
    pub standing: Standing,
    /// When another try is allowed.
    pub retry_after: Duration,
}

impl Standing {
    /// Says how a client stands; when all of the limit is back, in seconds since 1970 and in seconds from now.
    pub fn tell(&self, headers: &mut HeaderMap) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let Self { policy, limit, window, remaining, reset } = *self;
        headers.insert(LIMIT, HeaderValue::from(limit));
        headers.insert(WINDOW, HeaderValue::from(window.as_secs()));
        headers.insert(REMAINING, HeaderValue::from(remaining));
        headers.insert(RESET, HeaderValue::from(whole_seconds(now + reset)));
        let items = [
            (RATE_LIMIT_POLICY, format!("\"{policy}\";q={limit};w={}", window.as_secs())),
            (RATE_LIMIT, format!("\"{policy}\";r={remaining};t={}", whole_seconds(reset))),
        ];
        for (name, item) in items {
            headers.extend(HeaderValue::try_from(item).ok().map(|value| (name, value)));
        }
    }
}

impl Refusal {
    /// Says how a client stands, and when to try again.
    pub fn tell(&self, headers: &mut HeaderMap) {
        headers.insert(header::RETRY_AFTER, retry_after(self.retry_after));
        self.standing.tell(headers);
    }
}

/// When to try again: never at once.
pub fn retry_after(time: Duration) -> HeaderValue {
    HeaderValue::from(whole_seconds(time).max(1))
}

/// Rounded up, so that a client that waits as told is not refused again.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
