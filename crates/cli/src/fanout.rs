//! Acting in several regions: which ones, all at the same time, and one answer or error for each. A region that does
//! not answer holds up no other.

use std::future::Future;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use pi_types::RegionName;

use crate::failure::{Failure, Tally, error_line};
use crate::host::Host;
use crate::service::Service;
use crate::settings::{Regions, Settings};

/// The regions a command acts in.
#[derive(Debug, Clone)]
pub struct Targets {
    /// Their names, without duplicates; at least one.
    pub regions: Vec<RegionName>,
    /// True when the user asked for several: then every line names its region, even when there is just one.
    pub named: bool,
}

impl Targets {
    /// Finds out which regions are meant; asks the gateway for `--all-regions`.
    pub async fn resolve(settings: &Settings, service: &Service) -> Result<Targets, Failure> {
        match settings.regions()? {
            Regions::One(region) => Ok(Targets { regions: vec![region.clone()], named: false }),
            Regions::Several(regions) => Ok(Targets { regions: regions.clone(), named: true }),
            Regions::All => {
                let listed = service.regions().await?;
                let regions: Vec<RegionName> = listed.into_iter().map(|it| it.name).collect();
                if regions.is_empty() {
                    return Err(Failure::local("the gateway serves no regions"));
                }
                Ok(Targets { regions, named: true })
            }
        }
    }

    /// The region to name in front of a line, if any.
    pub fn label<'a>(&self, region: &'a RegionName) -> Option<&'a str> {
        self.named.then(|| region.as_str())
    }
}

/// Does the same in each region at once and hands over each outcome as it comes.
pub async fn each<T, Work>(
    targets: &Targets,
    work: impl Fn(RegionName) -> Work,
    mut done: impl FnMut(&RegionName, T) -> Result<(), Failure>,
) -> Result<(), Failure>
where
    Work: Future<Output = T>,
{
    let mut running: FuturesUnordered<_> = targets
        .regions
        .iter()
        .map(|region| {
            let answer = work(region.clone());
            async move { (region, answer.await) }
        })
        .collect();
    while let Some((region, answer)) = running.next().await {
        done(region, answer)?;
    }
    Ok(())
}

/// Does the same in each region at once; the answers in the order of the regions. Failures are printed and counted.
pub async fn gather<T, Work>(
    targets: &Targets,
    host: &mut Host,
    work: impl Fn(RegionName) -> Work,
) -> Result<(Vec<T>, Tally), Failure>
where
    Work: Future<Output = Result<T, Failure>>,
{
    let mut answers: Vec<(usize, T)> = Vec::new();
    let mut tally = Tally::default();
    each(targets, work, |region, outcome| {
        match outcome {
            Ok(answer) => {
                tally.done += 1;
                let at = targets.regions.iter().position(|it| it == region).unwrap_or(usize::MAX);
                answers.push((at, answer));
            }
            Err(failure) => {
                tally.failed += 1;
                host.note(&error_line(targets.label(region), &failure));
            }
        }
        Ok(())
    })
    .await?;
    answers.sort_by_key(|it| it.0);
    Ok((answers.into_iter().map(|it| it.1).collect(), tally))
}

/// `REGION: LINE`, or the line alone.
pub fn labelled(label: Option<&str>, line: &str) -> String {
    match label {
        Some(region) => format!("{region}: {line}\n"),
        None => format!("{line}\n"),
    }
}
