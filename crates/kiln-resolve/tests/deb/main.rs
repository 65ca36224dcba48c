//! What the Debian half of resolve promises. Needs `gpg` and `gpgv`.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

mod accelerator;
mod load;
mod release;
mod signers;
mod solve;
