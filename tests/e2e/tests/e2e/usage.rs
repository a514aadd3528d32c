//! What users do, through the gateway, with the typed client.

use pi_client::secrets::watch_response::Kind;
use pi_client::{CallOptions, Client, Watch, reason, secrets};
use pi_e2e::{EU, US, payload, payload_of, shared, tenant};
use pi_types::SECRET_TYPE;

fn create(name: &str, payload: Vec<u8>) -> secrets::CreateRequest {
    secrets::CreateRequest { name: name.to_owned(), payload, ..secrets::CreateRequest::default() }
}

fn access(name: &str) -> secrets::AccessRequest {
    secrets::AccessRequest { name: name.to_owned(), ..secrets::AccessRequest::default() }
}

fn delete(name: &str) -> secrets::DeleteRequest {
    secrets::DeleteRequest { name: name.to_owned(), ..secrets::DeleteRequest::default() }
}

async fn names(client: &Client) -> Vec<String> {
    let page = client.list(secrets::ListRequest::default(), CallOptions::default()).await.unwrap();
    page.secrets.into_iter().map(|secret| secret.name).collect()
}

/// The next answer that is not about the passing of time.
async fn next(watch: &mut Watch) -> (Kind, String, u64) {
    loop {
        let answer = watch.next().await.expect("a watch without a refusal does not end").unwrap();
        if answer.kind() != Kind::Progress {
            let name = answer.secret.as_ref().map(|secret| secret.name.clone()).unwrap_or_default();
            return (answer.kind(), name, answer.revision);
        }
    }
}

#[tokio::test]
async fn a_secret_is_created_read_listed_updated_and_deleted_through_the_gateway() {
    let cluster = shared().await.unwrap();
    let client = cluster.client(&tenant("usage"), US).unwrap();
    let options = CallOptions::default;

    let created = client.create(create("one", payload("first")), options()).await.unwrap();
    assert_eq!((created.quota_used, created.quota_limit), (1, 8));
    let secret = created.secret.unwrap();
    assert_eq!((secret.namespace.as_str(), secret.region.as_str()), ("default", US));
    assert_eq!((secret.r#type.as_str(), secret.generation), (SECRET_TYPE, 1));

    let request = secrets::GetRequest { name: "one".to_owned(), ..secrets::GetRequest::default() };
    let got = client.get(request.clone(), options()).await.unwrap();
    assert_eq!(got.secret.as_ref(), Some(&secret));
    assert!(!got.stale);
    assert_eq!(client.access(access("one"), options()).await.unwrap().payload, payload("first"));
    assert_eq!(names(&client).await, ["one"]);

    let update = secrets::UpdateRequest {
        name: "one".to_owned(),
        payload: Some(payload("second")),
        ..secrets::UpdateRequest::default()
    };
    let updated = client.update(update.clone(), options()).await.unwrap();
    assert!(updated.changed);
    let after = updated.secret.unwrap();
    assert_eq!((after.uid == secret.uid, after.generation), (true, 2));
    assert!(after.revision > secret.revision);
    let again = client.update(update, options()).await.unwrap();
    assert_eq!((again.changed, again.secret.unwrap()), (false, after.clone()));
    assert_eq!(client.access(access("one"), options()).await.unwrap().payload, payload("second"));

    let deleted = client.delete(delete("one"), options()).await.unwrap();
    assert_eq!((deleted.secret.unwrap().uid, deleted.quota_used), (secret.uid.clone(), 0));
    let error = client.get(request, options()).await.unwrap_err();
    assert_eq!(error.reason(), Some(reason::SECRET_NOT_FOUND), "{error}");

    let anew = client.create(create("one", payload("third")), options()).await.unwrap().secret.unwrap();
    assert!(anew.uid != secret.uid && anew.revision > deleted.revision && anew.generation == 1);
}

#[tokio::test]
async fn a_watch_tells_the_present_state_and_then_every_change_in_order_and_resumes_behind_its_token() {
    let cluster = shared().await.unwrap();
    let client = cluster.client(&tenant("watch"), US).unwrap();
    let options = CallOptions::default;
    client.create(create("before", payload("x")), options()).await.unwrap();

    let mut watch = client.watch(secrets::WatchRequest::default(), options()).unwrap();
    let (kind, name, _) = next(&mut watch).await;
    assert_eq!((kind, name.as_str()), (Kind::Existing, "before"));
    assert_eq!(next(&mut watch).await.0, Kind::Synced);

    let created = client.create(create("after", payload("x")), options()).await.unwrap();
    let created = created.secret.unwrap().revision;
    assert_eq!(next(&mut watch).await, (Kind::Created, "after".to_owned(), created));
    let resume_token = watch.resume_token().to_owned();

    let update = secrets::UpdateRequest {
        name: "before".to_owned(),
        payload: Some(payload("y")),
        ..secrets::UpdateRequest::default()
    };
    let updated = client.update(update, options()).await.unwrap().secret.unwrap().revision;
    let deleted = client.delete(delete("after"), options()).await.unwrap().revision;
    let expected =
        [(Kind::Updated, "before".to_owned(), updated), (Kind::Deleted, "after".to_owned(), deleted)];
    assert_eq!([next(&mut watch).await, next(&mut watch).await], expected);

    let request = secrets::WatchRequest { resume_token, ..secrets::WatchRequest::default() };
    let mut resumed = client.watch(request, options()).unwrap();
    assert_eq!([next(&mut resumed).await, next(&mut resumed).await], expected);
}

#[tokio::test]
async fn the_same_name_in_two_regions_is_two_secrets_and_tenants_see_only_their_own() {
    let cluster = shared().await.unwrap();
    let name = tenant("regions");
    let (us, eu) = (cluster.client(&name, US).unwrap(), cluster.client(&name, EU).unwrap());
    for (client, password) in [(&us, "us"), (&eu, "eu")] {
        client.create(create("same", payload(password)), CallOptions::default()).await.unwrap();
    }
    for (client, password) in [(&us, "us"), (&eu, "eu")] {
        let read = client.access(access("same"), CallOptions::default()).await.unwrap();
        assert_eq!(read.payload, payload(password));
    }
    us.delete(delete("same"), CallOptions::default()).await.unwrap();
    assert_eq!(names(&us).await, Vec::<String>::new());
    assert_eq!(names(&eu).await, ["same"]);

    let stranger = cluster.client(&tenant("stranger"), EU).unwrap();
    assert_eq!(names(&stranger).await, Vec::<String>::new());
    let error = stranger.access(access("same"), CallOptions::default()).await.unwrap_err();
    assert_eq!(error.reason(), Some(reason::SECRET_NOT_FOUND), "{error}");
}

#[tokio::test]
async fn a_payload_of_4096_bytes_is_taken_and_one_byte_more_is_refused_and_changes_nothing() {
    let cluster = shared().await.unwrap();
    let client = cluster.client(&tenant("size"), US).unwrap();
    client.create(create("fits", payload_of(4_096)), CallOptions::default()).await.unwrap();
    let read = client.access(access("fits"), CallOptions::default()).await.unwrap();
    assert_eq!(read.payload, payload_of(4_096));

    let error = client.create(create("large", payload_of(4_097)), CallOptions::default()).await.unwrap_err();
    assert_eq!(error.reason(), Some(reason::PAYLOAD_TOO_LARGE), "{error}");
    let text = error.to_string();
    assert!(text.contains("4097") && text.contains("4096"), "value and limit are named: {text}");
    assert_eq!(names(&client).await, ["fits"]);
}
