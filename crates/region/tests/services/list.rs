//! List: pages, tokens, selectors, namespaces.

use pi_proto::admin::v1::SetQuotaRequest;
use pi_proto::secrets::v1::{CreateRequest, ListRequest};

use crate::harness::*;

async fn names(node: &Harness, request: ListRequest) -> (Vec<String>, String) {
    let answer = node.secrets().list(tenant("acme", request)).await.unwrap().into_inner();
    let names = answer.secrets.into_iter().map(|s| format!("{}/{}", s.namespace, s.name)).collect();
    (names, answer.next_page_token)
}

async fn with_secrets(count: usize) -> Harness {
    let node = Harness::start().await;
    let request = SetQuotaRequest { region: REGION.into(), tenant: "acme".into(), secrets_max: 1_000 };
    node.admin().set_quota(operator(request)).await.unwrap();
    let creates = (0..count).map(|i| {
        let namespace = if i % 2 == 0 { "a" } else { "b" };
        let request = CreateRequest {
            namespace: namespace.into(),
            labels: map(&[("third", if i % 3 == 0 { "yes" } else { "no" })]),
            ..create_request(&format!("s{i:03}"))
        };
        let mut secrets = node.secrets();
        async move { secrets.create(tenant("acme", request)).await.unwrap() }
    });
    futures::future::join_all(creates).await;
    node
}

#[tokio::test]
async fn pages_join_to_the_whole_list_in_order_without_gaps_or_repeats() {
    let node = with_secrets(23).await;
    let (mut token, mut pages, mut all) = (String::new(), 0, Vec::new());
    loop {
        let request = ListRequest { page_size: 5, page_token: token, ..list_request() };
        let (names, next) = names(&node, request).await;
        assert!(names.len() <= 5);
        all.extend(names);
        pages += 1;
        token = next;
        if token.is_empty() {
            break;
        }
    }
    let mut expected: Vec<_> =
        (0..23).map(|i| format!("{}/s{i:03}", if i % 2 == 0 { "a" } else { "b" })).collect();
    expected.sort();
    assert_eq!((all, pages), (expected, 5));
}

#[tokio::test]
async fn sizes_are_bounded_and_selectors_and_namespaces_narrow() {
    let node = with_secrets(110).await;
    let (first, more) = names(&node, list_request()).await;
    assert_eq!((first.len(), more.is_empty()), (100, false), "0 means 100");
    let (all, more) = names(&node, ListRequest { page_size: 1_000_000, ..list_request() }).await;
    assert_eq!((all.len(), more.is_empty()), (110, true), "more than 500 is coerced");
    let selected =
        ListRequest { label_selector: "third=yes".into(), namespace: "a".into(), ..list_request() };
    let (names, _) = names(&node, selected).await;
    assert_eq!(names.len(), (0..110).filter(|i| i % 6 == 0).count());
}

#[tokio::test]
async fn a_token_with_other_arguments_and_bad_arguments_are_refused() {
    let node = with_secrets(6).await;
    let first = ListRequest { page_size: 2, label_selector: "third".into(), ..list_request() };
    let (_, token) = names(&node, first.clone()).await;
    let next = ListRequest { page_token: token, ..first };
    assert_eq!(names(&node, next.clone()).await.0.len(), 2);
    for (field, request) in [
        ("page_token", ListRequest { page_size: 3, ..next.clone() }),
        ("page_token", ListRequest { label_selector: String::new(), ..next.clone() }),
        ("page_token", ListRequest { namespace: "a".into(), ..next.clone() }),
        ("page_token", ListRequest { consistency: 2, ..next.clone() }),
        ("page_token", ListRequest { page_token: "nonsense".into(), ..next.clone() }),
        ("page_size", ListRequest { page_size: -1, ..list_request() }),
        ("label_selector", ListRequest { label_selector: "a in (".into(), ..list_request() }),
        ("namespace", ListRequest { namespace: "Upper".into(), ..list_request() }),
        ("consistency", ListRequest { consistency: 9, ..list_request() }),
    ] {
        let details = refusal(node.secrets().list(tenant("acme", request)).await);
        assert_eq!(details.reason.as_deref(), Some("INVALID_ARGUMENT"), "{field}");
        assert_eq!(details.violations[0].field, field);
    }
    let other = refusal(node.secrets().list(tenant("other", next)).await);
    assert_eq!(other.violations[0].field, "page_token", "another tenant's token is refused");
}
