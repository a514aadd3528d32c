//! Label selectors: Kubernetes' little language for choosing secrets by their labels.
//!
//! The grammar, its odd corners (`a in ()`, `(,x)`) and the error texts are those of Kubernetes, so that `-l` means
//! here what it means there. Left out are `>` and `<`: no secret has an ordered label, and a silent difference
//! would be worse than a refusal.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::invalid::quoted;
use crate::{Invalid, Labels, kubernetes, limits};

/// Which secrets a list or watch is about: all whose labels meet every requirement. The default has none and selects
/// everything.
///
/// `Display` writes a canonical form that parses to the same selector.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Selector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Requirement {
    key: String,
    test: Test,
}

/// What is asked of the label under the requirement's key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Test {
    Exists,
    Absent,
    In(BTreeSet<String>),
    /// Met by a secret without the label, too; that is Kubernetes' rule.
    NotIn(BTreeSet<String>),
}

impl Selector {
    /// Whether a secret with these labels is selected.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|requirement| {
            let value = labels.get(&requirement.key);
            match &requirement.test {
                Test::Exists => value.is_some(),
                Test::Absent => value.is_none(),
                Test::In(values) => value.is_some_and(|value| values.contains(value)),
                Test::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            }
        })
    }

    /// Whether it selects every secret, labelled or not.
    pub fn is_everything(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for Selector {
    type Err = Invalid;

    /// Parses `a=b,c==d,e!=f,g in (x,y),h notin (x),i,!j`; empty text selects everything.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let bytes_max = limits::SELECTOR_BYTES_MAX;
        if text.len() > bytes_max {
            return Err(Invalid::new(
                "label_selector",
                format!("has {} bytes, the limit is {bytes_max} bytes", text.len()),
            ));
        }
        let refusal =
            |why: String| Invalid::new("label_selector", format!("unable to parse {}: {why}", quoted(text)));
        Parser { tokens: tokens(text).map_err(refusal)?, at: 0 }.selector().map_err(refusal)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Requirement { key, test }) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            match test {
                Test::Exists => f.write_str(key)?,
                Test::Absent => write!(f, "!{key}")?,
                Test::In(values) => write!(f, "{key} in ({})", list(values))?,
                Test::NotIn(values) => write!(f, "{key} notin ({})", list(values))?,
            }
        }
        Ok(())
    }
}

/// The values with commas between; the empty one, if any, is the first and leaves its comma.
fn list(values: &BTreeSet<String>) -> String {
    values.iter().map(String::as_str).collect::<Vec<_>>().join(",")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    /// A key, a value, or one of the words `in` and `notin`, which are both where they stand for nothing else.
    Word(&'a str),
    Equals,
    DoubleEquals,
    NotEquals,
    Not,
    Comma,
    Open,
    Close,
    End,
}

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Token::Word(word) => f.write_str(&word.escape_debug().to_string()),
            Token::Equals => f.write_str("="),
            Token::DoubleEquals => f.write_str("=="),
            Token::NotEquals => f.write_str("!="),
            Token::Not => f.write_str("!"),
            Token::Comma => f.write_str(","),
            Token::Open => f.write_str("("),
            Token::Close => f.write_str(")"),
            Token::End => Ok(()),
        }
    }
}

const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];
const SYMBOLS: [char; 7] = ['=', '!', '(', ')', ',', '>', '<'];

fn tokens(text: &str) -> Result<Vec<Token<'_>>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start_matches(SPACES);
    while let Some(first) = rest.chars().next() {
        let (token, bytes) = match first {
            '=' if rest.starts_with("==") => (Token::DoubleEquals, 2),
            '=' => (Token::Equals, 1),
            '!' if rest.starts_with("!=") => (Token::NotEquals, 2),
            '!' => (Token::Not, 1),
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            ',' => (Token::Comma, 1),
            '>' | '<' => {
                return Err(format!(
                    "the operator '{first}' is not supported: use '=', '!=', 'in' or 'notin'"
                ));
            }
            _ => {
                let bytes = rest.find(|c| SPACES.contains(&c) || SYMBOLS.contains(&c)).unwrap_or(rest.len());
                (Token::Word(&rest[..bytes]), bytes)
            }
        };
        tokens.push(token);
        rest = rest[bytes..].trim_start_matches(SPACES);
    }
    Ok(tokens)
}

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Token<'a> {
        self.tokens.get(self.at).copied().unwrap_or(Token::End)
    }

    fn next(&mut self) -> Token<'a> {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn selector(mut self) -> Result<Selector, String> {
        let mut requirements = Vec::new();
        if self.peek() == Token::End {
            return Ok(Selector(requirements));
        }
        if !matches!(self.peek(), Token::Word(_) | Token::Not) {
            return Err(format!("found '{}', expected: !, identifier, or 'end of string'", self.peek()));
        }
        loop {
            requirements.push(self.requirement()?);
            match self.next() {
                Token::End => return Ok(Selector(requirements)),
                Token::Comma if matches!(self.peek(), Token::Word(_) | Token::Not) => {}
                Token::Comma => {
                    return Err(format!("found '{}', expected: identifier after ','", self.peek()));
                }
                other => return Err(format!("found '{other}', expected: ',' or 'end of string'")),
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let is_negated = self.peek() == Token::Not;
        if is_negated {
            self.next();
        }
        let key = match self.next() {
            Token::Word(key) => key.to_owned(),
            other => return Err(format!("found '{other}', expected: identifier")),
        };
        kubernetes::qualified_name(&key).map_err(|why| format!("key {}: {why}", quoted(&key)))?;
        let test = match self.peek() {
            // After `!key` nothing but a comma may follow, which `selector` checks.
            _ if is_negated => Test::Absent,
            Token::End | Token::Comma => Test::Exists,
            _ => self.operation()?,
        };
        if let Test::In(values) | Test::NotIn(values) = &test {
            for value in values {
                kubernetes::label_value(value)
                    .map_err(|why| format!("value {} of key {}: {why}", quoted(value), quoted(&key)))?;
            }
        }
        Ok(Requirement { key, test })
    }

    fn operation(&mut self) -> Result<Test, String> {
        match self.next() {
            Token::Equals | Token::DoubleEquals => Ok(Test::In(self.exact_value()?)),
            Token::NotEquals => Ok(Test::NotIn(self.exact_value()?)),
            Token::Word("in") => Ok(Test::In(self.values()?)),
            Token::Word("notin") => Ok(Test::NotIn(self.values()?)),
            other => Err(format!("found '{other}', expected: '=', '!=', '==', 'in', 'notin'")),
        }
    }

    /// One value, which may be left out and is empty then.
    fn exact_value(&mut self) -> Result<BTreeSet<String>, String> {
        match self.peek() {
            Token::End | Token::Comma => Ok(BTreeSet::from([String::new()])),
            Token::Word(value) => {
                self.next();
                Ok(BTreeSet::from([value.to_owned()]))
            }
            other => Err(format!("found '{other}', expected: identifier")),
        }
    }

    /// `(x,y)`. Between two commas, a comma and a parenthesis, or the two parentheses stands the empty value.
    fn values(&mut self) -> Result<BTreeSet<String>, String> {
        match self.next() {
            Token::Open => {}
            other => return Err(format!("found '{other}', expected: '('")),
        }
        let mut values = BTreeSet::new();
        loop {
            match self.peek() {
                Token::Word(value) => {
                    values.insert(value.to_owned());
                    self.next();
                }
                Token::Comma | Token::Close => {
                    values.insert(String::new());
                }
                other => return Err(format!("found '{other}', expected: ',', ')' or identifier")),
            }
            match self.next() {
                Token::Comma => {}
                Token::Close => return Ok(values),
                other => return Err(format!("found '{other}', expected: ',' or ')'")),
            }
        }
    }
}
