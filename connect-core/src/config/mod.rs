//! Configuration: one definition per component, from which everything else follows.
//!
//! A component's configuration is a struct that derives [`Config`]. The derive writes its
//! [`ConfigDef`] (keys, types, defaults, documentation) and the parser that turns a flat map of text
//! into the struct, reporting every problem at once. Validation, help, REST answers and editor schemas
//! are all read from the definition.

mod definition;
mod problem;
#[cfg(test)]
mod tests;
mod value;

pub use connect_core_derive::{Config, ConfigChoice};
pub use definition::{ConfigDef, ConfigKey, ConfigRange, ConfigType, Importance, Width};
pub use problem::Problem;
pub(crate) use problem::{nearest, nearest_by};
pub use value::{ConfigValue, Password, read};

/// A configuration as the worker has it: dotted keys, values as text.
pub type ConfigMap = std::collections::BTreeMap<String, String>;

/// A typed configuration; derive it.
///
/// Every field becomes a key: `batch_size` is `batch.size` unless `#[config(key = "…")]` says
/// otherwise. The doc comment is what users read, so it is required. A field must be given unless it is
/// an `Option` or has a default.
///
/// | attribute | meaning |
/// |---|---|
/// | `key = "a.b"` | the key, if not the field's name with dots |
/// | `default = "text"` (or a number, or a boolean) | used if the key is absent, as a user would write it |
/// | `range = 1..` / `0..=10` / `..=5` | smallest and largest value |
/// | `choices = ["a", "b"]` | the values allowed |
/// | `non_empty` | empty text is refused |
/// | `importance = "high"` / `"medium"` / `"low"` | default `medium` |
/// | `group = "…"` | heading in documentation and forms |
/// | `secret` | never shown; implied by [`Password`] |
/// | on the struct: `validate = function` | `fn(&Self, &mut Vec<Problem>)`: rules across fields |
///
/// ```
/// use connect_core::config::{Config, ConfigMap, Password, Problem};
///
/// #[derive(Config)]
/// #[config(validate = check)]
/// struct Login {
///     /// The server's address.
///     #[config(importance = "high", non_empty)]
///     server: String,
///     /// Records per request.
///     #[config(default = 2000, range = 1..)]
///     batch_size: u32,
///     /// Who we are.
///     user: Option<String>,
///     /// The user's password.
///     #[config(key = "user.password")]
///     password: Option<Password>,
/// }
///
/// fn check(login: &Login, problems: &mut Vec<Problem>) {
///     if login.password.is_some() && login.user.is_none() {
///         problems.push(Problem::new("user", "is needed beside \"user.password\""));
///     }
/// }
///
/// let map = ConfigMap::from([("batch.size".into(), "0".into())]);
/// let problems = Login::parse(&map).err().unwrap_or_default();
/// assert_eq!(problems[0].to_string(), "\"server\" is missing; it has no default");
/// assert_eq!(problems[1].to_string(), "\"batch.size\" is \"0\"; expected a whole number, at least 1");
/// ```
pub trait Config: Sized {
    /// Every key, in the order of the struct's fields.
    fn definition() -> ConfigDef;

    /// Reads the configuration; keys it does not know are ignored (see [`ConfigDef::unknown_keys`]).
    ///
    /// # Errors
    /// Every problem there is, in the order of the fields. Rules across fields are checked only if
    /// every field by itself is fine.
    fn parse(config: &ConfigMap) -> Result<Self, Vec<Problem>>;
}
