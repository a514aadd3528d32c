//! Options of the commands about secrets, in both published spellings: `pi secret VERB …` and `pi VERB secrets …`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{DryRun, Format};
use crate::hidden::Hidden;

/// `pi secret …`.
#[derive(Debug, Subcommand)]
pub enum SecretCommand {
    /// Create a Docker registry secret
    #[command(after_help = CREATE_EXAMPLES)]
    Create(SecretCreateArgs),
    /// Show secrets, or the payload of one (--reveal)
    Get(SecretGetArgs),
    /// List secrets
    #[command(visible_alias = "ls")]
    List(SecretGetArgs),
    /// Show secrets in detail
    Describe(SecretDescribeArgs),
    /// Replace payload, labels or annotations of a secret
    Update(SecretUpdateArgs),
    /// Delete secrets
    #[command(visible_alias = "rm")]
    Delete(SecretDeleteArgs),
    /// Print the present secrets, then every change as it happens
    Watch(SecretWatchArgs),
}

const CREATE_EXAMPLES: &str = "\
Examples:
  pi secret create my-secret --docker-server=registry.example.com \\
      --docker-username=bob --docker-password-stdin < password

  aws ecr get-login-password | pi secret create ecr \\
      --docker-server=1234.dkr.ecr.eu-west-1.amazonaws.com \\
      --docker-username=AWS --docker-password-stdin

  pi secret create gcr --docker-server=https://gcr.io \\
      --docker-username=_json_key --docker-password-file=key.json

  pi secret create quay --from-docker-config --docker-server=quay.io";

/// `pi create …`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// What to create, when it does not come from files
    #[command(subcommand)]
    pub kind: Option<CreateKind>,
    /// File or directory with manifests (YAML or JSON, several documents), or - for standard input; can be repeated
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Print or check only: none, client or server
    #[arg(long, value_name = "MODE", num_args = 0..=1, require_equals = true, default_value = "none",
          default_missing_value = "client")]
    pub dry_run: DryRun,
    /// Output format: json, yaml or name
    #[arg(short = 'o', long, value_name = "FORMAT")]
    pub output: Option<Format>,
}

/// `pi create KIND …`.
#[derive(Debug, Subcommand)]
pub enum CreateKind {
    /// Create a secret: create secret docker-registry NAME
    #[command(visible_alias = "secrets", subcommand)]
    Secret(CreateSecretKind),
    /// Not yet
    #[command(hide = true, alias = "pods")]
    Pod(RefusedArgs),
}

/// `pi create secret …`.
#[derive(Debug, Subcommand)]
pub enum CreateSecretKind {
    /// Create a Docker registry secret
    #[command(after_help = CREATE_EXAMPLES)]
    DockerRegistry(Box<SecretCreateArgs>),
    /// Not supported
    #[command(hide = true)]
    Generic(RefusedArgs),
    /// Not supported
    #[command(hide = true)]
    Tls(RefusedArgs),
}

/// Anything behind a command that is refused with an explanation.
#[derive(Debug, Args)]
pub struct RefusedArgs {
    /// Ignored
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    pub rest: Vec<std::ffi::OsString>,
}

/// `pi secret create NAME`, `pi create secret docker-registry NAME`.
#[derive(Debug, Args)]
pub struct SecretCreateArgs {
    /// Name of the secret
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Where the payload comes from.
    #[command(flatten)]
    pub credential: CredentialArgs,
    /// Labels and annotations.
    #[command(flatten)]
    pub metadata: MetadataArgs,
    /// Print or check only: none, client (print what would be sent) or server (have the region decide)
    #[arg(long, value_name = "MODE", num_args = 0..=1, require_equals = true, default_value = "none",
          default_missing_value = "client")]
    pub dry_run: DryRun,
    /// Output format: json, yaml or name
    #[arg(short = 'o', long, value_name = "FORMAT")]
    pub output: Option<Format>,
}

/// Where a payload comes from: options, a file, or Docker's own configuration.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Credential")]
pub struct CredentialArgs {
    /// Server location for Docker registry (default https://index.docker.io/v1/)
    #[arg(long, value_name = "SERVER")]
    pub docker_server: Option<String>,
    /// Username for Docker registry authentication
    #[arg(long, value_name = "NAME")]
    pub docker_username: Option<String>,
    /// Password for Docker registry authentication (the process list shows it; prefer one of the next two, or the
    /// prompt on a terminal)
    #[arg(long, value_name = "PASSWORD", group = "password", allow_hyphen_values = true)]
    pub docker_password: Option<Hidden>,
    /// Read the password from standard input; one newline at the end is dropped
    #[arg(long, group = "password")]
    pub docker_password_stdin: bool,
    /// Read the password from a file; one newline at the end is dropped
    #[arg(long, value_name = "FILE", group = "password")]
    pub docker_password_file: Option<PathBuf>,
    /// Email for Docker registry; optional
    #[arg(long, value_name = "EMAIL")]
    pub docker_email: Option<String>,
    /// Take a file as the payload, byte for byte: [.dockerconfigjson=]PATH, or - for standard input
    #[arg(long, value_name = "[KEY=]PATH", conflicts_with_all = ["docker_username", "password", "docker_email",
          "from_docker_config"])]
    pub from_file: Option<String>,
    /// Take the credential from ~/.docker/config.json (or DOCKER_CONFIG) and its credential helpers; --docker-server
    /// (or, here, --server) chooses one registry, else all are taken
    #[arg(long, conflicts_with_all = ["docker_username", "password", "docker_email"])]
    pub from_docker_config: bool,
}

/// Labels and annotations of a secret.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = None)]
pub struct MetadataArgs {
    /// Labels, KEY=VALUE separated by commas; can be repeated. An update replaces all of them
    #[arg(short = 'l', long = "labels", value_name = "KEY=VALUE", value_delimiter = ',')]
    pub labels: Vec<String>,
    /// An annotation, KEY=VALUE; can be repeated. An update replaces all of them
    #[arg(long = "annotation", value_name = "KEY=VALUE")]
    pub annotations: Vec<String>,
}

/// `pi apply`.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// File or directory with manifests (YAML or JSON, several documents), or - for standard input; can be repeated
    #[arg(short = 'f', long = "filename", value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Print or check only: none, client or server
    #[arg(long, value_name = "MODE", num_args = 0..=1, require_equals = true, default_value = "none",
          default_missing_value = "client")]
    pub dry_run: DryRun,
    /// Output format: json, yaml or name
    #[arg(short = 'o', long, value_name = "FORMAT")]
    pub output: Option<Format>,
}

/// Which secrets, when not by name.
#[derive(Debug, Default, Clone, Args)]
pub struct SelectArgs {
    /// Label selector, such as app=web,tier!=test or 'app in (a, b)'
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// In all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
}

/// How to show what was read.
#[derive(Debug, Default, Clone, Args)]
pub struct ReadOptions {
    /// Which.
    #[command(flatten)]
    pub select: SelectArgs,
    /// Output format: json, yaml, name or wide
    #[arg(short = 'o', long, value_name = "FORMAT")]
    pub output: Option<Format>,
    /// Show payloads: of one name, the payload itself; with -o json or yaml, in `data`
    #[arg(long)]
    pub reveal: bool,
    /// Take the answer of any one node, possibly behind; works without a leader
    #[arg(long, conflicts_with = "reveal")]
    pub stale: bool,
    /// Leave out the table's header
    #[arg(long)]
    pub no_headers: bool,
}

/// `pi secret get`, `pi secret list`.
#[derive(Debug, Args)]
pub struct SecretGetArgs {
    /// Names of secrets; none: all
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// How.
    #[command(flatten)]
    pub read: ReadOptions,
}

/// `pi get secrets`.
#[derive(Debug, Args)]
pub struct GetArgs {
    /// secrets, secrets NAME..., or secrets/NAME...
    #[arg(value_name = "TYPE [NAME]")]
    pub resources: Vec<String>,
    /// How.
    #[command(flatten)]
    pub read: ReadOptions,
}

/// `pi secret describe`.
#[derive(Debug, Args)]
pub struct SecretDescribeArgs {
    /// Names of secrets; none: all
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Which.
    #[command(flatten)]
    pub select: SelectArgs,
}

/// `pi describe secrets`.
#[derive(Debug, Args)]
pub struct DescribeArgs {
    /// secrets, secrets NAME..., or secrets/NAME...
    #[arg(value_name = "TYPE [NAME]")]
    pub resources: Vec<String>,
    /// Which.
    #[command(flatten)]
    pub select: SelectArgs,
}

/// `pi secret update`.
#[derive(Debug, Args)]
pub struct SecretUpdateArgs {
    /// Name of the secret
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// The new payload; without any of these options it stays.
    #[command(flatten)]
    pub credential: CredentialArgs,
    /// Labels and annotations.
    #[command(flatten)]
    pub metadata: MetadataArgs,
    /// Remove all labels
    #[arg(long, conflicts_with = "labels")]
    pub clear_labels: bool,
    /// Remove all annotations
    #[arg(long, conflicts_with = "annotations")]
    pub clear_annotations: bool,
    /// Update only while the secret has this uid
    #[arg(long, value_name = "UID")]
    pub expect_uid: Option<String>,
    /// Update only while the secret is at this revision
    #[arg(long, value_name = "REVISION")]
    pub expect_revision: Option<u64>,
    /// Check only: none or server (have the region decide)
    #[arg(long, value_name = "MODE", num_args = 0..=1, require_equals = true, default_value = "none",
          default_missing_value = "client")]
    pub dry_run: DryRun,
    /// Output format: json, yaml or name
    #[arg(short = 'o', long, value_name = "FORMAT")]
    pub output: Option<Format>,
}

/// How to delete.
#[derive(Debug, Default, Clone, Args)]
pub struct DeleteOptions {
    /// Which.
    #[command(flatten)]
    pub select: SelectArgs,
    /// Delete every secret of the namespace
    #[arg(long)]
    pub all: bool,
    /// A name that does not exist is no error
    #[arg(long)]
    pub ignore_not_found: bool,
    /// Output format: name
    #[arg(short = 'o', long, value_name = "FORMAT")]
    pub output: Option<Format>,
}

/// `pi secret delete`.
#[derive(Debug, Args)]
pub struct SecretDeleteArgs {
    /// Names of secrets
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// How.
    #[command(flatten)]
    pub delete: DeleteOptions,
}

/// `pi delete secrets`.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// secrets NAME..., or secrets/NAME...
    #[arg(value_name = "TYPE [NAME]")]
    pub resources: Vec<String>,
    /// Delete the secrets that these files, directories or - (standard input) name
    #[arg(short = 'f', long = "filename", value_name = "FILE", conflicts_with = "resources")]
    pub files: Vec<PathBuf>,
    /// How.
    #[command(flatten)]
    pub delete: DeleteOptions,
}

/// `pi secret watch`.
#[derive(Debug, Args)]
pub struct SecretWatchArgs {
    /// Watch this name only
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// Which.
    #[command(flatten)]
    pub select: SelectArgs,
    /// Output format: json (a line each), name or wide
    #[arg(short = 'o', long, value_name = "FORMAT")]
    pub output: Option<Format>,
    /// End when the present state is complete instead of waiting for changes
    #[arg(long)]
    pub once: bool,
}
