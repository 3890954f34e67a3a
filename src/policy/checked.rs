//! All hand-written policies: parsed, validated, and indexed by scope.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use cedar_policy::{Effect, EntityUid};

use super::{
    error::{CompileError, Fault},
    handwritten::{self, Handwritten, MOST_FAULTS},
    index::Index,
    names,
    template::Templates,
};
use crate::model::{
    PolicyId, PolicyName, nearest,
    rules::{PolicyRule, PolicyText},
};

/// Shipped guard rails: name and text.
const SHIPPED: &[(&str, &str)] = &[("inactive_users", include_str!("../../policies/inactive_users.cedar"))];

/// How many policies there may be, however many texts they stand in: those without a scope are all evaluated for each
/// request.
const MOST_POLICIES: usize = 5_000;

/// How much text they may be, in bytes.
const MOST_TEXT: usize = 8 * 1024 * 1024;

/// A text and what stands in it.
#[derive(Clone, Debug)]
struct Known {
    text: PolicyText,
    policies: Vec<Arc<Handwritten>>,
}

/// Hand-written policies, valid for the verbs there are. A text that has not changed is not looked at again.
#[derive(Clone, Debug, Default)]
pub(super) struct Checked {
    pub(super) verbs: BTreeSet<String>,
    /// The operator's files, as they were given.
    given: Arc<[PolicyText]>,
    /// What the program ships, and the operator's files.
    files: BTreeMap<PolicyName, Known>,
    stored: BTreeMap<PolicyId, Known>,
    pub(super) index: Index,
    pub(super) templates: Arc<Templates>,
    /// Entities that policies name.
    pub(super) named: HashSet<EntityUid>,
}

/// What of the texts is to become another.
#[derive(Debug, Default)]
pub(super) struct TextChange {
    /// The operator's files, all of them, if they may have changed.
    pub(super) files: Option<Arc<[PolicyText]>>,
    /// Rows; `None` for those that are no more.
    pub(super) stored: BTreeMap<PolicyId, Option<PolicyText>>,
}

impl TextChange {
    /// Everything, with `rules` as the rows.
    pub(super) fn all(files: &Arc<[PolicyText]>, rules: Vec<PolicyRule>, before: Option<&Checked>) -> Self {
        let gone = before.into_iter().flat_map(|checked| checked.stored.keys()).map(|id| (*id, None));
        let stored = gone.chain(rules.into_iter().map(|rule| (rule.id, Some(rule.text)))).collect();
        Self { files: Some(Arc::clone(files)), stored }
    }

    pub(super) fn is_none(&self) -> bool {
        self.files.is_none() && self.stored.is_empty()
    }
}

impl Checked {
    /// The same with `change` applied, for `verbs`.
    ///
    /// # Errors
    /// A text that does not parse or validate, a name that is taken, a policy that speaks of a verb which is not there,
    /// more policies than there may be.
    pub(super) fn with(&self, verbs: BTreeSet<String>, change: TextChange) -> Result<Self, CompileError> {
        let mut next = self.clone();
        if verbs != next.verbs {
            next.templates = Arc::new(Templates::new(&verbs)?);
            next.verbs = verbs;
        }
        let changes_texts = !change.is_none();
        let mut fresh = Vec::new();
        if let Some(files) = change.files {
            next.put_files(&files, &mut fresh)?;
        }
        for (id, text) in change.stored {
            let old = next.stored.remove(&id);
            if let Some(text) = text {
                let known = known(old, &text, &mut fresh)?;
                next.stored.insert(id, known);
            }
        }
        if let Some(fault) = handwritten::validate(&fresh)?.into_iter().next() {
            return Err(CompileError::Policy(fault));
        }
        next.policies().try_for_each(|policy| next.knows_verbs(policy))?;
        if changes_texts {
            next.check_bounds()?;
            next.index = next.index.rebuilt(next.policies());
            next.named = next.policies().flat_map(|policy| &policy.literals).cloned().collect();
        }
        Ok(next)
    }

    fn put_files(&mut self, files: &Arc<[PolicyText]>, fresh: &mut Vec<Arc<Handwritten>>) -> Result<(), CompileError> {
        let mut old = std::mem::take(&mut self.files);
        self.given = Arc::clone(files);
        for text in shipped()?.iter().chain(&**files) {
            let known = known(old.remove(&text.name), text, fresh)?;
            if self.files.insert(text.name.clone(), known).is_some() {
                return Err(taken(&text.name));
            }
        }
        Ok(())
    }

    fn check_bounds(&self) -> Result<(), CompileError> {
        let mut names: HashSet<&PolicyName> = self.files.keys().collect();
        if let Some(twice) = self.stored.values().find(|known| !names.insert(&known.text.name)) {
            return Err(taken(&twice.text.name));
        }
        let texts = || self.files.values().chain(self.stored.values());
        let (count, bytes) = (self.policies().count(), texts().map(|known| known.text.source.len()).sum::<usize>());
        if count > MOST_POLICIES {
            return Err(CompileError::TooManyPolicies(format!(
                "{count} hand-written policies, at most {MOST_POLICIES}"
            )));
        }
        if bytes > MOST_TEXT {
            return Err(CompileError::TooManyPolicies(format!("{bytes} bytes of policies, at most {MOST_TEXT}")));
        }
        Ok(())
    }

    fn knows_verbs(&self, policy: &Handwritten) -> Result<(), CompileError> {
        match self.unknown_verbs(policy).into_iter().next() {
            Some(fault) => Err(CompileError::Policy(fault)),
            None => Ok(()),
        }
    }

    /// The verbs that `policy` names and no permission has.
    pub(super) fn unknown_verbs(&self, policy: &Handwritten) -> Vec<Fault> {
        let unknown = policy.verbs.iter().filter(|verb| !self.verbs.contains(*verb));
        let offsets = policy.offsets();
        let fault = |verb: &String| {
            let uid = names::action(verb);
            let help = nearest(verb, self.verbs.iter().map(String::as_str));
            let help = help.map(|name| format!("did you mean {}?", names::action(name)));
            let fault = Fault { help, ..Fault::new(&policy.text.name, format!("no permission has the verb of {uid}")) };
            fault.at(&policy.text, offsets.get(&uid).copied())
        };
        unknown.take(MOST_FAULTS).map(fault).collect()
    }

    /// What is named now and was not before, or the other way round.
    pub(super) fn named_otherwise(&self, before: &Self) -> HashSet<EntityUid> {
        // By itself: what was named in a condition may be named in a scope now.
        let in_scopes =
            |checked: &Self| -> HashSet<EntityUid> { checked.index.named().map(|(uid, _)| uid.clone()).collect() };
        let mut changed: HashSet<EntityUid> = self.named.symmetric_difference(&before.named).cloned().collect();
        changed.extend(in_scopes(self).symmetric_difference(&in_scopes(before)).cloned());
        changed
    }

    /// Whether it may permit what `before` did not: a `permit` is new, or a `forbid` is gone.
    pub(super) fn loosens(&self, before: &Self) -> bool {
        let numbers = |checked: &Self, effect: Effect| -> HashSet<u64> {
            let policies = checked.policies().filter(|policy| policy.policy.effect() == effect);
            policies.map(|policy| policy.number).collect()
        };
        !numbers(self, Effect::Permit).is_subset(&numbers(before, Effect::Permit))
            || !numbers(before, Effect::Forbid).is_subset(&numbers(self, Effect::Forbid))
    }

    /// Every hand-written policy: files by name, then rows by id.
    pub(super) fn policies(&self) -> impl Iterator<Item = &Arc<Handwritten>> {
        self.files.values().chain(self.stored.values()).flat_map(|known| &known.policies)
    }

    /// Those of files alone.
    pub(super) fn of_files(&self) -> impl Iterator<Item = &Arc<Handwritten>> {
        self.files.values().flat_map(|known| &known.policies)
    }

    /// The operator's files.
    pub(super) fn given(&self) -> &Arc<[PolicyText]> {
        &self.given
    }

    /// The rows.
    pub(super) fn stored(&self) -> impl Iterator<Item = PolicyRule> {
        self.stored.iter().map(|(id, known)| PolicyRule { id: *id, text: known.text.clone() })
    }

    /// What the program ships, and the operator's files; whether each is shipped.
    pub(super) fn files(&self) -> impl Iterator<Item = (&PolicyText, bool)> {
        let is_shipped = |text: &PolicyText| SHIPPED.iter().any(|(name, _)| *name == text.name.as_str());
        self.files.values().map(move |known| (&known.text, is_shipped(&known.text)))
    }
}

/// Keeps what is known of an equal text; what is new goes to `fresh` too, to be validated.
fn known(old: Option<Known>, text: &PolicyText, fresh: &mut Vec<Arc<Handwritten>>) -> Result<Known, CompileError> {
    if let Some(old) = old.filter(|old| old.text == *text) {
        return Ok(old);
    }
    let fault = |faults: Vec<Fault>| match faults.into_iter().next() {
        Some(fault) => CompileError::Policy(fault),
        None => CompileError::generated(&"a fault without words"),
    };
    let policies = handwritten::parse(text).map_err(fault)?;
    fresh.extend(policies.iter().cloned());
    Ok(Known { text: text.clone(), policies })
}

fn taken(name: &PolicyName) -> CompileError {
    CompileError::Policy(Fault::new(name, "another policy has this name"))
}

fn shipped() -> Result<Vec<PolicyText>, CompileError> {
    let text = |(name, source): &(&str, &str)| {
        let name = PolicyName::try_from(*name).map_err(|error| CompileError::generated(&error))?;
        Ok(PolicyText { name, source: (*source).to_owned() })
    };
    SHIPPED.iter().map(text).collect()
}
