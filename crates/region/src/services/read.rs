//! Get, Access and List: a view of the state, a query, an answer.
//!
//! In each the header is read before the data: should the view move on between the two, the answer claims an older
//! revision than it has, never a newer one.

use pi_proto::secrets::v1 as wire;
use pi_raft::store::Store;
use pi_state::{Header, Reject, query};
use pi_types::limits::LIST_PAGE_BYTES_MAX;
use prost::Message as _;

use super::{Node, View};
use crate::call::Call;
use crate::failure::Failure;
use crate::tokens::{Fingerprint, PageToken};
use crate::validate::{Freshness, List, Target};
use crate::wire::secret;

impl<S: Store> Node<S> {
    /// `Secrets/Get`.
    pub async fn get(
        &self,
        call: &mut Call,
        request: wire::GetRequest,
    ) -> Result<wire::GetResponse, Failure> {
        let target = Target::read(&request.namespace, &request.name)?;
        let freshness = Freshness::read(request.consistency)?;
        call.about(&target.namespace, &target.name);
        let view = self.view_as(freshness, call).await?;
        let revision = self.found(Header::read(&*view))?.revision;
        let meta = self.found(query::get(&*view, call.tenant()?, &target.namespace, &target.name))?;
        let meta = meta.ok_or(Failure::Rejected(Reject::NotFound))?;
        Ok(wire::GetResponse {
            secret: Some(secret(meta, &self.identity.region)),
            revision,
            stale: freshness.is_stale(),
        })
    }

    /// `Secrets/Access`. Linearizable without exception: an old payload is a wrong payload.
    pub async fn access(
        &self,
        call: &mut Call,
        request: wire::AccessRequest,
    ) -> Result<wire::AccessResponse, Failure> {
        let target = Target::read(&request.namespace, &request.name)?;
        call.about(&target.namespace, &target.name);
        let view = self.view(call.deadline).await?;
        let revision = self.found(Header::read(&*view))?.revision;
        let tenant = call.tenant()?;
        let (meta, sealed) = self.present(&view, tenant, &target)?;
        let plaintext = self.sealer.open(&self.binding(tenant, &meta), &sealed)?;
        Ok(wire::AccessResponse {
            secret: Some(secret(meta, &self.identity.region)),
            // The message owns its bytes; tonic frees them once they are encoded.
            payload: plaintext.to_vec(),
            revision,
        })
    }

    /// `Secrets/List`.
    pub async fn list(
        &self,
        call: &mut Call,
        request: wire::ListRequest,
    ) -> Result<wire::ListResponse, Failure> {
        let list = List::read(&request)?;
        let tenant = call.tenant()?;
        let arguments = list_arguments(tenant.as_str(), &request);
        let after = if request.page_token.is_empty() {
            None
        } else {
            let token = PageToken::decode(&request.page_token, arguments)
                .map_err(|error| Failure::invalid("page_token", error.to_string()))?;
            Some((token.namespace, token.name))
        };
        let view = self.view_as(list.freshness, call).await?;
        let revision = self.found(Header::read(&*view))?.revision;
        let query = query::ListQuery {
            tenant,
            namespace: list.namespace.as_ref(),
            selector: &list.selector,
            after,
            limit: list.page_size,
        };
        let (metas, mut more) = self.found(query::list(&*view, &query))?;
        let mut secrets = Vec::with_capacity(metas.len());
        let (mut last, mut bytes) = (None, 0);
        for meta in metas {
            let token = PageToken { namespace: meta.namespace.clone(), name: meta.name.clone() };
            let secret = secret(meta, &self.identity.region);
            bytes += secret.encoded_len();
            if bytes > LIST_PAGE_BYTES_MAX && !secrets.is_empty() {
                more = true;
                break;
            }
            secrets.push(secret);
            last = Some(token);
        }
        let next_page_token = last.filter(|_| more).map(|token| token.encode(arguments)).unwrap_or_default();
        Ok(wire::ListResponse { secrets, next_page_token, revision, stale: list.freshness.is_stale() })
    }

    /// A view as fresh as asked.
    pub(super) async fn view_as(&self, freshness: Freshness, call: &Call) -> Result<View, Failure> {
        match freshness {
            Freshness::Linearizable => self.view(call.deadline).await,
            Freshness::Stale => self.stale_view(),
        }
    }
}

/// All that a page token is bound to: the answer's meaning, and the page size, as the proto promises.
fn list_arguments(tenant: &str, request: &wire::ListRequest) -> Fingerprint {
    Fingerprint::of(&[
        b"list",
        tenant.as_bytes(),
        request.region.as_bytes(),
        request.namespace.as_bytes(),
        request.label_selector.as_bytes(),
        &request.page_size.to_be_bytes(),
        &request.consistency.to_be_bytes(),
    ])
}
