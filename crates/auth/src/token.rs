//! A credential as a client holds and sends it.
//!
//! Responsible for keeping it out of logs and memory dumps as far as a process can. Where it comes from is the caller's
//! business.

use http::HeaderValue;
use zeroize::Zeroizing;

/// More than any token of ours, and well inside the header limit of 16 KiB.
const TOKEN_BYTES_MAX: usize = 8_192;

/// A bearer token. No `Debug`, no `Display`, no `Serialize`; wiped when dropped.
#[derive(Clone)]
pub struct Token(Zeroizing<String>);

/// The text is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token is 1 to {TOKEN_BYTES_MAX} visible ASCII characters without spaces")]
pub struct InvalidToken;

impl Token {
    /// Takes over the text.
    ///
    /// # Errors
    /// Empty, too long, or characters that a header cannot carry. The error does not quote it.
    pub fn new(text: String) -> Result<Self, InvalidToken> {
        let text = Zeroizing::new(text);
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        if visible && (1..=TOKEN_BYTES_MAX).contains(&text.len()) {
            Ok(Self(text))
        } else {
            Err(InvalidToken)
        }
    }

    /// The text itself, for building credentials; do not log it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// The value of the `authorization` metadata, marked sensitive so that no layer prints it and HTTP/2 never puts it into
/// its compression table.
#[must_use]
pub fn bearer(token: &Token) -> HeaderValue {
    let text = Zeroizing::new(format!("Bearer {}", token.expose()));
    let mut value = HeaderValue::from_str(&text).expect("a token is visible ASCII: Token::new checked it");
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_value_is_sensitive_and_debug_hides_it() {
        let value = bearer(&Token::new("insecure:acme".to_owned()).unwrap());
        assert_eq!(value.to_str().unwrap(), "Bearer insecure:acme");
        assert!(value.is_sensitive());
        assert!(!format!("{value:?}").contains("acme"));
    }

    #[test]
    fn text_that_no_header_can_carry_is_refused_without_quoting_it() {
        for text in ["", "a b", "a\nb", "ü"] {
            let error = Token::new(text.to_owned()).err().expect("must be refused");
            assert!(!error.to_string().contains('\n'));
        }
        assert!(Token::new("a".repeat(TOKEN_BYTES_MAX + 1)).is_err());
    }
}
