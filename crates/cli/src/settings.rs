//! Which server, credential, regions and namespace a run uses: options before environment before configuration file.
//! A pure merge of the three; finding out which regions exist (`--all-regions`) is left to `service`.

use std::time::Duration;

use pi_types::{Namespace, RegionName, RequestId};

use crate::args::GlobalArgs;
use crate::config::{Config, Context, User};
use crate::failure::Failure;
use crate::hidden::Hidden;

/// How long a change is tried before giving up, unless `--request-timeout` says otherwise: longer than an election
/// and the retries after it take, because the outcome of one that was given up may be unknown.
pub const REQUEST_TIMEOUT_DEFAULT: Duration = Duration::from_secs(15);

/// The same of a read: giving up early costs nothing, and somebody is probably waiting at a terminal.
pub const READ_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// Where commands act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Regions {
    /// One region: output carries no region.
    One(RegionName),
    /// These, each on its own; output names the region of each line.
    Several(Vec<RegionName>),
    /// Whatever regions the cluster has.
    All,
}

/// What a run uses. `regions` and the connection are errors only when a command needs them.
#[derive(Debug, Clone)]
pub struct Settings {
    endpoints: Vec<String>,
    token: Option<Hidden>,
    has_keys: bool,
    regions: Option<Regions>,
    namespace: Option<Namespace>,
    timeout: Option<Duration>,
    request_id: Option<RequestId>,
}

/// Reads an environment variable; injected for tests.
pub type Var<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Settings {
    /// Merges the three sources. Names that are wrong or that the configuration does not know are errors here.
    pub fn merge(global: &GlobalArgs, var: Var<'_>, config: &Config) -> Result<Settings, Failure> {
        let context = chosen_context(global, var, config)?;
        let user = chosen_user(global, var, config, &context)?;
        let endpoints = chosen_server(global, var, config, &context)?;

        // A token in the environment wins over the file's, unless an option names the user or its keys.
        let keys_given = global.access_key.is_some() || global.secret_key.is_some();
        let env_token = if given(&global.user).is_some() { None } else { var("PI_TOKEN").map(Hidden::new) };
        let token = if keys_given { None } else { env_token.or(user.token.clone()) };
        let has_keys = keys_given || var("PI_ACCESS_KEY").is_some() || user.access_key.is_some();

        let namespace = match given(&global.namespace).or_else(|| var("PI_NAMESPACE")) {
            Some(text) => Some(parse_namespace(&text)?),
            None => context.namespace.as_deref().map(parse_namespace).transpose()?,
        };
        let regions = chosen_regions(global, var, &context, &user)?;
        let timeout = global.request_timeout.map(|it| it.0);
        let request_id = global.request_id;
        Ok(Settings { endpoints, token, has_keys, regions, namespace, timeout, request_id })
    }

    /// The gateways' addresses, at least one.
    pub fn endpoints(&self) -> Result<&[String], Failure> {
        if self.endpoints.is_empty() {
            return Err(Failure::local(
                "no server is configured: give its address with --server HOST:PORT or PI_SERVER, or set it with \
                 'pi config set-cluster NAME --server HOST:PORT' and 'pi config set-context NAME --cluster NAME'; \
                 PI_CONFIG names another configuration file",
            ));
        }
        Ok(&self.endpoints)
    }

    /// The bearer token.
    pub fn token(&self) -> Result<&Hidden, Failure> {
        match &self.token {
            Some(token) => Ok(token),
            None if self.has_keys => Err(Failure::local(
                "access and secret keys cannot sign in yet: set a token with \
                 'pi config set-credentials NAME --token insecure:TENANT' or PI_TOKEN",
            )),
            None => Err(Failure::local(
                "no credential is configured: set one with 'pi config set-credentials NAME --token …' and \
                 'pi config set-context NAME --user NAME', or PI_TOKEN",
            )),
        }
    }

    /// The regions to act in.
    pub fn regions(&self) -> Result<&Regions, Failure> {
        self.regions.as_ref().ok_or_else(|| {
            Failure::usage(
                "no region is named: secrets are regional. Give --region REGION (or several: --region A,B, or \
                 --all-regions), PI_REGION, or set one with 'pi config set-context NAME --region REGION'; \
                 'pi region list' shows them",
            )
        })
    }

    /// The namespace asked for, when one was.
    pub fn namespace_given(&self) -> Option<&Namespace> {
        self.namespace.as_ref()
    }

    /// The namespace to act in.
    pub fn namespace(&self) -> Namespace {
        self.namespace.clone().unwrap_or_default()
    }

    /// The id under which to repeat a mutation.
    pub fn request_id(&self) -> Option<RequestId> {
        self.request_id
    }

    /// How long one request is tried that changes something or watches.
    pub fn timeout(&self) -> Duration {
        self.timeout.unwrap_or(REQUEST_TIMEOUT_DEFAULT)
    }

    /// How long one read is tried.
    pub fn read_timeout(&self) -> Duration {
        self.timeout.unwrap_or(READ_TIMEOUT_DEFAULT)
    }
}

/// An option's text; an empty one counts as not given, as in kubectl.
fn given(option: &Option<String>) -> Option<String> {
    option.clone().filter(|text| !text.is_empty())
}

fn chosen_context(global: &GlobalArgs, var: Var<'_>, config: &Config) -> Result<Context, Failure> {
    let asked = given(&global.context).or_else(|| var("PI_CONTEXT"));
    let name = asked.unwrap_or_else(|| config.current_context.clone());
    if name.is_empty() {
        return Ok(Context::default());
    }
    config
        .context(&name)
        .cloned()
        .ok_or_else(|| unknown("context", &name, config.contexts.iter().map(|it| &it.name)))
}

fn chosen_user(
    global: &GlobalArgs,
    var: Var<'_>,
    config: &Config,
    context: &Context,
) -> Result<User, Failure> {
    let asked = given(&global.user).or_else(|| var("PI_USER"));
    let name = asked.unwrap_or_else(|| context.user.clone());
    if name.is_empty() {
        return Ok(User::default());
    }
    config.user(&name).cloned().ok_or_else(|| unknown("user", &name, config.users.iter().map(|it| &it.name)))
}

fn chosen_server(
    global: &GlobalArgs,
    var: Var<'_>,
    config: &Config,
    context: &Context,
) -> Result<Vec<String>, Failure> {
    let server = match given(&global.server).or_else(|| var("PI_SERVER")) {
        Some(server) => server,
        // A context needs no cluster where there is only one.
        None if context.cluster.is_empty() => match config.clusters.as_slice() {
            [only] => only.cluster.server.clone(),
            _ => String::new(),
        },
        None => config
            .cluster(&context.cluster)
            .ok_or_else(|| unknown("cluster", &context.cluster, config.clusters.iter().map(|it| &it.name)))?
            .server
            .clone(),
    };
    Ok(server.split(',').map(str::trim).filter(|it| !it.is_empty()).map(str::to_owned).collect())
}

fn chosen_regions(
    global: &GlobalArgs,
    var: Var<'_>,
    context: &Context,
    user: &User,
) -> Result<Option<Regions>, Failure> {
    if global.all_regions {
        return Ok(Some(Regions::All));
    }
    let texts: Vec<String> = if !global.region.is_empty() {
        global.region.clone()
    } else {
        let listed = var("PI_REGION").or_else(|| context.region.clone()).or_else(|| user.region.clone());
        listed.iter().flat_map(|it| it.split(',')).map(str::to_owned).collect()
    };
    let mut names: Vec<RegionName> = Vec::new();
    for text in texts.iter().map(|it| it.trim()).filter(|it| !it.is_empty()) {
        let name: RegionName =
            text.parse().map_err(|invalid| Failure::usage(format!("invalid region {text:?}: {invalid}")))?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(match names.len() {
        0 => None,
        1 => names.pop().map(Regions::One),
        _ => Some(Regions::Several(names)),
    })
}

fn parse_namespace(text: &str) -> Result<Namespace, Failure> {
    text.parse().map_err(|invalid| Failure::usage(format!("invalid namespace {text:?}: {invalid}")))
}

fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a String>) -> Failure {
    let known: Vec<&str> = known.map(String::as_str).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Failure::local(format!(
        "the configuration has no {what} {name:?} (it has: {known}); see 'pi config view'"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let mut config = Config { current_context: "c".to_owned(), ..Config::default() };
        config.cluster_entry("k").server = "file:1, file:2".to_owned();
        *config.context_entry("c") = Context {
            cluster: "k".to_owned(),
            namespace: Some("file-ns".to_owned()),
            region: Some("file-region".to_owned()),
            user: "u".to_owned(),
        };
        config.user_entry("u").token = Some(Hidden::new("file-token"));
        config.user_entry("u").region = Some("user-region".to_owned());
        config.user_entry("v").access_key = Some(Hidden::new("key"));
        config
    }

    fn merged(global: GlobalArgs, vars: &[(&str, &str)]) -> Result<Settings, Failure> {
        let var = |name: &str| vars.iter().find(|it| it.0 == name).map(|it| it.1.to_owned());
        Settings::merge(&global, &var, &config())
    }

    fn one(name: &str) -> Regions {
        Regions::One(name.parse().unwrap())
    }

    #[test]
    fn options_come_before_the_environment_before_the_file() {
        let file = merged(GlobalArgs::default(), &[]).unwrap();
        assert_eq!(file.endpoints().unwrap(), ["file:1", "file:2"]);
        assert_eq!(file.regions().unwrap(), &one("file-region"));
        assert_eq!(file.namespace().as_str(), "file-ns");
        assert_eq!(file.token().unwrap().expose(), "file-token");

        let vars = [
            ("PI_SERVER", "env:1"),
            ("PI_REGION", "env-region"),
            ("PI_NAMESPACE", "env-ns"),
            ("PI_TOKEN", "env-token"),
        ];
        let env = merged(GlobalArgs::default(), &vars).unwrap();
        assert_eq!(env.endpoints().unwrap(), ["env:1"]);
        assert_eq!(env.regions().unwrap(), &one("env-region"));
        assert_eq!(env.namespace().as_str(), "env-ns");
        assert_eq!(env.token().unwrap().expose(), "env-token");

        let by_user = GlobalArgs { user: Some("u".to_owned()), ..GlobalArgs::default() };
        assert_eq!(merged(by_user, &vars).unwrap().token().unwrap().expose(), "file-token");
        let global = GlobalArgs {
            server: Some("opt:1".to_owned()),
            region: vec!["opt-region".to_owned()],
            namespace: Some("opt-ns".to_owned()),
            ..GlobalArgs::default()
        };
        let option = merged(global, &vars).unwrap();
        assert_eq!(option.endpoints().unwrap(), ["opt:1"]);
        assert_eq!(option.regions().unwrap(), &one("opt-region"));
        assert_eq!(option.namespace().as_str(), "opt-ns");
    }

    #[test]
    fn several_regions_are_told_apart_from_one() {
        let regions = |names: &[&str]| {
            let region = names.iter().map(|it| (*it).to_owned()).collect();
            merged(GlobalArgs { region, ..GlobalArgs::default() }, &[]).unwrap().regions().unwrap().clone()
        };
        assert_eq!(regions(&["a", "a"]), one("a"));
        let several = ["a", "b"].map(|it| it.parse().unwrap()).to_vec();
        assert_eq!(regions(&["a", "b", "a"]), Regions::Several(several));
        let all = GlobalArgs { all_regions: true, ..GlobalArgs::default() };
        assert_eq!(merged(all, &[("PI_REGION", "x")]).unwrap().regions().unwrap(), &Regions::All);
    }

    #[test]
    fn what_is_missing_is_an_error_only_when_needed() {
        let empty = Settings::merge(&GlobalArgs::default(), &|_| None, &Config::default()).unwrap();
        assert!(empty.endpoints().unwrap_err().to_string().contains("--server"));
        assert!(empty.regions().unwrap_err().to_string().contains("pi region list"));
        assert!(empty.token().unwrap_err().to_string().contains("set-credentials"));
        assert_eq!(empty.namespace().as_str(), "default");
    }

    #[test]
    fn an_unknown_context_or_user_is_named_with_those_there_are() {
        let text = |global| merged(global, &[]).unwrap_err().to_string();
        let context = text(GlobalArgs { context: Some("x".to_owned()), ..GlobalArgs::default() });
        assert!(context.contains("no context \"x\" (it has: c)"), "{context}");
        let user = text(GlobalArgs { user: Some("x".to_owned()), ..GlobalArgs::default() });
        assert!(user.contains("no user \"x\" (it has: u, v)"), "{user}");
    }

    #[test]
    fn reads_give_up_sooner_unless_told_how_long_to_try() {
        let default = merged(GlobalArgs::default(), &[]).unwrap();
        assert_eq!(
            (default.timeout(), default.read_timeout()),
            (REQUEST_TIMEOUT_DEFAULT, READ_TIMEOUT_DEFAULT)
        );
        let global = GlobalArgs { request_timeout: Some("9s".parse().unwrap()), ..GlobalArgs::default() };
        let asked = merged(global, &[]).unwrap();
        let nine = Duration::from_secs(9);
        assert_eq!((asked.timeout(), asked.read_timeout()), (nine, nine));
    }

    #[test]
    fn keys_alone_are_explained() {
        let by_keys = GlobalArgs { user: Some("v".to_owned()), ..GlobalArgs::default() };
        assert!(
            merged(by_keys, &[]).unwrap().token().unwrap_err().to_string().contains("cannot sign in yet")
        );
    }
}
