//! Labels and annotations: what users and tools write beside a secret.
//!
//! Labels choose ([`crate::Selector`]), annotations only inform. Neither is ever sealed: both are metadata, visible
//! to everyone who may `get` the secret.

use std::collections::BTreeMap;

use crate::{Invalid, kubernetes, limits};

/// A secret's labels: at most 32, keys and values by Kubernetes' rules, ordered by key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Labels(BTreeMap<String, String>);

impl Labels {
    /// Checks the labels; the first broken rule is the error.
    pub fn from_map(map: BTreeMap<String, String>) -> Result<Self, Invalid> {
        check_count("labels", map.len(), limits::LABELS_MAX)?;
        for (key, value) in &map {
            kubernetes::qualified_name(key).map_err(|why| Invalid::value("labels", key, &why))?;
            kubernetes::label_value(value)
                .map_err(|why| Invalid::value(&entry("labels", key), value, &why))?;
        }
        Ok(Self(map))
    }
}

/// A secret's annotations: at most 32, keys by the rules of label keys, values free text, together at most 4,096
/// bytes, ordered by key.
///
/// Unlike in Kubernetes an upper-case prefix is refused in keys too: one rule for both kinds of key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Annotations(BTreeMap<String, String>);

impl Annotations {
    /// Checks the annotations; the first broken rule is the error. No value is ever quoted in it.
    pub fn from_map(map: BTreeMap<String, String>) -> Result<Self, Invalid> {
        check_count("annotations", map.len(), limits::ANNOTATIONS_MAX)?;
        for key in map.keys() {
            kubernetes::qualified_name(key).map_err(|why| Invalid::value("annotations", key, &why))?;
        }
        let bytes: usize = map.iter().map(|(key, value)| key.len() + value.len()).sum();
        let bytes_max = limits::ANNOTATIONS_BYTES_MAX;
        if bytes > bytes_max {
            return Err(Invalid::new(
                "annotations",
                format!("keys and values have {bytes} bytes together, the limit is {bytes_max} bytes"),
            ));
        }
        Ok(Self(map))
    }
}

macro_rules! map_access {
    ($name:ident) => {
        impl $name {
            /// The value under `key`.
            pub fn get(&self, key: &str) -> Option<&str> {
                self.0.get(key).map(String::as_str)
            }

            /// All, ordered by key.
            pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
                self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
            }

            /// All, as the map they came from.
            pub fn as_map(&self) -> &BTreeMap<String, String> {
                &self.0
            }

            /// All, as the map they came from.
            pub fn into_map(self) -> BTreeMap<String, String> {
                self.0
            }

            /// How many there are.
            pub fn len(&self) -> usize {
                self.0.len()
            }

            /// Whether there are none.
            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }
        }

        impl TryFrom<BTreeMap<String, String>> for $name {
            type Error = Invalid;

            fn try_from(map: BTreeMap<String, String>) -> Result<Self, Invalid> {
                Self::from_map(map)
            }
        }

        impl From<$name> for BTreeMap<String, String> {
            fn from(these: $name) -> Self {
                these.0
            }
        }
    };
}

map_access!(Labels);
map_access!(Annotations);

fn check_count(field: &str, count: usize, count_max: usize) -> Result<(), Invalid> {
    if count > count_max {
        return Err(Invalid::new(field, format!("there are {count} {field}, the limit is {count_max}")));
    }
    Ok(())
}

/// The path of the value under `key`, which was checked and is therefore short.
fn entry(field: &str, key: &str) -> String {
    format!("{field}[{key:?}]")
}
