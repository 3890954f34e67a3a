//! One decision: find the policies that can apply, and let Cedar evaluate them.

use std::{net::IpAddr, sync::Arc};

use cedar_policy::{
    Authorizer, Context, Decision as CedarDecision, Effect, Entities, Entity, EntityUid, PolicyId, PolicySet, Request,
    RestrictedExpression,
};
use smallvec::SmallVec;

use super::{
    compile::Compiled,
    handwritten::{Handwritten, Needs},
    index::{Entry, Link, Symbol},
    names,
    operation::{CompiledOperation, GatewayRoute},
    snapshot::{Caller, Snapshot},
    template::Kind,
};
use crate::model::{PermissionName, Reason, Timestamp};

/// A question to the engine.
#[derive(Debug)]
pub struct Ask<'a> {
    /// Who asks; `None` without credentials.
    pub caller: Option<&'a Caller>,
    /// For what.
    pub subject: Subject<'a>,
    /// What else is known of the request.
    pub facts: Facts<'a>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// An operation of a gateway route.
    Operation(&'a CompiledOperation),
    /// A mounted path: the admin service authorises it itself.
    Mounted,
    /// A permission without a route, as `user:read`.
    Permission(&'a str),
}

/// What policies may look at beyond principal, action and resource.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The request's method.
    pub method: &'a str,
    /// The canonical path, percent-decoded.
    pub path: &'a str,
    /// The canonical host.
    pub host: &'a str,
    /// The template's parameters.
    pub params: &'a [(&'a str, &'a str)],
    /// The client's address.
    pub client_ip: IpAddr,
    /// When the request came.
    pub now: Timestamp,
    /// The user id of the owner of what is asked for, if the request says.
    pub owner: Option<&'a str>,
}

/// An answer of the engine.
#[derive(Debug)]
pub struct Decision {
    /// The permission to go on, or why not.
    pub outcome: Result<Permit, Reason>,
    /// The determining policies; for the log and for explain, never for the client.
    pub policies: Determining,
    /// Policies that could not be evaluated, with Cedar's words.
    pub errors: Vec<(String, String)>,
}

/// Ids of the policies that determined a decision, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Determining(SmallVec<[PolicyId; 2]>);

impl Determining {
    fn new(ids: impl Iterator<Item = PolicyId>) -> Self {
        let mut ids: SmallVec<[PolicyId; 2]> = ids.collect();
        ids.sort_unstable();
        Self(ids)
    }

    /// The ids.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }
}

/// Proof that a request was permitted. Only the engine makes one, and nothing is forwarded without.
#[derive(Debug)]
pub struct Permit {
    policy_revision: i64,
    destination: Destination,
}

/// Where a permitted request may go.
#[derive(Clone, Debug)]
pub enum Destination {
    /// To the upstream of this route.
    Upstream(Arc<GatewayRoute>),
    /// To the admin service.
    Admin,
    /// Nowhere: the question was about a permission alone.
    Nowhere,
}

impl Permit {
    /// The rules it was decided by.
    pub fn policy_revision(&self) -> i64 {
        self.policy_revision
    }

    /// Where the request may go.
    pub fn destination(&self) -> &Destination {
        &self.destination
    }
}

impl Decision {
    pub(super) fn deny(reason: Reason) -> Self {
        Self { outcome: Err(reason), policies: Determining::default(), errors: Vec::new() }
    }
}

pub(super) fn decide(snapshot: &Snapshot, ask: &Ask<'_>) -> Decision {
    let permit = |destination| Permit { policy_revision: snapshot.policy_revision(), destination };
    match ask.subject {
        Subject::Mounted => {
            let outcome = Ok(permit(Destination::Admin));
            Decision { outcome, policies: Determining::default(), errors: Vec::new() }
        }
        Subject::Operation(operation) => {
            // A token is what turns Anonymous into a User; no policy on a verb applies to Anonymous.
            if ask.caller.is_none() && operation.permission().is_some() {
                return Decision::deny(Reason::NoCredentials);
            }
            let Some(route) = operation.route.upgrade() else {
                return Decision::deny(Reason::Internal);
            };
            let question = Question {
                action: &operation.action,
                resource: &operation.endpoint,
                action_symbol: Some(operation.action_symbol),
                resource_symbols: &operation.resource_symbols,
            };
            let decision = evaluate(snapshot, ask, question, || permit(Destination::Upstream(route)));
            match decision.outcome {
                Err(Reason::NoGrant) if ask.caller.is_none() => {
                    Decision { outcome: Err(Reason::NoCredentials), ..decision }
                }
                _ => decision,
            }
        }
        Subject::Permission(name) => {
            let name = PermissionName::try_from(name).ok();
            let Some(parts) = name.as_ref().and_then(PermissionName::parts).filter(|_| ask.caller.is_some()) else {
                return Decision::deny(Reason::NoGrant);
            };
            let index = &snapshot.compiled().index;
            let (action, resource) = (names::action(parts.verb), names::resource(parts.resource));
            let mut resource_symbols: SmallVec<[Symbol; 2]> = SmallVec::from_slice(&[Symbol::ANYTHING]);
            resource_symbols.extend(index.symbol(&resource));
            let question = Question {
                action_symbol: index.symbol(&action),
                action: &action,
                resource: &Entity::with_uid(resource),
                resource_symbols: &resource_symbols,
            };
            evaluate(snapshot, ask, question, || permit(Destination::Nowhere))
        }
    }
}

#[derive(Clone, Copy)]
struct Question<'q> {
    action: &'q EntityUid,
    resource: &'q Entity,
    action_symbol: Option<Symbol>,
    resource_symbols: &'q [Symbol],
}

/// The policies that can apply to one question.
#[derive(Default)]
struct Slice<'s> {
    links: SmallVec<[&'s Link; 8]>,
    handwritten: SmallVec<[&'s Handwritten; 4]>,
}

impl<'s> Slice<'s> {
    fn find(compiled: &'s Compiled, caller: Option<&Caller>, question: &Question<'_>) -> Self {
        let index = &compiled.index;
        let own = caller.map_or(Some(Symbol::ANONYMOUS), |caller| index.user(caller.id()));
        let inactive = caller.is_some_and(|caller| !caller.is_active()).then_some(Symbol::INACTIVE);
        let roles = caller.map(|caller| caller.roles.symbols.as_slice()).unwrap_or_default();
        let principals = [Some(Symbol::ANYTHING), own, inactive].into_iter().flatten().chain(roles.iter().copied());
        let mut slice = Self::default();
        index.each(principals, question.action_symbol, question.resource_symbols, |entry| match entry {
            Entry::Link(link) => slice.links.push(link),
            Entry::Handwritten(handwritten) => slice.handwritten.push(handwritten),
        });
        // A policy on several actions may be found once for each.
        slice.handwritten.sort_by(|a, b| a.id().cmp(b.id()));
        slice.handwritten.dedup_by(|a, b| a.id() == b.id());
        slice
    }

    fn policies(&self, compiled: &Compiled) -> Option<PolicySet> {
        let mut set = PolicySet::new();
        for handwritten in &self.handwritten {
            set.add(handwritten.policy.clone()).ok()?;
        }
        for link in &self.links {
            compiled.templates.link(&mut set, link).ok()?;
        }
        Some(set)
    }

    fn needs(&self) -> Needs {
        let mut needs =
            if self.links.iter().any(|link| link.kind.is_conditional()) { Needs::owner() } else { Needs::default() };
        self.handwritten.iter().for_each(|handwritten| needs.extend(&handwritten.needs));
        needs
    }
}

/// Decides where only generated policies can apply: their scope holds, or they would not have been found, and the
/// one condition there is was written by ourselves. The oracle of the tests compares this with Cedar.
fn by_links(slice: &Slice<'_>, ask: &Ask<'_>, permit: impl FnOnce() -> Permit) -> Decision {
    let owns = |caller: &Caller| ask.facts.owner.is_some_and(|owner| names::is_user_id(caller.id(), owner));
    let holds = |link: &&&Link| match link.kind {
        Kind::Grant(_) | Kind::Role | Kind::Public => true,
        Kind::Authenticated => ask.caller.is_some(),
        Kind::OwnGrant(_) => ask.caller.is_some_and(owns),
    };
    let policies = Determining::new(slice.links.iter().filter(holds).map(|link| link.id.clone()));
    let outcome = if policies.0.is_empty() { Err(Reason::NoGrant) } else { Ok(permit()) };
    Decision { outcome, policies, errors: Vec::new() }
}

fn evaluate(snapshot: &Snapshot, ask: &Ask<'_>, question: Question<'_>, permit: impl FnOnce() -> Permit) -> Decision {
    let compiled = snapshot.compiled();
    let slice = Slice::find(compiled, ask.caller, &question);
    if slice.handwritten.is_empty() {
        return by_links(&slice, ask, permit);
    }
    let needs = slice.needs();
    let principal = ask.caller.map_or_else(names::anonymous, |caller| names::user(caller.id()));
    let (action, resource) = (question.action.clone(), question.resource.uid());
    let prepared =
        slice.policies(compiled).zip(context(ask, &needs)).zip(entities(snapshot, ask, &slice, &needs, &question));
    let Some(((policies, context), entities)) = prepared else {
        return Decision::deny(Reason::Internal);
    };
    let Ok(request) = Request::new(principal, action, resource, context, None) else {
        return Decision::deny(Reason::Internal);
    };
    let response = Authorizer::new().is_authorized(&request, &policies, &entities);
    let mut errors = Vec::new();
    let mut forbid_failed = false;
    for error in response.diagnostics().errors() {
        let cedar_policy::AuthorizationError::PolicyEvaluationError(error) = error;
        forbid_failed |= policies.policy(error.policy_id()).is_none_or(|policy| policy.effect() == Effect::Forbid);
        errors.push((error.policy_id().to_string(), error.to_string()));
    }
    let determining = Determining::new(response.diagnostics().reason().cloned());
    let outcome = match response.decision() {
        CedarDecision::Deny if !determining.0.is_empty() => Err(Reason::ForbiddenByPolicy),
        // Cedar alone would skip a forbid that errors; we deny.
        _ if forbid_failed => Err(Reason::PolicyError),
        CedarDecision::Deny => Err(Reason::NoGrant),
        CedarDecision::Allow => Ok(permit()),
    };
    Decision { outcome, policies: determining, errors }
}

/// The entities that the slice can reach.
fn entities(
    snapshot: &Snapshot,
    ask: &Ask<'_>,
    slice: &Slice<'_>,
    needs: &Needs,
    question: &Question<'_>,
) -> Option<Entities> {
    let mut all: Vec<Entity> = vec![question.resource.clone()];
    match ask.caller {
        Some(caller) => all.push(snapshot.caller_entity(caller)?),
        None => all.push(Entity::with_uid(names::anonymous())),
    }
    if needs.has("claims") {
        all.push(claims_entity(ask.caller)?);
    }
    if needs.has("params") {
        let tags = ask.facts.params.iter();
        let tags =
            tags.map(|(name, value)| ((*name).to_owned(), RestrictedExpression::new_string((*value).to_owned())));
        all.push(Entity::new_with_tags(names::request_params(), [], [], tags).ok()?);
    }
    let named = slice.handwritten.iter().flat_map(|handwritten| &handwritten.literals).cloned();
    let owner = ask.facts.owner.filter(|_| !slice.handwritten.is_empty() && needs.has("owner")).map(names::owner);
    for uid in named.chain(owner) {
        if !all.iter().any(|entity| entity.uid() == uid) {
            all.extend(snapshot.entity(&uid, ask.facts.now));
        }
    }
    Entities::from_entities(all, None).ok()
}

fn claims_entity(caller: Option<&Caller>) -> Option<Entity> {
    let claims = caller.map(|caller| &caller.claims.all);
    let tags = claims.into_iter().flatten().filter_map(|(name, value)| {
        let texts = texts(value)?;
        Some((name.clone(), RestrictedExpression::new_set(texts.into_iter().map(RestrictedExpression::new_string))))
    });
    Entity::new_with_tags(names::request_claims(), [], [], tags).ok()
}

/// A claim as a set of texts: a scalar is a set of one, an array of scalars a set of each.
fn texts(value: &serde_json::Value) -> Option<Vec<String>> {
    match value {
        serde_json::Value::String(text) => Some(vec![text.clone()]),
        serde_json::Value::Number(number) => Some(vec![number.to_string()]),
        serde_json::Value::Bool(flag) => Some(vec![flag.to_string()]),
        serde_json::Value::Array(values) => {
            values.iter().map(|value| texts(value)?.pop().filter(|_| !value.is_array())).collect()
        }
        serde_json::Value::Null | serde_json::Value::Object(_) => None,
    }
}

/// The context with those attributes that are needed.
fn context(ask: &Ask<'_>, needs: &Needs) -> Option<Context> {
    let facts = &ask.facts;
    let claims = ask.caller.map(|caller| &caller.claims.all);
    let claim = |name: &str| claims.and_then(|claims| claims.get(name));
    let text = |value: &str| RestrictedExpression::new_string(value.to_owned());
    let mut pairs: Vec<(String, RestrictedExpression)> = Vec::new();
    let mut put = |name: &str, value: &dyn Fn() -> Option<RestrictedExpression>| {
        if needs.has(name) {
            pairs.extend(value().map(|value| (name.to_owned(), value)));
        }
    };
    put("method", &|| Some(text(facts.method)));
    put("path", &|| Some(text(facts.path)));
    put("host", &|| Some(text(facts.host)));
    put("params", &|| Some(RestrictedExpression::new_entity_uid(names::request_params())));
    put("client_ip", &|| Some(RestrictedExpression::new_ip(facts.client_ip.to_canonical().to_string())));
    put("now", &|| Some(RestrictedExpression::new_datetime(facts.now.cedar_text())));
    put("claims", &|| Some(RestrictedExpression::new_entity_uid(names::request_claims())));
    put("scopes", &|| {
        let scopes = claim("scope").and_then(|scope| scope.as_str()).unwrap_or_default();
        Some(RestrictedExpression::new_set(scopes.split_ascii_whitespace().map(text)))
    });
    put("mfa", &|| {
        let methods = claim("amr").and_then(texts).unwrap_or_default();
        Some(RestrictedExpression::new_bool(methods.iter().any(|method| method == "mfa")))
    });
    put("issuer", &|| claim("iss").and_then(|issuer| issuer.as_str()).map(text));
    put("tenant", &|| claim("tenant").and_then(|tenant| tenant.as_str()).map(text));
    put("owner", &|| facts.owner.map(|owner| RestrictedExpression::new_entity_uid(names::owner(owner))));
    Context::from_pairs(pairs).ok()
}
