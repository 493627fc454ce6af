//! rustls's unbuffered connections over a descriptor, record by record.

use std::io;

use ::rustls::CommonState;
use ::rustls::client::UnbufferedClientConnection;
use ::rustls::server::UnbufferedServerConnection;
use ::rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};

use super::stack;
use crate::error::Error;
use crate::socket::handshake::{Transport, append_record, has_gone, send_all};

/// What rustls wants next.
pub(super) enum Step {
    /// To be called again.
    Again,
    /// What it has put out to be sent.
    Send,
    /// A record.
    Receive,
    /// To send application data: so the handshake is done, or at a server as good as done.
    Write,
    /// Nothing: it has met close_notify, or data where none may be.
    Over,
}

/// Either end.
pub(super) trait Unbuffered {
    /// One call of rustls: how many bytes of `incoming` it has done with, and what it wants.
    fn step(&mut self, incoming: &mut [u8], outgoing: &mut Vec<u8>)
    -> (usize, Result<Step, ::rustls::Error>);

    fn state(&self) -> &CommonState;
}

impl Unbuffered for UnbufferedClientConnection {
    fn step(
        &mut self,
        incoming: &mut [u8],
        outgoing: &mut Vec<u8>,
    ) -> (usize, Result<Step, ::rustls::Error>) {
        follow(self.process_tls_records(incoming), outgoing)
    }

    fn state(&self) -> &CommonState {
        self
    }
}

impl Unbuffered for UnbufferedServerConnection {
    fn step(
        &mut self,
        incoming: &mut [u8],
        outgoing: &mut Vec<u8>,
    ) -> (usize, Result<Step, ::rustls::Error>) {
        follow(self.process_tls_records(incoming), outgoing)
    }

    fn state(&self) -> &CommonState {
        self
    }
}

fn follow<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    outgoing: &mut Vec<u8>,
) -> (usize, Result<Step, ::rustls::Error>) {
    let step = status.state.map(|state| match state {
        ConnectionState::EncodeTlsData(mut data) => {
            let begin = outgoing.len();
            loop {
                match data.encode(outgoing.get_mut(begin..).unwrap_or_default()) {
                    Ok(written) => {
                        outgoing.truncate(begin + written);
                        break Step::Again;
                    }
                    Err(EncodeError::InsufficientSize(error)) => {
                        outgoing.resize(begin + error.required_size, 0);
                    }
                    Err(EncodeError::AlreadyEncoded) => break Step::Again,
                }
            }
        }
        ConnectionState::TransmitTlsData(data) => {
            // It is sent before anything else is done.
            data.done();
            Step::Send
        }
        ConnectionState::BlockedHandshake => Step::Receive,
        ConnectionState::WriteTraffic(_) => Step::Write,
        _ => Step::Over,
    });
    (status.discard, step)
}

/// Does the whole handshake: what follows it in the socket is not read.
pub(super) async fn drive(
    transport: &mut impl Transport,
    connection: &mut impl Unbuffered,
) -> Result<(), Error> {
    let (mut incoming, mut outgoing) = (Vec::new(), Vec::new());
    loop {
        let (discard, step) = connection.step(&mut incoming, &mut outgoing);
        incoming.drain(..discard.min(incoming.len()));
        match step {
            Ok(Step::Again) => {}
            Ok(Step::Send) => match send_all(transport, &std::mem::take(&mut outgoing)).await {
                // The peer has gone: what it said before tells why.
                Err(error) if has_gone(&error) && connection.state().is_handshaking() => {}
                result => result?,
            },
            Ok(Step::Write) if !connection.state().is_handshaking() => {
                if !incoming.is_empty() {
                    return Err(stack(::rustls::Error::General("bytes behind the handshake".to_owned())));
                }
                return Ok(());
            }
            Ok(Step::Receive | Step::Write) => {
                if !append_record(transport, &mut incoming).await? {
                    return Err(gone());
                }
            }
            Ok(Step::Over) => return Err(gone()),
            Err(error) => {
                // The alert, if there is one to send; this error says more than one of sending it. What
                // rustls has not done with must stay where it is.
                loop {
                    let (discard, step) = connection.step(&mut incoming, &mut outgoing);
                    incoming.drain(..discard.min(incoming.len()));
                    if !matches!(step, Ok(Step::Again)) {
                        break;
                    }
                }
                let _ = send_all(transport, &outgoing).await;
                return Err(stack(error));
            }
        }
    }
}

fn gone() -> Error {
    const WHY: &str = "the peer closed the connection during the TLS handshake";
    io::Error::new(io::ErrorKind::UnexpectedEof, WHY).into()
}
