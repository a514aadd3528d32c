//! From domain values to wire answers.

use pi_proto::secrets::v1 as wire;
use pi_state::SecretMeta;
use pi_types::{RegionName, SECRET_TYPE};

/// A secret's metadata as callers see it. The region's name is not part of the state: the node knows it.
pub fn secret(meta: SecretMeta, region: &RegionName) -> wire::Secret {
    wire::Secret {
        name: meta.name.into(),
        namespace: meta.namespace.into(),
        region: region.to_string(),
        uid: meta.uid.to_string(),
        r#type: SECRET_TYPE.to_owned(),
        labels: meta.labels.into(),
        annotations: meta.annotations.into(),
        revision: meta.revision,
        generation: meta.generation,
        create_time_ms: meta.create_time_ms,
        update_time_ms: meta.update_time_ms,
        payload_bytes: meta.payload_bytes,
    }
}
