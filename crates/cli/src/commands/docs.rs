//! `docs/reference/cli.md`, written from the command line's own definition, so that it cannot say anything else.
//! Refresh it with `pi internal-docs > docs/reference/cli.md`; a test compares.

use clap::{Arg, Command, CommandFactory};

use crate::args::Cli;

const INTRODUCTION: &str = "\
# `pi`: the command line

<!-- Written by `pi internal-docs > docs/reference/cli.md`; a test of pi-cli compares. Do not edit. -->

Standard output carries data; notes, warnings and errors go to standard error.

| Exit code | Meaning |
|---|---|
| 0 | everything asked for was done |
| 1 | error: nothing was done |
| 2 | wrong usage: nothing was tried |
| 3 | done in part: some regions, names or documents failed; standard error says which |

Secrets are regional. `--region a,b` and `--all-regions` act on each region separately and at the same time, and every
line names its region: `us-central1: secret/my-secret created`.

## Where values come from

Options, then the environment, then the configuration file `~/.pi/config` (or the file that `PI_CONFIG` names).

| Option | Environment | In the configuration file |
|---|---|---|
| `--server` | `PI_SERVER` | the context's cluster: `server` |
| `--region` | `PI_REGION` | the context's `region`, else its user's |
| `--namespace` | `PI_NAMESPACE` | the context's `namespace`, else `default` |
| `--user` | `PI_USER` | the context's `user` |
| `--context` | `PI_CONTEXT` | `current-context` |
| – | `PI_TOKEN` | the user's `token` |
| `--access-key`, `--secret-key` | `PI_ACCESS_KEY`, `PI_SECRET_KEY` | the user's `access-key`, `secret-key` |

The file must not be readable by others (mode 0600). Until API credentials can sign in, a user holds
`token: insecure:<tenant>`, which development clusters accept on the same machine.

```yaml
apiVersion: v1
clusters:
- name: dev
  cluster:
    server: http://127.0.0.1:7400
contexts:
- name: tenant
  context:
    cluster: dev
    region: us-central1
    user: acme
current-context: tenant
kind: Config
users:
- name: acme
  user:
    token: insecure:acme
```

## Manifests

`create -f`, `apply -f` and `delete -f` read `v1 Secret` objects and `List`s of them, in YAML or JSON, one or several
documents a file. The type must be `kubernetes.io/dockerconfigjson`, the one key `.dockerconfigjson`, in `data` (base64)
or `stringData` (text). `create -f` and `apply -f` check everything before they send anything. What a server writes
(`uid`, `resourceVersion`, `creationTimestamp`, …) is ignored, and kubectl's `last-applied-configuration` annotation is
left out, because it holds a copy of the payload. `apply` leaves labels and annotations alone that a manifest does not
mention at all.
";

/// An example for each command, by its path.
const EXAMPLES: &[(&str, &str)] = &[
    (
        "secret create",
        "pi secret create my-secret --docker-server=registry.example.com --docker-username=bob --docker-password-stdin < password\nsecret/my-secret created",
    ),
    (
        "secret get",
        "pi secret get my-secret --reveal\n{\"auths\":{\"registry.example.com\":{\"username\":\"bob\",…",
    ),
    (
        "secret list",
        "pi secret list\nNAME        TYPE                             DATA   AGE\nmy-secret   kubernetes.io/dockerconfigjson   1      5s",
    ),
    ("secret describe", "pi secret describe my-secret"),
    (
        "secret update",
        "aws ecr get-login-password | pi secret update ecr --docker-username=AWS --docker-password-stdin \\\n    --docker-server=1234.dkr.ecr.eu-west-1.amazonaws.com\nsecret/ecr updated",
    ),
    (
        "secret delete",
        "pi secret delete my-secret --region us-central1,eu-west1\nus-central1: secret \"my-secret\" deleted\neu-west1: secret \"my-secret\" deleted",
    ),
    ("secret watch", "pi secret watch -o json"),
    ("create", "pi create -f secrets.yaml\nsecret/my-secret created"),
    (
        "create secret docker-registry",
        "pi create secret docker-registry my-secret --from-file=.dockerconfigjson=config.json --dry-run=client -o yaml",
    ),
    ("apply", "pi apply -f secrets/\nsecret/my-secret unchanged"),
    ("get", "pi get secrets/my-secret -o yaml"),
    ("describe", "pi describe secrets my-secret"),
    ("delete", "pi delete secrets/a secrets/b\nsecret \"a\" deleted\nsecret \"b\" deleted"),
    ("region list", "pi region list\nNAME          AVAILABLE\neu-west1      true\nus-central1   true"),
    ("info", "pi info\nRegion:     us-central1\nTenant:     acme\nResources:  secret: 3/8"),
    (
        "config set-credentials",
        "pi config set-credentials acme --token insecure:acme --region us-central1\nUser \"acme\" set.",
    ),
    ("config set-cluster", "pi config set-cluster dev --server 127.0.0.1:7400\nCluster \"dev\" set."),
    (
        "config set-context",
        "pi config set-context tenant --cluster dev --user acme\nContext \"tenant\" created.",
    ),
    ("config use-context", "pi config use-context tenant\nSwitched to context \"tenant\"."),
    (
        "config delete-credentials",
        "pi config delete-credentials acme\ndeleted user acme from /home/me/.pi/config",
    ),
    ("config view", "pi config view"),
    ("completion", "source <(pi completion bash)"),
    ("version", "pi version\npi 0.1.0"),
];

/// The whole page.
pub fn reference() -> String {
    let root = Cli::command();
    let mut page = String::from(INTRODUCTION);
    page.push_str("\n## Global options\n\n");
    page.push_str(&options(root.get_arguments().filter(|it| it.is_global_set())));
    for command in root.get_subcommands().filter(|it| !it.is_hide_set()) {
        section(command, "", &mut page);
    }
    page
}

fn section(command: &Command, parent: &str, page: &mut String) {
    let path = format!("{parent} {}", command.get_name()).trim().to_owned();
    let example = EXAMPLES.iter().find(|it| it.0 == path);
    let has_own = example.is_some();
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    page.push_str(&format!("\n## `pi {path}`\n\n{about}\n"));
    let aliases: Vec<&str> = command.get_visible_aliases().collect();
    if !aliases.is_empty() {
        page.push_str(&format!("\nAlso: `{}`\n", aliases.join("`, `")));
    }
    if let Some((_, example)) = example {
        page.push_str(&format!("\n```console\n$ {example}\n```\n"));
    }
    let own: Vec<&Arg> = command
        .get_arguments()
        .filter(|it| !it.is_hide_set() && !it.is_global_set() && it.get_id() != "help")
        .collect();
    if has_own && !own.is_empty() {
        page.push('\n');
        page.push_str(&options(own.into_iter()));
    }
    for child in command.get_subcommands().filter(|it| !it.is_hide_set() && it.get_name() != "help") {
        section(child, &path, page);
    }
}

fn options<'a>(arguments: impl Iterator<Item = &'a Arg>) -> String {
    let mut table = String::from("| Option | Meaning |\n|---|---|\n");
    for argument in arguments {
        let value = argument.get_value_names().map(|names| names.join(" ")).filter(|_| takes_value(argument));
        let mut spelled: Vec<String> = Vec::new();
        spelled.extend(argument.get_short().map(|it| format!("-{it}")));
        spelled.extend(argument.get_long().map(|it| format!("--{it}")));
        let spelled = match (spelled.is_empty(), value) {
            (true, value) => value.unwrap_or_default(),
            (false, Some(value)) if argument.is_require_equals_set() => {
                format!("{}[={value}]", spelled.join(", "))
            }
            (false, Some(value)) => format!("{} {value}", spelled.join(", ")),
            (false, None) => spelled.join(", "),
        };
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        table.push_str(&format!("| `{spelled}` | {} |\n", help.replace('|', "\\|").replace('\n', " ")));
    }
    table
}

fn takes_value(argument: &Arg) -> bool {
    argument.get_action().takes_values()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_an_example() {
        fn check(command: &Command, parent: &str) {
            let path = format!("{parent} {}", command.get_name()).trim().to_owned();
            let children: Vec<_> = command.get_subcommands().filter(|it| !it.is_hide_set()).collect();
            if children.is_empty() {
                assert!(EXAMPLES.iter().any(|it| it.0 == path), "{path} has no example");
            }
            for child in children {
                check(child, &path);
            }
        }
        for command in Cli::command().get_subcommands().filter(|it| !it.is_hide_set()) {
            check(command, "");
        }
    }
}
