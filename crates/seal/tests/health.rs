//! For how long a silent KMS is put up with: tables over time.

use std::time::{Duration, Instant};

use pi_seal::health::{Health, KeyChange, State, Unavailable, Windows};
use pi_seal::kms::{Error, Status};

fn good(key_id: &str) -> Result<Status, Error> {
    Ok(Status { key_id: key_id.to_owned(), version: "v2".to_owned() })
}

fn bad() -> Result<Status, Error> {
    Err(Error::Unavailable {
        provider: "kms-v2",
        endpoint: "unix:///k".to_owned(),
        why: "it is off".to_owned(),
    })
}

const MINUTE: u64 = 60_000;
const DAY: u64 = 24 * 60 * MINUTE;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn writes_end_three_minutes_and_reads_a_day_after_the_last_good_status() {
    let start = Instant::now();
    let mut health = Health::new(Windows::default());
    health.record(start, &good("k"));
    health.record(start + ms(MINUTE), &bad());
    // Milliseconds since the last good status, writes, reads, state.
    let table = [
        (MINUTE, true, true, State::Failing),
        (3 * MINUTE - 1, true, true, State::Failing),
        (3 * MINUTE, false, true, State::ReadOnly),
        (3 * MINUTE + 1, false, true, State::ReadOnly),
        (DAY - 1, false, true, State::ReadOnly),
        (DAY, false, false, State::Stopped),
        (2 * DAY, false, false, State::Stopped),
    ];
    for (since, writes, reads, state) in table {
        let now = start + ms(since);
        assert_eq!(health.may_write(now).is_ok(), writes, "writes after {since} ms");
        assert_eq!(health.may_read(now).is_ok(), reads, "reads after {since} ms");
        assert_eq!(health.state(now), state, "after {since} ms");
        assert!(health.describe(now).contains("it is off"), "{}", health.describe(now));
    }
}

#[test]
fn the_windows_are_configurable() {
    let start = Instant::now();
    let windows = Windows { write: ms(10), read: ms(20), ..Windows::default() };
    let mut health = Health::new(windows);
    health.record(start, &good("k"));
    for (since, state) in
        [(9, State::Healthy), (10, State::ReadOnly), (19, State::ReadOnly), (20, State::Stopped)]
    {
        assert_eq!(health.state(start + ms(since)), state, "{since}");
    }
}

#[test]
fn nothing_is_allowed_before_the_first_good_status() {
    let start = Instant::now();
    let mut health = Health::new(Windows::default());
    assert_eq!(health.state(start), State::Stopped);
    assert!(health.describe(start).contains("not polled yet"));
    health.record(start, &bad());
    let error = health.may_write(start).unwrap_err();
    assert!(matches!(error, Unavailable::Write(_)));
    assert!(error.to_string().contains("it is off"), "{error}");
    assert!(matches!(health.may_read(start), Err(Unavailable::Read(_))));
    health.record(start, &good("k"));
    assert_eq!(health.state(start), State::Healthy);
}

#[test]
fn one_good_status_ends_a_failure_and_starts_the_windows_anew() {
    let start = Instant::now();
    let mut health = Health::new(Windows::default());
    health.record(start, &good("k"));
    health.record(start + ms(MINUTE), &bad());
    let back = start + ms(DAY + MINUTE);
    assert_eq!(health.state(back), State::Stopped);
    health.record(back, &good("k"));
    assert_eq!(health.state(back), State::Healthy);
    assert_eq!(health.state(back + ms(3 * MINUTE - 1)), State::Healthy);
    assert!(health.may_write(back + ms(3 * MINUTE)).is_err());
}

#[test]
fn it_is_polled_at_once_then_every_minute_while_well_and_every_ten_seconds_while_not() {
    let start = Instant::now();
    let mut health = Health::new(Windows::default());
    assert_eq!(health.next_poll(start), Duration::ZERO);
    health.record(start, &good("k"));
    assert_eq!(health.next_poll(start), ms(MINUTE));
    assert_eq!(health.next_poll(start + ms(MINUTE - 1)), ms(1));
    assert_eq!(health.next_poll(start + ms(2 * MINUTE)), Duration::ZERO, "late is at once");
    health.record(start + ms(MINUTE), &bad());
    assert_eq!(health.next_poll(start + ms(MINUTE)), ms(10_000));
    health.record(start + ms(MINUTE + 10_000), &good("k"));
    assert_eq!(health.next_poll(start + ms(MINUTE + 10_000)), ms(MINUTE));
}

#[test]
fn a_poller_that_died_ends_writes_too_and_is_told_apart() {
    let start = Instant::now();
    let mut health = Health::new(Windows::default());
    health.record(start, &good("k"));
    let error = health.may_write(start + ms(3 * MINUTE)).unwrap_err().to_string();
    assert!(error.contains("not being polled"), "{error}");
}

#[test]
fn an_error_tells_cause_limit_value_and_what_to_do() {
    let start = Instant::now();
    let mut health = Health::new(Windows::default());
    health.record(start, &good("k"));
    health.record(start + ms(MINUTE), &bad());
    let error = health.may_write(start + ms(200_000)).unwrap_err().to_string();
    for part in ["not sealed", "200 s", "180 s", "it is off", "mend the KMS"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let line = health.describe(start + ms(100_000));
    assert!(line.contains("writes end in 80 s") && line.contains("reads in 86300 s"), "{line}");
}

#[test]
fn a_rotated_key_is_told_once() {
    let start = Instant::now();
    let mut health = Health::new(Windows::default());
    let change =
        |from: Option<&str>, to: &str| Some(KeyChange { from: from.map(str::to_owned), to: to.to_owned() });
    assert_eq!(health.record(start, &good("a")), change(None, "a"));
    assert_eq!(health.record(start, &good("a")), None);
    assert_eq!(health.record(start, &bad()), None);
    assert_eq!(health.record(start, &good("a")), None);
    assert_eq!(health.record(start, &good("b")), change(Some("a"), "b"));
    assert_eq!(health.key_id(), Some("b"));
}

#[test]
fn a_clock_that_stands_still_or_steps_back_does_no_harm() {
    let start = Instant::now() + ms(DAY);
    let mut health = Health::new(Windows::default());
    health.record(start, &good("k"));
    assert_eq!(health.state(start - ms(MINUTE)), State::Healthy);
    assert!(health.next_poll(start - ms(MINUTE)) <= ms(2 * MINUTE));
}
