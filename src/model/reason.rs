/// Why a request was answered as it was: the stable codes of the gateway's answers, logs and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A policy permits it.
    Allowed,
    /// A token is needed and none was presented.
    NoCredentials,
    /// The token is malformed, forged, of the wrong kind, or of an unknown user.
    InvalidToken,
    /// The token's `exp` has passed.
    ExpiredToken,
    /// The token or its session was ended.
    Revoked,
    /// The user is deactivated.
    UserInactive,
    /// No policy permits it.
    NoGrant,
    /// A `forbid` policy matches.
    ForbiddenByPolicy,
    /// A `forbid` policy could not be evaluated, which denies.
    PolicyError,
    /// No route matches the path.
    UnknownRoute,
    /// The route has no operation for the method.
    MethodNotAllowed,
    /// The request target could be read in two ways.
    BadTarget,
    /// Another part of the request is malformed or ambiguous.
    BadRequest,
    /// The request target is longer than its bound.
    TargetTooLong,
    /// The header fields are more, or longer, than their bound.
    HeadersTooLarge,
    /// The request did not arrive in time.
    RequestTimeout,
    /// The body exceeds its bound.
    TooLarge,
    /// Too many requests.
    RateLimited,
    /// The answer went on when it was no longer allowed, and was ended.
    StreamEnded,
    /// The upstream cannot be reached, or its answer is unusable.
    UpstreamUnreachable,
    /// The upstream did not answer in time.
    UpstreamTimeout,
    /// No capacity for new work.
    Overloaded,
    /// A fault of the gateway's own.
    Internal,
}

impl Reason {
    /// Every reason, for documentation and for metrics that exist from the start.
    pub const ALL: &'static [Self] = &[
        Self::Allowed,
        Self::NoCredentials,
        Self::InvalidToken,
        Self::ExpiredToken,
        Self::Revoked,
        Self::UserInactive,
        Self::NoGrant,
        Self::ForbiddenByPolicy,
        Self::PolicyError,
        Self::UnknownRoute,
        Self::MethodNotAllowed,
        Self::BadTarget,
        Self::BadRequest,
        Self::TargetTooLong,
        Self::HeadersTooLarge,
        Self::RequestTimeout,
        Self::TooLarge,
        Self::RateLimited,
        Self::StreamEnded,
        Self::UpstreamUnreachable,
        Self::UpstreamTimeout,
        Self::Overloaded,
        Self::Internal,
    ];

    /// The code on the wire.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::NoCredentials => "no_credentials",
            Self::InvalidToken => "invalid_token",
            Self::ExpiredToken => "expired_token",
            Self::Revoked => "revoked",
            Self::UserInactive => "user_inactive",
            Self::NoGrant => "no_grant",
            Self::ForbiddenByPolicy => "forbidden_by_policy",
            Self::PolicyError => "policy_error",
            Self::UnknownRoute => "unknown_route",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::BadTarget => "bad_target",
            Self::BadRequest => "bad_request",
            Self::TargetTooLong => "target_too_long",
            Self::HeadersTooLarge => "headers_too_large",
            Self::RequestTimeout => "request_timeout",
            Self::TooLarge => "too_large",
            Self::RateLimited => "rate_limited",
            Self::StreamEnded => "stream_ended",
            Self::UpstreamUnreachable => "upstream_unreachable",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::Overloaded => "overloaded",
            Self::Internal => "internal",
        }
    }

    /// The HTTP status the gateway answers with.
    pub const fn status(self) -> u16 {
        match self {
            Self::Allowed => 200,
            Self::BadTarget | Self::BadRequest => 400,
            Self::NoCredentials | Self::InvalidToken | Self::ExpiredToken | Self::Revoked | Self::UserInactive => 401,
            Self::NoGrant | Self::ForbiddenByPolicy | Self::PolicyError | Self::StreamEnded => 403,
            Self::UnknownRoute => 404,
            Self::MethodNotAllowed => 405,
            Self::RequestTimeout => 408,
            Self::TooLarge => 413,
            Self::TargetTooLong => 414,
            Self::RateLimited => 429,
            Self::HeadersTooLarge => 431,
            Self::Internal => 500,
            Self::UpstreamUnreachable => 502,
            Self::Overloaded => 503,
            Self::UpstreamTimeout => 504,
        }
    }

    /// Whether it is given to requests that were let through, whatever became of them.
    pub const fn is_of_allowed(self) -> bool {
        matches!(
            self,
            Self::Allowed | Self::TooLarge | Self::StreamEnded | Self::UpstreamUnreachable | Self::UpstreamTimeout
        )
    }

    /// One sentence for the client; never more than the code already tells.
    pub const fn detail(self) -> &'static str {
        match self {
            Self::Allowed => "The request is permitted.",
            Self::NoCredentials => "A bearer token is required.",
            Self::InvalidToken => "The bearer token is not valid.",
            Self::ExpiredToken => "The bearer token has expired.",
            Self::Revoked => "The bearer token has been revoked.",
            Self::UserInactive => "The user account is disabled.",
            Self::NoGrant => "No policy permits this request.",
            Self::ForbiddenByPolicy => "A policy forbids this request.",
            Self::PolicyError => "A policy could not be evaluated for this request.",
            Self::UnknownRoute => "No route matches this path.",
            Self::MethodNotAllowed => "The route does not accept this method.",
            Self::BadTarget => "The request target is malformed or ambiguous.",
            Self::BadRequest => "The request is malformed or ambiguous.",
            Self::TargetTooLong => "The request target is too long.",
            Self::HeadersTooLarge => "The header fields of the request are too many or too long.",
            Self::RequestTimeout => "The request did not arrive in time.",
            Self::TooLarge => "The request body is too large.",
            Self::RateLimited => "Too many requests.",
            Self::StreamEnded => "The request is no longer permitted.",
            Self::UpstreamUnreachable => "The upstream could not be reached or gave no usable answer.",
            Self::UpstreamTimeout => "The upstream did not answer in time.",
            Self::Overloaded => "The gateway has no capacity for this request.",
            Self::Internal => "The gateway could not handle this request.",
        }
    }
}
