use std::sync::Arc;

use super::{Error, Issuer, Issuers, Own};

/// Everything that is trusted at one moment.
#[derive(Clone, Debug)]
pub struct KeySet {
    /// Moves with every exchange: what was verified by another version has to be verified again.
    pub(super) version: u64,
    pub(super) own: Arc<Own>,
    pub(super) issuers: Arc<Issuers>,
}

impl KeySet {
    /// Our own keys.
    pub fn own(&self) -> &Arc<Own> {
        &self.own
    }

    /// The issuers that are believed beside ourselves.
    pub fn issuers(&self) -> &Arc<Issuers> {
        &self.issuers
    }

    /// Moves with every exchange.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whose keys `iss` asks for; `None` is ourselves. Nothing of the token is verified yet.
    ///
    /// # Errors
    /// `Invalid` for an issuer that is not trusted.
    pub(super) fn issuer(&self, iss: Option<&str>) -> Result<Option<&Arc<Issuer>>, Error> {
        match iss {
            None => Ok(None),
            Some(name) if name == self.own.issuer() => Ok(None),
            Some(name) => self.issuers.get(name).map(Some).ok_or(Error::Invalid("iss is nobody trusted")),
        }
    }
}
