//! What users did with their accounts.

use axum::Json;
use axum::extract::{FromRef, State};
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::endpoints::Endpoints;
use super::error::Error;
use super::gate::{Call, Gate};
use super::input::{Input, Valid};
use super::page::{Limits, Page, page};
use crate::control::Control;
use crate::model::{Timestamp, UserId};
use crate::store::{activity, activity::Filter, users};

/// Longer than any action.
const LONGEST: usize = 100;

/// What the endpoints of this file use.
#[derive(Clone, Debug, FromRef)]
pub(super) struct Activities {
    pub(super) gate: Gate,
    pub(super) control: Control,
}

pub(super) fn endpoints() -> Endpoints<Activities> {
    Endpoints::new().at("/users/me/activity", get(own)).at("/users/{user_id}/activity", get(of_user))
}

fn wanted(input: &mut Input) -> Valid<(Page, Filter)> {
    let page = page(input, Limits::Lenient);
    let action = input.query::<String>("action").max_length(LONGEST).optional();
    let from = input.query::<Timestamp>("from").unless_absent();
    let to = input.query::<Timestamp>("to").unless_absent();
    let action = action?.filter(|action| !action.is_empty());
    Some((page?, Filter { action, from: from?, to: to? }))
}

async fn own(State(state): State<Activities>, call: Call) -> Result<Response, Error> {
    let (caller, mut input) = call.signed_in();
    let wanted = wanted(&mut input);
    let (page, filter) = input.finish(|| wanted)?;
    state.list(caller.id(), page, &filter).await
}

async fn of_user(State(state): State<Activities>, call: Call) -> Result<Response, Error> {
    let (_, mut input) = call.permit("user:read")?;
    let (id, wanted) = (input.path::<UserId>("user_id"), wanted(&mut input));
    let (id, (page, filter)) = input.finish(|| Some((id?, wanted?)))?;
    state.list(id, page, &filter).await
}

impl Activities {
    async fn list(&self, user: UserId, page: Page, filter: &Filter) -> Result<Response, Error> {
        let mut tx = self.control.read().await?;
        if users::existing(&mut tx, &[user]).await?.is_empty() {
            return Err(Error::NotFound("User not found".into()));
        }
        let total = activity::count(&mut tx, user, filter).await?;
        let activities = activity::list(&mut tx, user, filter, page.into()).await?;
        let total = [(HeaderName::from_static("x-total-count"), HeaderValue::from(total))];
        Ok((total, Json(activities)).into_response())
    }
}
