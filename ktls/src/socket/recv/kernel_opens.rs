//! Receiving where the kernel opens the records.

use std::io::{self, IoSliceMut};

use super::{Opening, RecvHalf};
use crate::error::Error;
use crate::handshake::key_update_message;
use crate::record::ContentType;
use crate::record::kernel::Got;
use crate::socket::Wait;
use crate::socket::control::Effect;
use crate::sys::msg::Received;

impl RecvHalf {
    pub(super) fn receive_by_kernel(
        &mut self,
        bufs: &mut [IoSliceMut<'_>],
        wait: Wait,
    ) -> Result<usize, Error> {
        loop {
            if self.closed {
                return Ok(0);
            }
            self.check_failed()?;
            match self.kernel_step(bufs, wait) {
                Ok(Some(n)) => return Ok(n),
                Ok(None) => {}
                Err(error) => return self.latch(Err(error)),
            }
        }
    }

    /// One record of control, or data.
    pub(in crate::socket) fn kernel_step(
        &mut self,
        bufs: &mut [IoSliceMut<'_>],
        wait: Wait,
    ) -> Result<Option<usize>, Error> {
        let Opening::Kernel(kernel) = &mut self.opening else { return Ok(None) };
        let fd = self.shared.fd();
        match kernel.receive(fd, bufs, wait)? {
            Got::Data(n) if !self.control.is_partial() => Ok(Some(n)),
            got => self.follow_kernel(got),
        }
    }

    /// Deals with what a call into `bufs` has brought; `None` where there is no data yet.
    pub(super) fn follow_received(
        &mut self,
        came: io::Result<Received>,
        bufs: &[IoSliceMut<'_>],
    ) -> Result<Option<usize>, Error> {
        let Opening::Kernel(kernel) = &mut self.opening else { return Ok(None) };
        match kernel.take(self.shared.fd(), came, bufs)? {
            Some(got) => self.follow_kernel(got),
            None => Ok(None),
        }
    }

    /// Does what a record asks for that is not data, or comes where no data may.
    pub(super) fn follow_kernel(&mut self, got: Got) -> Result<Option<usize>, Error> {
        let Opening::Kernel(kernel) = &mut self.opening else { return Ok(None) };
        let fd = self.shared.fd();
        match got {
            Got::Data(n) => {
                self.control.check_between(ContentType::ApplicationData)?;
                Ok(Some(n))
            }
            Got::End => Err(match self.shared.receive_errno() {
                Some(errno) => kernel.explain(io::Error::from_raw_os_error(errno)),
                None => Error::Truncated,
            }),
            Got::Control(content_type) => {
                let effect = self.control.take(content_type, kernel.control())?;
                if let Effect::KeyUpdate { .. } = effect {
                    kernel.replace_key(fd)?;
                } else if self.control.is_partial()
                    && kernel.control().first() == key_update_message(false).first()
                {
                    kernel.await_rest_of_key_update(fd)?;
                }
                self.follow(effect)?;
                Ok(None)
            }
        }
    }
}
