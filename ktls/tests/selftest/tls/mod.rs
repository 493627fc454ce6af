//! The fixture `tls`: two connected sockets, each with keys both ways.

mod control;
mod files;
mod poll;
mod receiving;
mod rekey;
mod sending;
mod sharing;
