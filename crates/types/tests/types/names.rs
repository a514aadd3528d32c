//! Names, with Kubernetes' rules and texts.

use std::str::FromStr;

use pi_types::{ClusterName, Invalid, Namespace, PrincipalName, RegionName, SecretName, TenantId};

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
    and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
    start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";

#[test]
fn secret_names_are_subdomains() {
    for name in ["a", "0", "my-secret", "my.secret", "a.b-c.d", "1.2.3", "a--b", &"a".repeat(253)] {
        assert_eq!(SecretName::from_str(name).unwrap().as_str(), name);
    }
    for name in [
        "Bad_Name", "-a", "a-", ".a", "a.", "a..b", "a.-b", "a-.b", "a_b", "a b", "a/b", "ä", "A", "a\n",
        "a\0",
    ] {
        let Invalid { field, reason } = SecretName::from_str(name).unwrap_err();
        assert_eq!(field, "name");
        assert_eq!(reason, format!("Invalid value: {name:?}: {SUBDOMAIN}"));
    }
}

#[test]
fn a_name_of_254_bytes_is_refused_with_the_limit() {
    let reason = SecretName::from_str(&"a".repeat(254)).unwrap_err().reason;
    assert!(reason.ends_with("must be no more than 253 characters"), "{reason}");
    assert!(reason.len() < 200, "a long value is shortened: {reason}");
}

#[test]
fn every_broken_rule_is_told() {
    let reason = SecretName::from_str(&"A".repeat(254)).unwrap_err().reason;
    assert!(reason.contains("253 characters") && reason.contains(SUBDOMAIN), "{reason}");
}

#[test]
fn namespaces_tenants_regions_and_clusters_are_labels() {
    fn cases<T: FromStr<Err = Invalid> + AsRef<str>>(expected_field: &str) {
        for name in ["a", "default", "us-central1", "1a", &"a".repeat(63)] {
            assert_eq!(T::from_str(name).expect(name).as_ref(), name);
        }
        for name in ["a.b", "A", "-a", "a-", "a_b", "a b"] {
            let Invalid { field, reason } = T::from_str(name).err().expect(name);
            assert_eq!(field, expected_field);
            assert_eq!(reason, format!("Invalid value: {name:?}: {LABEL}"));
        }
        let reason = T::from_str(&"a".repeat(64)).err().unwrap().reason;
        assert!(reason.contains("must be no more than 63 characters"), "{reason}");
        assert_eq!(T::from_str("").err().unwrap(), Invalid::new(expected_field, "Required value"));
    }
    cases::<Namespace>("namespace");
    cases::<TenantId>("tenant");
    cases::<RegionName>("region");
    cases::<ClusterName>("cluster");
}

#[test]
fn principals_are_printable_ascii_without_spaces() {
    for name in ["a", "insecure", "system:node:n1", "bob@example.com", "~!\"", &"a".repeat(128)] {
        assert_eq!(PrincipalName::from_str(name).unwrap().as_str(), name);
    }
    for name in ["", " ", "a b", "a\t", "ä", "a\u{7f}", &"a".repeat(129)] {
        assert_eq!(PrincipalName::from_str(name).unwrap_err().field, "principal", "{name:?}");
    }
}

#[test]
fn the_default_namespace_is_default() {
    assert_eq!(Namespace::default(), "default".parse().unwrap());
}

#[test]
fn both_constructors_judge_alike_and_names_print_bare() {
    for name in ["my-secret", "Bad_Name", ""] {
        assert_eq!(SecretName::try_from(name.to_owned()), name.parse());
    }
    let name: SecretName = "my-secret".parse().unwrap();
    assert_eq!(format!("{name} {name:?} {name:>10}"), "my-secret \"my-secret\"  my-secret");
}

#[test]
fn a_config_file_cannot_smuggle_in_a_bad_name() {
    assert_eq!(serde_json::from_str::<RegionName>("\"us-central1\"").unwrap().as_str(), "us-central1");
    let error = serde_json::from_str::<RegionName>("\"US\"").unwrap_err();
    assert!(error.to_string().contains("RFC 1123 label"), "{error}");
}
