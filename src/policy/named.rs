//! What hand-written policies speak of by name.

use cedar_policy::EntityUid;

use super::{compile::Compiled, names};
use crate::model::{ModuleName, RoleName};

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
        let policy = self.checked.policies.iter().find(|policy| policy.literals.contains(uid))?;
        Some(policy.name())
    }
}
