//! Where randomness comes from: injected, so that a simulation draws its own.

use aws_lc_rs::rand::SecureRandom as _;

/// A source of bytes that nobody can predict.
///
/// Two seals with the same bytes from here are the same key and nonce, so an implementation that repeats itself is for
/// tests and simulation alone.
pub trait Random: Send + Sync + 'static {
    /// Fills `bytes`.
    ///
    /// # Errors
    /// [`NoRandomness`]; `bytes` are then worth nothing.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoRandomness>;
}

/// The source of randomness failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gave no randomness")]
pub struct NoRandomness;

/// The generator of AWS-LC, seeded by the operating system. The only one in production.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoRandomness> {
        aws_lc_rs::rand::SystemRandom::new().fill(bytes).map_err(|_| NoRandomness)
    }
}
