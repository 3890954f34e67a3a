//! What a new password must satisfy, for whoever is about to choose one.

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use super::Auth;
use crate::password::{MAX_PASSWORD_BYTES, Policy};

/// What a new password must satisfy.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PasswordPolicy")]
#[expect(clippy::struct_excessive_bools, reason = "the settings of the contract")]
pub(super) struct Rules {
    /// Characters.
    min_length: usize,
    /// An upper-case letter.
    require_uppercase: bool,
    /// A lower-case letter.
    require_lowercase: bool,
    /// A digit.
    require_numbers: bool,
    /// A character that is neither letter nor digit.
    require_special: bool,
    /// How hard to guess, from 0 to 4, by the estimate of zxcvbn.
    min_strength: u8,
    /// Bytes of UTF-8.
    max_bytes: usize,
    /// Whether the user's own name and address are refused.
    refuses_own_name: bool,
}

pub(super) async fn show(State(auth): State<Auth>) -> Json<Rules> {
    let Policy { min_length, uppercase, lowercase, numbers, special, strength } = auth.policy;
    Json(Rules {
        min_length,
        require_uppercase: uppercase,
        require_lowercase: lowercase,
        require_numbers: numbers,
        require_special: special,
        min_strength: strength,
        max_bytes: MAX_PASSWORD_BYTES,
        refuses_own_name: true,
    })
}
