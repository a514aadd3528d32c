//! `pi get secrets`, `pi secret get|list`, `pi describe`: metadata, and payloads where asked for.

use pi_types::{Namespace, RegionName, SecretName, Selector};
use zeroize::Zeroizing;

use super::{STALE_NOTE, check_format, connect, print_objects, print_value};
use crate::args::{Format, GlobalArgs, ReadOptions, SelectArgs};
use crate::failure::{Failure, Tally, error_line};
use crate::fanout::{self, Targets};
use crate::host::Host;
use crate::object::{self, Columns, Object, SecretView};
use crate::service::{Freshness, Service};
use crate::settings::Settings;

/// Secrets by name, or all that are selected.
struct Query {
    names: Vec<SecretName>,
    /// Where names are looked up.
    namespace: Namespace,
    /// Where lists look; `None`: everywhere.
    listed: Option<Namespace>,
    selector: String,
    freshness: Freshness,
    reveal: bool,
}

/// One secret found, with its payload when that was asked for.
type Found = (SecretView, Option<Zeroizing<Vec<u8>>>);

/// Prints secrets as asked.
pub(super) async fn get(
    names: &[SecretName],
    read: &ReadOptions,
    global: &GlobalArgs,
    host: &mut Host,
) -> Result<(), Failure> {
    check_get(names, read)?;
    let (settings, service, targets) = connect(global, host).await?;
    if read.reveal && read.output.is_none() && targets.regions.len() > 1 {
        return Err(Failure::usage("--reveal of several regions needs -o json or -o yaml"));
    }
    let mut query = query(names, &read.select, &settings)?;
    query.freshness = Freshness::of(&read.stale);
    query.reveal = read.reveal;
    let (found, tally) = find(&query, &service, &targets, host).await?;
    if read.stale && tally.done > 0 {
        host.note(STALE_NOTE);
    }
    print(&found, &query, read, &targets, tally, host)?;
    tally.outcome()
}

/// What can be wrong before anything is asked.
fn check_get(names: &[SecretName], read: &ReadOptions) -> Result<(), Failure> {
    check_selection(names, &read.select)?;
    if !read.reveal {
        return Ok(());
    }
    match read.output {
        None if names.len() != 1 => {
            Err(Failure::usage("--reveal prints the payload of one NAME; for several use -o json or -o yaml"))
        }
        Some(Format::Name | Format::Wide) => check_format(read.output, &[Format::Json, Format::Yaml]),
        _ => Ok(()),
    }
}

fn check_selection(names: &[SecretName], select: &SelectArgs) -> Result<(), Failure> {
    if !names.is_empty() && select.selector.is_some() {
        // kubectl's words.
        return Err(Failure::usage("name cannot be provided when a selector is specified"));
    }
    if !names.is_empty() && select.all_namespaces {
        return Err(Failure::usage("a resource cannot be retrieved by name across all namespaces"));
    }
    check_selector(select)
}

/// Refuses a label selector that no region would understand.
pub(super) fn check_selector(select: &SelectArgs) -> Result<(), Failure> {
    let text = select.selector.as_deref().unwrap_or_default();
    text.parse::<Selector>().map(|_| ()).map_err(|invalid| Failure::usage(invalid.to_string()))
}

fn query(names: &[SecretName], select: &SelectArgs, settings: &Settings) -> Result<Query, Failure> {
    Ok(Query {
        names: names.to_vec(),
        namespace: settings.namespace(),
        listed: (!select.all_namespaces).then(|| settings.namespace()),
        selector: select.selector.clone().unwrap_or_default(),
        freshness: Freshness::Linearizable,
        reveal: false,
    })
}

/// Asks every region; what was found in the order of regions. What was not is printed and counted.
async fn find(
    query: &Query,
    service: &Service,
    targets: &Targets,
    host: &mut Host,
) -> Result<(Vec<Found>, Tally), Failure> {
    let (answers, mut tally) = fanout::gather(targets, host, |region| async move {
        if query.names.is_empty() {
            let views =
                service.list(&region, query.listed.as_ref(), &query.selector, query.freshness).await?;
            return Ok((region.clone(), with_payloads(views, query.reveal, service, &region).await));
        }
        let mut found = Vec::new();
        for name in &query.names {
            found.push(find_one(query, service, &region, name).await);
        }
        Ok((region, found))
    })
    .await?;
    // What counts from here on is secrets, not regions.
    tally.done = 0;
    let mut all = Vec::new();
    let mut empty = 0;
    for (region, found) in answers {
        empty += usize::from(found.is_empty());
        for one in found {
            match one {
                Ok(found) => {
                    tally.done += 1;
                    all.push(found);
                }
                Err(failure) => {
                    tally.failed += 1;
                    host.note(&error_line(targets.label(&region), &failure));
                }
            }
        }
    }
    // A region that was asked and has nothing was done, too.
    tally.done += empty;
    Ok((all, tally))
}

async fn find_one(
    query: &Query,
    service: &Service,
    region: &RegionName,
    name: &SecretName,
) -> Result<Found, Failure> {
    if query.reveal {
        let (view, payload) = service.access(region, query.namespace.as_str(), name.as_str()).await?;
        return Ok((view, Some(payload)));
    }
    Ok((service.get(region, &query.namespace, name, query.freshness).await?, None))
}

async fn with_payloads(
    views: Vec<SecretView>,
    reveal: bool,
    service: &Service,
    region: &RegionName,
) -> Vec<Result<Found, Failure>> {
    let mut found = Vec::new();
    for view in views {
        if !reveal {
            found.push(Ok((view, None)));
            continue;
        }
        match service.access(region, &view.namespace, &view.name).await {
            Ok((view, payload)) => found.push(Ok((view, Some(payload)))),
            // Deleted since it was listed.
            Err(failure) if failure.is_not_found() => {}
            Err(failure) => found.push(Err(failure)),
        }
    }
    found
}

fn print(
    found: &[Found],
    query: &Query,
    read: &ReadOptions,
    targets: &Targets,
    tally: Tally,
    host: &mut Host,
) -> Result<(), Failure> {
    let objects =
        || found.iter().map(|(view, payload)| Object::existing(view, payload.as_ref().map(|it| &***it)));
    match read.output {
        Some(format @ (Format::Json | Format::Yaml)) => {
            // One name gives one object; anything else a list, whatever the number.
            if query.names.len() == 1 && !targets.named {
                return print_objects(&objects().collect::<Vec<_>>(), Some(format), host);
            }
            print_value(object::list(&objects().collect::<Vec<_>>())?, format, host)
        }
        Some(Format::Name) => {
            let mut text = String::new();
            for ((view, _), object) in found.iter().zip(objects()) {
                let label = targets.named.then_some(view.region.as_str());
                text.push_str(&fanout::labelled(label, &object.reference()));
            }
            host.print(text)
        }
        None if read.reveal => match found {
            // Byte for byte, without a newline, so that it can be compared and piped.
            [(_, Some(payload))] => host.print(payload.as_slice()),
            _ => Ok(()),
        },
        None | Some(Format::Wide) => {
            let views: Vec<SecretView> = found.iter().map(|it| it.0.clone()).collect();
            if views.is_empty() {
                // Of a target that did not answer nobody knows whether it has any.
                if query.names.is_empty() && tally.failed == 0 {
                    host.note(&nothing_found(query));
                }
                return Ok(());
            }
            let columns = Columns {
                region: targets.named,
                namespace: query.names.is_empty() && query.listed.is_none(),
                wide: read.output.is_some(),
            };
            let table = object::table(&views, columns, host.now_ms());
            host.print(if read.no_headers { table.render_rows() } else { table.render() })
        }
    }
}

/// kubectl's words.
fn nothing_found(query: &Query) -> String {
    match &query.listed {
        Some(namespace) => format!("No resources found in {namespace} namespace."),
        None => "No resources found".to_owned(),
    }
}

/// Prints secrets in detail.
pub(super) async fn describe(
    names: &[SecretName],
    select: &SelectArgs,
    global: &GlobalArgs,
    host: &mut Host,
) -> Result<(), Failure> {
    check_selection(names, select)?;
    let (settings, service, targets) = connect(global, host).await?;
    let query = query(names, select, &settings)?;
    let (found, tally) = find(&query, &service, &targets, host).await?;
    if found.is_empty() && names.is_empty() && tally.failed == 0 {
        host.note(&nothing_found(&query));
    }
    let texts: Vec<String> = found.iter().map(|(view, _)| object::describe(view, targets.named)).collect();
    host.print(texts.join("\n\n"))?;
    tally.outcome()
}
