//! The command line as clap sees it: commands, options and their help texts. No meaning is attached here beyond
//! syntax; `settings` merges the global options with environment and configuration, `commands` does the rest.

mod secret;

use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::hidden::Hidden;

pub use secret::{
    ApplyArgs, CreateArgs, CreateKind, CreateSecretKind, CredentialArgs, DeleteArgs, DeleteOptions,
    DescribeArgs, GetArgs, MetadataArgs, ReadOptions, RefusedArgs, SecretCommand, SecretCreateArgs,
    SecretDeleteArgs, SecretDescribeArgs, SecretGetArgs, SecretUpdateArgs, SecretWatchArgs, SelectArgs,
};

/// Keeps registry pull secrets in the regions of a Pi cluster.
#[derive(Debug, Parser)]
#[command(
    name = "pi",
    version,
    max_term_width = 110,
    after_help = "Options override the environment (PI_SERVER, PI_REGION, PI_NAMESPACE, PI_USER, PI_CONTEXT, PI_TOKEN, \
                  PI_ACCESS_KEY, PI_SECRET_KEY), which overrides the configuration file ~/.pi/config (or PI_CONFIG).\n\
                  Exit codes: 0 done, 1 error, 2 wrong usage, 3 done in part (some regions, names or documents)."
)]
pub struct Cli {
    /// Options that every command takes.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command takes.
#[derive(Debug, Default, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct GlobalArgs {
    /// Access key of an API credential
    #[arg(short = 'e', long, global = true, value_name = "KEY")]
    pub access_key: Option<String>,
    /// Secret key of an API credential; prefer the configuration file or PI_SECRET_KEY, the process list shows options
    #[arg(short = 'k', long, global = true, value_name = "KEY")]
    pub secret_key: Option<Hidden>,
    /// Region to act in; several, separated by commas, are acted on separately and at the same time
    #[arg(short = 'r', long, global = true, value_name = "REGION", value_delimiter = ',')]
    pub region: Vec<String>,
    /// Act in every region of the cluster
    #[arg(long, global = true, conflicts_with = "region")]
    pub all_regions: bool,
    /// Address of the gateway, host:port; several, separated by commas, are tried in turn
    #[arg(short = 's', long, global = true, value_name = "ADDRESS")]
    pub server: Option<String>,
    /// User of the configuration file to act as
    #[arg(short = 'u', long, global = true, value_name = "NAME")]
    pub user: Option<String>,
    /// Namespace to act in
    #[arg(short = 'n', long, global = true, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// Context of the configuration file to use
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// How long to try before giving up, such as 500ms, 30s or 2m; by default 5s for reads and 15s for changes
    #[arg(long, global = true, value_name = "TIME")]
    pub request_timeout: Option<Timeout>,
    /// Repeat a creation, update or deletion whose outcome was unknown: the id that the error named
    #[arg(long, global = true, value_name = "ID")]
    pub request_id: Option<pi_types::RequestId>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create, read, change and delete secrets
    #[command(visible_alias = "secrets", subcommand)]
    Secret(SecretCommand),
    /// Create secrets from files, or one from options
    Create(CreateArgs),
    /// Create the secrets of files, or change those that exist
    Apply(ApplyArgs),
    /// Show secrets: get secrets [NAME...]
    Get(GetArgs),
    /// Show secrets in detail: describe secrets [NAME...]
    Describe(DescribeArgs),
    /// Delete secrets: delete secrets NAME...
    Delete(DeleteArgs),
    /// Show the regions of the cluster
    #[command(visible_alias = "regions", subcommand)]
    Region(RegionCommand),
    /// Show region, tenant, and how much of the quota is used
    Info(InfoArgs),
    /// Show and change the configuration file
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a completion script for a shell
    ///
    /// For bash: source <(pi completion bash)
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the version of pi
    Version,
    /// Print docs/reference/cli.md
    #[command(hide = true)]
    InternalDocs,
}

/// `pi region …`.
#[derive(Debug, Subcommand)]
pub enum RegionCommand {
    /// List the regions and whether they can serve now
    #[command(visible_alias = "get")]
    List(RegionListArgs),
}

/// `pi region list`.
#[derive(Debug, Args)]
pub struct RegionListArgs {
    /// Output format: json, yaml, name or wide
    #[arg(short = 'o', long, value_name = "FORMAT")]
    pub output: Option<Format>,
}

/// `pi info`.
#[derive(Debug, Args)]
pub struct InfoArgs {
    /// Output format: json or yaml
    #[arg(short = 'o', long, value_name = "FORMAT")]
    pub output: Option<Format>,
    /// Take the answer of any one node, possibly behind; works without a leader
    #[arg(long)]
    pub stale: bool,
}

/// `pi config …`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Set the keys, token or region of a user: set-credentials NAME --access-key=KEY --secret-key=KEY --region=REGION
    SetCredentials {
        /// Name of the user
        name: String,
        /// Bearer token, sent as it is (insecure:TENANT on a development cluster)
        #[arg(long, value_name = "TOKEN")]
        token: Option<Hidden>,
    },
    /// Set the address of a cluster: set-cluster NAME --server=ADDRESS
    SetCluster {
        /// Name of the cluster
        name: String,
    },
    /// Set user, cluster, region or namespace of a context: set-context NAME --user=USER
    SetContext {
        /// Name of the context
        name: String,
        /// Name of the cluster
        #[arg(long, value_name = "NAME")]
        cluster: Option<String>,
    },
    /// Make a context the one used by default
    UseContext {
        /// Name of the context
        name: String,
    },
    /// Delete a user
    DeleteCredentials {
        /// Name of the user
        name: String,
    },
    /// Show the configuration, with keys and tokens hidden
    View {
        /// Output format: yaml or json
        #[arg(short = 'o', long, value_name = "FORMAT")]
        output: Option<Format>,
        /// Show keys and tokens
        #[arg(long)]
        raw: bool,
    },
}

/// How output is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
    /// `secret/NAME`, a line each.
    Name,
    /// The table with more columns.
    Wide,
}

/// What `--dry-run` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DryRun {
    /// Do it.
    #[default]
    None,
    /// Only print what would be sent.
    Client,
    /// Have the region decide, and change nothing.
    Server,
}

impl FromStr for DryRun {
    type Err = String;

    fn from_str(text: &str) -> Result<DryRun, String> {
        match text {
            "none" => Ok(DryRun::None),
            "client" => Ok(DryRun::Client),
            "server" => Ok(DryRun::Server),
            // kubectl's words.
            other => {
                Err(format!("Invalid dry-run value ({other}). Must be \"none\", \"server\", or \"client\"."))
            }
        }
    }
}

/// `--request-timeout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeout(pub std::time::Duration);

impl FromStr for Timeout {
    type Err = String;

    fn from_str(text: &str) -> Result<Timeout, String> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit_ms = match &text[digits.len()..] {
            "ms" => 1,
            "s" | "" => 1_000,
            "m" => 60_000,
            _ => return Err("expected a whole number with ms, s or m, such as 30s".to_owned()),
        };
        let number: u64 =
            digits.parse().map_err(|_| "expected a number with a unit, such as 30s".to_owned())?;
        match number.checked_mul(unit_ms) {
            Some(ms @ 1..=3_600_000) => Ok(Timeout(std::time::Duration::from_millis(ms))),
            _ => Err("expected between 1ms and 60m".to_owned()),
        }
    }
}

/// The text of a usage error whose words are published (kubectl's), in place of clap's around it.
pub fn own_words(error: &clap::Error) -> Option<String> {
    let text = std::error::Error::source(error)?.to_string();
    text.starts_with("Invalid dry-run value").then_some(text)
}

/// Makes `--server` name the registry where it follows `create` (or `update`) together with `--from-docker-config`;
/// the gateway's address is then given as `-s`, before the command, in the environment or in the configuration file.
/// Two published spellings meet in this one word, and clap knows one meaning for it.
pub fn respell(args: Vec<std::ffi::OsString>) -> Vec<std::ffi::OsString> {
    let verb = args.iter().position(|it| it == "create" || it == "update");
    let (Some(verb), true) = (verb, args.iter().any(|it| it == "--from-docker-config")) else {
        return args;
    };
    let respelled = |arg: std::ffi::OsString| match arg.to_str() {
        Some("--server") => "--docker-server".into(),
        Some(text) => match text.strip_prefix("--server=") {
            Some(value) => format!("--docker-server={value}").into(),
            None => arg,
        },
        None => arg,
    };
    args.into_iter().enumerate().map(|(at, arg)| if at > verb { respelled(arg) } else { arg }).collect()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_tree_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn server_names_the_registry_only_behind_create_with_from_docker_config() {
        let respell = |line: &str| {
            let args = respell(line.split(' ').map(Into::into).collect());
            args.iter().map(|it| it.to_str().unwrap()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            respell("pi --server g:1 secret create x --from-docker-config --server quay.io -s h:1"),
            "pi --server g:1 secret create x --from-docker-config --docker-server quay.io -s h:1"
        );
        assert_eq!(
            respell("pi create secret docker-registry x --server=quay.io --from-docker-config"),
            "pi create secret docker-registry x --docker-server=quay.io --from-docker-config"
        );
        assert_eq!(respell("pi secret create x --server g:1"), "pi secret create x --server g:1");
    }

    #[test]
    fn secret_options_do_not_show_in_debug() {
        let cli =
            Cli::parse_from(["pi", "-k", "canary", "secret", "create", "x", "--docker-password=canary"]);
        assert!(!format!("{cli:?}").contains("canary"));
    }

    #[test]
    fn timeouts() {
        for (text, ms) in [("500ms", 500), ("30s", 30_000), ("2m", 120_000), ("7", 7_000)] {
            assert_eq!(text.parse::<Timeout>().unwrap().0.as_millis(), ms);
        }
        for text in ["", "0s", "1h", "x", "-1s", "61m", "99999999999999999999s"] {
            assert!(text.parse::<Timeout>().is_err(), "{text}");
        }
    }
}
