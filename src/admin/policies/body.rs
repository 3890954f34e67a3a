//! What requests about policies say, and how faults in Cedar text are told.

use serde_json::{Value, json};

use crate::admin::input::{Change, Flaw, Input, Issue, Object, Valid};
use crate::model::{NewPolicy, PolicyId, PolicyName, PolicyPatch, rules::PolicyText};
use crate::policy::Review;

const LONGEST_DESCRIPTION: usize = 500;

/// Of the text that is looked at, in characters; in bytes the compiler bounds it.
const LONGEST_SOURCE: usize = 64 * 1024;

/// The name of a text that has none yet.
pub(super) fn unnamed() -> PolicyName {
    PolicyName::try_from("unnamed").expect("a literal name is valid")
}

fn source<'b>(body: &'b mut Object<'_>) -> crate::admin::input::Field<'b, String> {
    body.field::<String>("source").min_length(1).max_length(LONGEST_SOURCE)
}

fn description(body: &mut Object<'_>) -> Valid<Change<Option<String>>> {
    body.field::<String>("description").max_length(LONGEST_DESCRIPTION).nullable()
}

pub(super) fn create(input: &mut Input) -> Valid<NewPolicy> {
    let mut body = input.body();
    let name = body.required::<PolicyName>("name");
    let description = description(&mut body);
    let source = source(&mut body).required();
    let is_active = body.field::<bool>("is_active").or(true);
    body.refuse_unknown();
    Some(NewPolicy { name: name?, description: description?.flatten(), source: source?, is_active: is_active? })
}

pub(super) fn update(input: &mut Input) -> Valid<(PolicyId, PolicyPatch)> {
    let id = input.path("policy_id");
    let mut body = input.body();
    let name = body.optional::<PolicyName>("name");
    let description = description(&mut body);
    let source = source(&mut body).optional();
    let is_active = body.optional::<bool>("is_active");
    body.refuse_unknown();
    let patch = PolicyPatch { name: name?, description: description?, source: source?, is_active: is_active? };
    Some((id?, patch))
}

/// Text to be looked at: with the name it will have, if it has one already.
pub(super) fn validate(input: &mut Input) -> Valid<PolicyText> {
    let mut body = input.body();
    let name = body.optional::<PolicyName>("name");
    let source = source(&mut body).required();
    body.refuse_unknown();
    Some(PolicyText { name: name?.unwrap_or_else(unnamed), source: source? })
}

/// Whether users are part of an export.
pub(super) fn export(input: &mut Input) -> Valid<bool> {
    input.query::<bool>("users").or(true)
}

/// An entry for each fault, at the place in the body where the text stands.
pub(super) fn issues(review: Review) -> Vec<Issue> {
    let issue = |fault: crate::policy::Fault| {
        let place = fault.place.as_ref();
        let ctx = json!({
            "line": place.map(|place| place.line),
            "column": place.map(|place| place.column),
            "help": fault.help,
        });
        let line = fault.place.map_or(Value::Null, |place| place.text.into());
        Issue::new(vec!["body".into(), "source".into()], Flaw::with("cedar", fault.message, ctx), &line)
    };
    review.faults.into_iter().map(issue).collect()
}
