//! Connections whose handshake rustls does, on tokio.
//!
//! For a connection on which rustls has done the handshake already there is
//! [`from_connection`](crate::rustls::from_connection), and then
//! [`Socket::from_socket`](super::Socket::from_socket).

use std::sync::Arc;

use ::rustls::pki_types::ServerName;
use ::rustls::{ClientConfig, ServerConfig};
use ::tokio::net::TcpStream;

use super::{Leave, Socket};
use crate::error::Error;
use crate::rustls::{client, server};
use crate::socket::Options;

/// Does a client's handshake with the server `name` over `stream`, as [`crate::rustls::connect`]. To bound its
/// time, give it up: that closes the connection.
///
/// # Errors
/// As there, but never `TimedOut`.
pub async fn connect(
    stream: TcpStream,
    config: &Arc<ClientConfig>,
    name: ServerName<'static>,
    options: &Options,
) -> Result<Socket, Error> {
    let finished = client(&mut Leave(&stream), config, name).await?;
    Socket::from_socket(finished.socket(stream.into_std()?, options)?)
}

/// Does a server's handshake over `stream`, as [`crate::rustls::accept`]; else as [`connect`].
///
/// # Errors
/// As there, but never `TimedOut`.
pub async fn accept(
    stream: TcpStream,
    config: &Arc<ServerConfig>,
    options: &Options,
) -> Result<Socket, Error> {
    let finished = server(&mut Leave(&stream), config).await?;
    Socket::from_socket(finished.socket(stream.into_std()?, options)?)
}
