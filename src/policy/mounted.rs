use crate::model::PathTemplate;

/// A path of the admin service, served on the gateway's listener too.
///
/// The gateway hands over whatever is asked of it, since the admin service authorises by itself. What it will ask for is
/// known here only so that it can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountedPath {
    /// Its template, as `/api/v1/users/{user_id}`.
    pub template: PathTemplate,
    /// What may be done there.
    pub operations: Vec<MountedOperation>,
}

/// One method of a mounted path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountedOperation {
    /// The method.
    pub method: String,
    /// Who may use it.
    pub access: MountedAccess,
}

/// Whom the admin service lets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountedAccess {
    /// Everybody; a token is not looked at.
    Public,
    /// Everybody with a valid token.
    SignedIn,
    /// Whom the engine permits this.
    Needs(String),
    /// Everybody without a token, and those with one whom the engine permits this.
    PublicOr(String),
}

impl MountedPath {
    /// The operation that answers `method`: its own, for HEAD that of GET.
    pub fn operation(&self, method: &str) -> Option<&MountedOperation> {
        let method = if method == "HEAD" { "GET" } else { method };
        self.operations.iter().find(|operation| operation.method == method)
    }
}

impl MountedAccess {
    /// The permission that is asked for.
    pub(super) fn permission(&self, signed_in: bool) -> Option<&str> {
        match self {
            Self::Needs(permission) => Some(permission),
            Self::PublicOr(permission) if signed_in => Some(permission),
            Self::Public | Self::SignedIn | Self::PublicOr(_) => None,
        }
    }

    /// Whether nothing at all is asked for.
    pub(super) fn is_public(&self, signed_in: bool) -> bool {
        matches!(self, Self::Public) || (matches!(self, Self::PublicOr(_)) && !signed_in)
    }
}
