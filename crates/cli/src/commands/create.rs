//! `pi secret create NAME --docker-…`, which is also `pi create secret docker-registry NAME …`.

use std::collections::BTreeMap;

use pi_types::limits::PAYLOAD_BYTES_MAX;
use pi_types::{Namespace, SecretName};

use super::{Done, act, annotations, check_format, connect, labels, print_objects};
use crate::args::{DryRun, Format, GlobalArgs, SecretCreateArgs};
use crate::credential;
use crate::failure::Failure;
use crate::host::Host;
use crate::object::Object;
use crate::service::NewSecret;

/// Which of the two published spellings was used; only help texts differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    /// `pi secret create`.
    Pi,
    /// `pi create secret docker-registry`.
    Kubectl,
}

impl Spelling {
    fn command(self) -> &'static str {
        match self {
            Spelling::Pi => "pi secret create",
            Spelling::Kubectl => "pi create secret docker-registry",
        }
    }
}

/// Creates one secret in each region, or says what would be.
pub(super) async fn run(
    args: &SecretCreateArgs,
    spelling: Spelling,
    global: &GlobalArgs,
    host: &mut Host,
) -> Result<(), Failure> {
    check_format(args.output, &[Format::Json, Format::Yaml, Format::Name])?;
    let name = only_name(&args.names, spelling.command())?;
    let labels = labels(&args.metadata)?.unwrap_or_default();
    let annotations = annotations(&args.metadata)?.unwrap_or_default();
    if args.dry_run == DryRun::Client {
        let namespace = explicit_namespace(global)?;
        let prepared = credential::prepare(&args.credential, host).await?;
        for warning in &prepared.warnings {
            host.warn(warning);
        }
        let (labels, annotations) = (labels.as_map(), annotations.as_map());
        let object = Object::unsent(&name, namespace.as_ref(), labels, annotations, &prepared.payload);
        return print_unsent(&object, "created (dry run)", args.output, host);
    }
    // Whatever is wrong with the connection is said before a password is asked for.
    let (settings, service, targets) = connect(global, host).await?;
    let payload = credential::prepare(&args.credential, host).await?.payload;
    let secret = NewSecret { namespace: settings.namespace(), name, labels, annotations, payload };
    let server_dry_run = args.dry_run == DryRun::Server;
    act(&targets, args.output, host, |region| {
        let (service, secret) = (&service, &secret);
        async move { vec![create_one(service, region, secret, server_dry_run).await] }
    })
    .await
}

async fn create_one(
    service: &crate::service::Service,
    region: pi_types::RegionName,
    secret: &NewSecret,
    server_dry_run: bool,
) -> Result<Done, Failure> {
    let created = if server_dry_run {
        service.validate_create(&region, secret).await
    } else {
        service.create(&region, secret).await
    };
    let created = created.map_err(|failure| failure.in_context("failed to create secret "))?;
    let (bytes, used, quota) = (secret.payload.len(), created.quota_used, created.quota_limit);
    let note = server_dry_run.then(|| format!("{bytes}/{PAYLOAD_BYTES_MAX} bytes, {used}/{quota} secrets"));
    let suffix = if server_dry_run { " (server dry run)" } else { "" };
    let line = format!("secret/{} created{suffix}", secret.name);
    let object = match server_dry_run {
        true => secret.unsent(),
        false => Object::existing(&created.secret, None),
    };
    Ok(Done { line, warnings: created.warnings, note, object })
}

/// The one name that a command takes, or kubectl's words with the command's help.
pub(super) fn only_name(names: &[String], command: &str) -> Result<SecretName, Failure> {
    match names {
        [only] => super::name(only),
        _ => Err(Failure::usage(format!(
            "exactly one NAME is required, got {}\nSee '{command} -h' for help and examples",
            names.len()
        ))),
    }
}

/// The namespace of `-n` alone: kubectl writes no other into an object that is not sent.
pub(super) fn explicit_namespace(global: &GlobalArgs) -> Result<Option<Namespace>, Failure> {
    let given = global.namespace.as_deref().filter(|it| !it.is_empty());
    given.map(|it| it.parse().map_err(|it: pi_types::Invalid| Failure::usage(it.to_string()))).transpose()
}

/// Prints an object that was not sent.
pub(super) fn print_unsent(
    object: &Object,
    what: &str,
    output: Option<Format>,
    host: &mut Host,
) -> Result<(), Failure> {
    match output {
        None => host.print(format!("{} {what}\n", object.reference())),
        Some(Format::Name) => host.print(format!("{}\n", object.reference())),
        Some(_) => print_objects(std::slice::from_ref(object), output, host),
    }
}

impl NewSecret {
    /// The object as it would be sent.
    pub(super) fn unsent(&self) -> Object {
        let empty = BTreeMap::new();
        let (labels, annotations) = (self.labels.as_map(), self.annotations.as_map());
        let labels = if labels.is_empty() { &empty } else { labels };
        Object::unsent(&self.name, Some(&self.namespace), labels, annotations, &self.payload)
    }
}
