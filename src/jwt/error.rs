use std::sync::Arc;

/// Why a token is refused. The text is for the log, never for the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Malformed, forged, or not meant for this.
    #[error("invalid token: {0}")]
    Invalid(&'static str),
    /// Genuine, but of the other type.
    #[error("a token of another type")]
    Kind,
    /// `exp` and the leeway have passed.
    #[error("the token has expired")]
    Expired,
    /// By an issuer that is trusted, but with a key that is not known, or not yet. Nothing of the token is verified.
    #[error("invalid token: an unknown key of {issuer}")]
    UnknownKey {
        /// The issuer, as it is known here.
        issuer: Arc<str>,
    },
}
