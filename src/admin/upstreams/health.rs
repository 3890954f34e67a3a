//! How the targets of an upstream are, as the gateway of this process sees them.

use std::net::SocketAddr;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use super::super::error::Error;
use super::super::gate::Call;
use super::{Upstreams, existing};
use crate::model::{Timestamp, UpstreamId, UpstreamName};
use crate::telemetry::{TargetHealth, TargetOut};

/// An upstream's targets; none where it is inactive, or for a moment after it was made.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct UpstreamHealth {
    id: UpstreamId,
    name: UpstreamName,
    is_active: bool,
    targets: Vec<Health>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "UpstreamTargetHealth")]
struct Health {
    /// As it is configured.
    target: String,
    /// Where that is; `null` while a name has no address.
    address: Option<String>,
    /// Whether it gets requests.
    is_well: bool,
    /// Why not.
    out: Option<Out>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "UpstreamTargetOut")]
struct Out {
    /// What has found that it is not well: `requests`, `check` or `name`.
    by: &'static str,
    /// The kind of failure, as `cedargate_upstream_errors_total` has it; `status` where a check was answered with another
    /// status than it should be.
    kind: &'static str,
    /// Since when.
    since: Timestamp,
    /// When one request may try it; `null` where only a check or an answer to its name brings it back.
    next_trial: Option<Timestamp>,
}

impl From<TargetHealth> for Health {
    fn from(TargetHealth { target, address, out }: TargetHealth) -> Self {
        let address = address.as_ref().map(SocketAddr::to_string);
        Self { target, address, is_well: out.is_none(), out: out.map(Out::from) }
    }
}

impl From<TargetOut> for Out {
    fn from(TargetOut { by, kind, since, next_trial }: TargetOut) -> Self {
        Self { by: by.as_str(), kind, since: since.into(), next_trial: next_trial.map(Timestamp::from) }
    }
}

pub(super) async fn tell(State(state): State<Upstreams>, call: Call) -> Result<Json<UpstreamHealth>, Error> {
    let (_, mut input) = call.permit("upstream:read")?;
    let id = input.path("upstream_id");
    let id = input.finish(|| id)?;
    let mut tx = state.control.read().await?;
    let upstream = existing(&mut tx, id).await?;
    let targets = state.metrics.targets().of(id.0).into_iter().map(Health::from).collect();
    Ok(Json(UpstreamHealth { id, name: upstream.name, is_active: upstream.is_active, targets }))
}
