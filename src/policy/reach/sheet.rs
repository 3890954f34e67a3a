//! What policies say to roles and users about several operations at once.

use std::{collections::HashMap, sync::Arc};

use super::{
    Says,
    part::{Asked, Part},
};
use crate::{
    model::{RoleId, UserId},
    policy::compile::Compiled,
};

/// What is said about each question.
pub(super) type Row = Arc<[Says]>;

type Rows = HashMap<RoleId, Row, foldhash::fast::RandomState>;

/// What one user is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Held {
    /// The roles that the user is assigned, sorted.
    pub(super) assigned: Vec<RoleId>,
    pub(super) is_active: bool,
    /// Who it is, if a policy speaks of the user.
    pub(super) named: Option<UserId>,
}

/// Questions by what somebody is; what is said to a role is found out once.
pub(super) struct Sheet<'s> {
    compiled: &'s Compiled,
    /// `None` where there is nothing to ask about.
    questions: Vec<Option<Asked<'s>>>,
    everybody: Row,
    alone: Rows,
    whole: Rows,
}

impl<'s> Sheet<'s> {
    pub(super) fn new(compiled: &'s Compiled, questions: Vec<Option<Asked<'s>>>) -> Self {
        let everybody = row(compiled, &questions, &Part::SomeUser);
        Self { compiled, questions, everybody, alone: Rows::default(), whole: Rows::default() }
    }

    /// What is said to somebody without credentials.
    pub(super) fn anonymous(&self) -> Vec<Says> {
        row(self.compiled, &self.questions, &Part::Anonymous).to_vec()
    }

    /// What is said to a user with this role and no other, if there is such a role.
    pub(super) fn role(&mut self, id: RoleId) -> Vec<Says> {
        if self.compiled.roles.get(id).is_none() {
            return vec![Says::default(); self.questions.len()];
        }
        let mut says = self.everybody.to_vec();
        join(&mut says, &self.whole(id));
        says
    }

    /// What is said to a user; to nobody, nothing.
    pub(super) fn user(&mut self, held: Option<&Held>) -> Vec<Says> {
        let Some(held) = held else { return vec![Says::default(); self.questions.len()] };
        let mut says = self.everybody.to_vec();
        for role in &held.assigned {
            join(&mut says, &self.whole(*role));
        }
        if !held.is_active {
            join(&mut says, &row(self.compiled, &self.questions, &Part::Inactive));
        }
        let named = held.named.and_then(|id| Some(Part::User(id, self.compiled.checked.index.user(id)?)));
        if let Some(part) = named {
            join(&mut says, &row(self.compiled, &self.questions, &part));
        }
        says
    }

    fn whole(&mut self, id: RoleId) -> Row {
        if let Some(row) = self.whole.get(&id) {
            return Arc::clone(row);
        }
        let mut says = vec![Says::default(); self.questions.len()];
        for part in self.compiled.effective(id) {
            join(&mut says, &self.alone(*part));
        }
        let row: Row = says.into();
        self.whole.insert(id, Arc::clone(&row));
        row
    }

    fn alone(&mut self, id: RoleId) -> Row {
        let (compiled, questions) = (self.compiled, &self.questions);
        let part = |id| match Part::role(compiled, id) {
            Some(part) => row(compiled, questions, &part),
            None => vec![Says::default(); questions.len()].into(),
        };
        Arc::clone(self.alone.entry(id).or_insert_with(|| part(id)))
    }
}

fn row(compiled: &Compiled, questions: &[Option<Asked<'_>>], part: &Part<'_>) -> Row {
    questions.iter().map(|asked| asked.map(|asked| part.says(compiled, asked)).unwrap_or_default()).collect()
}

fn join(says: &mut [Says], more: &[Says]) {
    for (says, more) in says.iter_mut().zip(more) {
        *says |= *more;
    }
}
