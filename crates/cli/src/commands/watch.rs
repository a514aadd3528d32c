//! `pi secret watch`: the present secrets, then every change, a line each, until interrupted.

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use pi_client::reason;
use pi_types::RegionName;

use super::{check_format, connect};
use crate::args::{Format, GlobalArgs, SecretWatchArgs};
use crate::failure::{Failure, Tally, error_line};
use crate::host::Host;
use crate::object::{Object, SecretView};
use crate::output;
use crate::service::{Event, Watch};

/// Prints events until the watch ends, which without `--once` only a refusal makes it do.
pub(super) async fn run(args: &SecretWatchArgs, global: &GlobalArgs, host: &mut Host) -> Result<(), Failure> {
    check_format(args.output, &[Format::Json, Format::Name, Format::Wide])?;
    super::read::check_selector(&args.select)?;
    let name = args.name.as_deref().map(super::name).transpose()?;
    let (settings, service, targets) = connect(global, host).await?;
    let namespace = (!args.select.all_namespaces).then(|| settings.namespace());
    let selector = args.select.selector.clone().unwrap_or_default();

    let layout = Layout { output: args.output, region: targets.named, namespace: args.select.all_namespaces };
    let mut header = Some(layout.header());
    let mut running = FuturesUnordered::new();
    for region in &targets.regions {
        running.push(advance(region, service.watch(region, namespace.as_ref(), name.as_ref(), &selector)?));
    }
    let mut tally = Tally::default();
    while let Some((region, watch, next)) = running.next().await {
        match next {
            Some(Ok(Event::Synced)) if args.once => {
                tally.done += 1;
                continue;
            }
            Some(Ok(event)) => {
                let line = layout.line(&event)?;
                if !line.is_empty() {
                    host.print(header.take().unwrap_or_default() + &line)?;
                }
            }
            Some(Err(error)) if error.reason() == Some(reason::WATCH_TOO_OLD) => {
                host.note(&format!(
                    "note: {region}: some changes are no longer kept; starting again with what is there"
                ));
                running.push(advance(
                    region,
                    service.watch(region, namespace.as_ref(), name.as_ref(), &selector)?,
                ));
                continue;
            }
            Some(Err(error)) => {
                let retryable = error.retryable();
                host.note(&error_line(targets.label(region), &Failure::from(error)));
                // A watch goes on when its region comes back; `--once` does not wait for that.
                if !retryable || args.once {
                    tally.failed += 1;
                    continue;
                }
            }
            None => {
                tally.failed += 1;
                continue;
            }
        }
        running.push(advance(region, watch));
    }
    tally.outcome()
}

async fn advance(
    region: &RegionName,
    mut watch: Watch,
) -> (&RegionName, Watch, Option<Result<Event, pi_client::Error>>) {
    let next = watch.next().await;
    (region, watch, next)
}

/// Which columns a line has. They have fixed widths: what comes later is not known when the header is printed.
struct Layout {
    output: Option<Format>,
    region: bool,
    namespace: bool,
}

impl Layout {
    fn header(&self) -> String {
        if matches!(self.output, Some(Format::Json | Format::Name)) {
            return String::new();
        }
        let cells =
            ["REGION", "NAMESPACE", "NAME", "SIZE", "GENERATION", "REVISION", "UID"].map(str::to_owned);
        self.row("EVENT", &cells)
    }

    fn line(&self, event: &Event) -> Result<String, Failure> {
        let (event, view) = match event {
            Event::Existing(view) | Event::Created(view) => ("ADDED", view),
            Event::Updated(view) => ("MODIFIED", view),
            Event::Deleted(view) => ("DELETED", view),
            Event::Synced | Event::Progress => return Ok(String::new()),
        };
        match self.output {
            // The form of a Kubernetes watch.
            Some(Format::Json) => {
                let object = Object::existing(view, None).value()?;
                output::json_line(&serde_json::json!({"type": event, "object": object}))
            }
            Some(Format::Name) => {
                let label = self.region.then_some(view.region.as_str());
                Ok(crate::fanout::labelled(label, &format!("secret/{} {event}", view.name)))
            }
            _ => Ok(self.row(event, &cells(view))),
        }
    }

    fn row(&self, event: &str, cells: &[String; 7]) -> String {
        let [region, namespace, name, size, generation, revision, uid] = cells;
        let mut line = format!("{event:<10}");
        if self.region {
            line.push_str(&format!("{region:<17}"));
        }
        if self.namespace {
            line.push_str(&format!("{namespace:<20}"));
        }
        line.push_str(&format!("{name:<32}{size:<7}{generation:<13}{revision}"));
        if self.output == Some(Format::Wide) {
            line = format!("{line:<width$}{uid}", width = line.len().max(80) + 3);
        }
        line.push('\n');
        line
    }
}

fn cells(view: &SecretView) -> [String; 7] {
    [
        view.region.clone(),
        view.namespace.clone(),
        // A name as wide as its column keeps a space behind it.
        format!("{} ", view.name),
        view.payload_bytes.to_string(),
        view.generation.to_string(),
        view.revision.to_string(),
        view.uid.clone(),
    ]
}
