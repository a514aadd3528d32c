//! The page for users and the constants say the same.

use std::collections::BTreeMap;

use pi_types::limits::*;

const SOURCE: &str = include_str!("../../src/limits.rs");
const PAGE: &str = include_str!("../../../../docs/reference/limits.md");

macro_rules! values {
    ($($name:ident),* $(,)?) => {
        BTreeMap::from([$((stringify!($name), i128::try_from($name).unwrap())),*])
    };
}

fn values() -> BTreeMap<&'static str, i128> {
    values![
        PAYLOAD_BYTES_MAX,
        SECRETS_QUOTA_DEFAULT,
        SECRETS_QUOTA_MAX,
        NAME_BYTES_MAX,
        NAMESPACE_BYTES_MAX,
        PRINCIPAL_BYTES_MAX,
        LABELS_MAX,
        LABEL_PREFIX_BYTES_MAX,
        LABEL_NAME_BYTES_MAX,
        LABEL_VALUE_BYTES_MAX,
        ANNOTATIONS_MAX,
        ANNOTATIONS_BYTES_MAX,
        SELECTOR_BYTES_MAX,
        REQUEST_AGE_MS_MAX,
        REQUEST_AHEAD_MS_MAX,
        REQUESTS_PER_TENANT_MAX,
        FEED_EVENTS_PER_TENANT_MAX,
        LIST_PAGE_DEFAULT,
        LIST_PAGE_MAX,
        LIST_PAGE_BYTES_MAX,
        CLIENT_MESSAGE_BYTES_MAX,
        APPEND_BYTES_MAX,
        PEER_MESSAGE_BYTES_MAX,
        SEAL_OVERHEAD_BYTES_MAX,
        SECRET_META_BYTES_MAX,
    ]
}

#[test]
fn every_limit_is_known_to_this_test() {
    let in_source: Vec<&str> = SOURCE
        .lines()
        .filter_map(|line| line.strip_prefix("pub const "))
        .filter_map(|line| line.split(':').next())
        .collect();
    assert_eq!(in_source.len(), values().len(), "{in_source:?}");
    assert!(in_source.iter().all(|name| values().contains_key(name)), "{in_source:?}");
}

#[test]
fn the_page_lists_every_limit_with_its_value() {
    let mut on_page = BTreeMap::new();
    for row in PAGE.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let value = cells[1].replace(',', "").parse::<i128>().unwrap_or_else(|_| panic!("a number: {row}"));
        on_page.insert(cells[0].trim_matches('`'), value);
        assert!(cells.len() == 5 && cells.iter().all(|cell| !cell.is_empty()), "five cells: {row}");
    }
    assert_eq!(on_page, values());
}
