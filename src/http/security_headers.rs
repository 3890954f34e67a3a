use std::time::Duration;

use http::{HeaderName, HeaderValue, header};

const X_XSS_PROTECTION: HeaderName = HeaderName::from_static("x-xss-protection");

/// What browsers are told to be careful with, for answers that are data and no pages.
#[derive(Clone, Debug)]
pub struct SecurityHeaders {
    hsts: Option<HeaderValue>,
}

impl SecurityHeaders {
    /// Browsers that were served over TLS shall use nothing else for `hsts_max_age` (RFC 6797); zero does not say so.
    pub fn new(hsts_max_age: Duration) -> Self {
        let seconds = hsts_max_age.as_secs();
        let hsts = (seconds > 0).then(|| HeaderValue::from_str(&format!("max-age={seconds}")).ok()).flatten();
        Self { hsts }
    }

    /// The headers of an answer; `tls` says whether the client is served over TLS.
    ///
    /// A page needs a `Content-Security-Policy` of its own.
    pub fn of(&self, tls: bool) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        const ALWAYS: [(HeaderName, HeaderValue); 5] = [
            (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
            (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
            (X_XSS_PROTECTION, HeaderValue::from_static("1; mode=block")),
            (header::REFERRER_POLICY, HeaderValue::from_static("strict-origin-when-cross-origin")),
            (
                header::CONTENT_SECURITY_POLICY,
                HeaderValue::from_static(
                    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
                ),
            ),
        ];
        let hsts = self.hsts.clone().filter(|_| tls).map(|value| (header::STRICT_TRANSPORT_SECURITY, value));
        ALWAYS.into_iter().chain(hsts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_promised_over_tls_only() {
        let hsts = |seconds, tls| {
            let headers: http::HeaderMap = SecurityHeaders::new(Duration::from_secs(seconds)).of(tls).collect();
            assert_eq!(headers["x-content-type-options"], "nosniff");
            headers.get("strict-transport-security").cloned()
        };
        assert_eq!(hsts(60, true).unwrap(), "max-age=60");
        assert_eq!((hsts(60, false), hsts(0, true)), (None, None));
    }
}
