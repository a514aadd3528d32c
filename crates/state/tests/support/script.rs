//! The language of the scripts.
//!
//! Changes, each its own transaction unless between `begin` and `commit`:
//! - `create NAME`, `update NAME`, `delete NAME`, `quota N`, `blank`
//! - who: `tenant=acme ns=default principal=alice`
//! - `req=LABEL`: the request id of that label, made at the time of its first use or at `req_at=MS`; without it a new
//!   one each time
//! - `size=BYTES sealed=BYTES uid=N generation=N`: the payload; `create` has one of 10 bytes by default, `update` has
//!   one only with `size=`, for the present uid and next generation by default
//! - `labels=a:b,c:d annotations=…` (`labels=` for none), `expect_uid=N expect_revision=N`
//!
//! Time: `at MS` sets the proposer's clock.
//! `fill N` runs N deletes of a secret that does not exist, each under a new request id, and counts the answers.
//! Questions: `get NAME`, `payload NAME`, `list`, `usage`, `changes after=N`, `remembered`, `header`.
//!
//! Behind every transaction the whole state is checked against its invariants.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;

use goldenscript::{ArgumentConsumer, Context};
use pi_state::memory::MemoryState;
use pi_state::query::{self, ListQuery};
use pi_state::{Command, CommandKind, Header, Response, Txn, check};
use pi_types::{Annotations, Labels, Namespace, RequestId, SecretName, Selector, TenantId};

use crate::support::{
    self, EPOCH_MS, command, parse, payload, show, show_change, show_secret, uid, uid_number,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The state, the clock and the counters of one script.
#[derive(Default)]
pub struct Script {
    state: MemoryState,
    index: u64,
    clock_ms: i64,
    requests: u64,
    named_requests: BTreeMap<String, RequestId>,
    /// Entries of an open transaction; `None` is a blank.
    batch: Option<Vec<Option<Command>>>,
}

/// Whose secret a line is about.
struct Place {
    tenant: TenantId,
    namespace: Namespace,
    name: SecretName,
}

impl goldenscript::Runner for Script {
    type Command = goldenscript::Command;

    fn run(&mut self, line: &goldenscript::Command, _: &Context) -> Result<String> {
        let mut args = line.consume_args();
        let output = match line.name.as_str() {
            "at" => {
                self.clock_ms = args.next_pos().ok_or("at MS")?.parse()?;
                String::new()
            }
            "begin" => {
                self.batch = Some(Vec::new());
                String::new()
            }
            "commit" => {
                let batch = self.batch.take().ok_or("commit without begin")?;
                self.apply(&batch)?
            }
            "blank" => self.submit(None)?,
            "create" | "update" | "delete" | "quota" => {
                let command = self.command(&line.name, &mut args)?;
                self.submit(Some(command))?
            }
            "fill" => self.fill(&mut args)?,
            question => self.answer(question, &mut args)?,
        };
        args.reject_next()?;
        Ok(output)
    }
}

impl Script {
    fn submit(&mut self, entry: Option<Command>) -> Result<String> {
        match &mut self.batch {
            Some(batch) => {
                batch.push(entry);
                Ok(String::new())
            }
            None => self.apply(&[entry]),
        }
    }

    fn apply(&mut self, entries: &[Option<Command>]) -> Result<String> {
        let (responses, touched) = self.transact(entries)?;
        check::check(&self.state)?;
        let mut output = String::new();
        for response in responses {
            writeln!(output, "{}", show(&response))?;
        }
        if entries.len() > 1 {
            let touched: Vec<&str> = touched.iter().map(TenantId::as_str).collect();
            writeln!(output, "touched: {}", touched.join(" "))?;
        }
        Ok(output)
    }

    fn transact(&mut self, entries: &[Option<Command>]) -> Result<(Vec<Response>, Vec<TenantId>)> {
        let mut txn = Txn::begin(&self.state)?;
        let mut responses = Vec::new();
        for entry in entries {
            self.index += 1;
            responses.push(match entry {
                Some(command) => txn.apply(self.index, command)?,
                None => txn.skip(self.index)?,
            });
        }
        let applied = txn.finish()?;
        self.state.absorb(applied.ops);
        Ok((responses, applied.touched))
    }

    fn command(&mut self, method: &str, args: &mut ArgumentConsumer<'_>) -> Result<Command> {
        let principal = args.take_key("principal").unwrap_or("alice");
        let request_id = self.request_id(args)?;
        let (tenant, kind) = if method == "quota" {
            let tenant: TenantId = parse(args.take_key("tenant").unwrap_or("acme"));
            (tenant, CommandKind::SetQuota { secrets_max: args.next_pos().ok_or("quota N")?.parse()? })
        } else {
            let place = place(args)?;
            (place.tenant.clone(), self.kind(method, place, args)?)
        };
        let time_ms = EPOCH_MS + self.clock_ms;
        Ok(command(time_ms, tenant.as_str(), principal, request_id, kind))
    }

    fn request_id(&mut self, args: &mut ArgumentConsumer<'_>) -> Result<RequestId> {
        let time_ms = match args.take_key("req_at") {
            Some(time) => EPOCH_MS + time.parse::<i64>()?,
            None => EPOCH_MS + self.clock_ms,
        };
        self.requests += 1;
        let new = support::request_id(time_ms, self.requests);
        Ok(match args.take_key("req") {
            Some(label) => *self.named_requests.entry(label.to_owned()).or_insert(new),
            None => new,
        })
    }

    fn kind(&self, method: &str, place: Place, args: &mut ArgumentConsumer<'_>) -> Result<CommandKind> {
        let present = query::get(&self.state, &place.tenant, &place.namespace, &place.name)?;
        let Place { namespace, name, .. } = place;
        let number = |text: Option<&str>| text.map(str::parse::<u64>).transpose();
        let map = |text: Option<&str>| text.map(pairs).transpose();
        let size = number(args.take_key("size"))?;
        let sealed = number(args.take_key("sealed"))?;
        let (given_uid, given_generation) =
            (number(args.take_key("uid"))?, number(args.take_key("generation"))?);
        let labels = map(args.take_key("labels"))?.map(Labels::from_map).transpose()?;
        let annotations = map(args.take_key("annotations"))?.map(Annotations::from_map).transpose()?;
        let expect_uid = number(args.take_key("expect_uid"))?.map(uid);
        let expect_revision = number(args.take_key("expect_revision"))?;
        let equal_to = number(args.take_key("equal_to"))?;
        let seal = |size: u64, next_uid: u64, next_generation: u64| {
            let (uid, generation) =
                (given_uid.unwrap_or(next_uid), given_generation.unwrap_or(next_generation));
            payload(support::uid(uid), generation, size as u32, sealed.unwrap_or(size + 28) as usize)
        };
        Ok(match method {
            "create" => CommandKind::CreateSecret {
                namespace,
                name,
                labels: labels.unwrap_or_default(),
                annotations: annotations.unwrap_or_default(),
                payload: seal(size.unwrap_or(10), self.index + 1, 1),
            },
            "update" => {
                let (next_uid, next_generation) =
                    present.map_or((0, 0), |secret| (uid_number(secret.uid), secret.generation + 1));
                let payload = size.map(|size| seal(size, next_uid, next_generation));
                let equal_to =
                    equal_to.map(|generation| (support::uid(given_uid.unwrap_or(next_uid)), generation));
                CommandKind::UpdateSecret {
                    namespace,
                    name,
                    payload,
                    equal_to,
                    labels,
                    annotations,
                    expect_uid,
                    expect_revision,
                }
            }
            _ => CommandKind::DeleteSecret { namespace, name, expect_uid, expect_revision },
        })
    }

    fn fill(&mut self, args: &mut ArgumentConsumer<'_>) -> Result<String> {
        let count: u64 = args.next_pos().ok_or("fill N")?.parse()?;
        let tenant = args.take_key("tenant").unwrap_or("acme").to_owned();
        let mut answers: BTreeMap<String, u64> = BTreeMap::new();
        let mut left = count;
        while left > 0 {
            let mut entries = Vec::new();
            for _ in 0..left.min(1_000) {
                self.requests += 1;
                let time_ms = EPOCH_MS + self.clock_ms;
                let kind = CommandKind::DeleteSecret {
                    namespace: Namespace::default(),
                    name: parse("missing"),
                    expect_uid: None,
                    expect_revision: None,
                };
                let id = support::request_id(time_ms, self.requests);
                entries.push(Some(command(time_ms, &tenant, "alice", id, kind)));
            }
            left -= entries.len() as u64;
            for response in self.transact(&entries)?.0 {
                *answers.entry(format!("{:?}", response.outcome)).or_default() += 1;
            }
        }
        check::check(&self.state)?;
        Ok(answers.iter().map(|(answer, times)| format!("{times} × {answer}\n")).collect())
    }

    fn answer(&self, question: &str, args: &mut ArgumentConsumer<'_>) -> Result<String> {
        let mut output = String::new();
        match question {
            "get" => {
                let place = place(args)?;
                match query::get(&self.state, &place.tenant, &place.namespace, &place.name)? {
                    Some(secret) => writeln!(output, "{}", show_secret(&secret))?,
                    None => writeln!(output, "none")?,
                }
            }
            "payload" => {
                let place = place(args)?;
                match query::payload(&self.state, &place.tenant, &place.namespace, &place.name)? {
                    Some((secret, sealed)) => {
                        writeln!(output, "{} bytes sealed, of {}", sealed.len(), show_secret(&secret))?;
                    }
                    None => writeln!(output, "none")?,
                }
            }
            "list" => self.list(args, &mut output)?,
            "changes" => self.changes(args, &mut output)?,
            "usage" => {
                let usage = query::usage(&self.state, &tenant(args))?;
                writeln!(output, "{}/{}", usage.used, usage.quota)?;
            }
            "remembered" => writeln!(output, "{}", check::check(&self.state)?.requests)?,
            "header" => {
                let header = Header::read(&self.state)?;
                writeln!(output, "revision={} time={}", header.revision, header.log_time_ms - EPOCH_MS)?;
            }
            other => return Err(format!("unknown command {other}").into()),
        }
        Ok(output)
    }

    fn list(&self, args: &mut ArgumentConsumer<'_>, output: &mut String) -> Result<()> {
        let tenant = tenant(args);
        let namespace: Option<Namespace> = args.take_key("ns").map(parse);
        let selector: Selector = args.take_key("selector").unwrap_or_default().parse()?;
        let after =
            args.take_key("after").map(|after| after.split_once('/').ok_or("after=NS/NAME")).transpose()?;
        let after = after.map(|(namespace, name)| (parse(namespace), parse(name)));
        let limit = args.take_key("limit").unwrap_or("100").parse()?;
        let query =
            ListQuery { tenant: &tenant, namespace: namespace.as_ref(), selector: &selector, after, limit };
        let (page, more) = query::list(&self.state, &query)?;
        for secret in &page {
            writeln!(output, "{}", show_secret(secret))?;
        }
        writeln!(output, "{}", if more { "more follow" } else { "end" })?;
        Ok(())
    }

    fn changes(&self, args: &mut ArgumentConsumer<'_>, output: &mut String) -> Result<()> {
        let after = args.take_key("after").unwrap_or("0").parse()?;
        let limit = args.take_key("limit").unwrap_or("1000").parse()?;
        match query::changes(&self.state, &tenant(args), after, limit)? {
            Ok(changes) => {
                for change in &changes {
                    writeln!(output, "{}", show_change(change))?;
                }
                writeln!(output, "{} changes", changes.len())?;
            }
            Err(too_old) => writeln!(output, "too old: {too_old}")?,
        }
        Ok(())
    }
}

fn tenant(args: &mut ArgumentConsumer<'_>) -> TenantId {
    parse(args.take_key("tenant").unwrap_or("acme"))
}

fn place(args: &mut ArgumentConsumer<'_>) -> Result<Place> {
    let tenant = tenant(args);
    let namespace = parse(args.take_key("ns").unwrap_or("default"));
    let name = parse(args.next_pos().ok_or("a secret's name is missing")?);
    Ok(Place { tenant, namespace, name })
}

fn pairs(text: &str) -> Result<BTreeMap<String, String>> {
    let pairs = text.split(',').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once(':').ok_or_else(|| format!("not key:value: {pair}"))?;
            Ok((key.to_owned(), value.to_owned()))
        })
        .collect()
}
