//! The generated messages and client of KMS v2, and `Debug` without seeds for those that carry one.

use std::fmt;

pub(super) use generated::*;

mod generated {
    #![expect(clippy::allow_attributes_without_reason, reason = "generated")]
    tonic::include_proto!("v2");
}

impl fmt::Debug for EncryptRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncryptRequest").field("uid", &self.uid).finish_non_exhaustive()
    }
}

impl fmt::Debug for DecryptResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecryptResponse").finish_non_exhaustive()
    }
}
