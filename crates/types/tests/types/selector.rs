//! Label selectors, as Kubernetes reads them.

use pi_types::{Labels, Selector};

/// `k=v` pairs, separated by spaces.
fn labels(text: &str) -> Labels {
    let map = text.split_whitespace().map(|pair| pair.split_once('=').unwrap());
    Labels::from_map(map.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()).unwrap()
}

/// A selector, labels that it selects, labels that it does not.
const SELECTS: &[(&str, &[&str], &[&str])] = &[
    ("", &["", "a=b"], &[]),
    ("  ", &["", "a=b"], &[]),
    ("a=b", &["a=b", "a=b c=d"], &["", "a=c", "b=a"]),
    ("a==b", &["a=b"], &["a=c", ""]),
    (" a = b ", &["a=b"], &["a=c"]),
    ("a!=b", &["", "a=c"], &["a=b"]),
    ("a=", &["a="], &["", "a=b"]),
    ("a=,c", &["a= c=d"], &["a=", "c=d"]),
    ("a!=", &["", "a=b"], &["a="]),
    ("a in (b,c)", &["a=b", "a=c"], &["", "a=d"]),
    ("a in(b)", &["a=b"], &["a=c"]),
    ("a in (b , c)", &["a=b", "a=c"], &["a=d"]),
    ("a in ()", &["a="], &["", "a=b"]),
    ("a in (,b)", &["a=", "a=b"], &["", "a=c"]),
    ("a in (b,)", &["a=", "a=b"], &["a=c"]),
    ("a in (b,,c)", &["a=", "a=b", "a=c"], &["a=d"]),
    ("a notin (b,c)", &["", "a=d"], &["a=b", "a=c"]),
    ("a", &["a=", "a=b"], &["", "b=a"]),
    ("!a", &["", "b=a"], &["a=", "a=b"]),
    ("! a", &[""], &["a=b"]),
    ("example.com/a=b", &["example.com/a=b"], &["a=b"]),
    // `in` and `notin` are words like others where no operator can stand.
    ("in in (in,notin),notin", &["in=notin notin=x"], &["in=x notin=x", "in=in"]),
    ("in", &["in=x"], &[""]),
    ("a=in", &["a=in"], &["a=b"]),
    ("a=b,c==d,e!=f,g in (x,y),h notin (x),i,!j", &["a=b c=d g=y i="], &["a=b c=d g=y", "a=b c=d g=y i= j="]),
    ("a=b,a=c", &[], &["a=b", "a=c", ""]),
];

#[test]
fn a_selector_selects_what_it_selects_in_kubernetes() {
    for (text, selected, rejected) in SELECTS {
        let selector: Selector = text.parse().unwrap();
        for these in *selected {
            assert!(selector.matches(&labels(these)), "{text:?} selects {these:?}");
        }
        for these in *rejected {
            assert!(!selector.matches(&labels(these)), "{text:?} does not select {these:?}");
        }
    }
}

#[test]
fn the_default_and_the_empty_text_select_everything() {
    assert_eq!("".parse(), Ok(Selector::default()));
    assert!(Selector::default().is_everything());
    assert!(!"a".parse::<Selector>().unwrap().is_everything());
}

/// A text that is no selector, and a part of the reason.
const REFUSED: &[(&str, &str)] = &[
    (",a", "found ',', expected: !, identifier, or 'end of string'"),
    ("=a", "found '=', expected: !, identifier, or 'end of string'"),
    ("(a)", "found '(', expected: !, identifier, or 'end of string'"),
    ("a,", "found '', expected: identifier after ','"),
    ("a,,b", "found ',', expected: identifier after ','"),
    ("!", "found '', expected: identifier"),
    ("!!a", "found '!', expected: identifier"),
    ("!a=b", "found '=', expected: ',' or 'end of string'"),
    ("a=b=c", "found '=', expected: ',' or 'end of string'"),
    ("a=b c", "found 'c', expected: ',' or 'end of string'"),
    ("a b", "found 'b', expected: '=', '!=', '==', 'in', 'notin'"),
    ("a ! = b", "found '!', expected: '=', '!=', '==', 'in', 'notin'"),
    ("a===b", "found '=', expected: identifier"),
    ("a=!b", "found '!', expected: identifier"),
    ("a in b", "found 'b', expected: '('"),
    ("a in", "found '', expected: '('"),
    ("a in (", "expected: ',', ')' or identifier"),
    ("a in (b", "found '', expected: ',' or ')'"),
    ("a in (b c)", "found 'c', expected: ',' or ')'"),
    ("a in ((b))", "found '(', expected: ',', ')' or identifier"),
    ("a in (b))", "found ')', expected: ',' or 'end of string'"),
    ("a>1", "the operator '>' is not supported"),
    ("a<1", "the operator '<' is not supported"),
    ("_a", "name part must consist of alphanumeric characters"),
    ("a/b/c", "a qualified name must consist of"),
    ("a=_b", "a valid label must be an empty string or consist of"),
    ("a in (b,_c)", "value \"_c\" of key \"a\": a valid label must be"),
    ("a=\u{e4}", "a valid label must be"),
];

#[test]
fn what_kubernetes_refuses_is_refused_in_its_words() {
    for (text, why) in REFUSED {
        let error = text.parse::<Selector>().unwrap_err();
        assert_eq!(error.field, "label_selector");
        assert!(error.reason.contains(why), "{text:?}: {}", error.reason);
    }
}

#[test]
fn a_selector_of_4097_bytes_is_refused() {
    let of = |bytes: usize| format!("a in ({})", ",".repeat(bytes - 7)).parse::<Selector>();
    assert!(of(4_096).is_ok());
    assert_eq!(of(4_097).unwrap_err().to_string(), "label_selector: has 4097 bytes, the limit is 4096 bytes");
}

#[test]
fn the_written_form_is_canonical() {
    for (text, canonical) in [
        (" b==c , a!=d,!e , f", "b in (c),a notin (d),!e,f"),
        ("a in (z,y,y,)", "a in (,y,z)"),
        ("a in ()", "a in ()"),
        ("", ""),
    ] {
        assert_eq!(text.parse::<Selector>().unwrap().to_string(), canonical);
    }
}
