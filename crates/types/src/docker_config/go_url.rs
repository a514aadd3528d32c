//! As much of Go's `net/url` and `path/filepath` as decides which registry address matches which image.
//!
//! A kubelet parses both with `url.Parse("https://" + address)`. What that function refuses, drops (user, query,
//! fragment) or unescapes changes which images a credential is for, so it is followed here; a stricter URL library
//! would find other matches than the kubelet does.

/// A parsed address.
pub(super) struct GoUrl {
    /// With the port, without a user.
    pub(super) host: String,
    /// Unescaped; empty or beginning with `/`.
    pub(super) path: String,
}

/// Parses what follows `https://`; `None` where Go reports an error.
///
/// One deviation without effect: an address whose escapes decode to something other than UTF-8 is refused, where Go
/// keeps bytes that no image name can contain.
pub(super) fn parse(address: &str) -> Option<GoUrl> {
    if address.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
        return None;
    }
    let (address, fragment) = address.split_once('#').unwrap_or((address, ""));
    unescape(fragment, Part::Path)?;
    let address = address.split_once('?').map_or(address, |(address, _query)| address);
    let slash = address.find('/').unwrap_or(address.len());
    let (authority, path) = address.split_at(slash);
    let host = match authority.rsplit_once('@') {
        None => authority,
        Some((user, host)) => {
            check_user(user)?;
            host
        }
    };
    Some(GoUrl { host: parse_host(host)?, path: unescape(path, Part::Path)? })
}

/// Splits a host into its labels and its port, as `net.SplitHostPort` does: what it cannot split has no port.
pub(super) fn split_host(host: &str) -> (Vec<&str>, &str) {
    let (name, port) = split_port(host).unwrap_or((host, ""));
    (name.split('.').collect(), port)
}

fn split_port(host: &str) -> Option<(&str, &str)> {
    let (name, port) = host.rsplit_once(':')?;
    let name = match name.strip_prefix('[') {
        Some(address) => address.strip_suffix(']')?,
        None if name.contains(':') => return None,
        None => name,
    };
    if name.contains(['[', ']']) || port.contains(['[', ']']) { None } else { Some((name, port)) }
}

fn parse_host(host: &str) -> Option<String> {
    let port = if host.starts_with('[') {
        &host[host.rfind(']')? + 1..]
    } else {
        host.rfind(':').map_or("", |at| &host[at..])
    };
    match port.strip_prefix(':') {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {}
        None if port.is_empty() => {}
        _ => return None,
    }
    unescape(host, Part::Host)
}

fn check_user(user: &str) -> Option<()> {
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&byte);
    if !user.bytes().all(is_valid) {
        return None;
    }
    unescape(user, Part::Path).map(|_| ())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Host,
    Path,
}

/// Replaces `%41` by `A`. In a host only bytes outside ASCII may be escaped, and few symbols may stand as they are.
fn unescape(text: &str, part: Part) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let (high, low) = (hex(bytes.next()?)?, hex(bytes.next()?)?);
            let decoded = (high << 4) | low;
            if part == Part::Host && high < 8 && decoded != b'%' {
                return None;
            }
            out.push(decoded);
        } else if part == Part::Host && byte.is_ascii() && !may_stand_in_host(byte) {
            return None;
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn may_stand_in_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:[]<>\"".contains(&byte)
}

/// `filepath.Match` on one label of a host: `*`, `?` and classes such as `[a-z]`; a malformed pattern matches nothing.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t) = (0, 0);
    // After the last `*`: where the pattern goes on, and where in the text the next try begins.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&'*') {
            p += 1;
            retry = Some((p, t));
            continue;
        }
        if p == pattern.len() && t == text.len() {
            return true;
        }
        let step = if p < pattern.len() && t < text.len() { match_one(&pattern[p..], text[t]) } else { None };
        match (step, retry) {
            (Some(used), _) => (p, t) = (p + used, t + 1),
            (None, Some((after_star, start))) if start < text.len() => {
                retry = Some((after_star, start + 1));
                (p, t) = (after_star, start + 1);
            }
            (None, _) => return false,
        }
    }
}

/// How many characters of the pattern match `c`, if they do.
fn match_one(pattern: &[char], c: char) -> Option<usize> {
    match pattern {
        ['?', ..] => Some(1),
        ['\\', escaped, ..] => (*escaped == c).then_some(2),
        ['[', class @ ..] => match_class(class, c).map(|used| used + 1),
        [literal, ..] => (*literal == c).then_some(1),
        [] => None,
    }
}

fn match_class(class: &[char], c: char) -> Option<usize> {
    let is_negated = class.first() == Some(&'^');
    let mut at = usize::from(is_negated);
    let first = at;
    let mut is_member = false;
    loop {
        if at > first && class.get(at) == Some(&']') {
            return (is_member != is_negated).then_some(at + 1);
        }
        let (low, used) = class_char(&class[at..])?;
        at += used;
        let mut high = low;
        if class.get(at) == Some(&'-') {
            let (end, used) = class_char(&class[at + 1..])?;
            high = end;
            at += used + 1;
        }
        is_member |= (low..=high).contains(&c);
    }
}

fn class_char(class: &[char]) -> Option<(char, usize)> {
    match class {
        ['\\', escaped, ..] => Some((*escaped, 2)),
        ['-' | ']' | '\\', ..] | [] => None,
        [c, ..] => Some((*c, 1)),
    }
}
