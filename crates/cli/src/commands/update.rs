//! `pi secret update NAME …`: a new payload, new labels or annotations for a secret that exists.

use pi_types::{Annotations, Labels, RegionName};

use super::create::only_name;
use super::{Done, act, annotations, check_format, connect, labels};
use crate::args::{DryRun, Format, GlobalArgs, SecretUpdateArgs};
use crate::credential;
use crate::failure::Failure;
use crate::host::Host;
use crate::object::Object;
use crate::service::{Change, Service};

/// Changes one secret in each region.
pub(super) async fn run(
    args: &SecretUpdateArgs,
    global: &GlobalArgs,
    host: &mut Host,
) -> Result<(), Failure> {
    check_format(args.output, &[Format::Json, Format::Yaml, Format::Name])?;
    let name = only_name(&args.names, "pi secret update")?;
    let labels = if args.clear_labels { Some(Labels::default()) } else { labels(&args.metadata)? };
    let annotations =
        if args.clear_annotations { Some(Annotations::default()) } else { annotations(&args.metadata)? };
    let new_payload = credential::is_given(&args.credential);
    if !new_payload && labels.is_none() && annotations.is_none() {
        return Err(Failure::usage(
            "nothing to update: give a credential (--docker-username…, --from-file, --from-docker-config), --labels, \
             --annotation, --clear-labels or --clear-annotations",
        ));
    }
    if args.dry_run == DryRun::Client {
        return Err(Failure::usage("--dry-run=client cannot tell what an update does: use --dry-run=server"));
    }
    let (settings, service, targets) = connect(global, host).await?;
    let payload = match new_payload {
        true => Some(credential::prepare(&args.credential, host).await?.payload),
        false => None,
    };
    let namespace = settings.namespace();
    let change = Change {
        namespace: &namespace,
        name: &name,
        payload: payload.as_ref(),
        labels: labels.as_ref(),
        annotations: annotations.as_ref(),
        expect_uid: args.expect_uid.as_deref(),
        expect_revision: args.expect_revision,
    };
    act(&targets, args.output, host, |region| {
        let (service, change) = (&service, &change);
        async move { vec![update_one(service, region, change, args.dry_run).await] }
    })
    .await
}

async fn update_one(
    service: &Service,
    region: RegionName,
    change: &Change<'_>,
    dry_run: DryRun,
) -> Result<Done, Failure> {
    let updated = match dry_run {
        DryRun::Server => service.validate_update(&region, change).await,
        DryRun::None | DryRun::Client => service.update(&region, change).await,
    };
    let updated = updated.map_err(|failure| failure.in_context("failed to update secret "))?;
    let what = if updated.changed { "updated" } else { "unchanged" };
    let suffix = if dry_run == DryRun::Server { " (server dry run)" } else { "" };
    Ok(Done {
        line: format!("secret/{} {what}{suffix}", change.name),
        warnings: updated.warnings,
        note: None,
        object: Object::existing(&updated.secret, None),
    })
}
