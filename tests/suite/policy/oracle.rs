//! The engine against Cedar itself: random rules, random requests, and `is_authorized` over the complete set.

use std::{collections::BTreeMap, sync::Mutex, time::Instant};

use cedar_policy::{
    Authorizer, Context, Decision, Effect, Entities, Policy, PolicyId, PolicySet, Request, Schema, ValidationMode,
    Validator,
};
use cedargate::{
    model::Reason,
    policy::{self, Export},
};
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use super::{
    asking::{Question, Verdict, ask},
    world::{Asked, World},
};

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
        let context = Context::from_json_value(question.context(), None).unwrap();
        let (principal, resource) = (question.principal(), question.resource.clone());
        if question.user.is_none() && !question.is_about_access() {
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
        let both = ask(&snapshot, &world.users, asked, |engine, question| (engine, oracle.decide(question)));
        let Some((engine, cedar)) = both else { continue };
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
