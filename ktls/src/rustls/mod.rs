//! Connections whose handshake rustls does: certificates, ALPN, resumption, and all that it knows.
//!
//! [`connect`] and [`accept`] drive rustls over the socket record by record, so that nothing behind the
//! handshake is ever read, and then take the keys from it; from there on it is a [`Socket`] like every other.
//! rustls keeps the secrets: it makes the key after a KeyUpdate, and a client's session tickets go to its
//! store. [`from_connection`] takes over a connection on which rustls has done the handshake already.
//!
//! ```no_run
//! use std::net::TcpStream;
//! use std::sync::Arc;
//!
//! use ktls::Options;
//! use rustls::{ClientConfig, RootCertStore};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let roots = RootCertStore::empty();
//! let config = Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth());
//! let stream = TcpStream::connect("www.example.com:443")?;
//! let name = "www.example.com".try_into()?;
//! let mut socket = ktls::rustls::connect(stream, &config, name, &Options::new(), None)?;
//! println!("{}, opened by {}", socket.info().version(), socket.info().receive);
//! # Ok(())
//! # }
//! ```

mod convert;
mod drive;
mod keys;

use std::net::TcpStream;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use ::rustls::client::UnbufferedClientConnection;
use ::rustls::pki_types::ServerName;
use ::rustls::server::UnbufferedServerConnection;
use ::rustls::{ClientConfig, CommonState, ServerConfig};

pub use convert::{ConvertError, Reason, RecordStream, Refused, from_connection};

use crate::error::Error;
use crate::keys::RawKeys;
use crate::socket::handshake::{Blocking, Transport, now};
use crate::socket::{Info, Options, Socket};

/// Does a client's handshake with the server `name` over `stream`, and installs the keys as `options` say.
/// `deadline` bounds the whole handshake.
///
/// The configuration's `enable_secret_extraction` is taken as set, and early data as not wanted.
///
/// # Errors
/// [`Error::Stack`] with a [`rustls::Error`] in it; [`Error::Io`] (`TimedOut` at the
/// deadline, `UnexpectedEof` when the server goes away); [`Error::Handshake`] where it does not speak TLS;
/// [`Error::KernelTlsUnavailable`].
pub fn connect(
    stream: TcpStream,
    config: &Arc<ClientConfig>,
    name: ServerName<'static>,
    options: &Options,
    deadline: Option<Instant>,
) -> Result<Socket, Error> {
    stream.set_nonblocking(false)?;
    let mut transport = Blocking { fd: stream.as_fd(), deadline };
    let finished = now(client(&mut transport, config, name))?;
    finished.socket(stream, options)
}

/// Does a server's handshake over `stream`; else as [`connect`].
///
/// # Errors
/// As [`connect`].
pub fn accept(
    stream: TcpStream,
    config: &Arc<ServerConfig>,
    options: &Options,
    deadline: Option<Instant>,
) -> Result<Socket, Error> {
    stream.set_nonblocking(false)?;
    let mut transport = Blocking { fd: stream.as_fd(), deadline };
    let finished = now(server(&mut transport, config))?;
    finished.socket(stream, options)
}

/// A finished handshake.
pub(crate) struct Finished {
    about: About,
    keys: RawKeys,
    fragment: Option<usize>,
}

impl Finished {
    pub(crate) fn socket(self, stream: TcpStream, options: &Options) -> Result<Socket, Error> {
        self.about.socket(stream, self.keys, self.fragment, options)
    }
}

/// A client's handshake.
pub(crate) async fn client(
    transport: &mut impl Transport,
    config: &Arc<ClientConfig>,
    name: ServerName<'static>,
) -> Result<Finished, Error> {
    let mut config = Arc::clone(config);
    if !config.enable_secret_extraction || config.enable_early_data {
        let config = Arc::make_mut(&mut config);
        config.enable_secret_extraction = true;
        config.enable_early_data = false;
    }
    let fragment = config.max_fragment_size;
    let mut connection = UnbufferedClientConnection::new(config, name).map_err(stack)?;
    drive::drive(transport, &mut connection).await?;
    let about = About::new(&connection);
    let (secrets, kernel) = connection.dangerous_into_kernel_connection().map_err(stack)?;
    Ok(Finished { about, keys: keys::of_client(secrets, kernel)?, fragment })
}

/// A server's handshake.
pub(crate) async fn server(
    transport: &mut impl Transport,
    config: &Arc<ServerConfig>,
) -> Result<Finished, Error> {
    let mut config = Arc::clone(config);
    if !config.enable_secret_extraction || config.max_early_data_size > 0 {
        let config = Arc::make_mut(&mut config);
        config.enable_secret_extraction = true;
        config.max_early_data_size = 0;
    }
    let fragment = config.max_fragment_size;
    let mut connection = UnbufferedServerConnection::new(config).map_err(stack)?;
    drive::drive(transport, &mut connection).await?;
    let about = About::new(&connection);
    let (secrets, kernel) = connection.dangerous_into_kernel_connection().map_err(stack)?;
    Ok(Finished { about, keys: keys::of_server(secrets, kernel)?, fragment })
}

/// An error of rustls as one of ours.
fn stack(error: ::rustls::Error) -> Error {
    Error::Stack(Arc::new(error))
}

/// What rustls knows of a connection beside its keys.
struct About {
    alpn: Option<Vec<u8>>,
    peer_certificates: Vec<Vec<u8>>,
}

impl About {
    fn new(state: &CommonState) -> Self {
        let certificates = state.peer_certificates().unwrap_or_default();
        Self {
            alpn: state.alpn_protocol().map(<[u8]>::to_vec),
            peer_certificates: certificates.iter().map(|certificate| certificate.to_vec()).collect(),
        }
    }

    /// `fragment` is rustls's max_fragment_size: a record's header counts in it.
    fn socket(
        self,
        stream: TcpStream,
        mut keys: RawKeys,
        fragment: Option<usize>,
        options: &Options,
    ) -> Result<Socket, Error> {
        if let Some(size) = fragment {
            keys = keys.max_send_fragment(size.saturating_sub(crate::handshake::RECORD_HEADER_LEN));
        }
        let mut socket = Socket::from_keys(stream, keys, options)?;
        let Info { alpn, peer_certificates, .. } = &mut socket.info;
        (*alpn, *peer_certificates) = (self.alpn, self.peer_certificates);
        Ok(socket)
    }
}
