//! Other issuers whose tokens are believed: those of the database are changed here, those of the settings shown.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{FromRef, State};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::endpoints::Access::Needs;
use super::endpoints::Endpoints;
use super::error::Error;
use super::gate::{Call, Gate};
use super::input::{Change as Given, Flaw, Input, Issue, Object, Valid};
use super::record;
use super::reply::{Message, Written};
use crate::control::{Control, Write};
use crate::model::{
    Issuer, IssuerAlgorithm, IssuerFault, IssuerId, IssuerPrincipal, IssuerSpec, MOST_ISSUERS, Timestamp,
};
use crate::store::{self, Tx, changes::Change, issuers, issuers::IssuerRow};

/// What the endpoints of this file use.
#[derive(Clone, Debug, FromRef)]
pub(super) struct Issuers {
    pub(super) gate: Gate,
    pub(super) control: Control,
}

pub(super) fn endpoints() -> Endpoints<Issuers> {
    Endpoints::new("Issuers")
        .get("/issuers/", Needs("issuer:read"), "List trusted issuers", list)
        .post("/issuers/", Needs("issuer:create"), "Trust an issuer", create)
        .reads(read_create)
        .get("/issuers/{issuer_id}", Needs("issuer:read"), "Get a trusted issuer", one)
        .put("/issuers/{issuer_id}", Needs("issuer:update"), "Change a trusted issuer", update)
        .reads(read_update)
        .delete("/issuers/{issuer_id}", Needs("issuer:delete"), "Trust an issuer no more", delete)
}

/// An issuer as clients see it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Issuer")]
pub(super) struct View {
    /// Identity; none where it stands in the settings, which only who writes those can change.
    id: Option<IssuerId>,
    #[serde(flatten)]
    spec: IssuerSpec,
    /// Whether its tokens are believed.
    is_active: bool,
    /// When it was made.
    created_at: Option<Timestamp>,
    /// When it was last changed.
    updated_at: Option<Timestamp>,
}

impl View {
    /// The undeleted issuer of that id.
    pub(super) async fn load(tx: &mut Tx, id: IssuerId) -> Result<Option<Self>, Error> {
        issuers::get(tx, id).await?.map(Self::try_from).transpose()
    }
}

impl TryFrom<IssuerRow> for View {
    type Error = Error;

    fn try_from(row: IssuerRow) -> Result<Self, Error> {
        let IssuerRow { id, spec, is_active, created_at, updated_at } = row;
        // A newer release may have written what this one cannot tell.
        let spec = serde_json::from_value(spec).map_err(Error::internal)?;
        Ok(Self { id: Some(id), spec, is_active, created_at: Some(created_at), updated_at })
    }
}

fn not_found() -> Error {
    Error::NotFound("Issuer not found".into())
}

fn taken(error: store::Error) -> Error {
    Error::taken(error, "Issuer name or iss already exists")
}

async fn existing(tx: &mut Tx, id: IssuerId) -> Result<View, Error> {
    View::load(tx, id).await?.ok_or_else(not_found)
}

async fn list(State(state): State<Issuers>, call: Call) -> Result<Json<Vec<View>>, Error> {
    let (_, input) = call.permit("issuer:read")?;
    input.finish(|| Some(()))?;
    let configured = state.control.configured_issuers();
    let mut all: Vec<View> = configured
        .iter()
        .map(|issuer| View {
            id: None,
            spec: issuer.spec().clone(),
            is_active: true,
            created_at: None,
            updated_at: None,
        })
        .collect();
    let mut tx = state.control.read().await?;
    for row in issuers::all(&mut tx).await? {
        all.push(row.try_into()?);
    }
    Ok(Json(all))
}

async fn one(State(state): State<Issuers>, call: Call) -> Result<Json<View>, Error> {
    let (_, mut input) = call.permit("issuer:read")?;
    let id = input.path("issuer_id");
    let id = input.finish(|| id)?;
    let mut tx = state.control.read().await?;
    existing(&mut tx, id).await.map(Json)
}

/// What a body says of an issuer; an absent field leaves it as it is.
struct Patch {
    name: Option<String>,
    issuer: Option<String>,
    jwks_url: Given<Option<String>>,
    jwks_file: Given<Option<String>>,
    audiences: Option<Vec<String>>,
    algorithms: Option<Vec<IssuerAlgorithm>>,
    leeway_seconds: Option<u32>,
    allow_private_addresses: Option<bool>,
    allow_http: Option<bool>,
    principal: Option<IssuerPrincipal>,
    user_claim: Option<String>,
    roles_claim: Given<Option<String>>,
    roles: Given<Option<BTreeMap<String, String>>>,
    system_roles: Option<bool>,
    is_active: Option<bool>,
}

/// Reads them; of a new issuer some are needed.
fn patch(mut body: Object<'_>, is_new: bool) -> Valid<Patch> {
    let text = |body: &mut Object<'_>, name| match is_new {
        true => body.required::<String>(name).map(Some),
        false => body.optional::<String>(name),
    };
    let (name, issuer) = (text(&mut body, "name"), text(&mut body, "issuer"));
    let jwks_url = body.nullable::<String>("jwks_url");
    let jwks_file = body.nullable::<String>("jwks_file");
    let audiences = body.json::<Vec<String>>("audiences");
    let audiences = if is_new { audiences.required().map(Some) } else { audiences.optional() };
    let algorithms = body.json::<Vec<IssuerAlgorithm>>("algorithms").optional();
    let leeway_seconds = body.json::<u32>("leeway_seconds").optional();
    let allow_private_addresses = body.optional::<bool>("allow_private_addresses");
    let allow_http = body.optional::<bool>("allow_http");
    let principal = body.json::<IssuerPrincipal>("principal").optional();
    let user_claim = body.optional::<String>("user_claim");
    let roles_claim = body.nullable::<String>("roles_claim");
    let roles = body.json::<BTreeMap<String, String>>("roles").nullable();
    let system_roles = body.optional::<bool>("system_roles");
    let is_active = body.optional::<bool>("is_active");
    // What was read can be sent back.
    let _only_told = body.optional::<i64>("id")?;
    let _only_told = (body.optional::<Timestamp>("created_at")?, body.optional::<Timestamp>("updated_at")?);
    body.refuse_unknown();
    Some(Patch {
        name: name?,
        issuer: issuer?,
        jwks_url: jwks_url?,
        jwks_file: jwks_file?,
        audiences: audiences?,
        algorithms: algorithms?,
        leeway_seconds: leeway_seconds?,
        allow_private_addresses: allow_private_addresses?,
        allow_http: allow_http?,
        principal: principal?,
        user_claim: user_claim?,
        roles_claim: roles_claim?,
        roles: roles?,
        system_roles: system_roles?,
        is_active: is_active?,
    })
}

impl Patch {
    fn over(self, spec: IssuerSpec) -> IssuerSpec {
        IssuerSpec {
            name: self.name.unwrap_or(spec.name),
            issuer: self.issuer.unwrap_or(spec.issuer),
            jwks_url: self.jwks_url.unwrap_or(spec.jwks_url),
            jwks_file: self.jwks_file.unwrap_or(spec.jwks_file),
            audiences: self.audiences.unwrap_or(spec.audiences),
            algorithms: self.algorithms.unwrap_or(spec.algorithms),
            leeway_seconds: self.leeway_seconds.unwrap_or(spec.leeway_seconds),
            allow_private_addresses: self.allow_private_addresses.unwrap_or(spec.allow_private_addresses),
            allow_http: self.allow_http.unwrap_or(spec.allow_http),
            principal: self.principal.unwrap_or(spec.principal),
            user_claim: self.user_claim.unwrap_or(spec.user_claim),
            roles_claim: self.roles_claim.unwrap_or(spec.roles_claim),
            roles: self.roles.unwrap_or(spec.roles),
            system_roles: self.system_roles.unwrap_or(spec.system_roles),
        }
    }
}

fn read_create(input: &mut Input) -> Valid<Patch> {
    patch(input.body(), true)
}

fn read_update(input: &mut Input) -> Valid<(IssuerId, Patch)> {
    let id = input.path("issuer_id");
    let patch = patch(input.body(), false);
    Some((id?, patch?))
}

fn refused(fault: IssuerFault) -> Error {
    let loc = vec!["body".into(), fault.field.into()];
    Error::Validation(vec![Issue::new(loc, Flaw::value(fault.reason), &Value::Null)])
}

impl Issuers {
    /// Refuses what cannot work, and what is somebody else's already.
    fn check(&self, id: IssuerId, spec: &IssuerSpec) -> Result<(), Error> {
        Issuer::stored(id, spec.clone()).map_err(refused)?;
        let own = |reason: &str| IssuerFault { field: "issuer".to_owned(), reason: reason.to_owned() };
        if spec.issuer == self.gate.verifier.keys().own().issuer() {
            return Err(refused(own("is this server itself")));
        }
        let configured = self.control.configured_issuers();
        let same = |other: &Issuer| other.spec().name == spec.name || other.spec().issuer == spec.issuer;
        if configured.iter().any(|other| same(other)) {
            return Err(Error::BadRequest("Issuer name or iss stands in the settings".into()));
        }
        Ok(())
    }
}

async fn create(State(state): State<Issuers>, call: Call) -> Result<Written<View>, Error> {
    let (caller, input) = call.permit("issuer:create")?;
    let patch = input.read(read_create)?;
    let is_active = patch.is_active.unwrap_or(true);
    let spec = patch.over(IssuerSpec::default());
    state.check(IssuerId(0), &spec)?;
    let mut write = state.control.write_as(caller.origin()).await?;
    let now = write.now();
    if issuers::all(write.tx()).await?.len() + state.control.configured_issuers().len() >= MOST_ISSUERS {
        return Err(Error::BadRequest(format!("At most {MOST_ISSUERS} issuers are trusted").into()));
    }
    let id = issuers::insert(write.tx(), &spec, is_active, now).await.map_err(taken)?;
    changed(write, id).await
}

async fn changed(mut write: Write, id: IssuerId) -> Result<Written<View>, Error> {
    write.touch(Change::Issuer(id));
    let view = existing(write.tx(), id).await?;
    record::after_issuer(&mut write, id).await?;
    Ok(write.commit(view).await?.into())
}

async fn update(State(state): State<Issuers>, call: Call) -> Result<Written<View>, Error> {
    let (caller, input) = call.permit("issuer:update")?;
    let (id, patch) = input.read(read_update)?;
    let mut write = state.control.write_as(caller.origin()).await?;
    record::before_issuer(&mut write, id).await?;
    let now = write.now();
    let current = existing(write.tx(), id).await?;
    let is_active = patch.is_active.unwrap_or(current.is_active);
    let spec = patch.over(current.spec);
    state.check(id, &spec)?;
    issuers::update(write.tx(), id, &spec, is_active, now).await.map_err(taken)?;
    changed(write, id).await
}

async fn delete(State(state): State<Issuers>, call: Call) -> Result<Written<Message>, Error> {
    let (caller, mut input) = call.permit("issuer:delete")?;
    let id = input.path::<IssuerId>("issuer_id");
    let id = input.finish(|| id)?;
    let mut write = state.control.write_as(caller.origin()).await?;
    record::before_issuer(&mut write, id).await?;
    let now = write.now();
    if !issuers::delete(write.tx(), id, now).await? {
        return Err(not_found());
    }
    write.touch(Change::Issuer(id));
    write.gone(record::ISSUER, id.0);
    Ok(write.commit(Message::new("Issuer deleted successfully")).await?.into())
}
