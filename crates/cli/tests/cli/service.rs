//! The built `pi` against a gateway in memory: what it sends, and what it prints of the answers.

use crate::fake::Fake;
use crate::home::{Home, Ran};

/// A user of region `us-central1` in a cluster of `us-central1`, `eu-west1` and `asia-east1`, of which the last is down.
fn home() -> Home {
    let fake = Fake::start(&["asia-east1", "eu-west1", "us-central1"], &["asia-east1"]);
    Home::new()
        .var("PI_SERVER", fake.address.to_string())
        .var("PI_TOKEN", "insecure:acme")
        .var("PI_REGION", "us-central1")
}

fn create(home: &Home, name: &str, more: &[&str]) -> Ran {
    let args = ["secret", "create", name, "--docker-username=bob", "--docker-password-stdin"];
    home.pi_stdin(&args.iter().chain(more).copied().collect::<Vec<_>>(), "pw\n")
}

const PAYLOAD: &str =
    r#"{"auths":{"https://index.docker.io/v1/":{"username":"bob","password":"pw","auth":"Ym9iOnB3"}}}"#;

#[test]
fn a_secret_is_created_shown_updated_and_deleted() {
    let home = home();
    let created = create(&home, "my-secret", &[]);
    created.prints("secret/my-secret created\n");
    assert_eq!(created.err, "");
    let exists = create(&home, "my-secret", &[]);
    exists.fails(1, "error: failed to create secret secrets \"my-secret\" already exists");

    let table = "NAME        TYPE                             DATA   AGE\n\
                 my-secret   kubernetes.io/dockerconfigjson   1      60m\n";
    for args in [
        &["get", "secrets"][..],
        &["get", "secret/my-secret"],
        &["secret", "list"],
        &["secret", "get", "my-secret"],
    ] {
        home.pi(args).prints(table);
    }
    home.pi(&["get", "secrets", "-o", "name"]).prints("secret/my-secret\n");
    home.pi(&["secret", "get", "my-secret", "--reveal"]).prints(PAYLOAD);
    let yaml = home.pi(&["get", "secrets/my-secret", "-o", "yaml"]);
    assert!(!yaml.out.contains("\ndata:") && yaml.out.contains("\n  region: us-central1\n"), "{}", yaml.out);
    let revealed = home.pi(&["get", "secrets/my-secret", "-o", "yaml", "--reveal"]);
    assert!(revealed.out.contains("\ndata:\n  .dockerconfigjson: eyJhdXRocyI6"), "{}", revealed.out);
    home.pi(&["describe", "secrets", "my-secret"]).prints(
        "Name:         my-secret\nNamespace:    default\nLabels:       <none>\nAnnotations:  <none>\n\n\
         Type:  kubernetes.io/dockerconfigjson\n\nData\n====\n.dockerconfigjson:  94 bytes\n",
    );
    // What is shown can be applied again.
    home.pi_stdin(&["apply", "-f", "-"], &revealed.out).prints("secret/my-secret unchanged\n");

    home.pi(&["secret", "update", "my-secret", "-l", "team=a,tier=b"]).prints("secret/my-secret updated\n");
    home.pi(&["secret", "update", "my-secret", "-l", "team=a,tier=b"]).prints("secret/my-secret unchanged\n");
    home.pi(&["secret", "update", "my-secret", "--clear-labels", "--expect-revision=999"])
        .fails(1, "error: failed to update secret at another revision");
    home.pi(&[
        "secret",
        "update",
        "my-secret",
        "--docker-username=x",
        "--docker-password=y",
        "--dry-run=server",
    ])
    .prints("secret/my-secret updated (server dry run)\n");
    home.pi(&["secret", "get", "my-secret", "--reveal"]).prints(PAYLOAD);

    home.pi(&["delete", "secrets/my-secret"]).prints("secret \"my-secret\" deleted\n");
    home.pi(&["delete", "secrets/my-secret"]).fails(1, "error: secrets \"my-secret\" not found");
    home.pi(&["delete", "secrets/my-secret", "--ignore-not-found"]).prints("");
    let empty = home.pi(&["get", "secrets"]);
    empty.prints("");
    assert_eq!(empty.err, "No resources found in default namespace.\n");
}

#[test]
fn lists_follow_pages_selectors_and_namespaces() {
    let home = home();
    for name in ["a", "b", "c", "d", "e"] {
        create(&home, name, &["-l", if name < "c" { "team=x" } else { "team=y" }])
            .prints(&format!("secret/{name} created\n"));
    }
    create(&home, "f", &["-n", "prod"]).prints("secret/f created\n");
    let names = |args: &[&str]| {
        let all: Vec<&str> = ["get", "secrets", "-o", "name"].iter().chain(args).copied().collect();
        home.pi(&all).out.replace("secret/", "").replace('\n', "")
    };
    assert_eq!(names(&[]), "abcde");
    assert_eq!(names(&["-l", "team=x"]), "ab");
    assert_eq!(names(&["-n", "prod"]), "f");
    assert_eq!(names(&["-A"]), "abcdef");
    let all = home.pi(&["get", "secrets", "-A", "-o", "wide"]).out;
    assert!(all.starts_with("NAMESPACE   NAME   TYPE "), "{all}");
    let json: serde_json::Value =
        serde_json::from_str(&home.pi(&["get", "secrets", "-A", "-o", "json"]).out).unwrap();
    assert_eq!((json["kind"].as_str(), json["items"].as_array().map(Vec::len)), (Some("List"), Some(6)));

    home.pi(&["delete", "secrets", "-l", "team=x"]).prints("secret \"a\" deleted\nsecret \"b\" deleted\n");
    home.pi(&["secret", "delete", "--all", "-o", "name"]).prints("secret/c\nsecret/d\nsecret/e\n");
    assert_eq!(names(&["-A"]), "f");
}

#[test]
fn the_ninth_secret_is_refused_with_the_limit_and_the_remedy() {
    let home = home();
    for number in 1..=8 {
        create(&home, &format!("s{number}"), &[]);
    }
    let ninth = create(&home, "s9", &[]);
    ninth.fails(1, "error: failed to create secret quota exceeded: 8 of 8");
    assert!(ninth.err.contains("pi secret delete"), "{}", ninth.err);
    home.pi(&["info"]).prints("Region:     us-central1\nTenant:     acme\nResources:  secret: 8/8\n");
}

#[test]
fn several_regions_are_acted_on_each_on_its_own() {
    let home = home();
    let lines = |ran: &Ran| {
        let mut lines: Vec<String> = ran.out.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let both = create(&home, "x", &["--region", "us-central1,eu-west1"]);
    assert_eq!(
        (both.code, lines(&both)),
        (0, vec!["eu-west1: secret/x created".into(), "us-central1: secret/x created".into()])
    );

    let some = create(&home, "y", &["--all-regions", "--request-timeout=1s"]);
    assert_eq!(
        (some.code, lines(&some)),
        (3, vec!["eu-west1: secret/y created".into(), "us-central1: secret/y created".into()])
    );
    assert!(some.err.contains("error: asia-east1: "), "{}", some.err);
    let again = create(&home, "y", &["-r", "us-central1,eu-west1"]);
    again.fails(1, "error: eu-west1: failed to create secret secrets \"y\" already exists");

    let table = home.pi(&["get", "secrets", "x", "-r", "us-central1,eu-west1"]);
    table.prints(
        "REGION        NAME   TYPE                             DATA   AGE\n\
         us-central1   x      kubernetes.io/dockerconfigjson   1      60m\n\
         eu-west1      x      kubernetes.io/dockerconfigjson   1      60m\n",
    );
    let info = home.pi(&["info", "--all-regions", "--request-timeout=1s", "-o", "json"]);
    assert_eq!(info.code, 3, "{}", info.err);
    let json: serde_json::Value = serde_json::from_str(&info.out).unwrap();
    assert_eq!(json["regions"][1]["resources"]["secret"]["used"], 2);

    let one = home.pi(&["delete", "secrets", "x", "nope", "-r", "us-central1"]);
    assert_eq!((one.code, one.out.as_str()), (3, "secret \"x\" deleted\n"));
    home.pi(&["get", "secrets", "-r", "mars"]).fails(1, "unknown region");
    home.pi(&["region", "list"])
        .prints("NAME          AVAILABLE\nasia-east1    false\neu-west1      true\nus-central1   true\n");
}

#[test]
fn manifests_are_created_and_applied() {
    let home = home();
    let manifest = |name: &str, password: &str| {
        let user = ["--docker-username=bob", "--docker-password", password];
        let args = ["secret", "create", name, "--dry-run=client", "-o", "yaml"];
        home.pi(&args.iter().chain(&user).copied().collect::<Vec<_>>()).out
    };
    let two = format!("{}---\n{}", manifest("a", "one"), manifest("b", "one"));
    home.pi_stdin(&["create", "-f", "-"], &two).prints("secret/a created\nsecret/b created\n");
    home.pi_stdin(&["create", "-f", "-"], &two)
        .fails(1, "error: standard input: document 2: failed to create secret");
    let mixed = format!("{}---\n{}---\n{}", manifest("a", "one"), manifest("b", "two"), manifest("c", "one"));
    home.pi_stdin(&["apply", "-f", "-", "--dry-run=server"], &mixed).prints(
        "secret/a unchanged (server dry run)\nsecret/b configured (server dry run)\nsecret/c created (server dry run)\n",
    );
    home.pi_stdin(&["apply", "-f", "-"], &mixed)
        .prints("secret/a unchanged\nsecret/b configured\nsecret/c created\n");
    home.pi_stdin(&["delete", "-f", "-"], &mixed)
        .prints("secret \"a\" deleted\nsecret \"b\" deleted\nsecret \"c\" deleted\n");
}

#[test]
fn dry_run_on_the_server_changes_nothing_and_tells_size_and_quota() {
    let home = home();
    let ran = create(&home, "x", &["--dry-run=server"]);
    ran.prints("secret/x created (server dry run)\n");
    assert_eq!(ran.err, "note: 94/4096 bytes, 1/8 secrets\n");
    assert_eq!(home.pi(&["get", "secrets"]).out, "");
}

#[test]
fn one_request_id_makes_a_repetition_harmless() {
    let home = home();
    let id = "--request-id=01936f4e-7c00-7abc-8def-0123456789ab";
    create(&home, "x", &[id]).prints("secret/x created\n");
    // The region of this test has no memory of requests; that the id arrives is what its refusal shows.
    create(&home, "refused", &[id]).fails(1, "01936f4e-7c00-7abc-8def-0123456789ab");
    create(&home, "y", &["--request-id=4"]).fails(2, "--request-id");
    home.pi(&["apply", "-f", "-", id]).fails(2, "--request-id goes with one creation, update or deletion");
}

#[test]
fn warnings_of_the_region_and_stale_answers_are_told_on_standard_error() {
    let home = home();
    let odd = create(&home, "odd", &[]);
    odd.prints("secret/odd created\n");
    assert_eq!(odd.err, "Warning: odd, but allowed\n");
    let stale = home.pi(&["get", "secrets", "odd", "-o", "name", "--stale"]);
    stale.prints("secret/odd\n");
    assert!(stale.err.contains("may be behind"), "{}", stale.err);
}

#[test]
fn a_watch_prints_what_is_there() {
    let home = home();
    create(&home, "x", &[]);
    home.pi(&["secret", "watch", "--once", "-o", "name"]).prints("secret/x ADDED\n");
    let json = home.pi(&["secret", "watch", "--once", "-o", "json"]).out;
    let event: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (event["type"].as_str(), event["object"]["metadata"]["name"].as_str()),
        (Some("ADDED"), Some("x"))
    );
    let table = home.pi(&["secret", "watch", "--once"]).out;
    assert!(table.starts_with("EVENT     NAME ") && table.contains("\nADDED     x "), "{table}");
}

#[test]
fn a_wrong_credential_is_told() {
    let home = home().var("PI_TOKEN", "insecure:other");
    home.pi(&["get", "secrets"]).fails(1, "error: no credential; give a credential; see `pi config view`");
}
