//! The engine against Cedar itself: random rules, random requests, and `is_authorized` over the complete set.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Instant,
};

use cedar_policy::{
    Authorizer, Context, Decision, Effect, Entities, Entity, EntityUid, Policy, PolicyId, PolicySet, Request,
    RestrictedExpression, Schema, ValidationMode, Validator,
};
use cedargate::{
    http::Target,
    model::{Access, Claims, PermissionName, Reason, rules::UserState},
    policy::{self, Ask, CompiledOperation, Entry, Export, Facts, Matched, Snapshot, Subject},
};
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::Value;

use super::world::{Asked, World};

/// Requests per world.
const REQUESTS: usize = 500;
/// How many decisions to compare; the normal run is a compromise with patience.
const COMPARISONS: &str = "CEDARGATE_ORACLE_COMPARISONS";
const NORMALLY: usize = 100_000;
/// Threads that look for a difference, each in worlds of its own.
const THREADS: usize = 2;

/// What any Cedar tool has: the export's texts and nothing else.
struct Oracle {
    policies: PolicySet,
    schema: Schema,
    entities: Entities,
}

#[derive(Debug, PartialEq)]
struct Verdict {
    allowed: bool,
    determining: Vec<String>,
    failed: Vec<String>,
    reason: Reason,
}

impl Oracle {
    /// Parses the export back; it must pass strict validation without a warning.
    fn parse(export: &Export) -> Self {
        let (schema, warnings) = Schema::from_cedarschema_str(&export.schema).unwrap();
        assert_eq!(warnings.count(), 0);
        let parsed: PolicySet = export.policies.parse().unwrap_or_else(|error| panic!("{error}: {}", export.policies));
        let renamed =
            parsed.policies().map(|policy: &Policy| policy.new_id(PolicyId::new(policy.annotation("id").unwrap())));
        let policies = PolicySet::from_policies(renamed).unwrap();
        let result = Validator::new(schema.clone()).validate(&policies, ValidationMode::Strict);
        assert!(result.validation_passed_without_warnings(), "{result}\n{}", export.policies);
        let entities = Entities::from_json_value(export.entities.clone(), Some(&schema)).unwrap();
        Self { policies, schema, entities }
    }

    /// Cedar's answer over everything, and the one rule beyond Cedar: a forbid that fails denies.
    fn decide(&self, question: &Question<'_>) -> Verdict {
        let refused = |reason| Verdict { allowed: false, determining: Vec::new(), failed: Vec::new(), reason };
        let entities = self.entities.clone().add_entities(question.attributes(), None).unwrap();
        let context = Context::from_pairs(question.context()).unwrap();
        let (principal, resource) = (question.principal(), question.resource.clone());
        if question.user.is_none() && question.action != uid("Action", "access") {
            // What needs a permission needs a user: the schema knows no such question.
            return refused(Reason::NoCredentials);
        }
        // A route may name a permission that was never stored, or was deleted: no action, and no schema for it.
        let known = self.schema.actions().any(|action| *action == question.action);
        let schema = known.then_some(&self.schema);
        let request = Request::new(principal, question.action.clone(), resource, context, schema).unwrap();
        let response = Authorizer::new().is_authorized(&request, &self.policies, &entities);
        let sorted = |mut ids: Vec<String>| {
            ids.sort();
            ids
        };
        let failed: Vec<&PolicyId> = response
            .diagnostics()
            .errors()
            .map(|cedar_policy::AuthorizationError::PolicyEvaluationError(error)| error.policy_id())
            .collect();
        let forbid_failed = failed.iter().any(|id| self.policies.policy(id).unwrap().effect() == Effect::Forbid);
        let determining: Vec<String> = response.diagnostics().reason().map(ToString::to_string).collect();
        let reason = match response.decision() {
            Decision::Deny if !determining.is_empty() => Reason::ForbiddenByPolicy,
            _ if forbid_failed => Reason::PolicyError,
            Decision::Allow => Reason::Allowed,
            Decision::Deny if question.user.is_none() => Reason::NoCredentials,
            Decision::Deny => Reason::NoGrant,
        };
        Verdict {
            allowed: reason == Reason::Allowed,
            determining: sorted(determining),
            failed: sorted(failed.into_iter().map(ToString::to_string).collect()),
            reason,
        }
    }
}

/// A question as the documentation words it, built without the engine's help.
struct Question<'q> {
    asked: &'q Asked,
    user: Option<&'q UserState>,
    params: &'q [(&'q str, &'q str)],
    owner: Option<&'q str>,
    action: EntityUid,
    resource: EntityUid,
}

impl Question<'_> {
    fn principal(&self) -> EntityUid {
        match self.user {
            Some(user) => uid("User", &user.id.to_string()),
            None => uid("Anonymous", "anonymous"),
        }
    }

    fn claim(&self, name: &str) -> Option<&Value> {
        self.user.and_then(|_| self.asked.claims.get(name))
    }

    /// Claims and parameters, which belong to the request.
    fn attributes(&self) -> Vec<Entity> {
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

    fn context(&self) -> BTreeMap<String, RestrictedExpression> {
        let text = |value: &str| RestrictedExpression::new_string(value.to_owned());
        let entity = RestrictedExpression::new_entity_uid;
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
            ("params", Some(entity(uid("Params", "request")))),
            ("client_ip", Some(RestrictedExpression::new_ip(self.asked.client_ip.to_canonical().to_string()))),
            ("now", Some(RestrictedExpression::new_datetime(now))),
            ("claims", Some(entity(uid("Claims", "request")))),
            ("scopes", Some(RestrictedExpression::new_set(scopes.split_whitespace().map(text)))),
            ("mfa", Some(RestrictedExpression::new_bool(mfa))),
            ("issuer", self.claim("iss").and_then(Value::as_str).map(text)),
            ("tenant", self.claim("tenant").and_then(Value::as_str).map(text)),
            ("owner", self.owner.map(|owner| entity(uid("User", owner)))),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}

fn uid(kind: &str, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.parse().unwrap(), cedar_policy::EntityId::new(id))
}

/// Asks both; `None` where no operation is matched, so that there is nothing to decide.
fn ask_both(snapshot: &Snapshot, oracle: &Oracle, users: &[UserState], asked: &Asked) -> Option<(Verdict, Verdict)> {
    let user = asked.user.and_then(|index| users.get(index));
    let claims = user.map(|user| {
        let all = asked.claims.as_object().unwrap().clone();
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
    Some((engine, oracle.decide(&question)))
}

#[derive(Default)]
struct Count {
    worlds: usize,
    refused: usize,
    written: usize,
    compared: usize,
    reasons: BTreeMap<&'static str, usize>,
    failures: usize,
}

impl Count {
    fn add(&mut self, other: Self) {
        self.worlds += other.worlds;
        self.refused += other.refused;
        self.written += other.written;
        self.compared += other.compared;
        self.failures += other.failures;
        for (reason, times) in other.reasons {
            *self.reasons.entry(reason).or_default() += times;
        }
    }
}

#[test]
fn the_engine_answers_as_cedar_does() {
    let wanted = std::env::var(COMPARISONS).ok().and_then(|text| text.parse().ok()).unwrap_or(NORMALLY);
    let started = Instant::now();
    let config = Config {
        cases: 1,
        failure_persistence: None,
        max_shrink_iters: 500,
        max_shrink_time: 60_000,
        ..Config::default()
    };
    let count = Mutex::new(Count::default());
    let look = || {
        while count.lock().unwrap().compared < wanted {
            // A runner stops for good after its number of cases.
            let outcome = TestRunner::new(config.clone()).run(&World::any(REQUESTS), |world| check(world, &count));
            outcome.unwrap_or_else(|error| panic!("{error}"));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(look);
        }
    });
    let Count { worlds, refused, written, compared, reasons, failures } = count.into_inner().unwrap();
    eprintln!(
        "{compared} decisions in {worlds} worlds in {:?}; {reasons:?}; {failures} with errors; {refused} of {written} \
         hand-written policies refused",
        started.elapsed()
    );
    if wanted < NORMALLY {
        return;
    }
    assert!(refused * 4 < written, "{refused} of {written} policies do not validate: the test lost its force");
    let expected =
        [Reason::Allowed, Reason::NoCredentials, Reason::NoGrant, Reason::ForbiddenByPolicy, Reason::PolicyError];
    for reason in expected {
        assert!(reasons.contains_key(reason.code()), "never {}: the test lost its force", reason.code());
    }
}

fn check(mut world: World, count: &Mutex<Count>) -> Result<(), TestCaseError> {
    let written = world.rules.policies.len();
    let (snapshot, refused) = world.compile();
    // Role assignments expire, so the export's entities are those of a moment.
    let Some(now) = world.asked.first().map(Asked::now) else { return Ok(()) };
    let oracle = Oracle::parse(&policy::export(&snapshot, now).unwrap());
    let mut found = Count { worlds: 1, refused, written, ..Count::default() };
    for asked in &world.asked {
        let Some((engine, cedar)) = ask_both(&snapshot, &oracle, &world.users, asked) else { continue };
        if engine != cedar {
            let policies = &oracle.policies;
            let why = format!("engine {engine:?}\nCedar  {cedar:?}\nrequest {asked:?}\n{policies}");
            return Err(TestCaseError::fail(why));
        }
        found.compared += 1;
        found.failures += usize::from(!cedar.failed.is_empty());
        *found.reasons.entry(cedar.reason.code()).or_default() += 1;
    }
    count.lock().unwrap().add(found);
    Ok(())
}
