//! What a request says about an upstream.

use super::checks;
use crate::admin::input::{self, Input, Object, Valid};
use crate::model::{
    Balance, Ejection, HashOn, HealthCheck, NewUpstream, Protocol, Target, Timeouts, Tls, Upstream, UpstreamId,
    UpstreamName, UpstreamPatch,
};

const MOST_RETRIES: i64 = 10;

/// What both bodies have, read and held to what can work.
struct Settings {
    targets: Option<Vec<Target>>,
    tls: input::Change<Option<Tls>>,
    host_header: input::Change<Option<String>>,
    timeouts: Option<Timeouts>,
    retries: Option<i64>,
    protocol: Option<Protocol>,
    balance: Option<Balance>,
    hash_on: Option<HashOn>,
    retry_budget_percent: Option<i64>,
    health_check: input::Change<Option<HealthCheck>>,
    ejection: input::Change<Option<Ejection>>,
    max_body_bytes: input::Change<Option<i64>>,
    is_active: Option<bool>,
}

/// Reads them; a new upstream needs targets.
fn settings(body: &mut Object<'_>, is_new: bool) -> Valid<Settings> {
    let targets = body.json::<Vec<Target>>("targets").check(|targets| checks::targets(targets));
    let targets = if is_new { targets.required().map(Some) } else { targets.optional() };
    let tls = body.json::<Tls>("tls").check(checks::tls).nullable();
    let host_header = body.field::<String>("host_header").check(|host| checks::host_header(host)).nullable();
    let timeouts = body.json::<Timeouts>("timeouts").check(|timeouts| checks::timeouts(*timeouts)).optional();
    let retries = body.field::<i64>("retries").at_least(0).at_most(MOST_RETRIES).optional();
    let max_body_bytes = body.field::<i64>("max_body_bytes").at_least(0).nullable();
    let is_active = body.optional::<bool>("is_active");
    let protocol = body.json::<Protocol>("protocol").optional();
    let balance = body.json::<Balance>("balance").optional();
    let hash_on = body.json::<HashOn>("hash_on").optional();
    let retry_budget_percent = body.field::<i64>("retry_budget_percent").at_least(0).at_most(100).optional();
    let health_check = body.json::<HealthCheck>("health_check").check(checks::health).nullable();
    let ejection = body.json::<Ejection>("ejection").check(|ejection| checks::ejection(*ejection)).nullable();
    body.optional::<i64>("id");
    Some(Settings {
        targets: targets?,
        tls: tls?,
        host_header: host_header?,
        timeouts: timeouts?,
        retries: retries?,
        protocol: protocol?,
        balance: balance?,
        hash_on: hash_on?,
        retry_budget_percent: retry_budget_percent?,
        health_check: health_check?,
        ejection: ejection?,
        max_body_bytes: max_body_bytes?,
        is_active: is_active?,
    })
}

pub(super) fn create(input: &mut Input) -> Valid<NewUpstream> {
    let mut body = input.body();
    let name = body.required::<UpstreamName>("name");
    let settings = settings(&mut body, true);
    body.refuse_unknown();
    let settings = settings?;
    Some(NewUpstream {
        name: name?,
        is_active: settings.is_active.unwrap_or(true),
        protocol: settings.protocol.unwrap_or_default(),
        targets: settings.targets?,
        balance: settings.balance.unwrap_or_default(),
        hash_on: settings.hash_on.unwrap_or_default(),
        tls: settings.tls.flatten(),
        host_header: settings.host_header.flatten(),
        timeouts: settings.timeouts.unwrap_or_default(),
        retries: settings.retries.unwrap_or(0),
        retry_budget_percent: settings.retry_budget_percent.unwrap_or(Upstream::RETRY_BUDGET_PERCENT),
        health_check: settings.health_check.flatten(),
        ejection: settings.ejection.unwrap_or_else(|| Some(Ejection::default())),
        max_body_bytes: settings.max_body_bytes.flatten(),
    })
}

pub(super) fn update(input: &mut Input) -> Valid<(UpstreamId, UpstreamPatch)> {
    let id = input.path("upstream_id");
    let mut body = input.body();
    let name = body.optional::<UpstreamName>("name");
    let settings = settings(&mut body, false);
    body.refuse_unknown();
    let settings = settings?;
    let patch = UpstreamPatch {
        name: name?,
        is_active: settings.is_active,
        targets: settings.targets,
        tls: settings.tls,
        host_header: settings.host_header,
        timeouts: settings.timeouts,
        retries: settings.retries,
        protocol: settings.protocol,
        balance: settings.balance,
        hash_on: settings.hash_on,
        retry_budget_percent: settings.retry_budget_percent,
        health_check: settings.health_check,
        ejection: settings.ejection,
        max_body_bytes: settings.max_body_bytes,
    };
    Some((id?, patch))
}
