//! The one retry policy: exponential delays with a cap and jitter.
//!
//! Responsible for how long to wait. Whether to retry at all, and when to give up, is the caller's business: the
//! sequence of delays never ends.

use std::time::Duration;

use rand::Rng;
use serde::{Deserialize, Serialize};

/// A validated retry policy.
///
/// Invariants: `0 < initial <= max`, `1 <= factor <= 10`, `0 <= jitter <= 1`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub struct Backoff {
    initial: Duration,
    max: Duration,
    factor: f64,
    jitter: f64,
}

/// Why a policy was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{field}: {expected}")]
pub struct Invalid {
    field: &'static str,
    expected: &'static str,
}

/// The form in a configuration file.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    initial_ms: u64,
    max_ms: u64,
    factor: f64,
    jitter: f64,
}

impl Backoff {
    /// Delays start at `initial`, grow by `factor` and stop growing at `max`. Each is shortened by a random part of up
    /// to `jitter` (0 = none, 1 = anything down to zero), so that callers that failed together do not return together.
    ///
    /// # Errors
    /// A value is outside the bounds named at the type.
    pub fn new(initial: Duration, max: Duration, factor: f64, jitter: f64) -> Result<Self, Invalid> {
        let check =
            |holds: bool, field, expected| if holds { Ok(()) } else { Err(Invalid { field, expected }) };
        check(!initial.is_zero(), "initial", "must be more than 0")?;
        check(initial <= max, "max", "must be at least `initial`")?;
        check(max <= Duration::from_secs(3_600), "max", "must be at most one hour")?;
        check((1.0..=10.0).contains(&factor), "factor", "must be between 1 and 10")?;
        check((0.0..=1.0).contains(&jitter), "jitter", "must be between 0 and 1")?;
        Ok(Self { initial, max, factor, jitter })
    }

    /// The endless sequence of delays. The randomness is the caller's, so that a simulation can repeat it.
    pub fn iter<R: Rng>(&self, rng: R) -> Delays<R> {
        Delays { policy: *self, next: self.initial, rng }
    }
}

/// 20 ms, doubling up to 2 s, half of it jitter: right for calls between machines of one region.
impl Default for Backoff {
    fn default() -> Self {
        Self { initial: Duration::from_millis(20), max: Duration::from_secs(2), factor: 2.0, jitter: 0.5 }
    }
}

impl TryFrom<Wire> for Backoff {
    type Error = Invalid;

    fn try_from(wire: Wire) -> Result<Self, Invalid> {
        let (initial, max) = (Duration::from_millis(wire.initial_ms), Duration::from_millis(wire.max_ms));
        Self::new(initial, max, wire.factor, wire.jitter)
    }
}

impl From<Backoff> for Wire {
    fn from(policy: Backoff) -> Self {
        // `max` is at most one hour, so both fit.
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self {
            initial_ms: ms(policy.initial),
            max_ms: ms(policy.max),
            factor: policy.factor,
            jitter: policy.jitter,
        }
    }
}

/// See [`Backoff::iter`].
#[derive(Debug)]
pub struct Delays<R> {
    policy: Backoff,
    next: Duration,
    rng: R,
}

impl<R: Rng> Delays<R> {
    /// The next delay; there always is one.
    pub fn next_delay(&mut self) -> Duration {
        let full = self.next;
        self.next = full.mul_f64(self.policy.factor).min(self.policy.max);
        full.mul_f64(1.0 - self.policy.jitter * self.rng.random::<f64>())
    }

    /// Starts again at `initial`; for after a success.
    pub fn reset(&mut self) {
        self.next = self.policy.initial;
    }
}

impl<R: Rng> Iterator for Delays<R> {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.next_delay())
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn ms(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    #[test]
    fn delays_double_up_to_the_cap_without_jitter() {
        let policy = Backoff::new(ms(10), ms(50), 2.0, 0.0).unwrap();
        let delays: Vec<_> = policy.iter(StdRng::seed_from_u64(1)).take(5).collect();
        assert_eq!(delays, [ms(10), ms(20), ms(40), ms(50), ms(50)]);
    }

    #[test]
    fn jitter_shortens_by_at_most_its_part_and_one_seed_gives_one_sequence() {
        let policy = Backoff::new(ms(100), ms(100), 2.0, 0.5).unwrap();
        let run = || policy.iter(StdRng::seed_from_u64(7)).take(100).collect::<Vec<_>>();
        let delays = run();
        assert!(delays.iter().all(|delay| (ms(50)..=ms(100)).contains(delay)), "{delays:?}");
        assert!(delays.iter().any(|delay| *delay != delays[0]));
        assert_eq!(delays, run());
    }

    #[test]
    fn a_reset_starts_over() {
        let mut delays = Backoff::new(ms(10), ms(50), 2.0, 0.0).unwrap().iter(StdRng::seed_from_u64(1));
        delays.next_delay();
        delays.next_delay();
        delays.reset();
        assert_eq!(delays.next_delay(), ms(10));
    }

    #[test]
    fn values_out_of_bounds_are_refused_by_name() {
        let field = |result: Result<Backoff, Invalid>| result.unwrap_err().field;
        assert_eq!(field(Backoff::new(ms(0), ms(1), 2.0, 0.5)), "initial");
        assert_eq!(field(Backoff::new(ms(2), ms(1), 2.0, 0.5)), "max");
        assert_eq!(field(Backoff::new(ms(1), ms(1), 0.5, 0.5)), "factor");
        assert_eq!(field(Backoff::new(ms(1), ms(1), f64::NAN, 0.5)), "factor");
        assert_eq!(field(Backoff::new(ms(1), ms(1), 2.0, 1.5)), "jitter");
    }
}
