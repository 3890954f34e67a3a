//! Hand-written policies: parsed with explicit ids, strictly validated, and looked through for what they need.

use std::{collections::BTreeSet, str::FromStr, sync::Arc};

use cedar_policy::{EntityUid, Policy, PolicyId, PolicySet, ValidationMode, Validator};
use cedar_policy_core::ast::{ExprKind, Var};
use miette::Diagnostic;

use super::{
    depth,
    error::{CompileError, Fault},
    names, schema,
};
use crate::model::rules::PolicyText;

/// The longest text that is read, in bytes.
pub(super) const LONGEST_TEXT: usize = 64 * 1024;

/// As many faults of one text are told.
pub(super) const MOST_FAULTS: usize = 100;

/// The attributes of the context that a policy mentions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    attributes: BTreeSet<String>,
    /// The context is used as a whole.
    everything: bool,
}

impl Needs {
    pub(super) fn has(&self, attribute: &str) -> bool {
        self.everything || self.attributes.contains(attribute)
    }

    pub(super) fn extend(&mut self, other: &Self) {
        self.everything |= other.everything;
        self.attributes.extend(other.attributes.iter().cloned());
    }

    fn of(policy: &Policy) -> Self {
        let parsed: &cedar_policy_core::ast::Policy = policy.as_ref();
        let condition = parsed.condition();
        let mut needs = Self::default();
        let (mut mentions, mut attributes) = (0, 0);
        for part in condition.subexpressions() {
            let (of, attribute) = match part.expr_kind() {
                ExprKind::Var(Var::Context) => {
                    mentions += 1;
                    continue;
                }
                ExprKind::GetAttr { expr, attr } | ExprKind::HasAttr { expr, attr } => (expr, attr),
                ExprKind::ExtHasAttr { expr, attrs } => (expr, attrs.first()),
                _ => continue,
            };
            if matches!(of.expr_kind(), ExprKind::Var(Var::Context)) {
                attributes += 1;
                needs.attributes.insert(attribute.to_string());
            }
        }
        // Where it is mentioned otherwise, all of it may be looked at.
        needs.everything = mentions > attributes;
        needs
    }
}

/// One hand-written policy.
#[derive(Debug)]
pub(super) struct Handwritten {
    pub(super) policy: Policy,
    pub(super) needs: Needs,
    /// Told apart by it from every other that was ever compiled with it.
    pub(super) number: u64,
    /// Entities it names, which must be there when it is evaluated.
    pub(super) literals: Vec<EntityUid>,
    /// The verbs it names.
    pub(super) verbs: Vec<String>,
    /// The text it stands in, for saying where a fault is.
    pub(super) text: Arc<PolicyText>,
}

impl Handwritten {
    pub(super) fn id(&self) -> &PolicyId {
        self.policy.id()
    }

    /// Where the text names an entity of this kind first.
    pub(super) fn offset_of(&self, is_meant: impl Fn(&EntityUid) -> bool) -> Option<usize> {
        let found = self.policy.entity_literals().into_iter().find(is_meant)?;
        let parsed: &cedar_policy_core::ast::EntityUID = found.as_ref();
        parsed.loc().map(cedar_policy_core::parser::Loc::start)
    }

    fn new(policy: Policy, number: u64, text: &Arc<PolicyText>) -> Self {
        let (actions, literals): (Vec<_>, Vec<_>) = policy.entity_literals().into_iter().partition(names::is_action);
        let verbs = actions.iter().map(|uid| uid.id().unescaped().to_owned()).collect();
        Self { number, needs: Needs::of(&policy), literals, verbs, policy, text: Arc::clone(text) }
    }
}

/// Parses one text; `number` gives each policy a number that no other ever had.
pub(super) fn parse(text: &PolicyText, number: &mut u64) -> Result<Vec<Arc<Handwritten>>, Vec<Fault>> {
    let text = Arc::new(text.clone());
    let mut next = || {
        *number += 1;
        *number
    };
    let policies = split(&text)?.into_iter();
    Ok(policies.map(|policy| Arc::new(Handwritten::new(policy, next(), &text))).collect())
}

/// The policies of one text, with ids `policy:<name>`, or `policy:<name>.1`, `.2`, … when there are several.
fn split(text: &PolicyText) -> Result<Vec<Policy>, Vec<Fault>> {
    let PolicyText { name, source } = text;
    let fault = |message: String| Err(vec![Fault::new(name, message)]);
    if source.len() > LONGEST_TEXT {
        return fault(format!("{} bytes of text, at most {LONGEST_TEXT} are read", source.len()));
    }
    if let Some(offset) = depth::excess(source) {
        let fault = Fault::new(name, format!("an expression is nested more than {} levels deep", depth::DEEPEST));
        return Err(vec![fault.at(text, Some(offset))]);
    }
    let set = PolicySet::from_str(source).map_err(|errors| {
        let faults = errors.iter().map(|error| Fault::of(text, error));
        faults.take(MOST_FAULTS).collect::<Vec<_>>()
    })?;
    if set.templates().next().is_some() {
        return fault("templates are not supported, write policies without slots".to_owned());
    }
    let mut policies: Vec<&Policy> = set.policies().collect();
    if policies.is_empty() {
        return fault("no policy in this text".to_owned());
    }
    // The parser numbers them `policy0`, `policy1`, … in the order of the text.
    policies.sort_by_key(|policy| policy.id().to_string().trim_start_matches("policy").parse::<usize>().unwrap_or(0));
    let several = policies.len() > 1;
    let renamed = policies.into_iter().enumerate().map(|(index, policy)| {
        let id = if several { format!("policy:{name}.{}", index + 1) } else { format!("policy:{name}") };
        policy.new_id(PolicyId::new(id))
    });
    Ok(renamed.collect())
}

/// Validates `policies` strictly; a warning is a fault.
///
/// All verbs but `access` apply to the same principals, resources and context, so a policy that is valid for the verbs it
/// names and for those that are always there is valid for every other.
pub(super) fn validate(policies: &[Arc<Handwritten>]) -> Result<Vec<Fault>, CompileError> {
    let mut set = PolicySet::new();
    for handwritten in policies {
        set.add(handwritten.policy.clone()).map_err(|error| CompileError::generated(&error))?;
    }
    let named = policies.iter().flat_map(|policy| &policy.verbs).map(String::as_str);
    let result = Validator::new(schema::build(&schema::verbs(named))?).validate(&set, ValidationMode::Strict);
    let fault = |id: &PolicyId, fault: &dyn Diagnostic| {
        let policy = policies.iter().find(|policy| policy.id() == id)?;
        Some(Fault::of(&policy.text, fault))
    };
    let errors = result.validation_errors().filter_map(|error| fault(error.policy_id(), error));
    let warnings = result.validation_warnings().filter_map(|warning| fault(warning.policy_id(), warning));
    let mut faults: Vec<Fault> = errors.chain(warnings).collect();
    // The same fault is found once for each action and type that the policy may be about, in no order.
    let key = |fault: &Fault| {
        let place = fault.place.as_ref().map(|place| (place.line, place.column));
        (fault.policy.clone(), place, fault.message.clone())
    };
    faults.sort_by_cached_key(key);
    faults.dedup_by(|later, first| {
        later.place.is_some() && (&later.policy, &later.place) == (&first.policy, &first.place)
    });
    faults.truncate(MOST_FAULTS);
    Ok(faults)
}
