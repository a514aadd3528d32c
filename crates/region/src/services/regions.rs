//! `pi.regions.v1.Regions` as a node answers it: of its own region.
//!
//! Callers normally ask a gateway, which answers `ListRegions` itself, for all regions.

use std::sync::Arc;

use pi_auth::Principal;
use pi_proto::regions::v1::regions_server::Regions;
use pi_proto::regions::v1::{
    GetRegionRequest, GetRegionResponse, ListRegionsRequest, ListRegionsResponse, Node as WireNode, Region,
};
use pi_raft::store::Store;
use pi_state::{Header, query};
use tonic::{Request, Response, Status};

use super::Node;
use crate::authorize::Action;
use crate::call::Call;
use crate::failure::Failure;
use crate::validate::Freshness;

/// The service.
pub struct RegionsService<S: Store>(pub Arc<Node<S>>);

#[tonic::async_trait]
impl<S: Store> Regions for RegionsService<S> {
    /// Needs no credential: it says nothing that connecting did not.
    async fn list_regions(
        &self,
        _request: Request<ListRegionsRequest>,
    ) -> Result<Response<ListRegionsResponse>, Status> {
        let available = self.0.replica.members().leader.is_some();
        let name = self.0.identity.region.to_string();
        Ok(Response::new(ListRegionsResponse { regions: vec![Region { name, available }] }))
    }

    async fn get_region(
        &self,
        request: Request<GetRegionRequest>,
    ) -> Result<Response<GetRegionResponse>, Status> {
        let call = self.0.gate().admit(&request, &request.get_ref().region, Action::GetRegion)?;
        let result = self.0.get_region(&call, request.into_inner()).await;
        result.map(Response::new).map_err(|failure| call.refuse(&failure))
    }
}

impl<S: Store> Node<S> {
    /// `Regions/GetRegion`. An operator has no tenant: quota and use are 0 then.
    async fn get_region(&self, call: &Call, request: GetRegionRequest) -> Result<GetRegionResponse, Failure> {
        let freshness = Freshness::read(request.consistency)?;
        let view = self.view_as(freshness, call).await?;
        let revision = self.found(Header::read(&*view))?.revision;
        let (tenant, usage) = match &call.principal {
            Principal::Tenant { tenant, .. } => {
                (tenant.to_string(), self.found(query::usage(&*view, tenant))?)
            }
            Principal::Operator { .. } => (String::new(), query::Usage { used: 0, quota: 0 }),
        };
        let members = self.replica.members();
        let nodes = members.nodes.iter().map(|(id, member)| WireNode {
            id: *id,
            address: member.client_address.clone(),
            voter: members.voters.contains(id),
            leader: members.leader == Some(*id),
        });
        Ok(GetRegionResponse {
            region: self.identity.region.to_string(),
            cluster: self.identity.cluster.to_string(),
            tenant,
            secrets_used: usage.used,
            secrets_quota: usage.quota,
            nodes: nodes.collect(),
            leader_id: members.leader.unwrap_or_default(),
            // A linearizable answer proves that a majority serves; a stale one proves nothing about the others.
            healthy: !freshness.is_stale() && members.leader.is_some(),
            revision,
            stale: freshness.is_stale(),
        })
    }
}
