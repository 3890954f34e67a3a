//! Cross-origin requests of browsers (the Fetch standard's CORS protocol).

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

/// Who may call from a page of another origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// Allowed origins, each as a browser sends it; `*` is any.
    pub origins: Vec<String>,
    /// Allowed methods; `*` is any.
    pub methods: Vec<String>,
    /// Allowed request headers; `*` is any.
    pub headers: Vec<String>,
    /// Whether cookies and credentials may go along.
    pub credentials: bool,
    /// How long a browser may remember the answer.
    pub max_age_seconds: u32,
}

impl Default for Cors {
    fn default() -> Self {
        let any = || vec!["*".to_owned()];
        Self { origins: any(), methods: any(), headers: any(), credentials: true, max_age_seconds: 600 }
    }
}

const EVERY_METHOD: HeaderValue = HeaderValue::from_static("DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT");
/// What scripts of another origin may read of an answer beside its body.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "ETag, RateLimit, RateLimit-Policy, Retry-After, X-Policy-Revision, X-RateLimit-Limit, X-RateLimit-Remaining, \
     X-RateLimit-Reset, X-RateLimit-Window, X-Request-Id, X-Total-Count, X-Total-Count-Capped",
);

/// Whether `request` is a preflight: a browser asks whether it may send what a page wants to.
pub fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS
        && headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

impl Cors {
    /// The headers that answer a preflight, or `None` if it asks for what is not allowed.
    ///
    /// The origin and the requested headers are repeated, since `*` does not go with credentials.
    pub fn preflight(&self, request: &HeaderMap) -> Option<Vec<(HeaderName, HeaderValue)>> {
        let mut answer = self.allowed(request)?;
        let method = request.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
        let methods = if any(&self.methods) {
            EVERY_METHOD
        } else if self.methods.iter().any(|allowed| allowed.as_bytes() == method.as_bytes()) {
            HeaderValue::from_str(&self.methods.join(", ")).ok()?
        } else {
            return None;
        };
        answer.push((header::ACCESS_CONTROL_ALLOW_METHODS, methods));
        if let Some(wanted) = request.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
            if !self.allows_headers(wanted) {
                return None;
            }
            answer.push((header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone()));
        }
        answer.push((header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from(self.max_age_seconds)));
        Some(answer)
    }

    /// The headers that let a page of another origin read an answer, or `None` if it may not.
    pub fn origin(&self, request: &HeaderMap) -> Option<Vec<(HeaderName, HeaderValue)>> {
        let mut answer = self.allowed(request)?;
        answer.push((header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED));
        Some(answer)
    }

    /// Whether pages of `origin` may call.
    pub fn allows(&self, origin: &HeaderValue) -> bool {
        any(&self.origins) || self.origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes())
    }

    fn allowed(&self, request: &HeaderMap) -> Option<Vec<(HeaderName, HeaderValue)>> {
        let origin = request.get(header::ORIGIN).filter(|origin| self.allows(origin))?;
        let mut answer = vec![
            (header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone()),
            (header::VARY, HeaderValue::from_static("Origin")),
        ];
        if self.credentials {
            answer.push((header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true")));
        }
        Some(answer)
    }

    fn allows_headers(&self, wanted: &HeaderValue) -> bool {
        let Ok(wanted) = wanted.to_str() else { return false };
        let allowed = |name: &str| self.headers.iter().any(|header| header.eq_ignore_ascii_case(name));
        any(&self.headers) || wanted.split(',').map(str::trim).all(allowed)
    }
}

fn any(list: &[String]) -> bool {
    list.iter().any(|entry| entry == "*")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(origin: &'static str, method: &'static str, headers: &'static str) -> HeaderMap {
        [
            (header::ORIGIN, HeaderValue::from_static(origin)),
            (header::ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static(method)),
            (header::ACCESS_CONTROL_REQUEST_HEADERS, HeaderValue::from_static(headers)),
        ]
        .into_iter()
        .collect()
    }

    #[test]
    fn preflights() {
        let answer: HeaderMap =
            Cors::default().preflight(&request("https://a", "PUT", "x-a, x-b")).unwrap().into_iter().collect();
        assert_eq!(answer["access-control-allow-origin"], "https://a");
        assert_eq!(answer["access-control-allow-headers"], "x-a, x-b");
        assert_eq!(answer["access-control-allow-credentials"], "true");
        assert_eq!(answer["access-control-max-age"], "600");
        let one = |text: &str| vec![text.to_owned()];
        let strict = Cors { origins: one("https://a"), methods: one("GET"), headers: one("X-A"), ..Cors::default() };
        assert!(strict.preflight(&request("https://a", "GET", "x-a")).is_some());
        assert!(strict.preflight(&request("https://b", "GET", "x-a")).is_none());
        assert!(strict.preflight(&request("https://a", "PUT", "x-a")).is_none());
        assert!(strict.preflight(&request("https://a", "GET", "x-a,x-b")).is_none());
    }

    #[test]
    fn an_answer_names_the_origin_and_what_may_be_read() {
        let answer: HeaderMap = Cors::default().origin(&request("https://a", "GET", "")).unwrap().into_iter().collect();
        assert_eq!(answer["access-control-allow-origin"], "https://a");
        assert!(answer["access-control-expose-headers"].to_str().unwrap().contains("X-RateLimit-Limit"));
        assert_eq!(answer["vary"], "Origin");
        assert!(Cors::default().origin(&HeaderMap::new()).is_none());
    }
}
