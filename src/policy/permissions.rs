//! Permissions by number, and what roles are granted of them.

use std::{collections::BTreeMap, sync::Arc};

use foldhash::fast::RandomState;
use imbl::{GenericHashMap, shared_ptr::DefaultSharedPtr};

use crate::model::{PermissionId, PermissionName, PermissionParts, rules::PermissionRule};

/// Ids are given by the database, and names by administrators, so a fast hash will do.
pub(super) type Shared<K, V> = GenericHashMap<K, V, RandomState, DefaultSharedPtr>;

/// A verb on a resource, by number: what a permission allows and an operation asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Target(u32);

/// A permission with a verb, as granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Grant {
    pub(super) target: Target,
    /// Only on what the caller owns.
    pub(super) own: bool,
    pub(super) permission: PermissionId,
}

/// What one role is granted by itself.
#[derive(Debug, Default)]
pub(super) struct Grants {
    /// Everything, active or not, sorted.
    pub(super) all: Box<[PermissionId]>,
    /// What is active and has a verb.
    live: Live,
}

/// What one role is granted that is active and has a verb, by target; cheap to clone.
///
/// ## Why
/// Whoever holds the role keeps one: that is one hop less on the way to what every decision looks for.
#[derive(Clone, Debug, Default)]
pub(super) struct Live(Arc<[Grant]>);

impl Live {
    /// What is granted on `target`.
    pub(super) fn on(&self, target: Target) -> &[Grant] {
        let first = self.0.partition_point(|grant| grant.target < target);
        let rest = self.0.get(first..).unwrap_or_default();
        let count = rest.iter().take_while(|grant| grant.target == target).count();
        rest.get(..count).unwrap_or_default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn all(&self) -> &[Grant] {
        &self.0
    }
}

impl Grants {
    pub(super) fn new(mut all: Vec<PermissionId>, permissions: &Permissions) -> Self {
        all.sort_unstable();
        all.dedup();
        let mut live: Vec<Grant> = all.iter().filter_map(|id| permissions.get(*id)?.grant).collect();
        live.sort_unstable();
        Self { all: all.into(), live: Live(live.into()) }
    }

    /// Whether `permission` is granted, active or not.
    pub(super) fn has(&self, permission: PermissionId) -> bool {
        self.all.binary_search(&permission).is_ok()
    }

    pub(super) fn live(&self) -> &Live {
        &self.live
    }
}

/// A permission, prepared.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) name: PermissionName,
    is_active: bool,
    /// What a role with it is granted; nothing while it is inactive or without a verb.
    grant: Option<Grant>,
}

/// All permissions.
#[derive(Clone, Debug, Default)]
pub(super) struct Permissions {
    by_id: Shared<PermissionId, Arc<Known>>,
    targets: Shared<Arc<str>, Target>,
    /// How many permissions name each verb.
    verbs: Arc<BTreeMap<String, usize>>,
    /// How many permissions name each resource.
    resources: Shared<Arc<str>, usize>,
}

impl Permissions {
    pub(super) fn get(&self, id: PermissionId) -> Option<&Arc<Known>> {
        self.by_id.get(&id)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (PermissionId, String)> {
        self.by_id.iter().map(|(id, known)| (*id, format!("{} {}", known.name, known.is_active)))
    }

    /// The names of those that grant something.
    pub(super) fn active(&self) -> impl Iterator<Item = &PermissionName> {
        self.by_id.values().filter(|known| known.is_active).map(|known| &known.name)
    }

    /// The permission of this name.
    pub(super) fn named(&self, name: &PermissionName) -> Option<PermissionRule> {
        let (id, known) = self.by_id.iter().find(|(_, known)| known.name == *name)?;
        Some(PermissionRule { id: *id, name: known.name.clone(), is_active: known.is_active })
    }

    /// All of them, by id.
    pub(super) fn rules(&self) -> Vec<PermissionRule> {
        let rule = |(id, known): (&PermissionId, &Arc<Known>)| PermissionRule {
            id: *id,
            name: known.name.clone(),
            is_active: known.is_active,
        };
        let mut rules: Vec<PermissionRule> = self.by_id.iter().map(rule).collect();
        rules.sort_unstable_by_key(|rule| rule.id);
        rules
    }

    /// How many targets were ever spoken of.
    pub(super) fn target_count(&self) -> usize {
        self.targets.len()
    }

    /// The verbs of all permissions, active or not.
    pub(super) fn verbs(&self) -> impl Iterator<Item = &str> {
        self.verbs.keys().map(String::as_str)
    }

    /// Whether any permission, active or not, is about this resource.
    pub(super) fn has_resource(&self, name: &str) -> bool {
        self.resources.contains_key(name)
    }

    /// What permissions are about.
    pub(super) fn resources(&self) -> impl Iterator<Item = &str> {
        self.resources.keys().map(|name| &**name)
    }

    /// Adds, replaces or forgets a permission; returns whether it is another now.
    pub(super) fn put(&mut self, id: PermissionId, rule: Option<PermissionRule>) -> bool {
        let same = |old: &Arc<Known>, rule: &PermissionRule| old.name == rule.name && old.is_active == rule.is_active;
        let differs = match (self.by_id.get(&id), &rule) {
            (Some(old), Some(rule)) => !same(old, rule),
            (old, rule) => old.is_some() || rule.is_some(),
        };
        let old = match rule {
            None => self.by_id.remove(&id),
            Some(rule) => {
                let parts = rule.name.parts();
                let target = parts.map(|parts| (self.intern(parts), parts.own));
                let grant = target.map(|(target, own)| Grant { target, own, permission: id });
                if let Some(parts) = parts {
                    *Arc::make_mut(&mut self.verbs).entry(parts.verb.to_owned()).or_default() += 1;
                    *self.resources.entry(parts.resource.into()).or_default() += 1;
                }
                let grant = grant.filter(|_| rule.is_active);
                self.by_id.insert(id, Arc::new(Known { is_active: rule.is_active, grant, name: rule.name }))
            }
        };
        if let Some(parts) = old.as_ref().and_then(|old| old.name.parts()) {
            let verbs = Arc::make_mut(&mut self.verbs);
            if let Some(count) = verbs.get_mut(parts.verb) {
                *count -= 1;
                if *count == 0 {
                    verbs.remove(parts.verb);
                }
            }
            let left = self.resources.get(parts.resource).map_or(0, |count| count - 1);
            match left {
                0 => self.resources.remove(parts.resource),
                left => self.resources.insert(parts.resource.into(), left),
            };
        }
        differs
    }

    /// The number of what `parts` speak of, a new one if it has none yet.
    pub(super) fn intern(&mut self, parts: PermissionParts<'_>) -> Target {
        let key = key(parts);
        if let Some(target) = self.targets.get(&*key) {
            return *target;
        }
        let target = Target(u32::try_from(self.targets.len()).unwrap_or(u32::MAX));
        self.targets.insert(key.into(), target);
        target
    }

    /// The number of what `parts` speak of; without one, nobody is granted it.
    pub(super) fn target(&self, parts: PermissionParts<'_>) -> Option<Target> {
        self.targets.get(&*key(parts)).copied()
    }
}

/// A resource ends at the first colon, so no two of them make one key.
fn key(parts: PermissionParts<'_>) -> String {
    [parts.resource, ":", parts.verb].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(id: i64, name: &str, is_active: bool) -> (PermissionId, Option<PermissionRule>) {
        let id = PermissionId(id);
        (id, Some(PermissionRule { id, name: name.try_into().unwrap(), is_active }))
    }

    #[test]
    fn grants_are_found_by_target() {
        let mut permissions = Permissions::default();
        let names = ["article:read", "article:read:own", "article:update", "plain", "order:read"];
        for (id, name) in (1..).zip(names) {
            let (id, rule) = rule(id, name, name != "order:read");
            permissions.put(id, rule);
        }
        let grants = Grants::new((1..=6).rev().map(PermissionId).collect(), &permissions);
        let parts = |name: &str| PermissionName::try_from(name).unwrap();
        let on = |name: &str| {
            let target = permissions.target(parts(name).parts().unwrap());
            target.map(|target| grants.live().on(target).iter().map(|grant| grant.permission.0).collect::<Vec<_>>())
        };
        assert_eq!(on("article:read"), Some(vec![1, 2]));
        assert_eq!(on("article:update"), Some(vec![3]));
        assert_eq!(on("order:read"), Some(Vec::new()));
        assert_eq!(on("order:update"), None);
        assert!(grants.has(PermissionId(4)) && !grants.has(PermissionId(7)));
    }

    /// A verb is there as long as a permission names it.
    #[test]
    fn verbs_are_counted() {
        let mut permissions = Permissions::default();
        for (id, name) in [(1, "a:ship"), (2, "b:ship"), (1, "a:send"), (2, "b:ship")] {
            let (id, rule) = rule(id, name, true);
            permissions.put(id, rule);
        }
        assert_eq!(permissions.verbs().collect::<Vec<_>>(), ["send", "ship"]);
        permissions.put(PermissionId(2), None);
        permissions.put(PermissionId(2), None);
        assert_eq!(permissions.verbs().collect::<Vec<_>>(), ["send"]);
    }
}
