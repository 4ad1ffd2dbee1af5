//! Building protocol messages.

/// Builds a protocol message: the fields named here, all others at the protocol's defaults.
/// (The generated types are `non_exhaustive`, so a struct literal is not possible.)
macro_rules! message {
    ($type:path { $($field:ident $(: $value:expr)?),* $(,)? }) => {{
        #[allow(unused_mut, clippy::field_reassign_with_default)]
        let mut message = <$type>::default();
        $(message.$field = message!(@value $field $(, $value)?);)*
        message
    }};
    (@value $field:ident, $value:expr) => { $value };
    (@value $field:ident) => { $field };
}
pub(crate) use message;
