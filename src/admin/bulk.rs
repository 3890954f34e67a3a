//! Operations on many rows at once: which of them took place, and why the others did not.

use schemars::JsonSchema;
use serde::Serialize;

use super::error::{Detail, Error};
use super::input::{Input, Read, Valid};

/// Most ids in one request.
pub(super) const MOST: usize = 1_000;

/// Reads which rows shall be active or not.
pub(super) fn switched<I: Read>(input: &mut Input) -> Valid<(Vec<I>, bool)> {
    let mut body = input.body();
    let ids = body.field::<Vec<I>>("ids").max_items(MOST).required();
    let is_active = body.required::<bool>("is_active");
    Some((ids?, is_active?))
}

/// The ids of one request, of which those fall out that cannot be served.
#[derive(Debug)]
pub(super) struct Batch<I> {
    noun: &'static str,
    ids: Vec<I>,
    failed: Vec<Failure<I>>,
}

/// One that was left out.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(inline)]
struct Failure<I> {
    id: I,
    detail: Detail,
}

/// What was done, in the words of a message, and what was not.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(super) struct Outcome<I> {
    message: String,
    success: bool,
    affected: usize,
    failed: Vec<Failure<I>>,
}

impl<I: Copy + Ord> Batch<I> {
    /// A batch of `noun`s; ids that are given twice count once.
    ///
    /// # Errors
    /// 400 when there is no id.
    pub(super) fn new(noun: &'static str, mut ids: Vec<I>) -> Result<Self, Error> {
        ids.sort_unstable();
        ids.dedup();
        if ids.is_empty() {
            return Err(Error::BadRequest(format!("No {noun} IDs provided").into()));
        }
        Ok(Self { noun, ids, failed: Vec::new() })
    }

    /// Those left.
    pub(super) fn ids(&self) -> &[I] {
        &self.ids
    }

    /// Leaves out what does not exist, with what a request about this one would hear.
    ///
    /// # Errors
    /// 404 when nothing is left.
    pub(super) fn keep_known(&mut self, unknown: &'static str, known: impl Fn(&I) -> bool) -> Result<(), Error> {
        self.leave_out(|id| (!known(id)).then(|| unknown.into()));
        let none = || Error::NotFound(format!("No {}s found with the provided IDs", self.noun).into());
        if self.ids.is_empty() { Err(none()) } else { Ok(()) }
    }

    /// Leaves out what `flaw` has a reason against, which it says.
    ///
    /// # Errors
    /// 400 when nothing is left to `verb`.
    pub(super) fn keep_sound<D: Into<Detail>>(
        &mut self,
        verb: &str,
        mut flaw: impl FnMut(&I) -> Option<D>,
    ) -> Result<(), Error> {
        self.leave_out(|id| flaw(id).map(Into::into));
        let none = || Error::BadRequest(format!("No valid {}s to {verb}", self.noun).into());
        if self.ids.is_empty() { Err(none()) } else { Ok(()) }
    }

    /// Says that what is left was `done`.
    pub(super) fn done(self, done: &str) -> Outcome<I> {
        let affected = self.ids.len();
        let mut failed = self.failed;
        failed.sort_unstable_by_key(|failure| failure.id);
        Outcome { message: format!("{affected} {}(s) {done} successfully", self.noun), success: true, affected, failed }
    }

    fn leave_out(&mut self, mut flaw: impl FnMut(&I) -> Option<Detail>) {
        let failed = &mut self.failed;
        self.ids.retain(|id| match flaw(id) {
            Some(detail) => {
                failed.push(Failure { id: *id, detail });
                false
            }
            None => true,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detail<T: std::fmt::Debug>(outcome: Result<T, Error>) -> String {
        outcome.unwrap_err().to_string()
    }

    #[test]
    fn what_cannot_be_done_is_left_out_and_said() {
        let mut batch = Batch::new("role", vec![4, 1, 3, 2, 4]).unwrap();
        batch.keep_known("Role not found", |id| *id < 4).unwrap();
        batch.keep_sound("delete", |id| (*id == 1).then_some("Cannot delete system roles")).unwrap();
        assert_eq!(batch.ids(), [2, 3]);
        insta::assert_json_snapshot!(batch.done("deleted"), @r#"
        {
          "message": "2 role(s) deleted successfully",
          "success": true,
          "affected": 2,
          "failed": [
            {
              "id": 1,
              "detail": "Cannot delete system roles"
            },
            {
              "id": 4,
              "detail": "Role not found"
            }
          ]
        }
        "#);
    }

    #[test]
    fn nothing_to_do_is_an_error() {
        assert_eq!(detail(Batch::<i64>::new("role", Vec::new())), "No role IDs provided");
        let mut batch = Batch::new("role", vec![1]).unwrap();
        assert_eq!(detail(batch.keep_known("", |_| false)), "No roles found with the provided IDs");
        let mut batch = Batch::new("role", vec![1]).unwrap();
        assert_eq!(detail(batch.keep_sound("delete", |_| Some(""))), "No valid roles to delete");
    }
}
