//! DH-HMAC-CHAP: the host's side against the controller's, in memory.

mod agreement;
mod failures;
mod support;
