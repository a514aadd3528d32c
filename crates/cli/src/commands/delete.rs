//! `pi secret delete NAME…`, `pi delete secrets …`, `pi delete -f FILE`.

use std::path::PathBuf;

use pi_types::{RegionName, SecretName};

use super::{Done, act, check_format, connect};
use crate::args::{DeleteOptions, Format, GlobalArgs};
use crate::failure::Failure;
use crate::host::Host;
use crate::object::Object;
use crate::service::{Freshness, Service};

/// Which secrets are to be deleted in a region: (namespace, name) each, or what a selection finds there.
enum Which {
    Named(Vec<(String, String)>),
    /// Namespace (`None`: all) and selector.
    Selected(Option<pi_types::Namespace>, String),
}

/// Deletes secrets by name, by selector, or all of a namespace.
pub(super) async fn run(
    names: &[SecretName],
    options: &DeleteOptions,
    global: &GlobalArgs,
    host: &mut Host,
) -> Result<(), Failure> {
    check_format(options.output, &[Format::Name])?;
    let selected = options.all || options.select.selector.is_some();
    match (names.is_empty(), selected) {
        // kubectl's words for both.
        (true, false) => return Err(Failure::usage("resource(s) were provided, but no name was specified")),
        (false, true) => return Err(Failure::usage("name cannot be provided when a selector is specified")),
        (false, false) if options.select.all_namespaces => {
            return Err(Failure::usage("a name cannot be deleted in all namespaces: give --namespace"));
        }
        _ => {}
    }
    super::read::check_selector(&options.select)?;
    let (settings, service, targets) = connect(global, host).await?;
    let namespace = settings.namespace();
    let which = if selected {
        let namespace = (!options.select.all_namespaces).then_some(namespace);
        Which::Selected(namespace, options.select.selector.clone().unwrap_or_default())
    } else {
        let named = names.iter().map(|it| (namespace.as_str().to_owned(), it.as_str().to_owned()));
        Which::Named(named.collect())
    };
    delete(&service, &targets, &which, options, host).await
}

/// Deletes the secrets that manifests name.
pub(super) async fn files(
    files: &[PathBuf],
    options: &DeleteOptions,
    global: &GlobalArgs,
    host: &mut Host,
) -> Result<(), Failure> {
    check_format(options.output, &[Format::Name])?;
    if options.all || options.select.selector.is_some() || options.select.all_namespaces {
        return Err(Failure::usage("--all, --selector and --all-namespaces do not go with -f"));
    }
    let manifests = super::apply::read(files, host)?;
    let (settings, service, targets) = connect(global, host).await?;
    let explicit = super::create::explicit_namespace(global)?;
    let mut named = Vec::new();
    for manifest in &manifests {
        let namespace = super::apply::namespace_of(manifest, explicit.as_ref(), settings.namespace_given())?;
        named.push((namespace.as_str().to_owned(), manifest.name.as_str().to_owned()));
    }
    delete(&service, &targets, &Which::Named(named), options, host).await
}

async fn delete(
    service: &Service,
    targets: &crate::fanout::Targets,
    which: &Which,
    options: &DeleteOptions,
    host: &mut Host,
) -> Result<(), Failure> {
    act(targets, options.output, host, |region| async move {
        let named = match which {
            Which::Named(named) => named.clone(),
            Which::Selected(namespace, selector) => {
                let listed =
                    service.list(&region, namespace.as_ref(), selector, Freshness::Linearizable).await;
                match listed {
                    Ok(views) => views.into_iter().map(|it| (it.namespace, it.name)).collect(),
                    Err(failure) => return vec![Err(failure)],
                }
            }
        };
        let mut outcomes = Vec::new();
        for (namespace, name) in named {
            // Gone in the meantime is what a selection wanted, too.
            let may_be_missing = options.ignore_not_found || matches!(which, Which::Selected(..));
            match delete_one(service, &region, &namespace, &name).await {
                Err(failure) if failure.is_not_found() && may_be_missing => {}
                outcome => outcomes.push(outcome),
            }
        }
        outcomes
    })
    .await
}

async fn delete_one(
    service: &Service,
    region: &RegionName,
    namespace: &str,
    name: &str,
) -> Result<Done, Failure> {
    let deleted = service.delete(region, namespace, name).await?;
    Ok(Done {
        line: format!("secret {name:?} deleted"),
        warnings: Vec::new(),
        note: None,
        object: Object::existing(&deleted, None),
    })
}
