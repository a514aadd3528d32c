//! What each command does: its arguments → requests → text. One file a family; this one dispatches and holds what
//! they share.

mod apply;
mod config;
mod create;
mod delete;
mod docs;
mod read;
mod region;
mod update;
mod watch;

use std::collections::BTreeMap;

use clap::CommandFactory;
use pi_types::{Annotations, Labels, SecretName};

use crate::args::{
    Cli, Command, CreateArgs, CreateKind, CreateSecretKind, Format, GlobalArgs, MetadataArgs, SecretCommand,
};
use crate::failure::{Failure, Tally, error_line};
use crate::fanout::{self, Targets, labelled};
use crate::host::Host;
use crate::object::{self, Object};
use crate::service::Service;
use crate::settings::Settings;

pub use docs::reference;

/// Said with every answer to `--stale`.
const STALE_NOTE: &str = "note: answered by one node of each region from its own state; it may be behind";

/// Runs a command.
pub async fn run(cli: Cli, host: &mut Host) -> Result<(), Failure> {
    let global = &cli.global;
    if global.secret_key.is_some() && !matches!(cli.command, Command::Config(_)) {
        host.warn("the process list and the shell's history show --secret-key; PI_SECRET_KEY and the configuration do not");
    }
    match cli.command {
        Command::Secret(command) => secret(command, global, host).await,
        Command::Create(args) => create_or_files(args, global, host).await,
        Command::Apply(args) => {
            apply::run(apply::Verb::Apply, &args.files, args.dry_run, args.output, global, host).await
        }
        Command::Get(args) => read::get(&names_of(&args.resources)?, &args.read, global, host).await,
        Command::Describe(args) => {
            read::describe(&names_of(&args.resources)?, &args.select, global, host).await
        }
        Command::Delete(args) if !args.files.is_empty() => {
            delete::files(&args.files, &args.delete, global, host).await
        }
        Command::Delete(args) => delete::run(&names_of(&args.resources)?, &args.delete, global, host).await,
        Command::Region(crate::args::RegionCommand::List(args)) => region::list(&args, global, host).await,
        Command::Info(args) => region::info(&args, global, host).await,
        Command::Config(command) => config::run(command, global, host),
        Command::Completion { shell } => completion(shell, host),
        Command::Version => host.print(format!("pi {}\n", env!("CARGO_PKG_VERSION"))),
        Command::InternalDocs => host.print(docs::reference()),
    }
}

async fn secret(command: SecretCommand, global: &GlobalArgs, host: &mut Host) -> Result<(), Failure> {
    match command {
        SecretCommand::Create(args) => create::run(&args, create::Spelling::Pi, global, host).await,
        SecretCommand::Get(args) | SecretCommand::List(args) => {
            read::get(&names(&args.names)?, &args.read, global, host).await
        }
        SecretCommand::Describe(args) => {
            read::describe(&names(&args.names)?, &args.select, global, host).await
        }
        SecretCommand::Update(args) => update::run(&args, global, host).await,
        SecretCommand::Delete(args) => delete::run(&names(&args.names)?, &args.delete, global, host).await,
        SecretCommand::Watch(args) => watch::run(&args, global, host).await,
    }
}

/// `pi create -f …` and `pi create secret docker-registry …`.
async fn create_or_files(args: CreateArgs, global: &GlobalArgs, host: &mut Host) -> Result<(), Failure> {
    let kind = match (args.kind, args.files.is_empty()) {
        (None, false) => {
            return apply::run(apply::Verb::Create, &args.files, args.dry_run, args.output, global, host)
                .await;
        }
        (None, true) => {
            return Err(Failure::usage("must specify -f FILE, or what to create: see 'pi create -h'"));
        }
        (Some(_), false) => return Err(Failure::usage("-f does not go with 'secret': give one of them")),
        (Some(kind), true) => kind,
    };
    match kind {
        CreateKind::Secret(CreateSecretKind::DockerRegistry(args)) => {
            create::run(&args, create::Spelling::Kubectl, global, host).await
        }
        CreateKind::Secret(CreateSecretKind::Generic(_) | CreateSecretKind::Tls(_)) => {
            Err(Failure::usage(format!(
                "the only type of secret is {}: use 'pi create secret docker-registry NAME'",
                pi_types::SECRET_TYPE
            )))
        }
        CreateKind::Pod(_) => Err(Failure::usage(PODS)),
    }
}

const PODS: &str = "pods are not supported by this version of pi yet; it knows secrets";

fn completion(shell: clap_complete::Shell, host: &mut Host) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "pi", &mut script);
    host.print(script)
}

/// Options, environment and configuration file, merged.
fn settings(global: &GlobalArgs, host: &Host) -> Result<Settings, Failure> {
    let config = crate::config::load(&crate::config::path(host)?)?;
    Settings::merge(global, &|name| host.var(name).map(str::to_owned), &config)
}

/// The settings, a client, and the regions to act in.
async fn connect(global: &GlobalArgs, host: &Host) -> Result<(Settings, Service, Targets), Failure> {
    let settings = settings(global, host)?;
    // What is wrong here is said before a connection is tried.
    settings.regions()?;
    let service = Service::new(&settings)?;
    let targets = Targets::resolve(&settings, &service).await?;
    Ok((settings, service, targets))
}

/// `secrets`, `secrets a b`, `secrets/a secrets/b` → names; no name means all.
fn names_of(resources: &[String]) -> Result<Vec<SecretName>, Failure> {
    let Some(first) = resources.first() else {
        return Err(Failure::usage("you must specify what: secrets, secrets NAME... or secrets/NAME..."));
    };
    if !first.contains('/') {
        is_secrets(first)?;
        if let Some(mixed) = resources[1..].iter().find(|it| it.contains('/')) {
            // kubectl's words.
            return Err(Failure::usage(format!(
                "there is no need to specify a resource type as a separate argument when passing arguments in \
                 resource/name form (e.g. 'pi get secrets/{}' instead of 'pi get secrets {mixed}')",
                mixed.split('/').nth(1).unwrap_or_default()
            )));
        }
        return names(&resources[1..]);
    }
    let mut found = Vec::new();
    for resource in resources {
        let Some((kind, name)) = resource.split_once('/') else {
            return Err(Failure::usage(format!(
                "{resource:?}: give every argument as secrets/NAME, or none"
            )));
        };
        is_secrets(kind)?;
        found.push(name.to_owned());
    }
    names(&found)
}

fn is_secrets(kind: &str) -> Result<(), Failure> {
    match kind {
        "secret" | "secrets" => Ok(()),
        "pod" | "pods" | "po" => Err(Failure::usage(PODS)),
        // kubectl's words.
        other => Err(Failure::usage(format!("the server doesn't have a resource type {other:?}"))),
    }
}

fn names(texts: &[String]) -> Result<Vec<SecretName>, Failure> {
    texts.iter().map(|text| name(text)).collect()
}

fn name(text: &str) -> Result<SecretName, Failure> {
    text.parse().map_err(|invalid: pi_types::Invalid| Failure::usage(invalid.to_string()))
}

/// Labels from `-l a=b,c=d`; `None` when the option was not given.
fn labels(args: &MetadataArgs) -> Result<Option<Labels>, Failure> {
    let map = pairs(&args.labels, "label")?;
    map.map(|it| Labels::try_from(it).map_err(|invalid| Failure::usage(invalid.to_string()))).transpose()
}

/// Annotations from `--annotation a=b`; `None` when the option was not given.
fn annotations(args: &MetadataArgs) -> Result<Option<Annotations>, Failure> {
    let map = pairs(&args.annotations, "annotation")?;
    map.map(|it| Annotations::try_from(it).map_err(|invalid| Failure::usage(invalid.to_string()))).transpose()
}

fn pairs(texts: &[String], what: &str) -> Result<Option<BTreeMap<String, String>>, Failure> {
    let mut map = BTreeMap::new();
    for text in texts.iter().filter(|it| !it.is_empty()) {
        let (key, value) = text
            .split_once('=')
            .ok_or_else(|| Failure::usage(format!("{what} {text:?}: expected KEY=VALUE")))?;
        if map.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(Failure::usage(format!("{what} {key:?} is given twice")));
        }
    }
    Ok((!texts.is_empty()).then_some(map))
}

/// One thing done in one region.
struct Done {
    /// `secret/x created`.
    line: String,
    /// What the region warned of.
    warnings: Vec<String>,
    /// What else there is to know.
    note: Option<String>,
    /// What is there now.
    object: Object,
}

/// Does the same in each region and prints what was done: a line each, or the objects at the end.
async fn act<Work>(
    targets: &Targets,
    output: Option<Format>,
    host: &mut Host,
    work: impl Fn(pi_types::RegionName) -> Work,
) -> Result<(), Failure>
where
    Work: std::future::Future<Output = Vec<Result<Done, Failure>>>,
{
    let mut tally = Tally::default();
    let mut objects = Vec::new();
    fanout::each(targets, work, |region, outcomes| {
        let label = targets.label(region);
        for outcome in outcomes {
            match outcome {
                Ok(done) => {
                    tally.done += 1;
                    let place = label.map_or(String::new(), |region| format!("{region}: "));
                    for warning in &done.warnings {
                        host.warn(&format!("{place}{warning}"));
                    }
                    if let Some(note) = &done.note {
                        host.note(&format!("note: {place}{note}"));
                    }
                    match output {
                        None => host.print(labelled(label, &done.line))?,
                        Some(Format::Name) => host.print(labelled(label, &done.object.reference()))?,
                        Some(Format::Json | Format::Yaml | Format::Wide) => objects.push(done.object),
                    }
                }
                Err(failure) => {
                    tally.failed += 1;
                    host.note(&error_line(label, &failure));
                }
            }
        }
        Ok(())
    })
    .await?;
    print_objects(&objects, output, host)?;
    tally.outcome()
}

/// Prints objects as JSON or YAML: one as itself, several as a `List`; none as nothing.
fn print_objects(objects: &[Object], output: Option<Format>, host: &mut Host) -> Result<(), Failure> {
    let (Some(format @ (Format::Json | Format::Yaml)), false) = (output, objects.is_empty()) else {
        return Ok(());
    };
    let value = match objects {
        [only] => only.value()?,
        several => object::list(several)?,
    };
    print_value(value, format, host)
}

/// Prints a value as JSON or (sorted, as kubectl does) YAML.
fn print_value(value: serde_json::Value, format: Format, host: &mut Host) -> Result<(), Failure> {
    match format {
        Format::Yaml => host.print(crate::output::yaml(&crate::output::sorted(value))?),
        _ => host.print(crate::output::json(&value)?),
    }
}

/// Refuses an output format that a command does not have.
fn check_format(output: Option<Format>, allowed: &[Format]) -> Result<(), Failure> {
    let name = |format: Format| match format {
        Format::Json => "json",
        Format::Yaml => "yaml",
        Format::Name => "name",
        Format::Wide => "wide",
    };
    match output {
        Some(format) if !allowed.contains(&format) => {
            let allowed: Vec<&str> = allowed.iter().map(|it| name(*it)).collect();
            // kubectl's words.
            Err(Failure::usage(format!(
                "unable to match a printer suitable for the output format {:?}, allowed formats are: {}",
                name(format),
                allowed.join(",")
            )))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(resources: &[&str]) -> Result<Vec<String>, String> {
        let resources: Vec<String> = resources.iter().map(|it| (*it).to_owned()).collect();
        let names = names_of(&resources).map_err(|it| it.to_string())?;
        Ok(names.iter().map(|it| it.as_str().to_owned()).collect())
    }

    #[test]
    fn resources_are_named_in_kubectls_ways() {
        assert_eq!(found(&["secrets"]).unwrap(), [""; 0]);
        assert_eq!(found(&["secret", "a", "b"]).unwrap(), ["a", "b"]);
        assert_eq!(found(&["secrets/a", "secret/b"]).unwrap(), ["a", "b"]);
        assert!(found(&[]).unwrap_err().contains("must specify"));
        assert!(found(&["secrets", "secrets/a"]).unwrap_err().contains("no need to specify"));
        assert!(found(&["secrets/a", "b"]).is_err());
        assert!(found(&["pods"]).unwrap_err().contains("not supported by this version"));
        assert_eq!(found(&["widgets"]).unwrap_err(), "the server doesn't have a resource type \"widgets\"");
        assert!(found(&["secrets", "Bad_Name"]).unwrap_err().contains("RFC 1123"));
    }

    #[test]
    fn labels_are_pairs() {
        let args = |texts: &[&str]| texts.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        assert_eq!(pairs(&[], "label").unwrap(), None);
        assert_eq!(pairs(&args(&["a=1", "b="]), "label").unwrap().unwrap().len(), 2);
        assert!(pairs(&args(&["a"]), "label").is_err());
        assert!(pairs(&args(&["a=1", "a=2"]), "label").is_err());
    }
}
