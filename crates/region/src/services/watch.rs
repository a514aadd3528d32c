//! Watch: the present state, then every change by revision.
//!
//! Each watch is one task with a short channel; nothing is queued per watch beyond it. A slow watcher simply reads the
//! feed later; when the feed has moved past it, the watch ends with `WATCH_TOO_OLD` and starts over.
//!
//! What a caller can rely on:
//! - Without a resume token: `EXISTING` for each secret, `SYNCED`, then changes. Messages before `SYNCED` carry no
//!   token: half a state cannot be continued.
//! - Changes come in the order of revisions, each once per stream. `PROGRESS` says that nothing matching happened up to
//!   its revision.
//! - With a name, namespace or label filter the events are those of the filtered set: a secret that stops matching is
//!   `DELETED` (with its new metadata), one that starts matching is `CREATED`. After a resume the node does not know
//!   what matched before; then a changed secret that matches is `UPDATED` and one that does not is `DELETED`, known to
//!   the caller or not. Treat `UPDATED` as create-or-replace, and `DELETED` of something unknown as nothing.
//! - It runs on the leader. When this node stops leading, or is cut off from its majority, the stream ends
//!   `UNAVAILABLE/NO_LEADER` within about 2 s, however busy; continue with the last token, elsewhere.
//! - It ends at the deadline the caller named; without one it lasts.

use std::collections::{HashMap, HashSet};
use std::future::pending;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use pi_proto::secrets::v1 as wire;
use pi_raft::ReadError;
use pi_raft::store::Store;
use pi_state::query::{Change, ChangeKind};
use pi_state::{Header, SecretMeta, query};
use pi_types::limits::LIST_PAGE_DEFAULT;
use pi_types::{TenantId, Uid};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep_until, timeout_at};
use tokio_stream::Stream;
use tonic::Status;
use wire::watch_response::Kind;

use super::{Node, View};
use crate::authorize::{Action, authorize};
use crate::call::Call;
use crate::failure::Failure;
use crate::tokens::{Fingerprint, ResumeToken};
use crate::validate::Watch;
use crate::wire::secret;

/// Messages on their way to a watcher.
const CHANNEL_MESSAGES: usize = 8;
/// Changes read from the feed at once.
const CHANGES_MAX: usize = 32;
/// How often a watch looks whether it may go on: leadership, permission.
const CHECK_EVERY: Duration = Duration::from_millis(500);
/// How old the last proof of leadership may be. A node looks for one 500 ms after each answer, which takes 1 s at most.
const CONFIRMED_WITHIN: Duration = Duration::from_millis(1_500);
/// How long the present state may take to be read; it pins a view of the store.
const INITIAL_TIMEOUT: Duration = Duration::from_secs(30);
/// Above this many matching secrets a watch with a label selector forgets which ones matched.
const KNOWN_MAX: usize = 10_000;

/// What a watcher reads: the messages, then why there are no more.
///
/// The reason has a place of its own, so that a watch ends without waiting for one who does not read, and the reason is
/// never lost.
#[derive(Debug)]
pub struct Messages {
    messages: mpsc::Receiver<wire::WatchResponse>,
    reason: oneshot::Receiver<Status>,
}

impl Messages {
    fn new() -> (Self, mpsc::Sender<wire::WatchResponse>, oneshot::Sender<Status>) {
        let (sender, messages) = mpsc::channel(CHANNEL_MESSAGES);
        let (end, reason) = oneshot::channel();
        (Self { messages, reason }, sender, end)
    }
}

impl Stream for Messages {
    type Item = Result<wire::WatchResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(self.messages.poll_recv(context));
        // The reason is given before the last sender goes.
        Poll::Ready(next.map(Ok).or_else(|| self.reason.try_recv().ok().map(Err)))
    }
}

/// Starts a watch: everything that can be refused is refused here, before the stream.
pub async fn start<S: Store>(
    node: Arc<Node<S>>,
    mut call: Call,
    request: wire::WatchRequest,
) -> Result<Messages, Failure> {
    let filter = Watch::read(&request)?;
    let tenant = call.tenant()?.clone();
    let arguments = watch_arguments(&tenant, &request);
    let resume = if request.resume_token.is_empty() {
        None
    } else {
        let token = ResumeToken::decode(&request.resume_token, &node.identity.region, arguments)
            .map_err(|error| Failure::invalid("resume_token", error.to_string()))?;
        Some(token.revision)
    };
    if let (Some(namespace), Some(name)) = (&filter.namespace, &filter.name) {
        call.about(namespace, name);
    }
    let permit = node.watches.enter(&tenant)?;
    // Linearizable, also for a resume: a leader deposed without knowing it must not keep the watcher.
    let view = node.view(call.deadline).await?;
    if let Some(after) = resume
        && let Err(too_old) = node.found(query::changes(&*view, &tenant, after, 0))?
    {
        return Err(Failure::WatchTooOld { revision: after, oldest: too_old.oldest });
    }
    let known = if filter.selects_by_label && resume.is_none() {
        Known::Exactly(HashSet::new())
    } else {
        Known::Unknown
    };
    let (messages, sender, end) = Messages::new();
    let (after, next_check) = (resume.unwrap_or(0), Instant::now() + CHECK_EVERY);
    let task = Task { node, call, filter, tenant, arguments, known, sender, after, next_check };
    tokio::spawn(async move {
        let _permit = permit;
        task.run(resume.is_none().then_some(view), end).await;
    });
    Ok(messages)
}

fn watch_arguments(tenant: &TenantId, request: &wire::WatchRequest) -> Fingerprint {
    Fingerprint::of(&[
        b"watch",
        tenant.as_str().as_bytes(),
        request.namespace.as_bytes(),
        request.name.as_bytes(),
        request.label_selector.as_bytes(),
    ])
}

/// Which secrets matched when last seen; only a label selector can change its mind about one.
enum Known {
    Exactly(HashSet<Uid>),
    /// After a resume, or too many to remember.
    Unknown,
}

impl Known {
    fn insert(&mut self, uid: Uid) {
        if let Self::Exactly(uids) = self {
            uids.insert(uid);
            if uids.len() > KNOWN_MAX {
                *self = Self::Unknown;
            }
        }
    }

    /// What a change is to this watcher, if anything; and remembers it.
    fn translate(&mut self, change: ChangeKind, uid: Uid, matches: bool) -> Option<Kind> {
        let knew = match self {
            Self::Exactly(uids) => Some(uids.contains(&uid)),
            Self::Unknown => None,
        };
        let gone = change == ChangeKind::Deleted || !matches;
        if gone {
            if let Self::Exactly(uids) = self {
                uids.remove(&uid);
            }
        } else {
            self.insert(uid);
        }
        match (change, matches, knew) {
            (ChangeKind::Created, true, _) => Some(Kind::Created),
            (ChangeKind::Created, false, _) => None,
            (ChangeKind::Updated, true, Some(false)) => Some(Kind::Created),
            (ChangeKind::Updated, true, _) => Some(Kind::Updated),
            (ChangeKind::Updated, false, Some(false)) => None,
            (ChangeKind::Updated, false, _) => Some(Kind::Deleted),
            (ChangeKind::Deleted, false, Some(false)) => None,
            // A deletion shows the labels it had last: one that did not match was reported gone before.
            (ChangeKind::Deleted, false, None) => None,
            (ChangeKind::Deleted, _, _) => Some(Kind::Deleted),
        }
    }
}

/// The watcher went away: nobody is left to tell anything.
struct Gone;

/// Why the task stops: the watcher is told, or is gone.
enum End {
    Gone,
    Told(Failure),
}

impl From<Gone> for End {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self::Told(failure)
    }
}

struct Task<S: Store> {
    node: Arc<Node<S>>,
    call: Call,
    filter: Watch,
    tenant: TenantId,
    arguments: Fingerprint,
    known: Known,
    sender: mpsc::Sender<wire::WatchResponse>,
    /// Everything up to this revision was sent.
    after: u64,
    /// When to look again whether the watch may go on.
    next_check: Instant,
}

impl<S: Store> Task<S> {
    async fn run(mut self, initial: Option<View>, end: oneshot::Sender<Status>) {
        if let Err(End::Told(failure)) = self.follow(initial).await {
            // An error means that the watcher has gone meanwhile.
            let _ = end.send(self.call.refuse(&failure));
        }
    }

    async fn follow(&mut self, initial: Option<View>) -> Result<(), End> {
        // Subscribed before the first read, so that no change falls between.
        let mut changed = self.node.replica.changed(&self.tenant);
        if let Some(view) = initial {
            self.send_present(view).await?;
        }
        let every = Duration::from_millis(self.node.limits.watch_progress_ms);
        let mut progress_at = Instant::now() + every;
        loop {
            changed.borrow_and_update();
            if self.send_changes().await? {
                progress_at = Instant::now() + every;
            }
            loop {
                let mut woken = false;
                tokio::select! {
                    wake = changed.changed() => match wake {
                        Ok(()) => woken = true,
                        // The replica is going down; the checks below say so in their own words.
                        Err(_) => sleep_until(self.next_check.into()).await,
                    },
                    () = sleep_until(self.next_check.into()) => {}
                    () = self.node.shutdown.requested() => return Err(Failure::ShuttingDown.into()),
                    () = self.sender.closed() => return Err(End::Gone),
                    () = self.own_deadline() => return Err(Failure::WatchDeadline.into()),
                }
                // Also when changes come faster than checks are due.
                self.check_if_due()?;
                if woken {
                    break;
                }
                if Instant::now() >= progress_at {
                    self.send_progress().await?;
                    progress_at = Instant::now() + every;
                }
            }
        }
    }

    /// Resolves at the deadline the caller named; never when it named none.
    async fn own_deadline(&self) {
        match self.call.watch_until {
            Some(until) => sleep_until(until.into()).await,
            None => pending().await,
        }
    }

    /// [`Task::check`], unless it was done less than [`CHECK_EVERY`] ago.
    fn check_if_due(&mut self) -> Result<(), Failure> {
        let now = Instant::now();
        if now < self.next_check {
            return Ok(());
        }
        self.next_check = now + CHECK_EVERY;
        self.check()
    }

    /// Whether the watch may go on.
    fn check(&self) -> Result<(), Failure> {
        let leader = self.node.replica.leader();
        if leader != Some(self.node.identity.node_id) {
            return Err(Failure::Read(ReadError::NotLeader { leader }));
        }
        if !self.node.confirmed.within(CONFIRMED_WITHIN) {
            return Err(Failure::Read(ReadError::NotLeader { leader: None }));
        }
        let action = Action::WatchSecrets;
        authorize(&self.call.principal, action)
            .map_err(|_| Failure::Denied { principal: self.call.principal.clone(), action })
    }

    /// Sends the state as of one view, then `SYNCED`.
    async fn send_present(&mut self, view: View) -> Result<(), End> {
        let until = Instant::now() + INITIAL_TIMEOUT;
        let revision = self.node.found(Header::read(&*view))?.revision;
        let mut last = None;
        loop {
            let query = query::ListQuery {
                tenant: &self.tenant,
                namespace: self.filter.namespace.as_ref(),
                selector: &self.filter.selector,
                after: last,
                limit: LIST_PAGE_DEFAULT,
            };
            let (metas, more) = self.node.found(query::list(&*view, &query))?;
            last = metas.last().map(|meta| (meta.namespace.clone(), meta.name.clone()));
            for meta in metas {
                if !self.names(&meta) {
                    continue;
                }
                self.known.insert(meta.uid);
                let message = self.message(Kind::Existing, Some(meta), revision, String::new());
                self.send_before(message, until).await?;
            }
            if !more {
                break;
            }
        }
        drop(view);
        self.after = revision;
        let token = self.token(revision);
        let message = self.message(Kind::Synced, None, revision, token);
        self.send_before(message, until).await
    }

    /// Sends what the feed holds behind `after`; true when anything was sent.
    async fn send_changes(&mut self) -> Result<bool, End> {
        let mut sent = false;
        loop {
            let changes = {
                let view = self.node.replica.read_stale();
                let found = query::changes(&*view, &self.tenant, self.after, CHANGES_MAX);
                self.node.found(found)?
            };
            let changes = changes
                .map_err(|too_old| Failure::WatchTooOld { revision: self.after, oldest: too_old.oldest })?;
            let complete = changes.len() < CHANGES_MAX;
            self.check_if_due()?;
            for change in changes {
                sent |= self.send_change(change).await?;
            }
            if complete {
                return Ok(sent);
            }
        }
    }

    async fn send_change(&mut self, change: Change) -> Result<bool, End> {
        let Change { revision, kind, secret: meta } = change;
        assert!(revision > self.after, "the feed is in the order of revisions");
        self.after = revision;
        let in_namespace =
            self.filter.namespace.as_ref().is_none_or(|namespace| *namespace == meta.namespace);
        if !in_namespace || !self.names(&meta) {
            return Ok(false);
        }
        let kind = if self.filter.selects_by_label {
            let matches = self.filter.selector.matches(&meta.labels);
            self.known.translate(kind, meta.uid, matches)
        } else {
            Some(match kind {
                ChangeKind::Created => Kind::Created,
                ChangeKind::Updated => Kind::Updated,
                ChangeKind::Deleted => Kind::Deleted,
            })
        };
        let Some(kind) = kind else { return Ok(false) };
        let token = self.token(revision);
        self.send(self.message(kind, Some(meta), revision, token)).await?;
        Ok(true)
    }

    /// Everything up to the header's revision was read: the header is read first, and the feed again after it.
    async fn send_progress(&mut self) -> Result<(), End> {
        let revision = {
            let view = self.node.replica.read_stale();
            self.node.found(Header::read(&*view))?.revision
        };
        self.send_changes().await?;
        self.after = self.after.max(revision);
        let token = self.token(self.after);
        let message = self.message(Kind::Progress, None, self.after, token);
        self.send(message).await
    }

    fn names(&self, meta: &SecretMeta) -> bool {
        self.filter.name.as_ref().is_none_or(|name| *name == meta.name)
    }

    fn token(&self, revision: u64) -> String {
        let region = self.node.identity.region.clone();
        ResumeToken { revision, region, group_id: String::new() }.encode(self.arguments)
    }

    fn message(
        &self,
        kind: Kind,
        meta: Option<SecretMeta>,
        revision: u64,
        resume_token: String,
    ) -> wire::WatchResponse {
        let secret = meta.map(|meta| secret(meta, &self.node.identity.region));
        wire::WatchResponse { kind: kind.into(), secret, revision, resume_token }
    }

    /// Waits for room as long as the watcher is there and the watch may go on.
    async fn send(&mut self, message: wire::WatchResponse) -> Result<(), End> {
        loop {
            self.check_if_due()?;
            tokio::select! {
                room = self.sender.reserve() => {
                    room.map_err(|_| End::Gone)?.send(message);
                    return Ok(());
                }
                () = sleep_until(self.next_check.into()) => {}
                () = self.node.shutdown.requested() => return Err(Failure::ShuttingDown.into()),
                () = self.own_deadline() => return Err(Failure::WatchDeadline.into()),
            }
        }
    }

    async fn send_before(&mut self, message: wire::WatchResponse, until: Instant) -> Result<(), End> {
        timeout_at(until.into(), self.send(message)).await.map_err(|_| Failure::SlowWatcher)?
    }
}

/// Counts the watches of this node, in all and per tenant.
#[derive(Debug)]
pub struct Watches {
    max: usize,
    per_tenant_max: usize,
    /// Tenants without watches have no entry.
    counts: Arc<Mutex<HashMap<TenantId, usize>>>,
}

/// One counted watch; dropping it gives its place back.
#[derive(Debug)]
pub struct WatchPermit {
    tenant: TenantId,
    counts: Arc<Mutex<HashMap<TenantId, usize>>>,
}

impl Watches {
    /// Bounds: in all, and for one tenant.
    pub fn new(limits: &crate::config::Limits) -> Self {
        Self {
            max: limits.watches_max,
            per_tenant_max: limits.watches_per_tenant_max,
            counts: Arc::default(),
        }
    }

    /// Takes a place, or says which bound is met.
    pub fn enter(&self, tenant: &TenantId) -> Result<WatchPermit, Failure> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.values().sum::<usize>() >= self.max {
            return Err(Failure::NodeWatches { limit: self.max });
        }
        let count = counts.entry(tenant.clone()).or_default();
        if *count >= self.per_tenant_max {
            return Err(Failure::TenantWatches { limit: self.per_tenant_max });
        }
        *count += 1;
        Ok(WatchPermit { tenant: tenant.clone(), counts: Arc::clone(&self.counts) })
    }
}

impl Drop for WatchPermit {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.tenant) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_turns_changes_into_those_of_the_selected_set() {
        let uid = Uid::from_bytes([1; 16]);
        let mut known = Known::Exactly(HashSet::new());
        assert_eq!(known.translate(ChangeKind::Created, uid, false), None);
        assert_eq!(known.translate(ChangeKind::Updated, uid, false), None);
        assert_eq!(known.translate(ChangeKind::Updated, uid, true), Some(Kind::Created));
        assert_eq!(known.translate(ChangeKind::Updated, uid, true), Some(Kind::Updated));
        assert_eq!(known.translate(ChangeKind::Updated, uid, false), Some(Kind::Deleted));
        assert_eq!(known.translate(ChangeKind::Deleted, uid, false), None);
        assert_eq!(known.translate(ChangeKind::Created, uid, true), Some(Kind::Created));
        assert_eq!(known.translate(ChangeKind::Deleted, uid, true), Some(Kind::Deleted));
    }

    #[test]
    fn after_a_resume_a_change_out_of_the_selected_set_is_a_deletion_to_be_safe() {
        let uid = Uid::from_bytes([1; 16]);
        let mut known = Known::Unknown;
        assert_eq!(known.translate(ChangeKind::Updated, uid, false), Some(Kind::Deleted));
        assert_eq!(known.translate(ChangeKind::Updated, uid, true), Some(Kind::Updated));
        assert_eq!(known.translate(ChangeKind::Deleted, uid, true), Some(Kind::Deleted));
    }

    #[tokio::test]
    async fn a_watch_ends_at_once_for_one_who_does_not_read_and_the_reason_waits_behind_the_messages() {
        use tokio_stream::StreamExt as _;

        let (mut messages, sender, end) = Messages::new();
        for revision in 0..CHANNEL_MESSAGES as u64 {
            let message = wire::WatchResponse { revision, ..Default::default() };
            sender.try_send(message).unwrap();
        }
        assert!(sender.try_reserve().is_err(), "there is no room for a reason among the messages");
        end.send(Status::unavailable("why")).unwrap();
        drop(sender);
        for revision in 0..CHANNEL_MESSAGES as u64 {
            assert_eq!(messages.next().await.unwrap().unwrap().revision, revision);
        }
        assert_eq!(messages.next().await.unwrap().unwrap_err().message(), "why");
        assert!(messages.next().await.is_none());
    }

    #[test]
    fn places_are_bounded_per_tenant_and_in_all_and_come_back() {
        let limits =
            crate::config::Limits { watches_max: 3, watches_per_tenant_max: 2, ..Default::default() };
        let watches = Watches::new(&limits);
        let (a, b): (TenantId, TenantId) = ("a".parse().unwrap(), "b".parse().unwrap());
        let first = watches.enter(&a).unwrap();
        let _second = watches.enter(&a).unwrap();
        assert!(matches!(watches.enter(&a), Err(Failure::TenantWatches { limit: 2 })));
        let _third = watches.enter(&b).unwrap();
        assert!(matches!(watches.enter(&b), Err(Failure::NodeWatches { limit: 3 })));
        drop(first);
        assert!(watches.enter(&b).is_ok());
    }
}
