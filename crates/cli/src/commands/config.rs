//! `pi config …`: shows and changes the configuration file. The global options that name what a command uses
//! (`--region`, `--access-key`, …) name here what is written; the environment is not.

use crate::args::{ConfigCommand, Format, GlobalArgs};
use crate::config::{Config, load, path, store};
use crate::failure::Failure;
use crate::hidden::Hidden;
use crate::host::Host;
use crate::output;

/// Runs one of them.
pub(super) fn run(command: ConfigCommand, global: &GlobalArgs, host: &mut Host) -> Result<(), Failure> {
    let path = path(host)?;
    let mut config = load(&path)?;
    let said = match command {
        ConfigCommand::View { output, raw } => return view(&config, output, raw, host),
        ConfigCommand::SetCredentials { name, token } => set_credentials(&mut config, &name, token, global)?,
        ConfigCommand::SetCluster { name } => set_cluster(&mut config, &name, global)?,
        ConfigCommand::SetContext { name, cluster } => set_context(&mut config, &name, cluster, global)?,
        ConfigCommand::UseContext { name } => {
            if config.context(&name).is_none() {
                return Err(Failure::local(format!("no context exists with the name: {name:?}")));
            }
            config.current_context.clone_from(&name);
            format!("Switched to context {name:?}.")
        }
        ConfigCommand::DeleteCredentials { name } => {
            let before = config.users.len();
            config.users.retain(|it| it.name != name);
            if config.users.len() == before {
                let file = path.display();
                return Err(Failure::local(format!("cannot delete user {name}, not in {file}")));
            }
            format!("deleted user {name} from {}", path.display())
        }
    };
    store(&path, &config)?;
    host.print(format!("{said}\n"))
}

fn view(config: &Config, output: Option<Format>, raw: bool, host: &mut Host) -> Result<(), Failure> {
    super::check_format(output, &[Format::Json, Format::Yaml])?;
    let shown = if raw { config.clone() } else { config.redacted() };
    match output {
        Some(Format::Json) => host.print(output::json(&shown)?),
        _ => host.print(shown.to_yaml()?.as_bytes()),
    }
}

fn set_credentials(
    config: &mut Config,
    name: &str,
    token: Option<Hidden>,
    global: &GlobalArgs,
) -> Result<String, Failure> {
    check_name("user", name)?;
    let user = config.user_entry(name);
    set(&mut user.access_key, global.access_key.as_deref().map(Hidden::new));
    set(&mut user.secret_key, global.secret_key.clone());
    set(&mut user.token, token);
    set(&mut user.region, regions(global)?);
    Ok(format!("User {name:?} set."))
}

fn set_cluster(config: &mut Config, name: &str, global: &GlobalArgs) -> Result<String, Failure> {
    check_name("cluster", name)?;
    let server = global.server.clone().filter(|it| !it.is_empty());
    let server =
        server.ok_or_else(|| Failure::usage("give the address: set-cluster NAME --server HOST:PORT"))?;
    config.cluster_entry(name).server = server;
    Ok(format!("Cluster {name:?} set."))
}

fn set_context(
    config: &mut Config,
    name: &str,
    cluster: Option<String>,
    global: &GlobalArgs,
) -> Result<String, Failure> {
    check_name("context", name)?;
    let namespace = super::create::explicit_namespace(global)?.map(|it| it.as_str().to_owned());
    let region = regions(global)?;
    let verb = if config.context(name).is_some() { "modified" } else { "created" };
    let context = config.context_entry(name);
    if let Some(cluster) = cluster {
        context.cluster = cluster;
    }
    if let Some(user) = &global.user {
        context.user.clone_from(user);
    }
    set(&mut context.namespace, namespace);
    set(&mut context.region, region);
    // The first context is the one that will be wanted.
    if config.current_context.is_empty() {
        config.current_context = name.to_owned();
    }
    Ok(format!("Context {name:?} {verb}."))
}

fn set<T>(field: &mut Option<T>, value: Option<T>) {
    if value.is_some() {
        *field = value;
    }
}

/// `--region a,b` as it is written.
fn regions(global: &GlobalArgs) -> Result<Option<String>, Failure> {
    for region in &global.region {
        region
            .parse::<pi_types::RegionName>()
            .map_err(|invalid| Failure::usage(format!("invalid region {region:?}: {invalid}")))?;
    }
    Ok((!global.region.is_empty()).then(|| global.region.join(",")))
}

fn check_name(what: &str, name: &str) -> Result<(), Failure> {
    match name.trim().is_empty() {
        true => Err(Failure::usage(format!("the name of a {what} must not be empty"))),
        false => Ok(()),
    }
}
