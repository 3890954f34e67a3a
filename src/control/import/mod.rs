//! Taking over an installation of the predecessor: its rows, with their ids, become ours.
//!
//! ## Why
//! What is taken over must be the same afterwards, or not be there: so every row is checked by our own rules first, all
//! that is wrong is told at once, and nothing is written unless all of it can be. A row that is here already is left
//! alone; if it is another than there, a person has to decide which one is right. So a second run changes nothing.

mod apply;
mod check;
mod kinds;
mod plan;
mod report;

pub use report::{Listed, Report};

use super::{Control, Error};
use crate::{
    model::{SUPER_ROLE, takeover::Installation},
    store::{
        Tx, predecessor,
        takeover::{self, Present},
    },
};

/// An installation whose rows were looked at.
#[derive(Debug)]
pub struct Takeover {
    wanted: Installation,
    report: Report,
}

impl Takeover {
    /// Looks at each row; [`Takeover::report`] says what cannot be taken over.
    pub fn new(found: predecessor::Installation) -> Self {
        let mut report = Report::default();
        if !found.binds_roles {
            report.notes.push(
                "This version of the template shows every module and route to every role; the sidebar shows what roles \
                 are bound to. Bind them, or ask for ?view=flat."
                    .to_owned(),
            );
        }
        let wanted = check::check(found, &mut report);
        let super_role = wanted.roles.iter().find(|role| role.name.as_str() == SUPER_ROLE);
        let is_super = |user: &crate::model::takeover::User| {
            super_role.is_some_and(|role| user.is_active && wanted.links.assignments.contains(&(user.id, role.id)))
        };
        if !wanted.users.iter().any(is_super) {
            report.notes.push(format!(
                "No active user there has the role {SUPER_ROLE}: make one with `cedargate user create`, or let the \
                 first start make one."
            ));
        }
        Self { wanted, report }
    }

    /// What is known without looking at our own rows.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// What would become of it in the database of `tx`, or in an empty one.
    ///
    /// # Errors
    /// The database is away.
    pub async fn preview(&self, tx: Option<&mut Tx>) -> Result<Report, Error> {
        let present = match tx {
            Some(tx) => takeover::present(tx).await?,
            None => Present::default(),
        };
        let mut report = self.report.clone();
        plan::plan(&self.wanted, &present, &mut report);
        Ok(report)
    }
}

impl Control {
    /// Writes what is not here yet, in one transaction, unless the report that is returned [forbids](Report::forbids)
    /// it. Running gateways follow as they follow every change.
    ///
    /// # Errors
    /// The database is away, or the rules would not compile; nothing was written then.
    pub async fn take_over(&self, takeover: &Takeover) -> Result<Report, Error> {
        let mut write = self.write().await?;
        let present = takeover::present(write.tx()).await?;
        let mut report = takeover.report.clone();
        let plan = plan::plan(&takeover.wanted, &present, &mut report);
        if report.forbids() || plan.is_empty() {
            return Ok(report);
        }
        apply::apply(&mut write, &plan, &present.links).await?;
        write.commit(()).await?;
        Ok(report)
    }
}
