//! One-time tokens: 256 bits that nobody can guess, and that nothing stored reveals.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::model::Secret;
use crate::store::mail_tokens::Purpose;

/// What tokens are computed with.
#[derive(Clone, Debug)]
pub(super) struct Key(Secret<[u8; 32]>);

impl Key {
    /// A key of its own for this use: what is learnt of one use of the secret says nothing about another.
    pub(super) fn derive(secret: &Secret<String>) -> Self {
        Self(Secret::new(authenticated(secret.expose().as_bytes(), &[b"cedargate mail tokens 1"])))
    }

    /// The token in the letter of this id.
    pub(super) fn token(&self, purpose: Purpose, message_id: &str) -> Secret<String> {
        let code = authenticated(self.0.expose(), &[purpose.as_str().as_bytes(), b"\0", message_id.as_bytes()]);
        Secret::new(URL_SAFE_NO_PAD.encode(code))
    }
}

fn authenticated(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// What is stored of a token.
pub fn hash(token: &Secret<String>) -> String {
    let digest = Sha256::digest(token.expose().as_bytes());
    digest.iter().fold(String::with_capacity(64), |mut text, byte| {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_by_secret_purpose_and_letter() {
        let key = |text: &str| Key::derive(&Secret::new(text.to_owned()));
        let token = |secret, purpose, id| key(secret).token(purpose, id).expose().clone();
        let one = token("a", Purpose::Reset, "1");
        assert_eq!(one.len(), 43);
        assert_eq!(one, token("a", Purpose::Reset, "1"));
        let others =
            [token("b", Purpose::Reset, "1"), token("a", Purpose::Verification, "1"), token("a", Purpose::Reset, "2")];
        assert!(!others.contains(&one));
        assert_eq!(
            hash(&Secret::new("abc".to_owned())),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
