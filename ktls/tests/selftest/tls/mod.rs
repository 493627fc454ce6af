//! The fixture `tls`: two connected sockets, each with keys both ways.

mod control;
mod files;
mod more;
mod poll;
mod receiving;
mod rekey;
mod sending;
mod sharing;
mod splice;
