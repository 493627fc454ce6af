//! Who seals what a connection sends: the kernel or this process, behind one face.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;

use crate::error::Error;
use crate::event::Flow;
use crate::probe::probe;
use crate::record::budget::Meter;
use crate::record::kernel;
use crate::record::process::Sealer;
use crate::socket::Wait;
use crate::sys;

/// Where this many short pieces or more go together they are likely many messages, and whoever waits for the first need
/// not wait for the last to be sealed.
const MANY: usize = 8;
/// Pieces are short up to this mean, in bytes. With longer ones the other end has enough to do, and each call is one more
/// that wakes it.
const SHORT: usize = 16 << 10;
/// Of so many, this much is sealed and sent before what follows, in bytes.
const PORTION: usize = 64 << 10;

/// Who seals.
pub(super) enum Sealing {
    Process(Box<Sealer>),
    Kernel(Box<kernel::Sender>),
}

impl Sealing {
    #[inline]
    pub(super) fn meter(&self) -> &Meter {
        match self {
            Self::Process(sealer) => sealer.meter(),
            Self::Kernel(kernel) => kernel.meter(),
        }
    }

    pub(super) fn meter_mut(&mut self) -> &mut Meter {
        match self {
            Self::Process(sealer) => sealer.meter_mut(),
            Self::Kernel(kernel) => kernel.meter_mut(),
        }
    }

    /// Whether accepted bytes wait here: an open record, or sealed bytes.
    #[inline]
    pub(super) fn has_pending(&self) -> bool {
        match self {
            Self::Process(sealer) => !sealer.pending().is_empty() || sealer.has_open_record(),
            Self::Kernel(kernel) => kernel.has_open_record(),
        }
    }

    /// How much application data [`send`](Self::send) takes for certain, in bytes: the kernel's layer keeps none here.
    pub(super) fn capacity(&mut self) -> usize {
        match self {
            Self::Process(sealer) => sealer.capacity(),
            Self::Kernel(_) => 0,
        }
    }

    /// Gives back buffers that hold nothing, and says whether it did.
    pub(super) fn release(&mut self) -> bool {
        match self {
            Self::Process(sealer) => sealer.release(),
            Self::Kernel(_) => true,
        }
    }

    /// Refuses where the kernel is known not to change keys: nothing was sent, so nothing has ended.
    pub(super) fn check_rekey(&self) -> Result<(), Error> {
        match self {
            Self::Process(sealer) => sealer.check_next_key(),
            Self::Kernel(kernel) => {
                kernel.check_next_key()?;
                if probe().rekey { Ok(()) } else { Err(Error::RekeyUnsupported { direction: Flow::Send }) }
            }
        }
    }

    /// Sends application data, and gives how much of it was accepted.
    pub(super) fn send(
        &mut self,
        fd: BorrowedFd<'_>,
        bufs: &[IoSlice<'_>],
        more: bool,
        wait: Wait,
    ) -> Result<usize, Error> {
        match self {
            Self::Process(sealer) => seal_and_send(fd, sealer, bufs, more, wait),
            Self::Kernel(kernel) => kernel.send(fd, bufs, more, wait),
        }
    }

    /// Ends the record that is open, and says whether there was room for it here; `None` where the kernel has none
    /// now and the call may not wait.
    pub(super) fn close_record(&mut self, fd: BorrowedFd<'_>, wait: Wait) -> Result<Option<bool>, Error> {
        match self {
            Self::Process(sealer) => sealer.close_record().map(Some),
            Self::Kernel(kernel) => match kernel.close_record(fd, wait) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && wait == Wait::Now => Ok(None),
                result => Ok(result.map(|()| Some(true))?),
            },
        }
    }

    /// Sends what is sealed here, and says whether all of it has gone.
    pub(super) fn write_out(&mut self, fd: BorrowedFd<'_>, wait: Wait) -> io::Result<bool> {
        match self {
            Self::Process(sealer) => write_out(fd, sealer, wait),
            Self::Kernel(_) => Ok(true),
        }
    }
}

fn total(bufs: &[IoSlice<'_>]) -> usize {
    bufs.iter().fold(0, |sum, buf| sum.saturating_add(buf.len()))
}

/// The first of `bufs`, as many as are to be sealed before anything is sent where `taken` bytes of all were sealed
/// before.
fn portion<'a, 'b>(bufs: &'a [IoSlice<'b>], taken: usize) -> &'a [IoSlice<'b>] {
    if bufs.len() < MANY || total(bufs) / bufs.len() > SHORT {
        return bufs;
    }
    let mut end = 0;
    let whole = bufs.iter().position(|buf| {
        end += buf.len();
        end >= taken.saturating_add(PORTION)
    });
    whole.map_or(bufs, |last| &bufs[..=last])
}

/// Seals and sends in turns until all is accepted or the socket takes no more.
fn seal_and_send(
    fd: BorrowedFd<'_>,
    sealer: &mut Sealer,
    bufs: &[IoSlice<'_>],
    more: bool,
    wait: Wait,
) -> Result<usize, Error> {
    let seal = |sealer: &mut Sealer, taken| {
        let bufs = portion(bufs, taken);
        if more { sealer.seal_more(bufs, taken) } else { sealer.seal(bufs, taken) }
    };
    let total = total(bufs);
    let mut taken = 0;
    loop {
        let sealed = match seal(sealer, taken) {
            Ok(sealed) => sealed,
            Err(_) if taken > 0 => return Ok(taken),
            Err(error) => return Err(error),
        };
        taken += sealed;
        let all_gone = match write_out(fd, sealer, wait) {
            Ok(all_gone) => all_gone,
            // A timeout or a signal: what was accepted stays accepted.
            Err(error) if taken > 0 && Error::from(io::Error::from(error.kind())).is_retryable() => {
                return Ok(taken);
            }
            Err(error) => return Err(error.into()),
        };
        if taken == total && all_gone {
            return Ok(taken);
        }
        if !all_gone {
            // Part of it may have gone, so that there is room for more.
            taken += seal(sealer, taken).unwrap_or(0);
            if taken == 0 {
                return Err(io::Error::from(io::ErrorKind::WouldBlock).into());
            }
            return Ok(taken);
        }
    }
}

/// Sends what is pending, and says whether all of it has gone.
fn write_out(fd: BorrowedFd<'_>, sealer: &mut Sealer, wait: Wait) -> io::Result<bool> {
    loop {
        let pending = sealer.pending();
        if pending.is_empty() {
            return Ok(true);
        }
        match sys::msg::send(fd, &[IoSlice::new(pending)], None, wait) {
            Ok(n) => sealer.sent(n),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && wait == Wait::Now => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_pieces_whole_ones_go_in_portions() {
        let piece = [0; 5000];
        let bufs = [IoSlice::new(&piece); 40];
        let (mut taken, mut portions) = (0, Vec::new());
        while taken < total(&bufs) {
            let now = total(portion(&bufs, taken)) - taken;
            portions.push(now);
            taken += now;
        }
        assert_eq!(portions, [70_000, 70_000, 60_000]);
        // From the middle of a piece on.
        assert_eq!(total(portion(&bufs, 1)), 70_000);
        assert_eq!(total(portion(&bufs[..MANY - 1], 0)), 35_000);
        assert_eq!(total(portion(&[IoSlice::new(&[7; 3 * PORTION])], 0)), 3 * PORTION);
        // Long data, each with a header.
        let (header, data) = ([7; 24], [7; 2 * SHORT]);
        let long = [IoSlice::new(&header), IoSlice::new(&data)].repeat(MANY);
        assert_eq!(total(portion(&long, 0)), total(&long));
    }
}
