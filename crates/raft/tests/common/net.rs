//! A network of function calls that can be cut, one direction at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;

use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, Snapshot};
use parking_lot::Mutex;
use pi_raft::types::{Member, NodeId, TypeConfig, Vote};
use pi_raft::{Group, SnapshotSource};

use super::store::TestStore;

type OpenraftSnapshot = openraft::type_config::alias::SnapshotOf<TypeConfig, SnapshotSource>;

#[derive(Default)]
pub struct Router {
    groups: Mutex<BTreeMap<NodeId, Group<TestStore>>>,
    cut: Mutex<BTreeSet<(NodeId, NodeId)>>,
}

impl Router {
    pub fn join(&self, id: NodeId, group: Group<TestStore>) {
        self.groups.lock().insert(id, group);
    }

    pub fn leave(&self, id: NodeId) {
        self.groups.lock().remove(&id);
    }

    /// Messages from `from` no longer reach `to`; answers to `to`'s messages are lost as well.
    pub fn cut(&self, from: NodeId, to: NodeId) {
        self.cut.lock().insert((from, to));
    }

    pub fn isolate(&self, id: NodeId) {
        for other in (1..=3).filter(|other| *other != id) {
            self.cut(id, other);
            self.cut(other, id);
        }
    }

    pub fn heal(&self) {
        self.cut.lock().clear();
    }

    fn passes(&self, from: NodeId, to: NodeId) -> bool {
        !self.cut.lock().contains(&(from, to))
    }

    fn reach(&self, from: NodeId, to: NodeId) -> Result<Group<TestStore>, Unreachable<TypeConfig>> {
        let group = self.groups.lock().get(&to).cloned();
        match group {
            Some(group) if self.passes(from, to) => Ok(group),
            _ => Err(Unreachable::from_string("cut or stopped")),
        }
    }
}

pub struct Factory {
    pub from: NodeId,
    pub router: Arc<Router>,
}

impl RaftNetworkFactory<TypeConfig> for Factory {
    type Network = Link;

    async fn new_client(&mut self, target: NodeId, _node: &Member) -> Link {
        Link { from: self.from, to: target, router: Arc::clone(&self.router) }
    }
}

pub struct Link {
    from: NodeId,
    to: NodeId,
    router: Arc<Router>,
}

impl Link {
    async fn call<T, E: std::fmt::Display, F: Future<Output = Result<T, E>>>(
        &self,
        option: &RPCOption,
        call: impl FnOnce(Group<TestStore>) -> F,
    ) -> Result<T, RPCError<TypeConfig>> {
        let group = self.router.reach(self.from, self.to)?;
        let lost = |why: String| RPCError::Unreachable(Unreachable::from_string(why));
        let answer = tokio::time::timeout(option.hard_ttl(), call(group)).await;
        let answer = answer.map_err(|_| lost("late".into()))?.map_err(|error| lost(error.to_string()))?;
        if !self.router.passes(self.to, self.from) {
            return Err(lost("the answer was lost".into()));
        }
        Ok(answer)
    }
}

impl RaftNetworkV2<TypeConfig> for Link {
    type SnapshotData = SnapshotSource;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.call(&option, |group| async move { group.append_entries(rpc).await }).await
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.call(&option, |group| async move { group.vote(rpc).await }).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.call(&option, |group| async move { group.pre_vote(rpc).await }).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: OpenraftSnapshot,
        _cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let Snapshot { meta, snapshot } = snapshot;
        let sent = Snapshot { meta, snapshot };
        let answer =
            self.call(&option, |group| async move { group.install_full_snapshot(vote, sent).await }).await;
        answer.map_err(|error| StreamingError::Unreachable(Unreachable::from_string(error)))
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.call(&option, |group| async move { group.handle_transfer_leader(request).await }).await
    }
}
