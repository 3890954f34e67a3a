//! Hand-written policies: parsed with explicit ids, strictly validated, and looked through for what they need.

use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use cedar_policy::{EntityUid, Policy, PolicyId, PolicySet, ValidationMode, Validator};
use cedar_policy_core::ast::{Expr, ExprKind, Literal, Var};
use miette::Diagnostic;

use super::{
    depth,
    error::{CompileError, Fault},
    names, schema,
    scope::Scope,
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
    pub(super) scope: Scope,
    /// Told apart by it from every other of this process.
    pub(super) number: u64,
    /// Entities it names, which must be there when it is evaluated.
    pub(super) literals: Vec<EntityUid>,
    /// Those of them that its conditions name.
    pub(super) in_conditions: Vec<EntityUid>,
    /// Whether it may look at what users are called.
    pub(super) reads_names: bool,
    /// The verbs it names.
    pub(super) verbs: Vec<String>,
    /// The text it stands in, for saying where a fault is.
    pub(super) text: Arc<PolicyText>,
}

impl Handwritten {
    pub(super) fn id(&self) -> &PolicyId {
        self.policy.id()
    }

    /// Where the text names each entity first, in bytes.
    pub(super) fn offsets(&self) -> BTreeMap<EntityUid, usize> {
        let mut offsets = BTreeMap::new();
        for uid in self.policy.entity_literals() {
            let parsed: &cedar_policy_core::ast::EntityUID = uid.as_ref();
            if let Some(place) = parsed.loc() {
                let offset = place.start();
                offsets.entry(uid).or_insert(offset);
            }
        }
        offsets
    }

    fn new(policy: Policy, number: u64, text: &Arc<PolicyText>) -> Self {
        let (actions, literals): (Vec<_>, Vec<_>) = policy.entity_literals().into_iter().partition(names::is_action);
        let verbs = actions.iter().map(|uid| uid.id().unescaped().to_owned()).collect();
        let (needs, scope) = (Needs::of(&policy), Scope::of(&policy));
        let (in_conditions, reads_names) = looked_at(&policy);
        Self { policy, needs, scope, number, literals, in_conditions, reads_names, verbs, text: Arc::clone(text) }
    }
}

/// What the conditions of a policy name, and whether they may look at what users are called.
fn looked_at(policy: &Policy) -> (Vec<EntityUid>, bool) {
    let parsed: &cedar_policy_core::ast::Policy = policy.as_ref();
    let (mut named, mut reads_names) = (Vec::new(), false);
    for part in parsed.non_scope_constraints().into_iter().flat_map(Expr::subexpressions) {
        match part.expr_kind() {
            ExprKind::Lit(Literal::EntityUID(uid)) => named.push(EntityUid::from((**uid).clone())),
            ExprKind::GetAttr { attr, .. } | ExprKind::HasAttr { attr, .. } => reads_names |= attr == USERNAME,
            ExprKind::ExtHasAttr { attrs, .. } => reads_names |= attrs.iter().any(|attr| attr == USERNAME),
            _ => {}
        }
    }
    (named, reads_names)
}

/// The attribute that users have.
const USERNAME: &str = "username";

/// Gives each policy of this process a number of its own: what is rehearsed shares memories with what is enforced.
static NUMBERS: AtomicU64 = AtomicU64::new(0);

/// Parses one text.
pub(super) fn parse(text: &PolicyText) -> Result<Vec<Arc<Handwritten>>, Vec<Fault>> {
    let text = Arc::new(text.clone());
    let policies = split(&text)?.into_iter();
    let numbered = policies.map(|policy| Handwritten::new(policy, NUMBERS.fetch_add(1, Ordering::Relaxed), &text));
    Ok(numbered.map(Arc::new).collect())
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
