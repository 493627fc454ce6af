//! Records sealed and opened by this process: a codec without I/O.
//!
//! A [`Sealer`] turns plaintext into bytes for the wire, an [`Opener`] turns bytes from the wire into
//! plaintext. Each owns one buffer that is made once; no record allocates anything after that.

mod codec;
mod opener;
mod sealer;

pub use opener::{Opener, Placed};
pub use sealer::{MAX_PENDING, Sealer};

#[cfg(all(test, not(miri)))]
mod tests;
