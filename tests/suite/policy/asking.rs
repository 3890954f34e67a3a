//! Random requests as questions: to the engine, and in Cedar's own words to whoever else is to answer.

use std::sync::Arc;

use cedar_policy::{Entity, EntityUid, RestrictedExpression};
use cedargate::{
    http::Target,
    model::{Access, Claims, PermissionName, Reason, rules::UserState},
    policy::{Ask, CompiledOperation, Entry, Facts, Matched, Snapshot, Subject},
};
use serde_json::{Value, json};

use super::world::Asked;

/// An answer, whoever gives it.
#[derive(Debug, PartialEq)]
pub(super) struct Verdict {
    pub(super) allowed: bool,
    pub(super) determining: Vec<String>,
    pub(super) failed: Vec<String>,
    pub(super) reason: Reason,
}

/// A question as the documentation words it, built without the engine's help.
pub(super) struct Question<'q> {
    asked: &'q Asked,
    pub(super) user: Option<&'q UserState>,
    params: &'q [(&'q str, &'q str)],
    owner: Option<&'q str>,
    pub(super) action: EntityUid,
    pub(super) resource: EntityUid,
}

impl Question<'_> {
    /// Whether it is asked without a verb of a permission.
    pub(super) fn is_about_access(&self) -> bool {
        self.action == uid("Action", "access")
    }

    pub(super) fn principal(&self) -> EntityUid {
        match self.user {
            Some(user) => uid("User", &user.id.to_string()),
            None => uid("Anonymous", "anonymous"),
        }
    }

    fn claim(&self, name: &str) -> Option<&Value> {
        self.user.and_then(|_| self.asked.claims.get(name))
    }

    /// Claims and parameters, which belong to the request.
    pub(super) fn attributes(&self) -> Vec<Entity> {
        let text = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(flag) => Some(flag.to_string()),
            _ => None,
        };
        let set = |value: &Value| {
            let texts: Option<Vec<String>> = match value {
                Value::Array(values) => values.iter().map(text).collect(),
                scalar => text(scalar).map(|text| vec![text]),
            };
            Some(RestrictedExpression::new_set(texts?.into_iter().map(RestrictedExpression::new_string)))
        };
        let claims = self.asked.claims.as_object().filter(|_| self.user.is_some()).into_iter().flatten();
        let claims = claims.filter_map(|(name, value)| Some((name.clone(), set(value)?)));
        let params = self.params.iter();
        let params =
            params.map(|(name, value)| ((*name).to_owned(), RestrictedExpression::new_string((*value).to_owned())));
        vec![
            Entity::new_with_tags(uid("Claims", "request"), [], [], claims).unwrap(),
            Entity::new_with_tags(uid("Params", "request"), [], [], params).unwrap(),
        ]
    }

    /// In Cedar's JSON form.
    pub(super) fn context(&self) -> Value {
        let text = |value: &str| Value::from(value);
        let entity = |kind: &str, id: &str| json!({ "__entity": { "type": kind, "id": id } });
        let extension = |function: &str, argument: String| json!({ "__extn": { "fn": function, "arg": argument } });
        let scopes = self.claim("scope").and_then(Value::as_str).unwrap_or_default();
        let mfa = match self.claim("amr") {
            Some(Value::Array(methods)) => methods.contains(&"mfa".into()),
            other => other.is_some_and(|method| method == "mfa"),
        };
        let now = self.asked.now().unix_millis();
        let now = chrono::DateTime::from_timestamp_millis(now).unwrap().format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
        let all = [
            ("method", Some(text(self.asked.method))),
            ("path", Some(text(self.asked.path))),
            ("host", Some(text(self.asked.host))),
            ("params", Some(entity("Params", "request"))),
            ("client_ip", Some(extension("ip", self.asked.client_ip.to_canonical().to_string()))),
            ("now", Some(extension("datetime", now))),
            ("claims", Some(entity("Claims", "request"))),
            ("scopes", Some(scopes.split_whitespace().collect())),
            ("mfa", Some(mfa.into())),
            ("issuer", self.claim("iss").and_then(Value::as_str).map(text)),
            ("tenant", self.claim("tenant").and_then(Value::as_str).map(text)),
            ("client_certificate", self.asked.certificate.as_deref().map(|certificate| json!(**certificate))),
            ("owner", self.owner.map(|owner| entity("User", owner))),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}

pub(super) fn uid(kind: &str, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.parse().unwrap(), cedar_policy::EntityId::new(id))
}

/// Asks the engine, and hands `then` its answer and the question; `None` where no operation is matched, so that there is
/// nothing to decide.
pub(super) fn ask<T>(
    snapshot: &Snapshot,
    users: &[UserState],
    asked: &Asked,
    then: impl FnOnce(Verdict, &Question<'_>) -> T,
) -> Option<T> {
    let user = asked.user.and_then(|index| users.get(index));
    let claims = user.map(|user| {
        let all = asked.claims.as_object().unwrap().clone().into();
        Arc::new(Claims { user_id: Some(user.id), all, ..Claims::none(&user.username) })
    });
    let caller = user.zip(claims).map(|(user, claims)| snapshot.assume(&Arc::new(user.clone()), claims, asked.now()));
    let matched = snapshot.routes().find(asked.host, asked.path);
    let (subject, params, owner, action, resource) = match (asked.permission, &matched) {
        (Some(permission), _) => {
            caller.as_ref()?;
            let name = PermissionName::try_from(permission).unwrap();
            let parts = name.parts()?;
            let (verb, resource) = (uid("Action", parts.verb), uid("Resource", parts.resource));
            (Subject::Permission(permission), Vec::new(), None, verb, resource)
        }
        (None, Some(Matched { entry: Entry::Route(route), params })) => {
            let operation: &CompiledOperation = route.operation(asked.method)?;
            let claims = caller.as_ref().map(|caller| caller.claims.as_ref());
            let target = Target::parse(format!("/?{}", asked.query.unwrap_or_default()).as_bytes()).unwrap();
            let owner = operation.owner_of(params, &|name| target.query_value(name), claims).unwrap();
            let verb = match &operation.access {
                Access::Permission { permission, .. } => permission.parts().unwrap().verb.to_owned(),
                _ => "access".to_owned(),
            };
            let endpoint = uid("Endpoint", &format!("{}:{}", route.id, operation.method));
            (Subject::Operation(operation), params.to_vec(), owner, uid("Action", &verb), endpoint)
        }
        _ => return None,
    };
    let facts = Facts {
        method: asked.method,
        path: asked.path,
        host: asked.host,
        params: &params,
        client_ip: asked.client_ip,
        now: asked.now(),
        client_certificate: asked.certificate.as_deref(),
        owner: owner.as_deref(),
    };
    let decision = snapshot.decide(&Ask { caller: caller.as_ref(), subject, facts });
    let mut failed: Vec<String> = decision.errors.into_iter().map(|(id, _)| id).collect();
    failed.sort();
    let mut determining: Vec<String> = decision.policies.ids().map(|id| id.to_string()).collect();
    determining.sort();
    let engine = Verdict {
        allowed: decision.outcome.is_ok(),
        determining,
        failed,
        reason: decision.outcome.err().unwrap_or(Reason::Allowed),
    };
    let question = Question { asked, user, params: &params, owner: owner.as_deref(), action, resource };
    Some(then(engine, &question))
}
