//! Roles by permissions, or by operations.

use std::{collections::HashMap, sync::Arc};

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Reach, Says,
    access::names,
    operations::{Kind, places},
    part::{Asked, Holder, Owned, Part},
};
use crate::{
    model::{PermissionName, RoleId, RouteId},
    policy::{compile::Compiled, question::Bare},
};

/// What stands beside the roles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MatrixBy {
    /// Every active permission with a verb.
    #[default]
    Permission,
    /// Every operation of a gateway route.
    Operation,
}

/// Which cells are wanted; names are exact.
#[derive(Clone, Debug, Default)]
pub struct MatrixFilter {
    /// Of this role.
    pub role: Option<String>,
    /// Of this route: its operations, or the permissions that they ask for.
    pub route_id: Option<RouteId>,
    /// This permission, or operations that ask for it.
    pub permission: Option<String>,
}

/// How a role comes to something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Grant {
    /// By itself, or because every user may.
    Direct,
    /// Through a role that it inherits from.
    Inherited,
    /// However it comes to it, the request decides.
    Conditional,
}

impl Grant {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Inherited => "inherited",
            Self::Conditional => "conditional",
        }
    }
}

/// A role that may do something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "MatrixCell")]
pub struct Cell {
    /// Its name.
    pub role: Arc<str>,
    /// The permission, in a matrix of permissions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permission: Option<Arc<str>>,
    /// The route, in a matrix of operations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route_id: Option<RouteId>,
    /// Its path template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<Arc<str>>,
    /// The method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<Arc<str>>,
    /// How it comes to it.
    pub grant: Grant,
}

/// A part of the cells, and how many there are.
#[derive(Debug)]
pub struct Matrix {
    /// By role, then by permission, or by route and method.
    pub cells: Vec<Cell>,
    /// How many there are, or where counting ended.
    pub total: usize,
    /// Whether counting ended early.
    pub is_capped: bool,
}

/// A column, without its role.
struct Column {
    /// Its place among the questions.
    question: usize,
    permission: Option<Arc<str>>,
    route_id: Option<RouteId>,
    route: Option<Arc<str>>,
    method: Option<Arc<str>>,
}

/// The cells of all roles, active or not, that are not denied: `limit` of them after `skip`, counted up to `most`.
pub fn matrix(
    compiled: &Compiled,
    by: MatrixBy,
    filter: &MatrixFilter,
    (skip, limit, most): (usize, usize, usize),
) -> Matrix {
    let bare: Vec<(Arc<str>, Bare)> = match by {
        MatrixBy::Permission => permissions(compiled, filter),
        MatrixBy::Operation => Vec::new(),
    };
    let (questions, columns) = match by {
        MatrixBy::Permission => by_permission(&bare),
        MatrixBy::Operation => by_operation(compiled, filter),
    };
    let mut roles: Vec<(&Arc<str>, RoleId)> = compiled.roles.all().map(|(id, role)| (&role.name, id)).collect();
    roles.retain(|(name, _)| filter.role.as_ref().is_none_or(|wanted| ***name == **wanted));
    roles.sort_unstable();
    let mut matrix = Matrix { cells: Vec::new(), total: 0, is_capped: false };
    for (name, id) in roles {
        let row: Vec<Option<Grant>> = row(compiled, id, &questions);
        for column in &columns {
            let Some(grant) = row[column.question] else { continue };
            if matrix.total == most {
                matrix.is_capped = true;
                return matrix;
            }
            if matrix.total >= skip && matrix.cells.len() < limit {
                matrix.cells.push(Cell {
                    role: Arc::clone(name),
                    permission: column.permission.clone(),
                    route_id: column.route_id,
                    route: column.route.clone(),
                    method: column.method.clone(),
                    grant,
                });
            }
            matrix.total += 1;
        }
    }
    matrix
}

fn row(compiled: &Compiled, id: RoleId, questions: &[Asked<'_>]) -> Vec<Option<Grant>> {
    let holder = Holder::of_roles(compiled, &[id]);
    let own: Vec<Part<'_>> = [Some(Part::SomeUser), Part::role(compiled, id)].into_iter().flatten().collect();
    let grant = |asked: &Asked<'_>| match holder.reach(*asked) {
        Reach::Denied => None,
        Reach::Conditional => Some(Grant::Conditional),
        Reach::Allowed => {
            let says: Says = own.iter().map(|part| part.says(compiled, *asked)).collect();
            Some(if says.has(Says::PERMIT) { Grant::Direct } else { Grant::Inherited })
        }
    };
    questions.iter().map(grant).collect()
}

fn permissions(compiled: &Compiled, filter: &MatrixFilter) -> Vec<(Arc<str>, Bare)> {
    let asked_by_route = filter.route_id.map(|id| {
        let own = compiled.routing.route(id).into_iter().flat_map(|route| route.operations());
        own.filter_map(|operation| operation.permission()).collect::<Vec<_>>()
    });
    let all = names(compiled).into_iter();
    let wanted = all.filter(|(name, _)| {
        filter.permission.as_ref().is_none_or(|wanted| name.as_str() == wanted)
            && asked_by_route.as_ref().is_none_or(|asked| asked.contains(name))
    });
    wanted.map(|(name, bare)| (name.as_str().into(), bare)).collect()
}

fn by_permission(bare: &[(Arc<str>, Bare)]) -> (Vec<Asked<'_>>, Vec<Column>) {
    let questions = bare.iter().map(|(_, bare)| Asked { question: bare.question(), owned: Owned::Perhaps });
    let columns = bare.iter().enumerate().map(|(question, (name, _))| Column {
        question,
        permission: Some(Arc::clone(name)),
        route_id: None,
        route: None,
        method: None,
    });
    (questions.collect(), columns.collect())
}

fn by_operation<'c>(compiled: &'c Compiled, filter: &MatrixFilter) -> (Vec<Asked<'c>>, Vec<Column>) {
    let mut kinds: HashMap<Kind<'c>, usize> = HashMap::new();
    let (mut questions, mut columns) = (Vec::new(), Vec::new());
    for place in places(compiled) {
        let asks = place.operation.permission().map(PermissionName::as_str);
        if filter.route_id.is_some_and(|id| id != place.route.id)
            || filter.permission.as_ref().is_some_and(|wanted| asks != Some(wanted))
        {
            continue;
        }
        let question = *kinds.entry(place.operation.kind()).or_insert_with(|| {
            questions.push(place.operation.asked());
            questions.len() - 1
        });
        columns.push(Column {
            question,
            permission: None,
            route_id: Some(place.route.id),
            route: Some(place.route.template.as_str().into()),
            method: Some(place.operation.method.as_str().into()),
        });
    }
    (questions, columns)
}
