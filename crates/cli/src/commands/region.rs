//! `pi region list` and `pi info`: which regions there are, who one is in them, and how much of the quota is used.

use serde_json::json;

use super::{STALE_NOTE, check_format, connect, print_value, settings};
use crate::args::{Format, GlobalArgs, InfoArgs, RegionListArgs};
use crate::failure::Failure;
use crate::fanout;
use crate::host::Host;
use crate::output::Table;
use crate::service::{Freshness, RegionInfo, Service};

/// Prints the regions of the cluster.
pub(super) async fn list(args: &RegionListArgs, global: &GlobalArgs, host: &mut Host) -> Result<(), Failure> {
    // Needs no credential: it is how one finds out where one is.
    let regions = Service::anonymous(&settings(global, host)?)?.regions().await?;
    match args.output {
        Some(Format::Name) => {
            let lines: String = regions.iter().map(|it| format!("region/{}\n", it.name)).collect();
            host.print(lines)
        }
        Some(format @ (Format::Json | Format::Yaml)) => {
            let items: Vec<_> = regions
                .iter()
                .map(|it| json!({"name": it.name.as_str(), "available": it.available}))
                .collect();
            print_value(json!({"regions": items}), format, host)
        }
        None | Some(Format::Wide) => {
            let mut table = Table::new(vec!["NAME", "AVAILABLE"]);
            for region in &regions {
                table.row(vec![region.name.as_str().to_owned(), region.available.to_string()]);
            }
            host.print(table.render())
        }
    }
}

/// Prints region, tenant and quota.
pub(super) async fn info(args: &InfoArgs, global: &GlobalArgs, host: &mut Host) -> Result<(), Failure> {
    check_format(args.output, &[Format::Json, Format::Yaml])?;
    let (_, service, targets) = connect(global, host).await?;
    let freshness = Freshness::of(&args.stale);
    let service = &service;
    let (infos, tally) =
        fanout::gather(&targets, host, |region| async move { service.region(&region, freshness).await })
            .await?;
    if args.stale && tally.done > 0 {
        host.note(STALE_NOTE);
    }
    match args.output {
        Some(format) => {
            let mut values: Vec<_> = infos.iter().map(value).collect();
            match (targets.named, values.pop()) {
                (false, Some(only)) => print_value(only, format, host)?,
                (true, Some(last)) => {
                    values.push(last);
                    print_value(json!({"regions": values}), format, host)?;
                }
                (_, None) => {}
            }
        }
        None => {
            let texts: Vec<String> = infos.iter().map(text).collect();
            host.print(texts.join("\n"))?;
        }
    }
    tally.outcome()
}

fn value(info: &RegionInfo) -> serde_json::Value {
    json!({
        "region": info.region,
        "cluster": info.cluster,
        "tenant": info.tenant,
        "resources": {"secret": {"used": info.secrets_used, "quota": info.secrets_quota}},
        "healthy": info.healthy,
        "revision": info.revision,
    })
}

fn text(info: &RegionInfo) -> String {
    // An operator has no tenant, hence no quota: 0/0 would look like one that is used up.
    if info.tenant.is_empty() {
        return format!("Region:     {}\nTenant:     <none> (an operator)\n", info.region);
    }
    format!(
        "Region:     {}\nTenant:     {}\nResources:  secret: {}/{}\n",
        info.region, info.tenant, info.secrets_used, info.secrets_quota
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_is_shown_without_tenant_and_quota() {
        let of = |tenant: &str| {
            text(&RegionInfo {
                region: "eu".to_owned(),
                cluster: "c".to_owned(),
                tenant: tenant.to_owned(),
                secrets_used: 0,
                secrets_quota: 0,
                healthy: true,
                revision: 1,
            })
        };
        assert_eq!(of(""), "Region:     eu\nTenant:     <none> (an operator)\n");
        assert!(of("acme").ends_with("Resources:  secret: 0/0\n"), "{}", of("acme"));
    }
}
