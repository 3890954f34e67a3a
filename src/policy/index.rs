//! Which policies can apply to a request: found by hash, so that the cost follows the caller's roles and not
//! the number of policies.
//!
//! ## Why
//! A policy can be satisfied only if its scope holds. `principal in X` holds only when `X` is the principal or
//! one of its ancestors, and likewise for resources; so every policy that can be satisfied is found under one of
//! the principal's own keys, one of the action's and one of the resource's. What is found is then evaluated
//! by Cedar itself, so a key may be too generous but never too narrow.

use std::{collections::HashMap, sync::Arc};

use cedar_policy::{ActionConstraint, EntityUid, PolicyId, PrincipalConstraint, ResourceConstraint};

use super::{handwritten::Handwritten, template::Kind};

/// A generated policy: an instance of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) id: PolicyId,
    pub(super) kind: Kind,
    pub(super) principal: Option<EntityUid>,
    pub(super) action: EntityUid,
    pub(super) resource: EntityUid,
}

/// A policy of either origin.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    Link(Arc<Link>),
    Handwritten(Arc<Handwritten>),
}

/// One part of a scope: an entity, or anything.
pub(super) type Key = Option<EntityUid>;

type ByResource = HashMap<Key, Vec<Entry>>;

/// All policies by principal, action and resource of their scope.
#[derive(Debug, Default)]
pub(super) struct Index(HashMap<Key, HashMap<Key, ByResource>>);

impl Index {
    pub(super) fn add_link(&mut self, link: Arc<Link>) {
        let (principal, action, resource) = (link.principal.clone(), link.action.clone(), link.resource.clone());
        self.add(principal, Some(action), Some(resource), Entry::Link(link));
    }

    pub(super) fn add_handwritten(&mut self, handwritten: &Arc<Handwritten>) {
        let policy = &handwritten.policy;
        let principal = match policy.principal_constraint() {
            PrincipalConstraint::In(uid) | PrincipalConstraint::Eq(uid) | PrincipalConstraint::IsIn(_, uid) => {
                Some(uid)
            }
            PrincipalConstraint::Any | PrincipalConstraint::Is(_) => None,
        };
        let resource = match policy.resource_constraint() {
            ResourceConstraint::In(uid) | ResourceConstraint::Eq(uid) | ResourceConstraint::IsIn(_, uid) => Some(uid),
            ResourceConstraint::Any | ResourceConstraint::Is(_) => None,
        };
        let actions: Vec<Key> = match policy.action_constraint() {
            ActionConstraint::Any => vec![None],
            ActionConstraint::Eq(uid) => vec![Some(uid)],
            ActionConstraint::In(uids) => uids.into_iter().map(Some).collect(),
        };
        for action in actions {
            self.add(principal.clone(), action, resource.clone(), Entry::Handwritten(Arc::clone(handwritten)));
        }
    }

    fn add(&mut self, principal: Key, action: Key, resource: Key, entry: Entry) {
        let by_resource = self.0.entry(principal).or_default().entry(action).or_default();
        by_resource.entry(resource).or_default().push(entry);
    }

    /// Calls `found` with every policy that can apply.
    ///
    /// `None` among the keys stands for "anything" and must be passed by the caller where it applies.
    pub(super) fn each<'i>(
        &'i self,
        principals: &[&Key],
        action: &Key,
        resources: &[Key],
        mut found: impl FnMut(&'i Entry),
    ) {
        for by_action in principals.iter().filter_map(|principal| self.0.get(*principal)) {
            for by_resource in [&None, action].into_iter().filter_map(|action| by_action.get(action)) {
                for entry in resources.iter().filter_map(|resource| by_resource.get(resource)).flatten() {
                    found(entry);
                }
            }
        }
    }

    /// Every policy, in no order; one on several actions comes once for each.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.0.values().flat_map(HashMap::values).flat_map(HashMap::values).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::names, *};

    /// What a decision looks at follows the caller's roles, whatever else there is.
    #[test]
    fn work_does_not_follow_the_number_of_roles() {
        for roles in [10, 10_000] {
            let mut index = Index::default();
            for role in 0..roles {
                for grant in 0..5 {
                    index.add_link(Arc::new(Link {
                        id: PolicyId::new(format!("grant:{role}:{grant}")),
                        kind: Kind::Grant("read".to_owned()),
                        principal: Some(names::role(&format!("role{role}"))),
                        action: names::action("read"),
                        resource: names::resource(&format!("thing{grant}")),
                    }));
                }
            }
            let held = [None, Some(names::role("role3")), Some(names::role("role7"))];
            let mut found = Vec::new();
            let resources = [None, Some(names::resource("thing2"))];
            index.each(&held.each_ref(), &Some(names::action("read")), &resources, |entry| {
                if let Entry::Link(link) = entry {
                    found.push(link.id.to_string());
                }
            });
            assert_eq!(found, ["grant:3:2", "grant:7:2"], "{roles} roles");
        }
    }
}
