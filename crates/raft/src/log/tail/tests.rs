//! The tail against a model: at any moment, what is not in memory can be read from what is durable.

use proptest::prelude::*;

use super::*;
use crate::types::EncodedCommand;

fn entry(term: u64, index: u64) -> Entry {
    let payload = EntryPayload::Normal(EncodedCommand(vec![0; 100].into()));
    Entry { log_id: LogId::new(term.into(), index), payload }
}

#[derive(Clone, Debug)]
enum Step {
    Append(u64),
    /// The writer catches up.
    Write,
    /// openraft waits for it: the writer catches up, then truncates.
    Truncate(u64),
    Purge(u64),
    Read(u64, u64, usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1..40u64).prop_map(Step::Append),
        Just(Step::Write),
        (0..200u64).prop_map(Step::Truncate),
        (0..200u64).prop_map(Step::Purge),
        (0..300u64, 0..300u64, 0..2_000usize).prop_map(|(start, end, bytes)| Step::Read(start, end, bytes)),
    ]
}

/// What the log should hold, and what the store does.
#[derive(Default)]
struct Model {
    log: Vec<Entry>,
    stored: Vec<Entry>,
    term: u64,
    next: u64,
    purged: Option<LogId>,
}

impl Model {
    fn run(&mut self, tail: &Tail, step: Step) {
        match step {
            Step::Append(count) => {
                let entries: Vec<_> =
                    (self.next..self.next + count).map(|index| entry(self.term, index)).collect();
                tail.append(&entries).unwrap();
                self.next += count;
                self.log.extend(entries);
            }
            Step::Write => self.write(tail),
            Step::Truncate(keep) => {
                let Some(last) = self.log.iter().map(|entry| entry.log_id).find(|id| id.index == keep) else {
                    return;
                };
                tail.truncate_after(Some(last));
                self.write(tail);
                self.log.retain(|entry| entry.log_id.index <= keep);
                self.stored.retain(|entry| entry.log_id.index <= keep);
                tail.truncated(keep + 1);
                self.next = keep + 1;
                self.term += 1;
            }
            Step::Purge(upto) => {
                let Some(upto) = self.log.iter().map(|entry| entry.log_id).find(|id| id.index == upto) else {
                    return;
                };
                tail.purge(upto);
                self.log.retain(|entry| entry.log_id.index > upto.index);
                self.stored.retain(|entry| entry.log_id.index > upto.index);
                self.purged = Some(upto);
            }
            Step::Read(start, end, bytes_max) => self.read(tail, start, end, bytes_max),
        }
        let bounds = tail.bounds();
        assert_eq!(bounds.purged, self.purged);
        assert_eq!(bounds.last, self.log.last().map(|entry| entry.log_id).or(self.purged));
    }

    fn write(&mut self, tail: &Tail) {
        self.stored = self.log.clone();
        tail.durable(self.next);
    }

    fn read(&self, tail: &Tail, start: u64, end: u64, bytes_max: usize) {
        let segment = tail.segment(start, end, bytes_max);
        let stored: Vec<_> = segment
            .stored
            .clone()
            .map(|index| {
                self.stored.iter().find(|entry| entry.log_id.index == index).expect("it is durable").clone()
            })
            .collect();
        let got: Vec<_> = stored.into_iter().chain(segment.tail.clone()).collect();
        let expected: Vec<_> =
            self.log.iter().filter(|entry| (start..end).contains(&entry.log_id.index)).cloned().collect();
        assert!(expected.starts_with(&got), "{got:?} is not how {expected:?} begins");
        let cut = segment.tail.iter().map(entry_bytes).sum::<usize>() > bytes_max;
        assert!(cut || got.len() == expected.len(), "it is complete unless cut");
    }
}

proptest! {
    #[test]
    fn what_is_not_in_memory_is_durable(steps in prop::collection::vec(step(), 1..60)) {
        let tail = Tail::new(LogBounds::default(), None);
        let mut model = Model::default();
        for step in steps {
            model.run(&tail, step);
        }
        model.read(&tail, 0, u64::MAX, usize::MAX);
    }
}

#[test]
fn only_durable_entries_are_evicted() {
    let tail = Tail::new(LogBounds::default(), None);
    let count = 2 * KEPT_ENTRIES_MAX as u64;
    tail.append(&(0..count).map(|index| entry(1, index)).collect::<Vec<_>>()).unwrap();
    tail.durable(100);
    assert_eq!(tail.segment(0, count, usize::MAX).stored, 0..100);
    tail.durable(count);
    assert_eq!(tail.segment(0, count, usize::MAX).stored, 0..count - KEPT_ENTRIES_MAX as u64);
}

#[test]
fn purging_beyond_the_end_leaves_an_empty_log_that_goes_on_there() {
    let tail = Tail::new(LogBounds::default(), None);
    tail.append(&[entry(1, 0), entry(1, 1)]).unwrap();
    tail.purge(LogId::new(2.into(), 20));
    assert_eq!(tail.bounds().last, Some(LogId::new(2.into(), 20)));
    assert!(tail.append(&[entry(2, 2)]).is_err());
    tail.append(&[entry(2, 21)]).unwrap();
    assert_eq!(tail.segment(0, 100, usize::MAX).tail, [entry(2, 21)]);
}
