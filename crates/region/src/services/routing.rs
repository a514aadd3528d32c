//! `pi.raft.v1.Routing`: what a gateway asks to find the leader. Never blocks, needs no user's credential.

use std::sync::Arc;

use pi_proto::raft::v1::routing_server::Routing;
use pi_proto::raft::v1::{GetMembersRequest, GetMembersResponse, Node as WireNode};
use pi_raft::store::Store;
use tonic::{Request, Response, Status};

use super::Node;
use crate::failure::Scene;
use crate::status::to_status;

/// The service.
pub struct RoutingService<S: Store>(pub Arc<Node<S>>);

#[tonic::async_trait]
impl<S: Store> Routing for RoutingService<S> {
    async fn get_members(
        &self,
        request: Request<GetMembersRequest>,
    ) -> Result<Response<GetMembersResponse>, Status> {
        let region = &self.0.identity.region;
        let scene = Scene { region: region.to_string(), ..Scene::default() };
        self.0
            .gate()
            .check_region(&request.get_ref().region)
            .map_err(|failure| to_status(&failure, &scene))?;
        let members = self.0.replica.members();
        let nodes = members.nodes.iter().map(|(id, member)| WireNode {
            id: *id,
            raft_address: member.raft_address.clone(),
            client_address: member.client_address.clone(),
        });
        Ok(Response::new(GetMembersResponse {
            cluster: self.0.identity.cluster.to_string(),
            region: region.to_string(),
            nodes: nodes.collect(),
            leader_id: members.leader.unwrap_or_default(),
            term: members.term,
            membership_index: members.membership_index,
        }))
    }
}
