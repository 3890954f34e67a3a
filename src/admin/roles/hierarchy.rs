//! Which roles inherit from which.
//!
//! ## Why
//! A role may inherit from several, so the roles form no tree: one under two parents is shown under both, but what
//! lies below it only once. Otherwise an answer could grow with every path through the graph instead of with its
//! size. Chains have a bounded length, so that no reader of the tree, ours or a client's, runs out of stack.

use std::collections::{HashMap, HashSet};

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::{Roles, existing};
use crate::admin::error::Error;
use crate::admin::gate::Call;
use crate::admin::record;
use crate::admin::reply::{Message, Written};
use crate::control::Write;
use crate::model::{EffectivePermission, MAX_INHERITANCE, RoleHead, RoleId, RoleInfo};
use crate::store::{Tx, changes::Change, hierarchy, roles};

/// A role, and those that inherit from it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RoleBranch")]
pub(super) struct Branch {
    #[serde(flatten)]
    role: RoleHead,
    children: Vec<Branch>,
    /// Its children stand at another place, where it came first.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    repeated: bool,
}

pub(super) async fn tree(State(state): State<Roles>, call: Call) -> Result<Json<Vec<Branch>>, Error> {
    let (_, input) = call.permit("role:read")?;
    input.finish(|| Some(()))?;
    let mut tx = state.control.read().await?;
    let (roles, links) = (hierarchy::roles(&mut tx).await?, hierarchy::links(&mut tx).await?);
    Ok(Json(forest(roles, &links)))
}

pub(super) async fn parents(State(state): State<Roles>, call: Call) -> Result<Json<Vec<RoleInfo>>, Error> {
    let (mut tx, id) = reading(&state, call).await?;
    Ok(Json(hierarchy::parents(&mut tx, id).await?))
}

pub(super) async fn effective(State(state): State<Roles>, call: Call) -> Result<Json<Vec<EffectivePermission>>, Error> {
    let (mut tx, id) = reading(&state, call).await?;
    Ok(Json(hierarchy::permissions(&mut tx, id).await?))
}

pub(super) async fn inherit(State(state): State<Roles>, call: Call) -> Result<Written<Message>, Error> {
    let (mut write, role, parent) = pair(&state, call).await?;
    if role == parent {
        return Err(Error::BadRequest("Role cannot be its own parent".into()));
    }
    if roles::inherit(write.tx(), role, parent).await? {
        refuse_tangle(write.tx(), role).await?;
        record::many(&mut write, record::ROLE, [role.0], Some(&("parent_added", json!(parent))))?;
        write.touch(Change::Role(role));
    }
    Ok(write.commit(Message::new(format!("Parent role {parent} added to role {role}"))).await?.into())
}

pub(super) async fn disinherit(State(state): State<Roles>, call: Call) -> Result<Written<Message>, Error> {
    let (mut write, role, parent) = pair(&state, call).await?;
    if roles::disinherit(write.tx(), role, parent).await? {
        record::many(&mut write, record::ROLE, [role.0], Some(&("parent_removed", json!(parent))))?;
        write.touch(Change::Role(role));
    }
    Ok(write.commit(Message::new(format!("Parent role {parent} removed from role {role}"))).await?.into())
}

/// Refuses a state in which `role` would inherit from itself, or lie on a chain that is too long; to be called once
/// the rows are written.
pub(super) async fn refuse_tangle(tx: &mut Tx, role: RoleId) -> Result<(), Error> {
    let above = hierarchy::above(tx, role).await?;
    if above.iter().any(|(id, steps)| *id == role && *steps > 0) {
        return Err(Error::BadRequest("Role inheritance would form a cycle".into()));
    }
    let below = hierarchy::below(tx, role).await?;
    let most = |reached: Vec<(RoleId, i64)>| reached.into_iter().map(|(_, steps)| steps).max().unwrap_or(0);
    if most(above) + most(below) > MAX_INHERITANCE {
        let detail = format!("Role inheritance would be more than {MAX_INHERITANCE} steps deep");
        return Err(Error::BadRequest(detail.into()));
    }
    Ok(())
}

/// The role of the path, which exists.
async fn reading(state: &Roles, call: Call) -> Result<(Tx, RoleId), Error> {
    let (_, mut input) = call.permit("role:read")?;
    let id = input.path("role_id");
    let id = input.finish(|| id)?;
    let mut tx = state.control.read().await?;
    let id = existing(&mut tx, id).await?.id;
    Ok((tx, id))
}

/// A write in which both roles of the path exist.
async fn pair(state: &Roles, call: Call) -> Result<(Write, RoleId, RoleId), Error> {
    let (caller, mut input) = call.permit("role:update")?;
    let (role, parent) = (input.path::<RoleId>("role_id"), input.path::<RoleId>("parent_id"));
    let (role, parent) = input.finish(|| Some((role?, parent?)))?;
    let mut write = state.control.write_as(caller.origin()).await?;
    let known = roles::heads(write.tx(), &[role, parent]).await?;
    let both = known.contains_key(&role) && known.contains_key(&parent);
    if both { Ok((write, role, parent)) } else { Err(Error::NotFound("Role or parent role not found".into())) }
}

/// The roles that inherit from none, each with those that inherit from it.
fn forest(roles: Vec<RoleHead>, links: &[(RoleId, RoleId)]) -> Vec<Branch> {
    let mut below: HashMap<RoleId, Vec<RoleId>> = HashMap::new();
    for (role, parent) in links {
        below.entry(*parent).or_default().push(*role);
    }
    let inheriting: HashSet<RoleId> = links.iter().map(|(role, _)| *role).collect();
    let roots = roles.iter().map(|role| role.id).filter(|id| !inheriting.contains(id));
    let mut open: Vec<(RoleId, usize)> = roots.map(|id| (id, 0)).collect();
    open.reverse();
    // Every place in the order in which the answer names it.
    let (mut places, mut seen) = (Vec::new(), HashSet::new());
    while let Some((id, depth)) = open.pop() {
        let children = below.get(&id).map(Vec::as_slice).unwrap_or_default();
        let repeated = !children.is_empty() && !seen.insert(id);
        places.push((id, depth, repeated));
        if !repeated {
            open.extend(children.iter().rev().map(|child| (*child, depth + 1)));
        }
    }
    // From the last to the first: then a role's children are complete when it takes them.
    let known: HashMap<RoleId, RoleHead> = roles.into_iter().map(|role| (role.id, role)).collect();
    let mut waiting: Vec<Vec<Branch>> = vec![Vec::new()];
    for (id, depth, repeated) in places.into_iter().rev() {
        let Some(role) = known.get(&id).cloned() else { continue };
        waiting.resize_with(waiting.len().max(depth + 2), Vec::new);
        let mut children = std::mem::take(&mut waiting[depth + 1]);
        children.reverse();
        waiting[depth].push(Branch { role, children, repeated });
    }
    let mut roots = waiting.swap_remove(0);
    roots.reverse();
    roots
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grown(roles: i64, links: &[(i64, i64)]) -> Vec<Branch> {
        let role = |id: i64| RoleHead {
            id: RoleId(id),
            name: format!("r{id}").as_str().try_into().unwrap(),
            description: None,
            is_system_role: false,
            is_active: true,
        };
        let links: Vec<_> = links.iter().map(|(role, parent)| (RoleId(*role), RoleId(*parent))).collect();
        forest((1..=roles).map(role).collect(), &links)
    }

    fn shape(branches: &[Branch]) -> String {
        let one = |branch: &Branch| {
            let mark = if branch.repeated { "*" } else { "" };
            let below = shape(&branch.children);
            format!("{}{mark}{}", branch.role.id, if below.is_empty() { below } else { format!("({below})") })
        };
        branches.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_role_stands_below_each_of_its_parents() {
        assert_eq!(shape(&grown(0, &[])), "");
        assert_eq!(shape(&grown(3, &[])), "1 2 3");
        assert_eq!(shape(&grown(6, &[(2, 1), (3, 1), (4, 2), (4, 3), (5, 4)])), "1(2(4(5)) 3(4*)) 6");
        assert_eq!(shape(&grown(4, &[(1, 4), (2, 4), (3, 2)])), "4(1 2(3))");
        let looped = shape(&grown(3, &[(2, 3), (3, 2)]));
        assert_eq!(looped, "1", "what was written past us does not hang us");
    }

    #[test]
    fn the_answer_grows_with_the_graph_and_not_with_its_paths() {
        // 32 diamonds one on the other: 2^32 paths.
        let diamond = |at: i64| [(3 * at + 2, 3 * at + 1), (3 * at + 3, 3 * at + 1)];
        let closing = |at: i64| [(3 * at + 4, 3 * at + 2), (3 * at + 4, 3 * at + 3)];
        let links: Vec<_> = (0..32).flat_map(|at| [diamond(at), closing(at)].concat()).collect();
        let text = shape(&grown(97, &links));
        assert_eq!(text.split([' ', '(']).count(), 1 + links.len());
    }
}
