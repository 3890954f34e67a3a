//! Hand-written policies: parsed with explicit ids, strictly validated, and looked through for what they need.

use std::{collections::BTreeSet, str::FromStr, sync::Arc};

use cedar_policy::{EntityUid, Policy, PolicyId, PolicySet, Schema, ValidationMode, Validator};
use miette::Diagnostic;
use serde_json::Value;

use super::{CompileError, names, scope::Scope};
use crate::model::rules::PolicyRule;

/// Shipped guard rails: name and text.
const SHIPPED: &[(&str, &str)] = &[("inactive_users", include_str!("../../policies/inactive_users.cedar"))];

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
        let mut needs = Self::default();
        match policy.to_json() {
            Ok(json) => needs.visit(&json["conditions"]),
            Err(_) => needs.everything = true,
        }
        needs
    }

    fn visit(&mut self, value: &Value) {
        match value {
            Value::Object(object) => {
                for (operator, operand) in object {
                    let on_context = operand["left"]["Var"] == "context";
                    match (operator.as_str(), operand["attr"].as_str()) {
                        ("." | "has", Some(attribute)) if on_context => {
                            self.attributes.insert(attribute.to_owned());
                        }
                        ("Var", _) if operand == "context" => self.everything = true,
                        _ => self.visit(operand),
                    }
                }
            }
            Value::Array(values) => values.iter().for_each(|value| self.visit(value)),
            _ => {}
        }
    }
}

/// One hand-written policy.
#[derive(Debug)]
pub(super) struct Handwritten {
    pub(super) policy: Policy,
    pub(super) needs: Needs,
    pub(super) scope: Scope,
    /// Its place among all of them.
    pub(super) number: u32,
    /// Entities it names, which must be there when it is evaluated.
    pub(super) literals: Vec<EntityUid>,
    /// The text it stands in, for saying where a fault is.
    origin: Arc<PolicyRule>,
}

impl Handwritten {
    pub(super) fn id(&self) -> &PolicyId {
        self.policy.id()
    }

    /// The name of the text that it stands in.
    pub(super) fn name(&self) -> &str {
        &self.origin.name
    }
}

/// Parses the shipped guard rails, the operator's files and the database's policies.
pub(super) fn parse(files: &[PolicyRule], stored: &[PolicyRule]) -> Result<Vec<Arc<Handwritten>>, CompileError> {
    let shipped = SHIPPED.iter().map(|(name, source)| (*name, *source));
    let own = files.iter().chain(stored).map(|rule| (rule.name.as_str(), rule.source.as_str()));
    let mut all: Vec<Arc<Handwritten>> = Vec::new();
    for (name, source) in shipped.chain(own) {
        let origin = Arc::new(PolicyRule { name: name.to_owned(), source: source.to_owned() });
        for policy in split(name, source)? {
            if all.iter().any(|other| other.id() == policy.id()) {
                return Err(CompileError::policy(name, "another policy has this name"));
            }
            let literals = policy.entity_literals().into_iter().filter(|uid| !names::is_action(uid)).collect();
            let origin = Arc::clone(&origin);
            let number = u32::try_from(all.len()).unwrap_or(u32::MAX);
            let (needs, scope) = (Needs::of(&policy), Scope::of(&policy));
            all.push(Arc::new(Handwritten { policy, needs, scope, number, literals, origin }));
        }
    }
    Ok(all)
}

/// The policies of one text, with ids `policy:<name>`, or `policy:<name>.1`, `.2`, … when there are several.
fn split(name: &str, source: &str) -> Result<Vec<Policy>, CompileError> {
    let set = PolicySet::from_str(source).map_err(|errors| CompileError::fault(name, source, &errors))?;
    if set.templates().next().is_some() {
        return Err(CompileError::policy(name, "templates are not supported, write policies without slots"));
    }
    let mut policies: Vec<&Policy> = set.policies().collect();
    if policies.is_empty() {
        return Err(CompileError::policy(name, "no policy in this text"));
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

/// Validates `policies` strictly, among the `templates` of generated ones; a warning is an error.
pub(super) fn validate(
    schema: &Schema,
    templates: PolicySet,
    policies: &[Arc<Handwritten>],
) -> Result<(), CompileError> {
    let mut set = templates;
    for handwritten in policies {
        set.add(handwritten.policy.clone()).map_err(|error| CompileError::generated(&error))?;
    }
    let result = Validator::new(schema.clone()).validate(&set, ValidationMode::Strict);
    let error = |id: &PolicyId, fault: &dyn Diagnostic| match policies.iter().find(|policy| policy.id() == id) {
        Some(policy) => CompileError::fault(&policy.origin.name, &policy.origin.source, fault),
        None => CompileError::generated(&fault),
    };
    let errors = result.validation_errors().map(|fault| error(fault.policy_id(), fault));
    match errors.chain(result.validation_warnings().map(|fault| error(fault.policy_id(), fault))).next() {
        Some(error) => Err(error),
        None => Ok(()),
    }
}
