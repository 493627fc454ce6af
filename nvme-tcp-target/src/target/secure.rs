//! The TLS handshake of a connection, where its listener wants one.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{io, panic, thread};

use ktls::handshake::{self, Psk, ServerConfig};
use nvme_tcp::driver::transport::{self, RecvHalf, SendHalf};
use nvme_tcp::psk::TlsPsk;

use super::Security;
use super::event::Refusal;
use crate::channel::Channel;
use crate::hub::Hub;

/// The first byte of a TLS handshake record (RFC 8446, section 5.1). No PDU begins with it.
pub(super) const TLS_HANDSHAKE: u8 = 0x16;

/// Both ends of a connection's stream.
type Halves = (SendHalf, RecvHalf);

/// A connection as its session gets it.
pub(super) struct Secured {
    pub(super) halves: Halves,
    pub(super) channel: Channel,
    /// A word on TLS.
    pub(super) tls: Option<String>,
}

/// Does the TLS handshake where one is due.
pub(super) fn secure(stream: TcpStream, hub: &Arc<Hub>, security: &Security) -> Result<Secured, Refusal> {
    let timeout = hub.config.setup_timeout;
    let deadline = Instant::now() + timeout;
    let plain = |stream, channel| Secured { halves: transport::plain(stream), channel, tls: None };
    let (options, socket) = match security {
        Security::Plain => return Ok(plain(stream, Channel::Plain)),
        Security::Tls { keys, options } => {
            let keys = keys.clone();
            (options, config(move |identity| keys.lookup(identity)))
        }
        Security::Concat { options } => {
            if !begins_tls(&stream, timeout).map_err(Refusal::Resources)? {
                return Ok(plain(stream, Channel::Concat));
            }
            let hub = hub.clone();
            (options, config(move |identity| hub.generated_keys.lookup(identity, Instant::now())))
        }
    };
    let accept = || ktls::Socket::accept(stream, &socket, options, Some(deadline));
    let socket = on_a_stack_of_its_own(accept).map_err(Refusal::Resources)?.map_err(|error| match error {
        ktls::Error::Handshake(handshake::Error::NotTls { .. }) => Refusal::PlainOnTls,
        error => Refusal::Handshake(error),
    })?;
    let info = socket.info();
    let identity = String::from_utf8_lossy(&info.psk_identity).into_owned();
    Ok(Secured {
        tls: Some(format!("{} {:?}, identity {identity}", info.version(), info.suite)),
        channel: match security {
            Security::Tls { keys, .. } => {
                keys.proven(&identity);
                Channel::Tls { identity, keys: keys.clone() }
            }
            _ => Channel::Generated { identity },
        },
        halves: transport::tls(socket),
    })
}

/// Does what needs more of a stack than all that follows: the kernel never takes back what a stack has touched, and a
/// connection keeps its thread.
fn on_a_stack_of_its_own<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let worker = thread::Builder::new().name("nvme-handshake".into()).spawn_scoped(scope, work)?;
        Ok(worker.join().unwrap_or_else(|panicked| panic::resume_unwind(panicked)))
    })
}

/// A server's side with the keys that `lookup` finds for an identity.
fn config(lookup: impl Fn(&[u8]) -> Vec<TlsPsk> + Send + Sync + 'static) -> ServerConfig {
    ServerConfig::new(move |identity: &[u8]| -> Vec<Psk> {
        let psk = |psk: &TlsPsk| {
            Psk::new(psk.identity().as_bytes().to_vec(), psk.secret().clone(), psk.hash()).ok()
        };
        lookup(identity).iter().filter_map(psk).collect()
    })
}

/// Whether the first byte is that of a TLS handshake; it is left where it is.
fn begins_tls(stream: &TcpStream, timeout: Duration) -> io::Result<bool> {
    stream.set_read_timeout(Some(timeout.max(Duration::from_millis(1))))?;
    let mut first = [0];
    // A host that says nothing at all is found out as on any other listener.
    let peeked = stream.peek(&mut first);
    stream.set_read_timeout(None)?;
    Ok(matches!(peeked, Ok(1)) && first == [TLS_HANDSHAKE])
}
