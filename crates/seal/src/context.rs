//! What a sealed payload belongs to, and the associated data that makes it open nowhere else.
//!
//! Which secret a payload belongs to is the caller's knowledge; that it cannot be moved to another is this file's.

use pi_types::{ClusterName, Namespace, RegionName, SecretName, TenantId, Uid};

/// Comes first in the associated data, so that nothing else that this project authenticates can pass for a payload.
const DOMAIN: &[u8] = b"pi-secrets/payload/v1";

/// The one place a payload belongs to: exactly these fields are authenticated with it (architecture, decision 10).
///
/// The uid is new with each re-creation and the generation with each update, so an old payload of the same secret
/// does not open in the place of the present one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealContext<'a> {
    /// The cluster.
    pub cluster: &'a ClusterName,
    /// The region.
    pub region: &'a RegionName,
    /// The owner.
    pub tenant: &'a TenantId,
    /// The secret's namespace.
    pub namespace: &'a Namespace,
    /// The secret's name.
    pub name: &'a SecretName,
    /// The secret's uid.
    pub uid: Uid,
    /// The generation whose payload it is.
    pub generation: u64,
}

impl SealContext<'_> {
    /// The associated data: the domain tag and the fields in the order above, each behind its length.
    ///
    /// It is computed anew on both sides and never stored. It holds names, which are metadata, and nothing secret.
    pub fn associated_data(&self) -> Vec<u8> {
        associated_data(&[
            DOMAIN,
            self.cluster.as_str().as_bytes(),
            self.region.as_str().as_bytes(),
            self.tenant.as_str().as_bytes(),
            self.namespace.as_str().as_bytes(),
            self.name.as_str().as_bytes(),
            self.uid.as_bytes(),
            &self.generation.to_be_bytes(),
        ])
    }
}

/// Fields behind their lengths (4 bytes, big endian): no two lists of fields give the same bytes.
pub(crate) fn associated_data(fields: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(fields.iter().map(|field| 4 + field.len()).sum());
    for field in fields {
        let length = u32::try_from(field.len()).expect("names and ids are far below 4 GiB");
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(field);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The inverse. That one exists is what "injective" means.
    fn fields(mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut fields = Vec::new();
        while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
            let (field, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
            fields.push(field.to_vec());
            bytes = rest;
        }
        assert!(bytes.is_empty());
        fields
    }

    #[test]
    fn associated_data_holds_the_tag_and_each_field_once_in_order() {
        let cluster = "c".parse().unwrap();
        let (region, tenant) = ("r".parse().unwrap(), "t".parse().unwrap());
        let (namespace, name) = ("n".parse().unwrap(), "s.x".parse().unwrap());
        let context = SealContext {
            cluster: &cluster,
            region: &region,
            tenant: &tenant,
            namespace: &namespace,
            name: &name,
            uid: Uid::from_bytes([7; 16]),
            generation: 0x0102,
        };
        let expected: [&[u8]; 8] =
            [b"pi-secrets/payload/v1", b"c", b"r", b"t", b"n", b"s.x", &[7; 16], &[0, 0, 0, 0, 0, 0, 1, 2]];
        assert_eq!(fields(&context.associated_data()), expected);
    }

    #[test]
    fn bytes_that_move_between_neighbouring_fields_change_the_associated_data() {
        assert_ne!(associated_data(&[b"ab", b"c"]), associated_data(&[b"a", b"bc"]));
        assert_ne!(associated_data(&[b"a", b""]), associated_data(&[b"a"]));
    }

    proptest! {
        #[test]
        fn associated_data_can_be_read_back_so_it_is_injective(
            list in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..10)
        ) {
            let slices: Vec<&[u8]> = list.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(fields(&associated_data(&slices)), list);
        }
    }
}
