use schemars::JsonSchema;

/// A value that must not be shown: no `Display`, and `Debug` prints `***`.
#[derive(Clone, Default, PartialEq, Eq, JsonSchema)]
#[schemars(inline, description = "Never told again.", extend("format" = "password"))]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Hides `value`.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The hidden value; the name makes each use easy to find.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> std::fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}
