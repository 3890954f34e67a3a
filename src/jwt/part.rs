use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::de::DeserializeOwned;

use super::Error;

/// A part of a token, read as `T`.
pub(super) fn read<T: DeserializeOwned>(part: &str) -> Result<T, Error> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| Error::Invalid("not base64url"))?;
    serde_json::from_slice(&bytes).map_err(|_| Error::Invalid("not a JSON object as expected"))
}
