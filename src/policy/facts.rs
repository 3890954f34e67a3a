//! What a slice may look at, in Cedar's own terms.

use cedar_policy::{Context, Entities, Entity, RestrictedExpression};
use cedar_policy_core::{
    entities::{Entities as CoreEntities, NoEntitiesSchema, TCComputation},
    extensions::Extensions,
};

use super::{
    caller::Caller,
    engine::{Ask, Question},
    handwritten::Needs,
    names,
    slice::Slice,
    snapshot::Snapshot,
};
use crate::model::{ClientCertificate, Stated};

/// The entities that the slice can reach.
pub(super) fn entities(
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
    let owner = ask.facts.owner.filter(|_| needs.has("owner")).map(names::owner);
    for uid in named.chain(owner) {
        if !all.iter().any(|entity| entity.uid() == uid) {
            all.extend(snapshot.entity(&uid, ask.facts.now));
        }
    }
    // Each comes with all its ancestors, so nothing is left to compute: that took as long as all the rest together.
    let all = all.iter().map(|entity| entity.as_ref().clone());
    let assume = TCComputation::AssumeAlreadyComputed;
    let entities = CoreEntities::from_entities(all, None::<&NoEntitiesSchema>, assume, Extensions::all_available());
    entities.ok().map(Entities::from)
}

fn claims_entity(caller: Option<&Caller>) -> Option<Entity> {
    let claims = caller.map(|caller| caller.claims.all.iter());
    let tags = claims.into_iter().flatten().filter_map(|(name, stated)| {
        let texts = texts(&stated.value())?;
        Some((name.to_owned(), RestrictedExpression::new_set(texts.into_iter().map(RestrictedExpression::new_string))))
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
pub(super) fn context(ask: &Ask<'_>, needs: &Needs) -> Option<Context> {
    let facts = &ask.facts;
    let claims = ask.caller.map(|caller| &caller.claims.all);
    let claim = |name: &str| claims.and_then(|claims| claims.get(name));
    let said = |name: &str| claim(name).and_then(Stated::text);
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
        let scopes = said("scope").unwrap_or_default();
        Some(RestrictedExpression::new_set(scopes.split_ascii_whitespace().map(text)))
    });
    put("mfa", &|| {
        let methods = claim("amr").and_then(|stated| texts(&stated.value())).unwrap_or_default();
        Some(RestrictedExpression::new_bool(methods.iter().any(|method| method == "mfa")))
    });
    put("issuer", &|| said("iss").map(|issuer| text(&issuer)));
    put("tenant", &|| said("tenant").map(|tenant| text(&tenant)));
    put("client_certificate", &|| certificate(facts.client_certificate?));
    put("owner", &|| facts.owner.map(|owner| RestrictedExpression::new_entity_uid(names::owner(owner))));
    Context::from_pairs(pairs).ok()
}

fn certificate(certificate: &ClientCertificate) -> Option<RestrictedExpression> {
    let text = |value: &String| RestrictedExpression::new_string(value.clone());
    let set = |values: &[String]| RestrictedExpression::new_set(values.iter().map(text));
    let fields = [
        ("subject", text(&certificate.subject)),
        ("issuer", text(&certificate.issuer)),
        ("serial", text(&certificate.serial)),
        ("fingerprint", text(&certificate.fingerprint)),
        ("dns_names", set(&certificate.dns_names)),
        ("uris", set(&certificate.uris)),
    ];
    RestrictedExpression::new_record(fields.map(|(name, value)| (name.to_owned(), value))).ok()
}
