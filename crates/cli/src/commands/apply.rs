//! `pi create -f` and `pi apply -f`: the secrets of manifests, created, or created and changed.
//! Every manifest is read and checked before anything is sent.

use std::path::PathBuf;

use pi_types::{Namespace, RegionName};

use super::{Done, act, check_format, connect, print_objects};
use crate::args::{DryRun, Format, GlobalArgs};
use crate::failure::Failure;
use crate::host::Host;
use crate::manifest::{self, SecretManifest};
use crate::object::{Object, SecretView};
use crate::service::{Change, NewSecret, Service};

/// What is done with the secrets of manifests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    /// Created; one that exists is an error.
    Create,
    /// Created, or changed where they exist.
    Apply,
}

/// A manifest's secret and where it came from.
struct Wanted {
    place: String,
    secret: NewSecret,
    /// What the manifest says nothing about stays as it is in a secret that exists.
    has_labels: bool,
    has_annotations: bool,
}

/// Creates or applies every secret of the files in each region.
pub(super) async fn run(
    verb: Verb,
    files: &[PathBuf],
    dry_run: DryRun,
    output: Option<Format>,
    global: &GlobalArgs,
    host: &mut Host,
) -> Result<(), Failure> {
    check_format(output, &[Format::Json, Format::Yaml, Format::Name])?;
    if global.request_id.is_some() {
        return Err(Failure::usage(
            "--request-id goes with one creation, update or deletion, not with manifests",
        ));
    }
    let manifests = read(files, host)?;
    if dry_run == DryRun::Client {
        let given = super::create::explicit_namespace(global)?;
        return client_dry_run(verb, manifests, given, output, host);
    }
    let (settings, service, targets) = connect(global, host).await?;
    let given = settings.namespace_given();
    // kubectl compares with `-n` only, and lets the object's namespace win over the configured one.
    let explicit = super::create::explicit_namespace(global)?;
    let wanted = manifests
        .into_iter()
        .map(|it| placed(it, explicit.as_ref(), given))
        .collect::<Result<Vec<Wanted>, Failure>>()?;
    act(&targets, output, host, |region| {
        let (service, wanted) = (&service, &wanted);
        async move {
            let mut outcomes = Vec::new();
            for one in wanted {
                let outcome = match verb {
                    Verb::Create => create(service, &region, one, dry_run).await,
                    Verb::Apply => apply(service, &region, one, dry_run).await,
                };
                // With several documents an error says which one it is about.
                outcomes.push(match outcome {
                    Err(failure) if wanted.len() > 1 => {
                        Err(Failure::Local(format!("{}: {failure}", one.place)))
                    }
                    other => other,
                });
            }
            outcomes
        }
    })
    .await
}

/// Reads and checks every manifest.
pub(super) fn read(files: &[PathBuf], host: &mut Host) -> Result<Vec<SecretManifest>, Failure> {
    let mut manifests = Vec::new();
    for source in manifest::collect(files, host)? {
        manifests.extend(manifest::parse(&source).map_err(Failure::Local)?);
    }
    for manifest in &manifests {
        for warning in &manifest.warnings {
            host.warn(warning);
        }
    }
    Ok(manifests)
}

/// The namespace of a manifest's secret: its own, which `-n` must not contradict, else the one to act in.
pub(super) fn namespace_of(
    manifest: &SecretManifest,
    explicit: Option<&Namespace>,
    configured: Option<&Namespace>,
) -> Result<Namespace, Failure> {
    match (&manifest.namespace, explicit) {
        (Some(own), Some(explicit)) if own != explicit => Err(Failure::local(format!(
            // kubectl's words.
            "{}: the namespace from the provided object {:?} does not match the namespace {:?}. You must pass \
             '--namespace={}' to perform this operation.",
            manifest.place,
            own.as_str(),
            explicit.as_str(),
            own.as_str()
        ))),
        (Some(own), _) => Ok(own.clone()),
        (None, Some(explicit)) => Ok(explicit.clone()),
        (None, None) => Ok(configured.cloned().unwrap_or_default()),
    }
}

fn placed(
    manifest: SecretManifest,
    explicit: Option<&Namespace>,
    configured: Option<&Namespace>,
) -> Result<Wanted, Failure> {
    let namespace = namespace_of(&manifest, explicit, configured)?;
    Ok(Wanted {
        place: manifest.place,
        has_labels: manifest.labels.is_some(),
        has_annotations: manifest.annotations.is_some(),
        secret: NewSecret {
            namespace,
            name: manifest.name,
            labels: manifest.labels.unwrap_or_default(),
            annotations: manifest.annotations.unwrap_or_default(),
            payload: manifest.payload,
        },
    })
}

fn client_dry_run(
    verb: Verb,
    manifests: Vec<SecretManifest>,
    given: Option<Namespace>,
    output: Option<Format>,
    host: &mut Host,
) -> Result<(), Failure> {
    // Whether an applied secret exists is the region's to say; all that is known here is that it is in order.
    let what = match verb {
        Verb::Create => "created (dry run)",
        Verb::Apply => "valid (dry run)",
    };
    let mut objects = Vec::new();
    for manifest in &manifests {
        let namespace = namespace_of(manifest, given.as_ref(), None)?;
        let shown = (manifest.namespace.is_some() || given.is_some()).then_some(&namespace);
        let labels = manifest.labels.as_ref().map(|it| it.as_map().clone()).unwrap_or_default();
        let annotations = manifest.annotations.as_ref().map(|it| it.as_map().clone()).unwrap_or_default();
        let object = Object::unsent(&manifest.name, shown, &labels, &annotations, &manifest.payload);
        match output {
            None => host.print(format!("{} {what}\n", object.reference()))?,
            Some(Format::Name) => host.print(format!("{}\n", object.reference()))?,
            Some(_) => objects.push(object),
        }
    }
    print_objects(&objects, output, host)
}

async fn create(
    service: &Service,
    region: &RegionName,
    wanted: &Wanted,
    dry_run: DryRun,
) -> Result<Done, Failure> {
    let created = match dry_run {
        DryRun::Server => service.validate_create(region, &wanted.secret).await,
        DryRun::None | DryRun::Client => service.create(region, &wanted.secret).await,
    };
    let created = created.map_err(|failure| failure.in_context("failed to create secret "))?;
    Ok(done(wanted, "created", dry_run, &created.secret, created.warnings))
}

/// Changes the secret, or creates it where there is none. What is most common, a new payload for an old name, takes
/// one request; what others do in between (create or delete the name) is met by starting over, a few times.
async fn apply(
    service: &Service,
    region: &RegionName,
    wanted: &Wanted,
    dry_run: DryRun,
) -> Result<Done, Failure> {
    const TRIES: usize = 3;
    let mut tries = 0;
    loop {
        tries += 1;
        match change(service, region, wanted, dry_run).await {
            Err(failure) if failure.is_not_found() => {}
            outcome => return outcome.map_err(|failure| failure.in_context("failed to update secret ")),
        }
        match create(service, region, wanted, dry_run).await {
            Err(failure) if failure.is_exists() && tries < TRIES => {}
            outcome => return outcome,
        }
    }
}

async fn change(
    service: &Service,
    region: &RegionName,
    wanted: &Wanted,
    dry_run: DryRun,
) -> Result<Done, Failure> {
    let secret = &wanted.secret;
    let change = Change {
        namespace: &secret.namespace,
        name: &secret.name,
        payload: Some(&secret.payload),
        labels: wanted.has_labels.then_some(&secret.labels),
        annotations: wanted.has_annotations.then_some(&secret.annotations),
        expect_uid: None,
        expect_revision: None,
    };
    let updated = match dry_run {
        DryRun::Server => service.validate_update(region, &change).await?,
        DryRun::None | DryRun::Client => service.update(region, &change).await?,
    };
    let what = if updated.changed { "configured" } else { "unchanged" };
    Ok(done(wanted, what, dry_run, &updated.secret, updated.warnings))
}

fn done(wanted: &Wanted, what: &str, dry_run: DryRun, view: &SecretView, warnings: Vec<String>) -> Done {
    let name = &wanted.secret.name;
    match dry_run {
        DryRun::Server => Done {
            line: format!("secret/{name} {what} (server dry run)"),
            warnings,
            note: None,
            object: wanted.secret.unsent(),
        },
        DryRun::None | DryRun::Client => Done {
            line: format!("secret/{name} {what}"),
            warnings,
            note: None,
            object: Object::existing(view, None),
        },
    }
}
