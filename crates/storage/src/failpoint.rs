//! Named steps at which a crash test lets the process die.
//!
//! A step costs nothing and does nothing unless this is a test build or the feature `failpoints` is on. Then
//! `PI_STORAGE_CRASH_AT=name` aborts at the first time the step is reached, `name:3` at the third.

/// The environment variable that names the step.
#[cfg(any(test, feature = "failpoints"))]
pub(crate) const CRASH_AT: &str = "PI_STORAGE_CRASH_AT";

/// A step: dies here when told to.
#[cfg(any(test, feature = "failpoints"))]
pub(crate) fn reach(step: &str) {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static TARGET: LazyLock<Option<(String, u64)>> = LazyLock::new(|| {
        let value = std::env::var(CRASH_AT).ok()?;
        match value.split_once(':') {
            Some((name, nth)) => Some((name.to_owned(), nth.parse().ok()?)),
            None => Some((value, 1)),
        }
    });
    static REACHED: AtomicU64 = AtomicU64::new(0);

    let Some((name, nth)) = &*TARGET else { return };
    if name == step && REACHED.fetch_add(1, Ordering::Relaxed) + 1 == *nth {
        // Not a panic: nothing may run any more, no destructor and no flush.
        std::process::abort();
    }
}

/// A step: nothing in this build.
#[cfg(not(any(test, feature = "failpoints")))]
pub(crate) fn reach(_step: &str) {}
