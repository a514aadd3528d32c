//! `pi.admin.v1.Admin`: forming the region, quotas, status. For operators.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pi_proto::admin::v1::admin_server::Admin;
use pi_proto::admin::v1::{
    BootstrapRequest, BootstrapResponse, Member as WireMember, SetQuotaRequest, SetQuotaResponse,
    StatusRequest, StatusResponse,
};
use pi_raft::store::Store;
use pi_raft::{BootstrapError, Member, NodeId};
use pi_state::{CommandKind, Outcome};
use pi_types::TenantId;
use pi_types::limits::SECRETS_QUOTA_MAX;
use tonic::{Request, Response, Status};

use super::Node;
use crate::address::is_reachable;
use crate::authorize::Action;
use crate::call::Call;
use crate::failure::Failure;
use crate::validate::Fields;

/// More first members than any region should have.
const MEMBERS_MAX: usize = 9;

/// The service.
pub struct AdminService<S: Store>(pub Arc<Node<S>>);

#[tonic::async_trait]
impl<S: Store> Admin for AdminService<S> {
    async fn bootstrap(
        &self,
        request: Request<BootstrapRequest>,
    ) -> Result<Response<BootstrapResponse>, Status> {
        let call = self.0.gate().admit(&request, &request.get_ref().region, Action::Bootstrap)?;
        let result = self.0.bootstrap(request.into_inner()).await;
        result.map(Response::new).map_err(|failure| call.refuse(&failure))
    }

    async fn set_quota(
        &self,
        request: Request<SetQuotaRequest>,
    ) -> Result<Response<SetQuotaResponse>, Status> {
        let call = self.0.gate().admit(&request, &request.get_ref().region, Action::SetQuota)?;
        let result = self.0.set_quota(&call, request.into_inner()).await;
        result.map(Response::new).map_err(|failure| call.refuse(&failure))
    }

    async fn status(&self, request: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        let call = self.0.gate().admit(&request, &request.get_ref().region, Action::ReadStatus)?;
        self.0.status().map(Response::new).map_err(|failure| call.refuse(&failure))
    }
}

impl<S: Store> Node<S> {
    async fn set_quota(&self, call: &Call, request: SetQuotaRequest) -> Result<SetQuotaResponse, Failure> {
        let mut fields = Fields::default();
        let tenant: Option<TenantId> = fields.take(request.tenant.parse());
        let secrets_max = request.secrets_max;
        if secrets_max > SECRETS_QUOTA_MAX {
            let description = format!("Invalid value: {secrets_max}: must be 0 to {SECRETS_QUOTA_MAX}");
            fields.refuse("secrets_max", description);
        }
        fields.finish()?;
        let tenant = tenant.ok_or_else(|| Failure::invalid("tenant", "Required value"))?;
        let command = self.command(call, &tenant, CommandKind::SetQuota { secrets_max });
        let response = self.propose(call, command).await?;
        let Outcome::QuotaSet { used, quota } = response.outcome else {
            return Err(Failure::UnexpectedOutcome);
        };
        Ok(SetQuotaResponse { secrets_used: used, secrets_max: quota, revision: response.revision })
    }

    async fn bootstrap(&self, request: BootstrapRequest) -> Result<BootstrapResponse, Failure> {
        let members = read_members(request.members, self.identity.node_id)?;
        if !self.replica.members().nodes.is_empty() {
            return Err(Failure::AlreadyBootstrapped);
        }
        self.replica.bootstrap(members).await.map_err(|error| match error {
            BootstrapError::AlreadyBootstrapped => Failure::AlreadyBootstrapped,
            BootstrapError::NotAMember { node_id } => {
                Failure::invalid("members", format!("must contain the node that is asked, {node_id}"))
            }
            BootstrapError::Stopped => Failure::ShuttingDown,
        })?;
        tracing::info!(region = %self.identity.region, "region formed");
        Ok(BootstrapResponse {})
    }

    fn status(&self) -> Result<StatusResponse, Failure> {
        let status = self.replica.status().map_err(Failure::Status)?;
        let members = status.members;
        let (voters, learners): (Vec<_>, Vec<_>) =
            members.nodes.iter().partition(|(id, _)| members.voters.contains(id));
        let wire =
            |list: Vec<(&NodeId, &Member)>| list.into_iter().map(|(id, m)| wire_member(*id, m)).collect();
        Ok(StatusResponse {
            cluster: self.identity.cluster.to_string(),
            region: self.identity.region.to_string(),
            node_id: self.identity.node_id,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            role: status.role.as_str().to_owned(),
            term: members.term,
            leader_id: members.leader.unwrap_or_default(),
            last_log_index: status.last_log_index,
            committed_index: status.committed_index,
            applied_index: status.applied_index,
            snapshot_index: status.snapshot_index,
            purged_index: status.purged_index,
            voters: wire(voters),
            learners: wire(learners),
            state_digest: status.state_digest.iter().map(|byte| format!("{byte:02x}")).collect(),
            revision: status.revision,
        })
    }
}

fn wire_member(id: NodeId, member: &Member) -> WireMember {
    let Member { raft_address, client_address } = member.clone();
    WireMember { id, raft_address, client_address }
}

/// The first members: ids and addresses each their own, the answering node among them.
fn read_members(list: Vec<WireMember>, own: NodeId) -> Result<BTreeMap<NodeId, Member>, Failure> {
    let mut fields = Fields::default();
    if list.is_empty() || list.len() > MEMBERS_MAX {
        let description = format!("must have 1 to {MEMBERS_MAX} members, has {}; 3 is usual", list.len());
        return Err(Failure::invalid("members", description));
    }
    let mut members = BTreeMap::new();
    let mut addresses = BTreeSet::new();
    for (at, member) in list.into_iter().enumerate() {
        if member.id == 0 || member.id > i64::MAX as u64 {
            fields
                .refuse(format!("members[{at}].id"), "must be 1 to 2^63-1, never used before in this region");
        }
        for (field, address) in
            [("raft_address", &member.raft_address), ("client_address", &member.client_address)]
        {
            let field = format!("members[{at}].{field}");
            if !is_reachable(address) {
                fields.refuse(
                    field.clone(),
                    "must be host:port that others reach, with a port from 1 to 65535",
                );
            }
            if !addresses.insert(address.clone()) {
                fields.refuse(field, "Duplicate value: every listener has an address of its own");
            }
        }
        let WireMember { id, raft_address, client_address } = member;
        if members.insert(id, Member { raft_address, client_address }).is_some() {
            fields.refuse(format!("members[{at}].id"), format!("Duplicate value: {id}"));
        }
    }
    if !members.contains_key(&own) {
        fields.refuse("members", format!("must contain the node that is asked, {own}"));
    }
    fields.finish()?;
    Ok(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u64, raft: &str, client: &str) -> WireMember {
        WireMember { id, raft_address: raft.into(), client_address: client.into() }
    }

    fn fields(list: Vec<WireMember>) -> Vec<String> {
        match read_members(list, 1) {
            Err(Failure::Invalid(violations)) => violations.into_iter().map(|v| v.field).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn all_that_is_wrong_with_members_is_told_at_once() {
        assert_eq!(fields(vec![]), ["members"]);
        assert_eq!(
            fields(vec![member(0, "h", "h:0"), member(2, "h:1", "h:1")]),
            [
                "members[0].id",
                "members[0].raft_address",
                "members[0].client_address",
                "members[1].client_address",
                "members"
            ]
        );
        assert_eq!(fields(vec![member(1, "a:1", "a:2"), member(1, "b:1", "b:2")]), ["members[1].id"]);
    }

    #[test]
    fn three_good_members_pass() {
        let list = (1..=3).map(|id| member(id, &format!("h{id}:1"), &format!("[::1]:{id}"))).collect();
        assert_eq!(read_members(list, 1).unwrap().len(), 3);
    }
}
