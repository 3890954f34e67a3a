//! What hand-written policies speak of by name.

use cedar_policy::EntityUid;

use super::{compile::Compiled, error::CompileError, names, snapshot::Snapshot};
use crate::model::{ModuleName, RoleName, UserId};

/// Something that may have become another, or be gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concern {
    /// Roles.
    Roles,
    /// Permissions, and what they are about.
    Permissions,
    /// Modules, routes and their operations.
    Routes,
    /// One user.
    User(UserId),
}

impl Concern {
    fn is_about(self, uid: &EntityUid) -> bool {
        match self {
            Self::User(id) => names::user_id(uid) == Some(id),
            Self::Roles => uid.type_name().basename() == "Role",
            Self::Permissions => uid.type_name().basename() == "Resource",
            Self::Routes => matches!(uid.type_name().basename(), "Module" | "Route" | "Endpoint" | "Resource"),
        }
    }
}

impl Snapshot {
    /// Whether everything that policies spoke of `before` is still there, as far as one of `concerns` is about it.
    ///
    /// # Errors
    /// [`CompileError::Named`] for what is gone.
    pub fn keeps_names_of(&self, before: &Self, concerns: &[Concern]) -> Result<(), CompileError> {
        let named = self.compiled().checked.named.iter();
        let mut touched = named.filter(|uid| concerns.iter().any(|concern| concern.is_about(uid)));
        match touched.find(|uid| before.knows(uid) && !self.knows(uid)) {
            Some(uid) => Err(CompileError::Named {
                what: uid.to_string(),
                policy: self.compiled().policy_naming(uid).unwrap_or_default().to_owned(),
            }),
            None => Ok(()),
        }
    }
}

impl Compiled {
    /// The hand-written policy that speaks of this role, if any does. Under another name it would be out of its reach.
    pub fn policy_naming_role(&self, name: &RoleName) -> Option<&str> {
        self.policy_naming(&names::role(name.as_str()))
    }

    /// The hand-written policy that speaks of this module, if any does.
    pub fn policy_naming_module(&self, name: &ModuleName) -> Option<&str> {
        self.policy_naming(&names::module(name.as_str()))
    }

    fn policy_naming(&self, uid: &EntityUid) -> Option<&str> {
        let policy = self.checked.policies().find(|policy| policy.literals.contains(uid))?;
        Some(policy.text.name.as_str())
    }
}
