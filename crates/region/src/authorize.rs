//! Who may do what: one pure function over (principal, action).
//!
//! The table knows only what a credential says. Issue 3 puts roles and replicated policy in its place; callers already
//! pass everything the decision needs, and ask again while a watch runs.

use pi_auth::Principal;

/// What a caller wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Creates a secret.
    CreateSecret,
    /// Reads metadata of one secret.
    GetSecret,
    /// Reads a payload.
    AccessSecret,
    /// Lists metadata.
    ListSecrets,
    /// Changes a secret.
    UpdateSecret,
    /// Deletes a secret.
    DeleteSecret,
    /// Follows changes of metadata.
    WatchSecrets,
    /// Reads the region's health and the caller's quota.
    GetRegion,
    /// Forms the region's group.
    Bootstrap,
    /// Sets a tenant's quota.
    SetQuota,
    /// Reads a node's status.
    ReadStatus,
}

impl Action {
    /// Every action, for tests that must not miss one.
    pub const ALL: [Action; 11] = [
        Action::CreateSecret,
        Action::GetSecret,
        Action::AccessSecret,
        Action::ListSecrets,
        Action::UpdateSecret,
        Action::DeleteSecret,
        Action::WatchSecrets,
        Action::GetRegion,
        Action::Bootstrap,
        Action::SetQuota,
        Action::ReadStatus,
    ];

    /// The action in words, for error texts: "may not …".
    pub fn words(self) -> &'static str {
        match self {
            Action::CreateSecret => "create secrets",
            Action::GetSecret => "read secrets",
            Action::AccessSecret => "access the payload of secrets",
            Action::ListSecrets => "list secrets",
            Action::UpdateSecret => "update secrets",
            Action::DeleteSecret => "delete secrets",
            Action::WatchSecrets => "watch secrets",
            Action::GetRegion => "read the region's state",
            Action::Bootstrap => "bootstrap the region",
            Action::SetQuota => "set quotas",
            Action::ReadStatus => "read the node's status",
        }
    }
}

/// The refusal of [`authorize`]. Carries nothing: the caller knows who asked for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denied;

/// Decides. Tenants work on their own secrets (whose they are is the principal's tenant, never a field of a request);
/// operators run the region and never touch a secret.
pub fn authorize(principal: &Principal, action: Action) -> Result<(), Denied> {
    let allowed = match action {
        Action::CreateSecret
        | Action::GetSecret
        | Action::AccessSecret
        | Action::ListSecrets
        | Action::UpdateSecret
        | Action::DeleteSecret
        | Action::WatchSecrets => matches!(principal, Principal::Tenant { .. }),
        Action::GetRegion => true,
        Action::Bootstrap | Action::SetQuota | Action::ReadStatus => {
            matches!(principal, Principal::Operator { .. })
        }
    };
    if allowed { Ok(()) } else { Err(Denied) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_work_on_secrets_and_operators_on_the_region() {
        let tenant = Principal::Tenant { tenant: "acme".parse().unwrap(), name: "insecure".parse().unwrap() };
        let operator = Principal::Operator { name: "root".parse().unwrap() };
        let operators_only = [Action::Bootstrap, Action::SetQuota, Action::ReadStatus];
        for action in Action::ALL {
            let (for_tenant, for_operator) = if operators_only.contains(&action) {
                (Err(Denied), Ok(()))
            } else if action == Action::GetRegion {
                (Ok(()), Ok(()))
            } else {
                (Ok(()), Err(Denied))
            };
            assert_eq!(authorize(&tenant, action), for_tenant, "tenant: {action:?}");
            assert_eq!(authorize(&operator, action), for_operator, "operator: {action:?}");
        }
    }
}
