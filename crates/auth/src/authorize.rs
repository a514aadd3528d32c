//! Who may do what: one pure table of (caller, action, resource), deny by default.
//!
//! Responsible for the decision and nothing else: no IO, no clock, no policy of its own. Who the caller is was proven before
//! ([`crate::jwt`], [`crate::tls`]); which pods run where, the replicated state knows and tells through [`Pods`]. The same
//! function decides in the service (reads, and writes before they are proposed) and in `apply` (writes, again).
//!
//! The decision never depends on whether the resource exists, nor on another tenant's data: a refusal tells nothing but
//! what the caller's own credential says. [`Decision::DenyAsAbsent`] is for what belongs to another tenant: the answer
//! must be the one for a thing that does not exist.
//!
//! The whole table is written out in `authorize/table.txt`, which a test compares with what [`decide`] says.
//!
//! **Invariant:** an operator, a gateway and a node never touch a tenant's secret; a kubelet accesses only what pods
//! bound to it name; nobody reaches another tenant.

#[cfg(test)]
mod tests;

use pi_types::{Namespace, PrincipalName, RegionName, SecretName, TenantId, Uid};

use crate::tls::PeerIdentity;
use crate::{CredentialRecord, Grant, NodeName, Role, Roles};

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Caller {
    /// Nobody: a request without a credential.
    Anonymous,
    /// A user of one tenant.
    Tenant {
        /// Owns the secrets.
        tenant: TenantId,
        /// Which of the tenant's credentials.
        name: PrincipalName,
        /// What it may do.
        roles: Roles,
    },
    /// The kubelet of one machine.
    Kubelet {
        /// Which credential.
        name: PrincipalName,
        /// The machine.
        node_name: NodeName,
        /// The only region that serves it.
        region: RegionName,
    },
    /// Runs regions.
    Operator {
        /// Which operator.
        name: PrincipalName,
    },
    /// A gateway, by its certificate.
    Gateway {
        /// Which gateway.
        name: PrincipalName,
    },
    /// A node, by its certificate.
    Node {
        /// The region it is a node of.
        region: RegionName,
        /// Which node.
        id: u64,
    },
}

impl From<&CredentialRecord> for Caller {
    /// Ignores `disabled`: the verifier refuses such a credential, and `apply` must look itself.
    fn from(record: &CredentialRecord) -> Self {
        let name = record.principal.clone();
        match &record.grant {
            Grant::Tenant { tenant, roles } => Self::Tenant { tenant: tenant.clone(), name, roles: *roles },
            Grant::Kubelet { node_name, region } => {
                Self::Kubelet { name, node_name: node_name.clone(), region: region.clone() }
            }
            Grant::Operator => Self::Operator { name },
        }
    }
}

impl From<&crate::Principal> for Caller {
    /// A principal without roles is one of an insecure token, which stands for all of them.
    fn from(principal: &crate::Principal) -> Self {
        match principal {
            crate::Principal::Tenant { tenant, name } => {
                Self::Tenant { tenant: tenant.clone(), name: name.clone(), roles: Roles::ALL }
            }
            crate::Principal::Operator { name } => Self::Operator { name: name.clone() },
        }
    }
}

impl From<&PeerIdentity> for Caller {
    /// The cluster was checked when the connection was made.
    fn from(peer: &PeerIdentity) -> Self {
        match peer {
            PeerIdentity::Node { region, id, .. } => Self::Node { region: region.clone(), id: *id },
            PeerIdentity::Gateway { name, .. } => Self::Gateway { name: name.clone() },
        }
    }
}

macro_rules! actions {
    ($($(#[$doc:meta])* $action:ident => $words:literal,)*) => {
        /// What a caller wants to do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Action { $($(#[$doc])* $action,)* }

        impl Action {
            /// Every action, for tests that must not miss one.
            pub const ALL: &[Self] = &[$(Self::$action),*];

            /// The action in words, for error texts: "may not …".
            #[must_use]
            pub const fn words(self) -> &'static str {
                match self { $(Self::$action => $words,)* }
            }
        }
    };
}

actions! {
    /// Creates a secret.
    CreateSecret => "create secrets",
    /// Reads metadata of one secret.
    GetSecret => "read secrets",
    /// Reads a payload.
    AccessSecret => "access the payload of secrets",
    /// Lists metadata.
    ListSecrets => "list secrets",
    /// Changes a secret.
    UpdateSecret => "update secrets",
    /// Deletes a secret.
    DeleteSecret => "delete secrets",
    /// Follows changes of metadata.
    WatchSecrets => "watch secrets",
    /// Creates a pod.
    CreatePod => "create pods",
    /// Reads one pod.
    GetPod => "read pods",
    /// Lists pods.
    ListPods => "list pods",
    /// Deletes a pod.
    DeletePod => "delete pods",
    /// Follows changes of pods.
    WatchPods => "watch pods",
    /// Reports what became of a pod.
    SetPodStatus => "report the status of pods",
    /// Announces a machine.
    RegisterNode => "register a machine",
    /// Says that a machine lives.
    Heartbeat => "report the heartbeat of a machine",
    /// Follows the pods bound to a machine, and the metadata of the secrets they name.
    WatchNode => "watch the pods of a machine",
    /// Lists machines.
    ListNodes => "list machines",
    /// Lists the regions. Public.
    ListRegions => "list regions",
    /// Reads the region's health and the caller's own quota.
    GetRegion => "read the region's state",
    /// Forms the region's group.
    Bootstrap => "bootstrap the region",
    /// Sets a tenant's quota.
    SetQuota => "set quotas",
    /// Reads a node's status.
    ReadStatus => "read the node's status",
    /// Makes a credential, of any kind.
    CreateCredential => "create credentials",
    /// Lists credentials, without their secret keys.
    ListCredentials => "list credentials",
    /// Disables a credential, enables it, or changes its roles.
    ChangeCredential => "change credentials",
    /// Deletes a credential.
    DeleteCredential => "delete credentials",
    /// Replaces the region's seed and seals every payload anew.
    RotateKey => "rotate the region's key",
    /// Adds, removes and promotes nodes, hands leadership over.
    ChangeMembership => "change the region's members",
    /// Takes a backup, payloads sealed.
    Backup => "back up the region",
    /// The Raft protocol between the nodes of one region.
    Raft => "take part in the region's consensus",
    /// Learns the region's members and leader in order to route.
    GetMembers => "read the region's members",
    /// Passes on requests of users, each with its own credential.
    Forward => "forward requests",
}

/// What is to be acted on. The node builds it from the request; for a tenant's request, `tenant` is the caller's own
/// unless the request names another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    /// The region as a whole.
    Region,
    /// All that a tenant has of the kind that the action names; or its quota.
    Tenant(&'a TenantId),
    /// One secret, present or absent.
    Secret {
        /// Owns it.
        tenant: &'a TenantId,
        /// Where.
        namespace: &'a Namespace,
        /// Which.
        name: &'a SecretName,
        /// The pod for which a kubelet asks; `None` from anybody else.
        pod_uid: Option<Uid>,
    },
    /// One pod, present or absent.
    Pod {
        /// Owns it.
        tenant: &'a TenantId,
        /// Which life of it; a kubelet must say, users need not.
        uid: Option<Uid>,
    },
    /// One machine.
    Node(&'a NodeName),
}

impl Resource<'_> {
    const fn tenant(&self) -> Option<&TenantId> {
        match self {
            Self::Region | Self::Node(_) => None,
            Self::Tenant(tenant) | Self::Secret { tenant, .. } | Self::Pod { tenant, .. } => Some(tenant),
        }
    }
}

/// What the node authorizer must know of pods; answered from replicated state.
pub trait Pods {
    /// Whether the pod with this uid is bound to this machine, is this tenant's, is in this namespace and names this
    /// secret among its pull secrets.
    fn pods_name(
        &self,
        node: &NodeName,
        tenant: &TenantId,
        namespace: &Namespace,
        secret: &SecretName,
        pod_uid: Uid,
    ) -> bool;

    /// Whether the pod with this uid is this tenant's and bound to this machine.
    fn bound_to(&self, node: &NodeName, tenant: &TenantId, pod_uid: Uid) -> bool;
}

/// A region without pods.
#[derive(Clone, Copy, Debug)]
pub struct NoPods;

impl Pods for NoPods {
    fn pods_name(&self, _: &NodeName, _: &TenantId, _: &Namespace, _: &SecretName, _: Uid) -> bool {
        false
    }

    fn bound_to(&self, _: &NodeName, _: &TenantId, _: Uid) -> bool {
        false
    }
}

/// The answer of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Decision {
    /// Go on.
    Allow,
    /// PERMISSION_DENIED, before anything about the resource is looked at.
    Deny,
    /// The very answer for a resource that does not exist.
    DenyAsAbsent,
}

/// Decides whether `caller` may do `action` to `resource` in the region `here`.
pub fn decide(
    caller: &Caller,
    action: Action,
    resource: &Resource<'_>,
    here: &RegionName,
    pods: &dyn Pods,
) -> Decision {
    if !fits(action, resource) {
        return Decision::Deny;
    }
    if action == Action::ListRegions {
        // Public: answered before anybody is identified.
        return Decision::Allow;
    }
    match caller {
        Caller::Anonymous => Decision::Deny,
        Caller::Tenant { tenant, roles, .. } => for_tenant(tenant, *roles, action, resource),
        Caller::Kubelet { node_name, region, .. } => {
            allow_if(region == here && for_kubelet(node_name, action, resource, pods))
        }
        Caller::Operator { .. } => allow_if(for_operator(action)),
        Caller::Gateway { .. } => allow_if(matches!(action, Action::GetMembers | Action::Forward)),
        Caller::Node { region, .. } => allow_if(region == here && matches!(action, Action::Raft)),
    }
}

/// Whether the action acts on that kind of thing. A service that asks for another has a mistake, and gets nothing.
const fn fits(action: Action, resource: &Resource<'_>) -> bool {
    match action {
        Action::CreateSecret
        | Action::GetSecret
        | Action::AccessSecret
        | Action::UpdateSecret
        | Action::DeleteSecret => matches!(resource, Resource::Secret { .. }),
        Action::CreatePod | Action::GetPod | Action::DeletePod | Action::SetPodStatus => {
            matches!(resource, Resource::Pod { .. })
        }
        Action::ListSecrets
        | Action::WatchSecrets
        | Action::ListPods
        | Action::WatchPods
        | Action::SetQuota => matches!(resource, Resource::Tenant(_)),
        Action::RegisterNode | Action::Heartbeat | Action::WatchNode => matches!(resource, Resource::Node(_)),
        // Of one tenant, or of kubelets and operators.
        Action::CreateCredential
        | Action::ListCredentials
        | Action::ChangeCredential
        | Action::DeleteCredential => matches!(resource, Resource::Tenant(_) | Resource::Region),
        Action::ListNodes
        | Action::ListRegions
        | Action::GetRegion
        | Action::Bootstrap
        | Action::ReadStatus
        | Action::RotateKey
        | Action::ChangeMembership
        | Action::Backup
        | Action::Raft
        | Action::GetMembers
        | Action::Forward => matches!(resource, Resource::Region),
    }
}

const fn allow_if(allowed: bool) -> Decision {
    if allowed { Decision::Allow } else { Decision::Deny }
}

/// Roles first: without the role the answer is the same for one's own and for others' things.
fn for_tenant(own: &TenantId, roles: Roles, action: Action, resource: &Resource<'_>) -> Decision {
    let any_of = |wanted: &[Role]| wanted.iter().any(|role| roles.contains(*role));
    let allowed = match action {
        Action::GetRegion => return allow_if(!roles.is_empty()),
        Action::CreateSecret
        | Action::UpdateSecret
        | Action::DeleteSecret
        | Action::CreatePod
        | Action::DeletePod => any_of(&[Role::Admin, Role::Writer]),
        Action::GetSecret
        | Action::ListSecrets
        | Action::WatchSecrets
        | Action::GetPod
        | Action::ListPods
        | Action::WatchPods => any_of(&[Role::Admin, Role::MetadataReader]),
        Action::AccessSecret => any_of(&[Role::Admin, Role::Accessor]),
        // Operators make a tenant's credentials; the tenant sees them.
        Action::ListCredentials => any_of(&[Role::Admin]),
        Action::SetPodStatus
        | Action::RegisterNode
        | Action::Heartbeat
        | Action::WatchNode
        | Action::ListNodes
        | Action::ListRegions
        | Action::Bootstrap
        | Action::SetQuota
        | Action::ReadStatus
        | Action::CreateCredential
        | Action::ChangeCredential
        | Action::DeleteCredential
        | Action::RotateKey
        | Action::ChangeMembership
        | Action::Backup
        | Action::Raft
        | Action::GetMembers
        | Action::Forward => false,
    };
    match (allowed, resource.tenant()) {
        (false, _) | (true, None) => Decision::Deny,
        (true, Some(tenant)) if tenant == own => Decision::Allow,
        // What is to be made is absent anyway.
        (true, Some(_)) if matches!(action, Action::CreateSecret | Action::CreatePod) => Decision::Deny,
        (true, Some(_)) => Decision::DenyAsAbsent,
    }
}

/// A kubelet acts on its own machine, and on what the pods bound to that name. PERMISSION_DENIED either way: it has no
/// business to learn whether the rest exists.
fn for_kubelet(node: &NodeName, action: Action, resource: &Resource<'_>, pods: &dyn Pods) -> bool {
    match (action, resource) {
        (Action::AccessSecret, Resource::Secret { tenant, namespace, name, pod_uid: Some(uid) }) => {
            pods.pods_name(node, tenant, namespace, name, *uid)
        }
        (Action::SetPodStatus, Resource::Pod { tenant, uid: Some(uid) }) => pods.bound_to(node, tenant, *uid),
        (Action::RegisterNode | Action::Heartbeat | Action::WatchNode, Resource::Node(named)) => {
            *named == node
        }
        (Action::GetRegion, _) => true,
        _ => false,
    }
}

/// Operators run regions. Written out, so that a new action must be decided here.
const fn for_operator(action: Action) -> bool {
    match action {
        Action::ListRegions
        | Action::GetRegion
        | Action::ListNodes
        | Action::Bootstrap
        | Action::SetQuota
        | Action::ReadStatus
        | Action::CreateCredential
        | Action::ListCredentials
        | Action::ChangeCredential
        | Action::DeleteCredential
        | Action::RotateKey
        | Action::ChangeMembership
        | Action::Backup => true,
        Action::CreateSecret
        | Action::GetSecret
        | Action::AccessSecret
        | Action::ListSecrets
        | Action::UpdateSecret
        | Action::DeleteSecret
        | Action::WatchSecrets
        | Action::CreatePod
        | Action::GetPod
        | Action::ListPods
        | Action::DeletePod
        | Action::WatchPods
        | Action::SetPodStatus
        | Action::RegisterNode
        | Action::Heartbeat
        | Action::WatchNode
        | Action::Raft
        | Action::GetMembers
        | Action::Forward => false,
    }
}
