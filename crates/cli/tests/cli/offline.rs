//! The built `pi` where no server is needed: usage, client dry run against kubectl's recorded output, the
//! configuration file, manifests, and credentials from Docker's configuration and its helpers.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::home::Home;

const INCOMPLETE: &str = "error: either --from-file or the combination of --docker-username, --docker-password and \
                          --docker-server is required\n";

#[test]
fn client_dry_run_prints_what_kubectl_printed_in_both_spellings() {
    let directory =
        Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("tests/cli/kubectl");
    let mut vectors = 0;
    for entry in std::fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|it| it != "args") {
            continue;
        }
        let args = std::fs::read_to_string(&path).unwrap();
        let expected = std::fs::read_to_string(path.with_extension("out")).unwrap();
        for spelling in [&["create", "secret", "docker-registry"][..], &["secret", "create"]] {
            let all: Vec<&str> =
                spelling.iter().copied().chain(args.lines()).chain(["--dry-run=client"]).collect();
            let ran = Home::new().pi_with(&all, "", &directory);
            assert_eq!((ran.code, &ran.out), (0, &expected), "{}: {}", path.display(), ran.err);
        }
        vectors += 1;
    }
    assert!(vectors >= 15, "only {vectors} recorded vectors found");
}

#[test]
fn usage_errors_exit_with_2_and_say_what_is_wrong() {
    let home = Home::new();
    let cases: &[(&[&str], &str)] = &[
        (&["secret", "create", "x"], "no region is named"),
        (&["secret", "create", "x", "--dry-run=client"], INCOMPLETE),
        (
            &["secret", "create", "x", "--docker-username=a", "--docker-server=", "--dry-run=client"],
            "error: --docker-server is empty",
        ),
        (
            &["create", "secret", "docker-registry", "--docker-username=a", "--dry-run=client"],
            "error: exactly one NAME is required, got 0\nSee 'pi create secret docker-registry -h' for help and examples\n",
        ),
        (&["secret", "create", "a", "b"], "error: exactly one NAME is required, got 2\n"),
        (
            &["secret", "create", "Bad_Name", "--dry-run=client"],
            "a lowercase RFC 1123 subdomain must consist of",
        ),
        (
            &["secret", "create", "x", "--dry-run=maybe"],
            "error: Invalid dry-run value (maybe). Must be \"none\", \"server\", or \"client\".\n",
        ),
        (
            &["secret", "create", "x", "--from-file=k=f", "--dry-run=client"],
            "the key must be .dockerconfigjson",
        ),
        (&["secret", "create", "x", "--from-file=f", "--docker-username=a"], "cannot be used with"),
        (&["secret", "create", "x", "--docker-password=a", "--docker-password-stdin"], "cannot be used with"),
        (&["create"], "must specify -f"),
        (&["create", "secret", "generic", "x", "--from-literal=a=b"], "the only type of secret is"),
        (&["create", "pod", "x", "--image=i"], "pods are not supported by this version of pi yet"),
        (&["get"], "you must specify what"),
        (&["get", "pods"], "pods are not supported by this version of pi yet"),
        (&["get", "widgets"], "error: the server doesn't have a resource type \"widgets\"\n"),
        (&["get", "secrets", "a", "-l", "x=y"], "name cannot be provided when a selector is specified"),
        (&["get", "secrets", "a", "-A"], "a resource cannot be retrieved by name across all namespaces"),
        (&["get", "secrets", "-l", "a b"], "error: "),
        (&["get", "secrets", "-o", "xml"], "xml"),
        (&["get", "secrets", "--reveal"], "--reveal prints the payload of one NAME"),
        (&["get", "secrets", "x", "--reveal", "-o", "name"], "allowed formats are: json,yaml"),
        (&["delete", "secrets"], "resource(s) were provided, but no name was specified"),
        (&["delete", "secret", "a", "--all"], "name cannot be provided when a selector is specified"),
        (&["secret", "update", "x"], "nothing to update"),
        (&["get", "secrets", "-r", "A_B"], "invalid region \"A_B\""),
        (&["get", "secrets", "-r", "a", "--all-regions"], "cannot be used with"),
        (&["get", "secrets", "-n", "A_B", "-r", "a"], "invalid namespace \"A_B\""),
        (&["apply", "-f", "http://example.com/x.yaml"], "addresses are not fetched"),
        (&["frobnicate"], "unrecognized subcommand"),
    ];
    for (args, expected) in cases {
        let ran = home.pi(args);
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.err);
        assert_eq!(ran.out, "", "{args:?}");
        assert!(ran.err.contains(expected), "{args:?}: expected {expected:?} in {:?}", ran.err);
    }
}

#[test]
fn what_is_not_configured_is_said_with_the_command_that_sets_it() {
    let home = Home::new();
    home.pi(&["get", "secrets", "-r", "a"]).fails(1, "pi config set-credentials");
    let home = Home::new().var("PI_TOKEN", "insecure:acme").var("PI_REGION", "a");
    home.pi(&["get", "secrets"]).fails(1, "error: no server is configured: give its address with --server");
    home.pi(&["get", "secrets", "-s", "127.0.0.1:1", "--request-timeout=300ms"])
        .fails(1, "error: Unable to connect to the server: ");
}

#[test]
fn a_password_on_the_command_line_warns_once_and_elsewhere_not() {
    let home = Home::new();
    let create = ["secret", "create", "x", "--docker-username=bob", "--dry-run=client", "-o", "yaml"];
    let with = |more: &[&'static str]| create.iter().copied().chain(more.iter().copied()).collect::<Vec<_>>();
    let argv = home.pi(&with(&["--docker-password=pw"]));
    assert_eq!(argv.err.matches("Warning: ").count(), 1, "{}", argv.err);
    assert!(argv.err.contains("process list"), "{}", argv.err);

    let stdin = home.pi_stdin(&with(&["--docker-password-stdin"]), "pw\n");
    home.file("password", "pw\n", 0o600);
    let file = home.pi(&with(&["--docker-password-file=password"]));
    for ran in [stdin, file] {
        ran.prints(&argv.out);
        assert_eq!(ran.err, "");
    }
    home.pi(&with(&["--docker-password-file=missing"]))
        .fails(1, "error: error reading missing: no such file");
    home.pi(&with(&[])).fails(2, "--docker-password-stdin");
}

#[test]
fn a_token_too_long_for_kubectls_form_is_written_with_auth_alone() {
    let home = Home::new();
    let create =
        ["secret", "create", "ecr", "--docker-username=AWS", "--docker-password-stdin", "--dry-run=client"];
    let ran = home.pi_stdin(&create, &"x".repeat(2_714));
    ran.prints("secret/ecr created (dry run)\n");
    assert!(ran.err.starts_with("note: kubectl's form of this credential has 6422 bytes"), "{}", ran.err);
    assert!(ran.err.contains("more than the 4096 allowed"), "{}", ran.err);
    home.pi_stdin(&create, &"x".repeat(3_100)).fails(1, "a secret holds at most 4096");
}

#[test]
fn files_no_kubelet_could_use_are_refused() {
    let home = Home::new();
    home.file("helper.json", r#"{"auths":{"quay.io":{}},"credsStore":"desktop"}"#, 0o600);
    home.file("text", "not json", 0o600);
    home.file(
        "long.json",
        &format!("{{\"auths\":{{\"q.io\":{{\"auth\":\"{}\"}}}}}}", "eDp4".repeat(1_020)),
        0o600,
    );
    for file in ["helper.json", "text", "long.json"] {
        let from = format!("--from-file={file}");
        home.pi(&["secret", "create", "x", &from, "--dry-run=client"]).fails(1, "error: ");
    }
}

#[test]
fn the_configuration_is_kept_private_and_shown_without_keys() {
    let home = Home::new();
    let set = ["config", "set-credentials", "acme", "--access-key=AK-canary", "--secret-key=SK-canary"];
    home.pi(&set).prints("User \"acme\" set.\n");
    home.pi(&["config", "set-credentials", "acme", "--token=insecure:canary", "--region=us-central1"])
        .prints("User \"acme\" set.\n");
    home.pi(&["config", "set-cluster", "dev", "-s", "127.0.0.1:7400"]).prints("Cluster \"dev\" set.\n");
    home.pi(&["config", "set-context", "tenant", "--cluster=dev", "--user=acme"])
        .prints("Context \"tenant\" created.\n");
    home.pi(&["config", "set-context", "tenant", "-n", "prod"]).prints("Context \"tenant\" modified.\n");
    home.pi(&["config", "use-context", "tenant"]).prints("Switched to context \"tenant\".\n");
    home.pi(&["config", "use-context", "x"]).fails(1, "error: no context exists with the name: \"x\"\n");

    let path = home.path(".pi/config");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let view = home.pi(&["config", "view"]);
    assert!(!view.out.contains("canary"), "{}", view.out);
    view.prints(
        "apiVersion: v1\nclusters:\n- name: dev\n  cluster:\n    server: 127.0.0.1:7400\ncontexts:\n- name: tenant\n  \
         context:\n    cluster: dev\n    namespace: prod\n    user: acme\ncurrent-context: tenant\nkind: Config\nusers:\n\
         - name: acme\n  user:\n    access-key: REDACTED\n    secret-key: REDACTED\n    region: us-central1\n    token: REDACTED\n",
    );
    let raw = home.pi(&["config", "view", "--raw", "-o", "json"]);
    for secret in ["AK-canary", "SK-canary", "insecure:canary"] {
        assert!(raw.out.contains(secret), "{}", raw.out);
    }
    home.pi(&["config", "delete-credentials", "acme"])
        .prints(&format!("deleted user acme from {}\n", path.display()));
    home.pi(&["config", "delete-credentials", "acme"]).fails(1, "error: cannot delete user acme, not in ");
}

#[test]
fn a_configuration_that_others_can_read_is_refused() {
    let home = Home::new();
    let path = home.file("elsewhere", "kind: Config\n", 0o640);
    let home = home.var("PI_CONFIG", path.to_str().unwrap());
    home.pi(&["config", "view"]).fails(1, "(mode 0640, expected 0600): run 'chmod 600 ");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(home.pi(&["config", "view"]).code, 0);
    std::fs::write(&path, "users:\n- name: a\n  user:\n    tokn: canary\n").unwrap();
    let ran = home.pi(&["config", "view"]);
    ran.fails(1, "line 4");
    assert!(!ran.err.contains("canary"), "{}", ran.err);
}

#[test]
fn manifests_are_checked_before_anything_is_sent() {
    let home = Home::new();
    let good = home.pi(&[
        "secret",
        "create",
        "a",
        "--docker-username=b",
        "--docker-password=c",
        "--dry-run",
        "-o",
        "yaml",
    ]);
    home.file("m/1.yaml", &good.out, 0o644);
    home.file(
        "m/2.json",
        &home.pi(&["create", "-f", "m/1.yaml", "--dry-run=client", "-o", "json"]).out,
        0o644,
    );
    home.file("m/notes.txt", "not a manifest", 0o644);
    home.pi(&["create", "-f", "m", "--dry-run=client"])
        .prints("secret/a created (dry run)\nsecret/a created (dry run)\n");
    home.pi_stdin(&["apply", "-f", "-", "--dry-run=client", "-o", "yaml"], &good.out).prints(&good.out);

    home.file("bad.yaml", &format!("{}---\nkind: Pod\napiVersion: v1\n", good.out), 0o644);
    home.pi(&["create", "-f", "m", "-f", "bad.yaml", "--dry-run=client"])
        .fails(1, "error: bad.yaml: document 2: kind: pods are not supported by this version of pi yet");
    home.file("type.yaml", &good.out.replace("kubernetes.io/dockerconfigjson", "Opaque"), 0o644);
    home.pi(&["apply", "-f", "type.yaml"])
        .fails(1, "error: type.yaml: document 1: type: \"Opaque\" is not supported");
    home.file("ns.yaml", &good.out.replace("  name: a", "  name: a\n  namespace: one"), 0o644);
    home.pi(&["create", "-f", "ns.yaml", "-n", "two", "--dry-run=client"])
        .fails(1, "the namespace from the provided object \"one\" does not match the namespace \"two\"");
    home.pi(&["create", "-f", "missing.yaml"]).fails(1, "error: the path \"missing.yaml\" does not exist\n");
}

/// A home with Docker's configuration and a helper `docker-credential-fake` that knows two servers and records how it
/// was called.
fn docker_home(config: &str) -> Home {
    let home = Home::new();
    home.file(".docker/config.json", config, 0o600);
    let called = home.path("called");
    let script = format!(
        "#!/bin/sh\nread -r url\necho \"$*|$url\" >> {}\ncase \"$1 $url\" in\n\
         'get https://index.docker.io/v1/') echo '{{\"ServerURL\":\"x\",\"Username\":\"hub\",\"Secret\":\"hub-canary\"}}' ;;\n\
         'get quay.io') echo '{{\"ServerURL\":\"x\",\"Username\":\"bob\",\"Secret\":\"pw\"}}' ;;\n\
         'get token.io') echo '{{\"ServerURL\":\"x\",\"Username\":\"<token>\",\"Secret\":\"id\"}}' ;;\n\
         'list unused') echo '{{\"quay.io\":\"bob\"}}' ;;\n\
         'get broken.io') echo 'internal canary'; exit 3 ;;\n\
         *) echo 'credentials not found in native keychain'; exit 1 ;;\nesac\n",
        called.display()
    );
    home.file("bin/docker-credential-fake", &script, 0o755);
    let path = format!("{}:{}", home.path("bin").display(), std::env::var("PATH").unwrap_or_default());
    home.var("PATH", path)
}

/// The decoded payload of a client dry run.
fn payload(home: &Home, more: &[&str]) -> String {
    use base64::Engine;
    let create = ["secret", "create", "x", "--from-docker-config", "--dry-run=client", "-o", "json"];
    let ran = home.pi(&create.iter().chain(more).copied().collect::<Vec<_>>());
    assert_eq!(ran.code, 0, "{}", ran.err);
    let json: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let data = json["data"][".dockerconfigjson"].as_str().unwrap();
    String::from_utf8(base64::engine::general_purpose::STANDARD.decode(data).unwrap()).unwrap()
}

const QUAY: &str = r#"{"auths":{"quay.io":{"username":"bob","password":"pw","auth":"Ym9iOnB3"}}}"#;

#[test]
fn credentials_come_from_the_configured_helper_with_nothing_secret_on_its_command_line() {
    let home =
        docker_home(r#"{"auths":{"https://index.docker.io/v1/":{},"quay.io":{}},"credsStore":"fake"}"#);
    assert_eq!(payload(&home, &["--docker-server=quay.io"]), QUAY);
    assert_eq!(payload(&home, &["--server", "https://quay.io"]).replace("https://", ""), QUAY);
    let hub = payload(&home, &["--docker-server=docker.io"]);
    assert!(hub.starts_with(r#"{"auths":{"https://index.docker.io/v1/":{"username":"hub","#), "{hub}");
    let all = payload(&home, &[]);
    assert!(all.contains("index.docker.io") && all.contains(r#"},"quay.io":{"#), "{all}");
    let called = std::fs::read_to_string(home.path("called")).unwrap();
    assert!(called.lines().all(|line| line.starts_with("get|")), "{called}");
}

#[test]
fn helpers_of_single_registries_and_inline_entries_are_used() {
    let home = docker_home(
        r#"{"auths":{"r.example.com":{"auth":"Ym9iOnB3","email":"e@x"}},"credHelpers":{"quay.io":"fake"}}"#,
    );
    assert_eq!(payload(&home, &["--docker-server=quay.io"]), QUAY);
    let inline = payload(&home, &["--docker-server=r.example.com"]);
    let expected =
        r#"{"auths":{"r.example.com":{"username":"bob","password":"pw","email":"e@x","auth":"Ym9iOnB3"}}}"#;
    assert_eq!(inline, expected);
    let home = docker_home(r#"{"credsStore":"fake"}"#);
    assert_eq!(payload(&home, &[]), QUAY);
}

#[test]
fn nothing_usable_is_explained() {
    let create = |home: &Home, server: &str| {
        home.pi(&[
            "secret",
            "create",
            "x",
            "--from-docker-config",
            "--docker-server",
            server,
            "--dry-run=client",
        ])
    };
    let home = docker_home(r#"{"auths":{"token.io":{},"empty.io":{}},"credsStore":"fake"}"#);
    create(&home, "token.io").fails(1, "identity token, which kubelets cannot use");
    create(&home, "nowhere.io")
        .fails(1, "docker-credential-fake says: credentials not found in native keychain");
    create(&home, "nowhere.io").fails(1, "registries it has entries for: empty.io, token.io");
    let broken = create(&home, "broken.io");
    broken.fails(1, "docker-credential-fake get failed");
    assert!(!broken.err.contains("canary"), "{}", broken.err);
    create(&docker_home(r#"{"auths":{"empty.io":{}}}"#), "empty.io")
        .fails(1, "no credential helper is configured");
    create(&docker_home(r#"{"credsStore":"absent"}"#), "a.io")
        .fails(1, "docker-credential-absent cannot be run");
    create(&docker_home(r#"{"credsStore":"../evil"}"#), "a.io")
        .fails(1, "is not the name of a credential helper");
    create(&Home::new(), "a.io").fails(1, "run 'docker login' first");
}

#[test]
fn completion_and_version_are_data() {
    let home = Home::new();
    home.pi(&["version"]).prints(concat!("pi ", env!("CARGO_PKG_VERSION"), "\n"));
    for shell in ["bash", "zsh", "fish"] {
        let ran = home.pi(&["completion", shell]);
        assert!(ran.code == 0 && ran.out.contains("docker-password-stdin"), "{shell}: {}", ran.err);
    }
}

#[test]
fn the_reference_page_is_what_the_command_line_says() {
    let path = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"))
        .join("../../docs/reference/cli.md");
    let page = std::fs::read_to_string(&path).unwrap_or_default();
    let expected = Home::new().pi(&["internal-docs"]).out;
    assert!(page == expected, "refresh it: pi internal-docs > docs/reference/cli.md");
}
