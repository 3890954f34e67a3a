//! Why a request was not served, and the one place where that becomes HTTP.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::input::Issue;
use crate::http::{Refusal, retry_after};
use crate::policy::CompileError;
use crate::{control, password, store};

/// What is shown to the client.
pub(crate) type Detail = Cow<'static, str>;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why a request was not served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The request does not say what it must; 422.
    #[error("the input is not valid")]
    Validation(Vec<Issue>),
    /// Nobody is signed in, or sign-in failed; 401.
    #[error("{detail}")]
    Unauthorized {
        /// For the client.
        detail: Detail,
        /// Whether a token was presented; then the challenge says that it is not valid (RFC 6750, 3.1).
        presented: bool,
    },
    /// The caller may not do this; 403.
    #[error("{0}")]
    Forbidden(Detail),
    /// What the path names does not exist; 404.
    #[error("{0}")]
    NotFound(Detail),
    /// The entity or the rules are not those the client saw; 412.
    #[error("Precondition failed")]
    PreconditionFailed,
    /// A rule forbids it, such as a name that is taken; 400.
    #[error("{0}")]
    BadRequest(Detail),
    /// The body exceeds its bound; 413.
    #[error("Request body too large")]
    TooLarge,
    /// Too many requests; 429.
    #[error("Rate limit exceeded. Max {} requests per {} seconds.", .0.standing.limit, .0.standing.window.as_secs())]
    TooManyRequests(Refusal),
    /// The account is closed to places where its owner has not signed in, for so long; 423.
    #[error("Account is temporarily locked")]
    Locked(Duration),
    /// Too many passwords wait to be checked; 503.
    #[error("Too many sign-ins at once; try again")]
    Busy,
    /// Something needed is not there at present; 503. The source is for the log only.
    #[error("Service temporarily unavailable")]
    Unavailable(#[source] Source),
    /// A fault of ours; 500. The source is for the log only.
    #[error("Internal server error")]
    Internal(#[source] Source),
}

impl Error {
    /// No credentials at all.
    pub(crate) fn unauthenticated() -> Self {
        Self::Unauthorized { detail: "Not authenticated".into(), presented: false }
    }

    /// A token was presented and is not accepted.
    pub(crate) fn invalid_token(detail: impl Into<Detail>) -> Self {
        Self::Unauthorized { detail: detail.into(), presented: true }
    }

    /// The caller lacks `permission`, as `user:read`.
    pub(crate) fn permission(permission: &str) -> Self {
        Self::Forbidden(format!("Permission '{permission}' required for this action").into())
    }

    /// Says `detail` when `error` is that a unique value is taken.
    pub(crate) fn taken(error: store::Error, detail: impl Into<Detail>) -> Self {
        match error {
            store::Error::Conflict { .. } => Self::BadRequest(detail.into()),
            other => other.into(),
        }
    }

    /// The hand-written `policy` speaks of this role or module by its name.
    pub(crate) fn named(kind: &str, name: &str, policy: &str) -> Self {
        Self::BadRequest(format!("{kind} '{name}' cannot be renamed: the policy '{policy}' speaks of it").into())
    }

    /// A fault of ours; `source` goes to the log.
    pub(crate) fn internal(source: impl Into<Source>) -> Self {
        Self::Internal(source.into())
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Validation(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Unauthorized { .. } => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooManyRequests(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Locked(_) => StatusCode::LOCKED,
            Self::Busy | Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn headers(&self, headers: &mut HeaderMap) {
        match self {
            Self::Unauthorized { presented, .. } => {
                let challenge = if *presented { "Bearer error=\"invalid_token\"" } else { "Bearer" };
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
            }
            Self::Busy => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Self::Locked(left) => {
                headers.insert(header::RETRY_AFTER, retry_after(*left));
            }
            Self::TooManyRequests(refusal) => refusal.tell(headers),
            _ => {}
        }
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Unavailable(_) => Self::Unavailable(Box::new(error)),
            store::Error::NotFound => Self::NotFound("Not Found".into()),
            other => Self::Internal(Box::new(other)),
        }
    }
}

impl From<control::Error> for Error {
    fn from(error: control::Error) -> Self {
        match error {
            control::Error::Store(error) => error.into(),
            control::Error::Rejected(error) => error.into(),
            control::Error::Forbidden(permission) => Self::permission(permission),
            control::Error::Escalation => Self::permission(control::ESCALATE),
            control::Error::LastSuperuser => Self::BadRequest("The last active superuser cannot be removed".into()),
            control::Error::SuperRole => Self::BadRequest("The super role cannot be reduced".into()),
            control::Error::Stale => Self::PreconditionFailed,
            control::Error::Behind(_) | control::Error::Interrupted => Self::Unavailable(Box::new(error)),
            control::Error::Keys(error) => Self::Internal(Box::new(error)),
            control::Error::Unrehearsed => Self::BadRequest("It cannot be previewed".into()),
        }
    }
}

impl From<CompileError> for Error {
    fn from(error: CompileError) -> Self {
        match error {
            CompileError::Policy(_)
            | CompileError::TooManyPolicies(_)
            | CompileError::Named { .. }
            | CompileError::RouteConflict { .. }
            | CompileError::RouteShadowed { .. }
            | CompileError::Route { .. } => Self::BadRequest(error.to_string().into()),
            CompileError::Generated(_) => Self::Internal(Box::new(error)),
        }
    }
}

impl From<password::Error> for Error {
    fn from(error: password::Error) -> Self {
        match error {
            password::Error::Busy => Self::Busy,
            password::Error::Failed(_) => Self::Internal(Box::new(error)),
        }
    }
}

/// Carries the error to [`surface`], which knows method, path and request id.
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        self.headers(response.headers_mut());
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

/// A request's id: one that an outer layer put into the request's extensions, else a fresh one.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(pub(crate) HeaderValue);

impl RequestId {
    /// The id of `request`, as text.
    pub(crate) fn of(request: &Request) -> Option<String> {
        request.extensions().get::<Self>().and_then(|id| id.0.to_str().ok()).map(str::to_owned)
    }
}

impl From<crate::http::RequestId> for RequestId {
    fn from(id: crate::http::RequestId) -> Self {
        Self(HeaderValue::from_str(id.as_str()).expect("an id is visible ASCII"))
    }
}

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Gives every answer of `router` its `X-Request-Id`, and every error its body: those of handlers, those of the router
/// itself, and those of layers inside (limits, time-outs, caught panics), which know nothing of our bodies.
pub(crate) fn surface(router: Router) -> Router {
    router.layer(middleware::from_fn(render))
}

async fn render(mut request: Request, next: Next) -> Response {
    let id = request.extensions().get::<RequestId>().cloned().unwrap_or_else(fresh);
    request.extensions_mut().insert(id.clone());
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let mut response = next.run(request).await;
    let scene = Scene { method: &method, path: &path, request_id: id.0.to_str().unwrap_or_default() };
    if let Some(body) = scene.body(&mut response) {
        *response.body_mut() = Body::from(body);
        response.headers_mut().remove(header::CONTENT_LENGTH);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    response.headers_mut().insert(X_REQUEST_ID, id.0);
    response
}

fn fresh() -> RequestId {
    crate::http::RequestId::fresh().into()
}

/// What an error's body says about its request.
struct Scene<'a> {
    method: &'a Method,
    path: &'a str,
    request_id: &'a str,
}

/// A 422: entries only, as form libraries of front ends expect.
#[derive(Serialize)]
struct Entries<'a> {
    detail: &'a [Issue],
}

/// What the router itself says.
#[derive(Serialize)]
struct Plain<'a> {
    detail: &'a str,
    request_id: &'a str,
}

/// The union of what versions of the predecessor sent: clients read `detail` or `error`.
#[derive(Serialize)]
struct Union<'a> {
    detail: &'a str,
    error: &'a str,
    status_code: u16,
    path: &'a str,
    method: &'a str,
    request_id: &'a str,
}

impl Scene<'_> {
    /// The body that `response` should have instead of its own, if it is an error.
    fn body(&self, response: &mut Response) -> Option<Vec<u8>> {
        let status = response.status();
        let body = match response.extensions_mut().remove::<Arc<Error>>().as_deref() {
            Some(Error::Validation(issues)) => serde_json::to_vec(&Entries { detail: issues }),
            Some(error) => {
                self.log(error);
                self.union(status, &error.to_string())
            }
            None if is_ours(response) || !(status.is_client_error() || status.is_server_error()) => return None,
            None if matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) => {
                serde_json::to_vec(&Plain { detail: reason(status), request_id: self.request_id })
            }
            None => self.union(status, reason(status)),
        };
        // Texts and numbers under fixed keys always serialise.
        Some(body.unwrap_or_default())
    }

    fn union(&self, status: StatusCode, detail: &str) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(&Union {
            detail,
            error: detail,
            status_code: status.as_u16(),
            path: self.path,
            method: self.method.as_str(),
            request_id: self.request_id,
        })
    }

    fn log(&self, error: &Error) {
        if let Error::Internal(source) | Error::Unavailable(source) = error {
            tracing::error!(
                request.id = self.request_id,
                request.method = self.method.as_str(),
                request.path = self.path,
                error = &**source as &dyn std::error::Error,
                "request failed"
            );
        }
    }
}

fn reason(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or("Error")
}

/// Whether a handler wrote this error's body itself, as a health check does.
fn is_ours(response: &Response) -> bool {
    response.headers().get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/json"))
}

#[cfg(test)]
mod tests;
