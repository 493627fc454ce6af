//! Controllers for tests, scripted as far as each test wants them wrong.

pub(crate) mod controller;
pub(crate) mod host;
pub(crate) mod wire;
