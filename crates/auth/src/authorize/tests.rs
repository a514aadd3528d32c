//! The whole table, written out: every caller, action and resource, compared with `table.txt`.

use std::fmt::Write;

use super::*;

/// One pod, bound to machine `m1`, of tenant `acme`, in namespace `default`, naming secret `regcred`.
struct OnePod;

const POD: Uid = Uid::from_bytes([7; 16]);
const OTHER_POD: Uid = Uid::from_bytes([8; 16]);

impl Pods for OnePod {
    fn pods_name(
        &self,
        node: &NodeName,
        tenant: &TenantId,
        namespace: &Namespace,
        secret: &SecretName,
        pod_uid: Uid,
    ) -> bool {
        self.bound_to(node, tenant, pod_uid)
            && namespace.as_str() == "default"
            && secret.as_str() == "regcred"
    }

    fn bound_to(&self, node: &NodeName, tenant: &TenantId, pod_uid: Uid) -> bool {
        node.as_str() == "m1" && tenant.as_str() == "acme" && pod_uid == POD
    }
}

fn tenant(roles: Roles) -> Caller {
    Caller::Tenant { tenant: "acme".parse().unwrap(), name: "alice".parse().unwrap(), roles }
}

fn kubelet(node: &str, region: &str) -> Caller {
    Caller::Kubelet {
        name: "kubelet".parse().unwrap(),
        node_name: node.parse().unwrap(),
        region: region.parse().unwrap(),
    }
}

/// In the order of the table's columns. Every set of roles is among the tenants in another test.
fn callers() -> Vec<(&'static str, Caller)> {
    let only = |role| tenant(Roles::NONE.with(role));
    vec![
        ("anonymous", Caller::Anonymous),
        ("none", tenant(Roles::NONE)),
        ("admin", only(Role::Admin)),
        ("write", only(Role::Writer)),
        ("read", only(Role::MetadataReader)),
        ("access", only(Role::Accessor)),
        ("kubelet", kubelet("m1", "here")),
        ("kubelet2", kubelet("m2", "here")),
        ("kub-away", kubelet("m1", "away")),
        ("operator", Caller::Operator { name: "root".parse().unwrap() }),
        ("gateway", Caller::Gateway { name: "gw-1".parse().unwrap() }),
        ("node", Caller::Node { region: "here".parse().unwrap(), id: 1 }),
        ("nod-away", Caller::Node { region: "away".parse().unwrap(), id: 1 }),
    ]
}

/// Names to borrow resources from.
struct Names {
    acme: TenantId,
    other: TenantId,
    default: Namespace,
    web: Namespace,
    regcred: SecretName,
    unnamed: SecretName,
    m1: NodeName,
}

impl Names {
    fn new() -> Self {
        Self {
            acme: "acme".parse().unwrap(),
            other: "other".parse().unwrap(),
            default: Namespace::default(),
            web: "web".parse().unwrap(),
            regcred: "regcred".parse().unwrap(),
            unnamed: "unnamed".parse().unwrap(),
            m1: "m1".parse().unwrap(),
        }
    }

    fn secret<'a>(&'a self, tenant: &'a TenantId, pod_uid: Option<Uid>) -> Resource<'a> {
        Resource::Secret { tenant, namespace: &self.default, name: &self.regcred, pod_uid }
    }

    fn resources(&self) -> Vec<(&'static str, Resource<'_>)> {
        let unnamed = Resource::Secret {
            tenant: &self.acme,
            namespace: &self.default,
            name: &self.unnamed,
            pod_uid: Some(POD),
        };
        let elsewhere = Resource::Secret {
            tenant: &self.acme,
            namespace: &self.web,
            name: &self.regcred,
            pod_uid: Some(POD),
        };
        vec![
            ("region", Resource::Region),
            ("tenant", Resource::Tenant(&self.acme)),
            ("tenant-other", Resource::Tenant(&self.other)),
            ("secret", self.secret(&self.acme, None)),
            ("secret-other", self.secret(&self.other, None)),
            ("secret-of-pod", self.secret(&self.acme, Some(POD))),
            ("secret-of-another-pod", self.secret(&self.acme, Some(OTHER_POD))),
            ("secret-unnamed", unnamed),
            ("secret-elsewhere", elsewhere),
            ("secret-other-of-pod", self.secret(&self.other, Some(POD))),
            ("pod", Resource::Pod { tenant: &self.acme, uid: Some(POD) }),
            ("pod-without-uid", Resource::Pod { tenant: &self.acme, uid: None }),
            ("pod-another", Resource::Pod { tenant: &self.acme, uid: Some(OTHER_POD) }),
            ("pod-other", Resource::Pod { tenant: &self.other, uid: Some(POD) }),
            ("machine", Resource::Node(&self.m1)),
        ]
    }
}

fn decide_here(caller: &Caller, action: Action, resource: &Resource<'_>) -> Decision {
    decide(caller, action, resource, &"here".parse().unwrap(), &OnePod)
}

/// Rows where everybody is denied are left out, and counted.
fn render() -> String {
    let names = Names::new();
    let callers = callers();
    let mut table = "Who may do what. A: allowed. -: denied. 0: denied as if it were absent.\n\
        Callers: tenants of acme by their one role; kubelets of machines m1, m2 and of m1 in another region.\n\
        Resources: of acme, or of another tenant (-other). One pod of acme is bound to m1; it names one secret.\n\n"
        .to_owned();
    write!(table, "{:17} {:22}", "action", "resource").unwrap();
    callers.iter().for_each(|(name, _)| write!(table, " {name:9}").unwrap());
    table.truncate(table.trim_end().len());
    let mut denied = 0;
    for action in Action::ALL {
        for (name, resource) in names.resources() {
            let decisions: Vec<_> =
                callers.iter().map(|(_, caller)| decide_here(caller, *action, &resource)).collect();
            if decisions.iter().all(|decision| *decision == Decision::Deny) {
                denied += 1;
                continue;
            }
            write!(table, "\n{:17} {name:22}", format!("{action:?}")).unwrap();
            for decision in decisions {
                let cell = match decision {
                    Decision::Allow => "A",
                    Decision::Deny => "-",
                    Decision::DenyAsAbsent => "0",
                };
                write!(table, " {cell:9}").unwrap();
            }
            table.truncate(table.trim_end().len());
        }
    }
    let rows = Action::ALL.len() * names.resources().len();
    write!(table, "\n\nDenied to all: the other {denied} of {rows} rows.\n").unwrap();
    table
}

/// To change the table: run with `PI_BLESS=1`, and read the difference.
#[test]
fn the_table_is_the_one_that_was_reviewed() {
    let path = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it") + "/src/authorize/table.txt";
    let table = render();
    if std::env::var_os("PI_BLESS").is_some() {
        std::fs::write(&path, &table).unwrap();
    }
    let reviewed = std::fs::read_to_string(path).unwrap();
    assert!(table == reviewed, "the table changed; it is now:\n{table}");
}

#[test]
fn a_set_of_roles_allows_what_its_roles_allow_and_nothing_more() {
    let names = Names::new();
    for bits in 0..=Roles::ALL.bits() {
        let roles = Roles::from_bits(bits).unwrap();
        for action in Action::ALL {
            for (_, resource) in names.resources() {
                let together = decide_here(&tenant(roles), *action, &resource);
                let alone = |role: &Role| decide_here(&tenant(Roles::NONE.with(*role)), *action, &resource);
                let held = Role::ALL.iter().filter(|role| roles.contains(**role));
                let best = held.map(alone).find(|decision| *decision != Decision::Deny);
                let nobody = decide_here(&tenant(Roles::NONE), *action, &resource);
                assert_eq!(together, best.unwrap_or(nobody), "{roles} {action:?} {resource:?}");
            }
        }
    }
}

#[test]
fn nobody_but_a_tenant_or_a_kubelet_with_the_pod_accesses_a_payload() {
    let names = Names::new();
    for (name, caller) in callers() {
        for (kind, resource) in names.resources() {
            let allowed = decide_here(&caller, Action::AccessSecret, &resource) == Decision::Allow;
            let expected = match name {
                "admin" | "access" => {
                    kind.starts_with("secret") && !kind.contains("other-of") && kind != "secret-other"
                }
                "kubelet" => kind == "secret-of-pod",
                _ => false,
            };
            assert_eq!(allowed, expected, "{name} {kind}");
        }
    }
}

#[test]
fn without_pods_a_kubelet_accesses_nothing() {
    let names = Names::new();
    for (_, resource) in names.resources() {
        let here = "here".parse().unwrap();
        let decision = decide(&kubelet("m1", "here"), Action::AccessSecret, &resource, &here, &NoPods);
        assert_eq!(decision, Decision::Deny);
    }
}

#[test]
fn a_kubelet_is_never_told_that_something_is_absent() {
    let names = Names::new();
    for (name, caller) in callers().into_iter().filter(|(name, _)| name.starts_with("kub")) {
        for action in Action::ALL {
            for (_, resource) in names.resources() {
                assert_ne!(decide_here(&caller, *action, &resource), Decision::DenyAsAbsent, "{name}");
            }
        }
    }
}

#[test]
fn a_record_becomes_the_caller_that_its_grant_says() {
    let record = |grant| CredentialRecord {
        access_key_id: "PIAKAAAAAAAAAAAAAAAAAAAA".parse().unwrap(),
        public_key: crate::PublicKey::from_bytes([0; 32]),
        principal: "kubelet".parse().unwrap(),
        grant,
        disabled: false,
        created_ms: 0,
    };
    let grant = Grant::Kubelet { node_name: "m1".parse().unwrap(), region: "here".parse().unwrap() };
    assert_eq!(Caller::from(&record(grant)), kubelet("m1", "here"));
    let operator = Caller::Operator { name: "kubelet".parse().unwrap() };
    assert_eq!(Caller::from(&record(Grant::Operator)), operator);
    let gateway: PeerIdentity = "pi://prod/gateway/gw-1".parse().unwrap();
    assert_eq!(Caller::from(&gateway), Caller::Gateway { name: "gw-1".parse().unwrap() });
}
