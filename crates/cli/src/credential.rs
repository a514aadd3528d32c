//! From the options `--docker-…`, `--from-file` and `--from-docker-config` to the bytes of a payload: asks for what is
//! missing, writes kubectl's form, and falls back to the shorter one where only that fits the limit.

use pi_types::docker_config::{self, Credential};
use pi_types::limits::PAYLOAD_BYTES_MAX;
use pi_types::{DEFAULT_SERVER, PAYLOAD_KEY, Payload};
use zeroize::Zeroizing;

use crate::args::CredentialArgs;
use crate::docker_login;
use crate::failure::Failure;
use crate::host::{Host, SECRET_INPUT_BYTES_MAX, read_file};

/// kubectl's words.
const INCOMPLETE: &str = "either --from-file or the combination of --docker-username, --docker-password and --docker-server is required";

/// What the JSON of every payload of ours begins and ends with.
const PREFIX: &[u8] = b"{\"auths\":{";
const SUFFIX: &[u8] = b"}}";

/// A payload and what is to be said about it.
pub struct Prepared {
    /// The payload, checked.
    pub payload: Payload,
    /// What it probably does not do as meant; a region says the same when it gets it.
    pub warnings: Vec<String>,
}

/// True when any option names a payload.
pub fn is_given(args: &CredentialArgs) -> bool {
    args.docker_server.is_some()
        || args.docker_username.is_some()
        || args.docker_password.is_some()
        || args.docker_password_stdin
        || args.docker_password_file.is_some()
        || args.docker_email.is_some()
        || args.from_file.is_some()
        || args.from_docker_config
}

/// Builds the payload that the options describe.
pub async fn prepare(args: &CredentialArgs, host: &mut Host) -> Result<Prepared, Failure> {
    let bytes = if let Some(from) = &args.from_file {
        if args.docker_server.is_some() {
            return Err(Failure::usage(
                "--docker-server does not go with --from-file: the file names its servers",
            ));
        }
        read_payload_file(from, host)?
    } else if args.from_docker_config {
        let found = docker_login::read(host, args.docker_server.as_deref()).await?;
        for note in &found.notes {
            host.note(&format!("note: left out {note}"));
        }
        write(&found.credentials, host)?
    } else {
        let credential = read_options(args, host)?;
        write(std::slice::from_ref(&credential), host)?
    };
    finish(bytes)
}

/// Checks bytes as the region will.
fn finish(mut bytes: Zeroizing<Vec<u8>>) -> Result<Prepared, Failure> {
    let refused = |invalid: pi_types::Invalid| Failure::local(invalid.to_string());
    // First, because it checks the size first: of a file that is too large, that is the cause.
    let payload = Payload::new(std::mem::take(&mut *bytes)).map_err(refused)?;
    let warnings = docker_config::check(payload.expose()).map_err(refused)?;
    Ok(Prepared { payload, warnings })
}

/// `[.dockerconfigjson=]PATH`, byte for byte.
fn read_payload_file(from: &str, host: &mut Host) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let path = match from.split_once('=') {
        Some((PAYLOAD_KEY, path)) => path,
        // A path may contain `=`; a key cannot contain `/`.
        Some((key, _)) if !key.contains('/') && !std::path::Path::new(from).exists() => {
            return Err(Failure::usage(format!(
                "--from-file {from}: the key must be {PAYLOAD_KEY} (--from-file [{PAYLOAD_KEY}=]PATH), not {key:?}"
            )));
        }
        _ => from,
    };
    if path == "-" {
        return host.read_stdin(SECRET_INPUT_BYTES_MAX);
    }
    read_file(std::path::Path::new(path), SECRET_INPUT_BYTES_MAX)
}

fn read_options(args: &CredentialArgs, host: &mut Host) -> Result<Credential, Failure> {
    let server = args.docker_server.clone().unwrap_or_else(|| DEFAULT_SERVER.to_owned());
    let username = args.docker_username.clone().unwrap_or_default();
    if !is_given(args) {
        return Err(Failure::usage(INCOMPLETE));
    }
    if server.is_empty() {
        return Err(Failure::usage(format!(
            "--docker-server is empty; without it, {DEFAULT_SERVER} is meant"
        )));
    }
    if username.is_empty() {
        return Err(Failure::usage(
            "--docker-username is missing or empty; give it with --docker-password-stdin, --docker-password-file or \
             --docker-password",
        ));
    }
    if username.contains(':') {
        return Err(Failure::usage(format!(
            "--docker-username {username:?} contains ':', where readers split the name from the password: no kubelet \
             could use it"
        )));
    }
    let password = read_password(args, &server, &username, host)?;
    if password.is_empty() {
        return Err(Failure::usage(empty_password(args)));
    }
    let email = args.docker_email.clone().filter(|it| !it.is_empty());
    Ok(Credential { server, username, password, email })
}

/// Where an empty password came from.
fn empty_password(args: &CredentialArgs) -> String {
    if args.docker_password.is_some() {
        "--docker-password is empty; --docker-password-stdin reads it from standard input".to_owned()
    } else if args.docker_password_stdin {
        "the password on standard input is empty; --docker-password-stdin reads it from there".to_owned()
    } else if let Some(path) = &args.docker_password_file {
        format!("the file {} of --docker-password-file is empty", path.display())
    } else {
        "the password is empty; --docker-password-stdin reads it from standard input".to_owned()
    }
}

fn read_password(
    args: &CredentialArgs,
    server: &str,
    username: &str,
    host: &mut Host,
) -> Result<Zeroizing<String>, Failure> {
    if let Some(password) = &args.docker_password {
        host.warn(
            "the process list and the shell's history show --docker-password; \
             --docker-password-stdin, --docker-password-file or the prompt do not",
        );
        return Ok(Zeroizing::new(password.expose().to_owned()));
    }
    if args.docker_password_stdin {
        return first_text(host.read_stdin(SECRET_INPUT_BYTES_MAX)?, "standard input");
    }
    if let Some(path) = &args.docker_password_file {
        return first_text(read_file(path, SECRET_INPUT_BYTES_MAX)?, &path.display().to_string());
    }
    if host.interactive() {
        return rpassword::prompt_password(format!("Password of {username} at {server}: "))
            .map(Zeroizing::new)
            .map_err(|cause| Failure::local(format!("cannot ask for the password: {cause}")));
    }
    Err(Failure::usage(format!(
        "{INCOMPLETE}\n(no terminal to ask for the password: give --docker-password-stdin or --docker-password-file)"
    )))
}

/// The text without one newline at its end, which editors and `echo` add; newlines within (a JSON key) stay.
fn first_text(bytes: Zeroizing<Vec<u8>>, what: &str) -> Result<Zeroizing<String>, Failure> {
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| Failure::local(format!("the password from {what} is not UTF-8 text")))?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    Ok(Zeroizing::new(text.strip_suffix('\r').unwrap_or(text).to_owned()))
}

/// kubectl's form, or, when only that fits, the one with `auth` alone, which every reader of such secrets understands.
fn write(credentials: &[Credential], host: &mut Host) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let whole = joined(credentials, docker_config::write)?;
    if whole.len() <= PAYLOAD_BYTES_MAX {
        return Ok(whole);
    }
    let short = joined(credentials, docker_config::write_auth_only)?;
    if short.len() <= PAYLOAD_BYTES_MAX {
        host.note(&format!(
            "note: kubectl's form of this credential has {} bytes, more than the {PAYLOAD_BYTES_MAX} allowed; written \
             with \"auth\" alone ({} bytes), which kubelets read the same",
            whole.len(),
            short.len()
        ));
        return Ok(short);
    }
    let remedy = match credentials.len() {
        1 => "the password is too long for a secret",
        _ => "choose one registry with --docker-server",
    };
    Err(Failure::local(format!(
        "the payload has {} bytes ({} with \"auth\" alone); a secret holds at most {PAYLOAD_BYTES_MAX}: {remedy}",
        whole.len(),
        short.len()
    )))
}

/// One payload of several credentials, in the order of their servers, as Go writes maps.
fn joined(
    credentials: &[Credential],
    write: fn(&Credential) -> Zeroizing<Vec<u8>>,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut ordered: Vec<&Credential> = credentials.iter().collect();
    ordered.sort_by(|a, b| a.server.cmp(&b.server));
    let written: Vec<Zeroizing<Vec<u8>>> = ordered.into_iter().map(write).collect();
    let bytes_total = written.iter().map(|it| it.len()).sum();
    let mut bytes = Zeroizing::new(Vec::with_capacity(bytes_total));
    bytes.extend_from_slice(PREFIX);
    for (at, one) in written.iter().enumerate() {
        let inner = one.strip_prefix(PREFIX).and_then(|it| it.strip_suffix(SUFFIX));
        let inner = inner.ok_or_else(|| Failure::local("a credential was written in an unexpected form"))?;
        if at > 0 {
            bytes.push(b',');
        }
        bytes.extend_from_slice(inner);
    }
    bytes.extend_from_slice(SUFFIX);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// The payload that options give, and what was said on standard error.
    fn prepared(args: CredentialArgs, stdin: &'static str) -> (Result<Vec<u8>, String>, String) {
        let err = Captured::default();
        let streams = (Box::new(stdin.as_bytes()), Box::new(std::io::sink()), Box::new(err.clone()));
        let mut host = Host::with(BTreeMap::new(), streams.0, streams.1, streams.2);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let outcome = runtime.block_on(prepare(&args, &mut host));
        let said = String::from_utf8(err.0.lock().unwrap().clone()).unwrap();
        (outcome.map(|it| it.payload.expose().to_vec()).map_err(|it| it.to_string()), said)
    }

    fn named(username: &str) -> CredentialArgs {
        CredentialArgs { docker_username: Some(username.to_owned()), ..CredentialArgs::default() }
    }

    #[test]
    fn options_give_kubectls_bytes() {
        let args = CredentialArgs { docker_password: Some("pw".parse().unwrap()), ..named("bob") };
        let (payload, said) = prepared(args, "");
        let expected =
            br#"{"auths":{"https://index.docker.io/v1/":{"username":"bob","password":"pw","auth":"Ym9iOnB3"}}}"#;
        assert_eq!(payload.unwrap(), expected);
        assert_eq!(said.matches("Warning:").count(), 1, "{said}");
        assert!(!said.contains("pw\n") && said.contains("process list"), "{said}");
    }

    #[test]
    fn one_newline_behind_a_password_on_standard_input_is_dropped() {
        let password = |stdin| {
            let args = CredentialArgs { docker_password_stdin: true, ..named("bob") };
            let json: serde_json::Value = serde_json::from_slice(&prepared(args, stdin).0.unwrap()).unwrap();
            json["auths"][DEFAULT_SERVER]["password"].as_str().unwrap().to_owned()
        };
        assert_eq!(password("pw\n"), "pw");
        assert_eq!(password("pw\r\n"), "pw");
        assert_eq!(password("{\n}\n\n"), "{\n}\n");
    }

    #[test]
    fn what_is_missing_is_said_in_kubectls_words() {
        assert_eq!(prepared(CredentialArgs::default(), "").0.unwrap_err(), INCOMPLETE);
        let no_password = prepared(named("bob"), "").0.unwrap_err();
        assert!(no_password.starts_with(INCOMPLETE), "{no_password}");
        let no_server = CredentialArgs { docker_server: Some(String::new()), ..named("bob") };
        assert!(prepared(no_server, "").0.unwrap_err().starts_with("--docker-server is empty"));
    }

    #[test]
    fn each_empty_option_is_named() {
        let error = |args| prepared(args, "\n").0.unwrap_err();
        let nobody = error(CredentialArgs { docker_password_stdin: true, ..CredentialArgs::default() });
        assert!(nobody.starts_with("--docker-username is missing or empty"), "{nobody}");
        let stdin = error(CredentialArgs { docker_password_stdin: true, ..named("bob") });
        assert!(stdin.starts_with("the password on standard input is empty"), "{stdin}");
        let option = error(CredentialArgs { docker_password: Some("".parse().unwrap()), ..named("bob") });
        assert!(option.starts_with("--docker-password is empty"), "{option}");
        let file = error(CredentialArgs { docker_password_file: Some("/dev/null".into()), ..named("bob") });
        assert_eq!(file, "the file /dev/null of --docker-password-file is empty");
    }

    #[test]
    fn a_long_token_falls_back_to_auth_alone_and_a_longer_one_is_refused() {
        let of_length = |length: usize| {
            let args =
                CredentialArgs { docker_password: Some("x".repeat(length).parse().unwrap()), ..named("AWS") };
            prepared(args, "")
        };
        let (payload, said) = of_length(2_293);
        let payload = payload.unwrap();
        assert!(payload.len() <= PAYLOAD_BYTES_MAX);
        assert!(!String::from_utf8(payload).unwrap().contains("\"password\""));
        assert!(said.contains("note: kubectl's form"), "{said}");
        let refused = of_length(4_000).0.unwrap_err();
        assert!(refused.contains("at most 4096"), "{refused}");
    }

    #[test]
    fn several_credentials_become_one_payload_in_the_order_of_servers() {
        let credential = |server: &str| Credential {
            server: server.to_owned(),
            username: "u".to_owned(),
            password: Zeroizing::new("p".to_owned()),
            email: None,
        };
        let bytes =
            joined(&[credential("b.io"), credential("a.io")], docker_config::write_auth_only).unwrap();
        assert_eq!(bytes.as_slice(), br#"{"auths":{"a.io":{"auth":"dTpw"},"b.io":{"auth":"dTpw"}}}"#);
    }

    #[test]
    fn a_user_name_with_a_colon_is_refused() {
        let args = CredentialArgs { docker_password: Some("pw".parse().unwrap()), ..named("a:b") };
        assert!(prepared(args, "").0.unwrap_err().contains("contains ':'"));
    }
}
