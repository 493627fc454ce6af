//! Receiving where this process opens the records.

use std::io;
use std::time::{Duration, Instant};

use super::{Opening, RecvHalf};
use crate::error::Error;
use crate::record::ContentType;
use crate::socket::Wait;
use crate::socket::control::Effect;
use crate::sys;

/// A call that has received for less than this is not yet asked about the socket's time limit.
const PATIENCE: Duration = Duration::from_millis(20);

impl RecvHalf {
    /// Opens records until there is data, or none can be had: in `place`, where what comes can be opened there, and
    /// says how many bytes those are. The socket's time limit is for all of it: the system's is for each byte, and a
    /// peer that trickles a record would keep the caller for ever.
    pub(super) fn open_data(
        &mut self,
        wait: Option<Wait>,
        mut place: Option<&mut [u8]>,
    ) -> Result<usize, Error> {
        let mut begun = None;
        loop {
            let Opening::Process(opener) = &mut self.opening else { return Ok(0) };
            if self.closed || !opener.plaintext().is_empty() {
                return Ok(0);
            }
            self.failed.as_ref().map_or(Ok(()), |error| Err(error.again()))?;
            match opener.next_record() {
                Ok(Some(content_type)) => {
                    let result = self.take_record(content_type);
                    self.latch(result)?;
                }
                Ok(None) => {
                    let Some(wait) = wait else { return Ok(0) };
                    let waited = begun.get_or_insert_with(Instant::now).elapsed();
                    // A call that does not wait ends when there is nothing: the limit is for those that do.
                    let counts = wait == Wait::Block && waited >= PATIENCE;
                    if counts && self.shared.tcp().read_timeout()?.is_some_and(|t| waited >= t) {
                        return Err(io::Error::from(io::ErrorKind::WouldBlock).into());
                    }
                    let placed = self.receive_records(place.as_deref_mut(), wait);
                    let placed = self.latch(placed)?;
                    if placed > 0 {
                        return Ok(placed);
                    }
                }
                Err(error) => return self.latch(Err(error)),
            }
        }
    }

    /// Receives once, and opens in `place` what can be opened there; how many bytes that are.
    fn receive_records(&mut self, place: Option<&mut [u8]>, wait: Wait) -> Result<usize, Error> {
        let Opening::Process(opener) = &mut self.opening else { return Ok(0) };
        let fd = self.shared.fd();
        // Between the parts of a handshake message no data may come, wherever it would go.
        let placed = match place.filter(|_| !self.control.is_partial()) {
            Some(place) => opener.receive_into(place, |pieces| {
                sys::msg::receive(fd, pieces, wait).map(|received| received.len)
            })?,
            None => None,
        };
        let Some(placed) = placed else {
            return match sys::msg::receive_plain(fd, opener.space(), wait)? {
                0 => Err(Error::Truncated),
                n => {
                    opener.filled(n);
                    Ok(0)
                }
            };
        };
        let then = match placed.then {
            Ok(Some(content_type)) => self.take_record(content_type),
            Ok(None) if placed.end => Err(Error::Truncated),
            then => then.map(drop),
        };
        match self.latch(then) {
            Err(error) if placed.data == 0 => Err(error),
            _ => Ok(placed.data),
        }
    }

    /// Deals with the record that the opener has just opened.
    fn take_record(&mut self, content_type: ContentType) -> Result<(), Error> {
        let Opening::Process(opener) = &mut self.opening else { return Ok(()) };
        let effect = if content_type == ContentType::ApplicationData {
            match self.control.check_between(content_type) {
                Ok(()) => return Ok(()),
                Err(error) => Err(error),
            }
        } else {
            self.control.take(content_type, opener.plaintext())
        };
        // Whatever came of it, it is not data for the caller.
        opener.consume(usize::MAX);
        let effect = effect?;
        if let Effect::KeyUpdate { .. } = effect {
            opener.rekey()?;
        }
        self.follow(effect)
    }
}
