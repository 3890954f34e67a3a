//! The templates of generated policies, built from Cedar's JSON form and never from formatted text.

use std::collections::{BTreeSet, HashMap};

use cedar_policy::{EntityUid, Policy, PolicyId, Template};
use serde_json::{Value, json};

use super::{CompileError, schema::ACCESS};

/// A generated policy: an instance of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) id: PolicyId,
    pub(super) kind: Kind,
    pub(super) principal: Option<EntityUid>,
    pub(super) action: EntityUid,
    pub(super) resource: EntityUid,
}

/// Which template a generated policy is an instance of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// `permit(principal in ?principal, action == VERB, resource in ?resource)`
    Grant(String),
    /// The same `when { context has owner && context.owner == principal }`.
    OwnGrant(String),
    /// `permit(principal, action == access, resource == ?resource)`
    Public,
    /// `permit(principal is User, action == access, resource == ?resource)`
    Authenticated,
    /// `permit(principal in ?principal, action == access, resource == ?resource)`
    Role,
}

impl Kind {
    fn id(&self) -> PolicyId {
        PolicyId::new(match self {
            Self::Grant(verb) => format!("template:grant:{verb}"),
            Self::OwnGrant(verb) => format!("template:grant:{verb}:own"),
            Self::Public => "template:public".to_owned(),
            Self::Authenticated => "template:authenticated".to_owned(),
            Self::Role => "template:role".to_owned(),
        })
    }

    /// Cedar's JSON form of the template.
    fn json(&self) -> Value {
        let slot = |op: &str, name: &str| json!({ "op": op, "slot": name });
        let (principal, verb, resource) = match self {
            Self::Grant(verb) | Self::OwnGrant(verb) => {
                (slot("in", "?principal"), verb.as_str(), slot("in", "?resource"))
            }
            Self::Public => (json!({ "op": "All" }), ACCESS, slot("==", "?resource")),
            Self::Authenticated => (json!({ "op": "is", "entity_type": "User" }), ACCESS, slot("==", "?resource")),
            Self::Role => (slot("in", "?principal"), ACCESS, slot("==", "?resource")),
        };
        let context = json!({ "Var": "context" });
        let owned = json!([{ "kind": "when", "body": { "&&": {
            "left": { "has": { "left": context, "attr": "owner" } },
            "right": { "==": {
                "left": { ".": { "left": context, "attr": "owner" } },
                "right": { "Var": "principal" },
            } },
        } } }]);
        json!({
            "effect": "permit",
            "principal": principal,
            "action": { "op": "==", "entity": { "type": "Action", "id": verb } },
            "resource": resource,
            "conditions": if matches!(self, Self::OwnGrant(_)) { owned } else { json!([]) },
        })
    }
}

/// One template of each kind that the rules need.
#[derive(Debug, Default)]
pub(super) struct Templates(HashMap<Kind, Template>);

impl Templates {
    pub(super) fn new(verbs: &BTreeSet<String>) -> Result<Self, CompileError> {
        let per_verb = verbs.iter().flat_map(|verb| [Kind::Grant(verb.clone()), Kind::OwnGrant(verb.clone())]);
        let kinds = per_verb.chain([Kind::Public, Kind::Authenticated, Kind::Role]);
        kinds
            .map(|kind| match Template::from_json(Some(kind.id()), kind.json()) {
                Ok(template) => Ok((kind, template)),
                Err(error) => Err(CompileError::generated(&error)),
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The link as a policy of its own, for tools that know no links.
    pub(super) fn instantiate(&self, link: &Link) -> Result<Policy, CompileError> {
        let mut json = self.get(&link.kind)?.to_json().map_err(|error| CompileError::generated(&error))?;
        let sides = [("principal", link.principal.as_ref()), ("resource", Some(&link.resource))];
        for (side, value) in sides.into_iter().filter_map(|(side, value)| Some((side, value?))) {
            let op = json[side]["op"].clone();
            let entity = json!({ "type": value.type_name().to_string(), "id": value.id().unescaped() });
            json[side] = json!({ "op": op, "entity": entity });
        }
        json["annotations"] = json!({ "id": link.id.to_string() });
        Policy::from_json(Some(link.id.clone()), json).map_err(|error| CompileError::generated(&error))
    }

    fn get(&self, kind: &Kind) -> Result<&Template, CompileError> {
        self.0.get(kind).ok_or_else(|| CompileError::generated(&format!("no template for {kind:?}")))
    }
}

#[cfg(test)]
mod tests {
    use cedar_policy::{PolicySet, ValidationMode, Validator};

    use super::*;
    use crate::policy::schema;

    #[test]
    fn templates_are_valid_without_a_warning() {
        let verbs = schema::verbs(["approve"].into_iter());
        let mut set = PolicySet::new();
        Templates::new(&verbs).unwrap().0.into_values().for_each(|template| set.add_template(template).unwrap());
        let result = Validator::new(schema::build(&verbs).unwrap()).validate(&set, ValidationMode::Strict);
        assert!(result.validation_passed_without_warnings(), "{result}");
        assert_eq!(set.templates().count(), 2 * verbs.len() + 3);
    }
}
