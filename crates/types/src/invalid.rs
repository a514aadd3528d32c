//! The one error of this crate: a value that breaks a rule, and which rule.

/// A value was refused: which one, and why, in a sentence for the user.
///
/// Names and labels are quoted in the reason (shortened and escaped); no part of a payload ever is, except the
/// registry address by which a user finds the faulty entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct Invalid {
    /// Where the value stood, such as `name` or `payload.auths["quay.io"].auth`.
    pub field: String,
    /// What is wrong with it and, where there is one, the limit it breaks.
    pub reason: String,
}

impl Invalid {
    /// Refuses `field` because of `reason`.
    pub fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into() }
    }

    /// Refuses `field` in Kubernetes' words: `Invalid value: "…": reason`.
    pub(crate) fn value(field: &str, value: &str, reason: &str) -> Self {
        Self::new(field, format!("Invalid value: {}: {reason}", quoted(value)))
    }
}

/// How much of a refused value an error shows: enough to recognise it, too little to flood a log.
const QUOTED_CHARS_MAX: usize = 80;

/// `value` in quotes, control characters escaped, shortened to [`QUOTED_CHARS_MAX`].
pub(crate) fn quoted(value: &str) -> String {
    match value.char_indices().nth(QUOTED_CHARS_MAX) {
        None => format!("{value:?}"),
        Some((end, _)) => format!("{:?}… ({} bytes)", &value[..end], value.len()),
    }
}
