use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::model::{Email, Timestamp, Username};

pub(super) const VERIFICATION: &str = "verification";
pub(super) const RESET: &str = "reset";

/// Somebody with a name and an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// Sign-in name.
    pub username: Username,
    /// Mail address.
    pub email: Email,
}

/// When something happened, and who did it as far as is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scene {
    /// When.
    pub at: Timestamp,
    /// Where the request came from.
    pub client: IpAddr,
    /// What the client called itself; bounded by whoever read it.
    pub user_agent: Option<String>,
}

/// A mail to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Letter {
    /// A link that shows that the address is one's own. Sent if it is an active user's, and not verified yet.
    Verification {
        /// The address.
        email: Email,
    },
    /// A link to set a password. Sent if the address is an active user's.
    Reset {
        /// The address.
        email: Email,
    },
    /// Somebody signed in from an address that is new.
    NewSignIn {
        /// Whose account.
        to: Person,
        /// From where.
        scene: Scene,
    },
    /// Too many attempts to sign in failed.
    Lockout {
        /// Whose account.
        to: Person,
        /// From where the last of them came.
        scene: Scene,
    },
    /// A refresh token was used twice, so its sessions were ended.
    SessionsEnded {
        /// Whose account.
        to: Person,
        /// From where it was used again.
        scene: Scene,
    },
    /// There is another password.
    PasswordChanged {
        /// Whose account.
        to: Person,
        /// From where it was set.
        scene: Scene,
    },
    /// There is another address; told to the one before.
    AddressChanged {
        /// Whose account, with the address before.
        to: Person,
        /// From where it was set.
        scene: Scene,
    },
}

impl Letter {
    /// The word for its kind, in the database and in metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Verification { .. } => VERIFICATION,
            Self::Reset { .. } => RESET,
            Self::NewSignIn { .. } => "new_sign_in",
            Self::Lockout { .. } => "lockout",
            Self::SessionsEnded { .. } => "sessions_ended",
            Self::PasswordChanged { .. } => "password_changed",
            Self::AddressChanged { .. } => "address_changed",
        }
    }

    /// To whom it goes.
    pub fn recipient(&self) -> &Email {
        match self {
            Self::Verification { email } | Self::Reset { email } => email,
            Self::NewSignIn { to, .. }
            | Self::Lockout { to, .. }
            | Self::SessionsEnded { to, .. }
            | Self::PasswordChanged { to, .. }
            | Self::AddressChanged { to, .. } => &to.email,
        }
    }

    /// As it is stored.
    pub(super) fn to_text(&self) -> String {
        // Names, addresses and times under fixed keys always serialise.
        serde_json::to_string(self).unwrap_or_default().replace("\\u0000", "")
    }

    /// As it was stored.
    pub(super) fn from_text(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}
