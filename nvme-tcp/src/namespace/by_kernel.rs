//! By way of the kernel's own initiator: commands go through its device, one at a time for each caller.

use std::sync::Arc;

use super::Namespace;
use super::route::{Facts, LEAST_PAGE, Route};
use super::run::Outcome;
use crate::controller::{RawCommand, RawData};
use crate::driver::shared::{Buffer, Request};
use crate::error::{Error, ErrorKind, Result};
use crate::kernel::Device;
use crate::spec::command::Sqe;
use crate::spec::command::admin::IdentifyFields;
use crate::spec::identify::{self, IDENTIFY_LEN, IdentifyController, IdentifyNamespace};
use crate::spec::malformed;
use crate::spec::status::Status;

/// The most data in one command, in bytes: what every kernel takes (the segments of its block layer).
pub(crate) const MAX_COMMAND: u64 = 128 * 1024;

/// A namespace's device, and what its controller says.
#[derive(Debug)]
pub(crate) struct ByKernel {
    device: Device,
    pub(super) facts: Facts,
}

impl Namespace {
    /// The namespace `nsid` at its device.
    pub(crate) fn by_kernel(device: Device, nsid: u32) -> Result<Self> {
        let facts = Facts { optional_commands: 0, volatile_write_cache: false, max_transfer: None };
        let mut kernel = ByKernel { device, facts };
        let mut data = vec![0; IDENTIFY_LEN];
        let fields = IdentifyFields { cns: identify::CNS_CONTROLLER, ..IdentifyFields::default() };
        kernel.admin_read("Identify Controller", &fields.to_sqe(), &mut data)?;
        let (controller, _) = malformed::read::<IdentifyController>("Identify Controller", &data)?;
        let mdts = controller.max_transfer(LEAST_PAGE).map_or(MAX_COMMAND, |mdts| mdts.min(MAX_COMMAND));
        kernel.facts = Facts {
            optional_commands: controller.oncs.get(),
            volatile_write_cache: controller.vwc & identify::VWC_PRESENT != 0,
            max_transfer: Some(mdts),
        };
        let fields = IdentifyFields { cns: identify::CNS_NAMESPACE, nsid, ..IdentifyFields::default() };
        kernel.admin_read("Identify Namespace", &fields.to_sqe(), &mut data)?;
        let (namespace, _) = malformed::read::<IdentifyNamespace>("Identify Namespace", &data)?;
        Self::new(Route::Kernel(Arc::new(kernel)), nsid, &namespace)
    }
}

impl ByKernel {
    /// Runs an admin command that fills `data`.
    pub(super) fn admin_read(&self, name: &'static str, sqe: &Sqe, data: &mut [u8]) -> Result<()> {
        let done = self.device.admin(&raw(sqe), RawData::Read(data))?;
        status(name, done.status)
    }

    /// Runs `requests` until one of them fails.
    pub(super) fn attempt<'b>(
        &self,
        name: &'static str,
        requests: impl IntoIterator<Item = Request<'b>>,
    ) -> Outcome {
        let mut begun = 0;
        for Request { sqe, buffer } in requests {
            begun += 1;
            let data = match buffer {
                Buffer::None => RawData::None,
                Buffer::Read(data) => RawData::Read(data),
                Buffer::Write(data) => RawData::Write(data),
            };
            let done = self.device.io(&raw(&sqe), data).and_then(|done| status(name, done.status));
            if let Err(error) = done {
                return Outcome { begun, failed: vec![begun - 1], error: Some(error), unknown: false };
            }
        }
        Outcome { begun, failed: Vec::new(), error: None, unknown: false }
    }
}

/// A command as the kernel's driver takes it.
fn raw(sqe: &Sqe) -> RawCommand {
    let cdw10 = std::array::from_fn(|n| sqe.get_cdw(10 + n));
    RawCommand { cdw10, ..RawCommand::new(sqe.opcode, sqe.nsid.get()) }
}

fn status(command: &'static str, status: Status) -> Result<()> {
    match status.is_success() {
        true => Ok(()),
        false => Err(Error::from(ErrorKind::Status { command, status })),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use zerocopy::IntoBytes;

    use super::*;
    use crate::controller::RawCompletion;
    use crate::spec::command::nvm;
    use crate::spec::completion::Status as Known;

    const BLOCK: usize = 512;

    #[derive(Default)]
    struct Fake {
        blocks: Vec<u8>,
        /// Opcode and length of the data of each I/O command.
        seen: Vec<(u8, usize)>,
    }

    thread_local! {
        static FAKE: RefCell<Fake> = RefCell::default();
    }

    /// A controller with 1 MiB, by what the kernel's driver would be told.
    fn stand_in(admin: bool, command: &RawCommand, mut data: RawData<'_>) -> Result<RawCompletion> {
        let done = |status| Ok(RawCompletion { result: 0, status, received: 0 });
        FAKE.with_borrow_mut(|fake| {
            if let (true, RawData::Read(data)) = (admin, &mut data) {
                if command.cdw10[0] == u32::from(identify::CNS_CONTROLLER) {
                    let mut controller = IdentifyController::zeroed();
                    controller.oncs = identify::ONCS_COMPARE.into();
                    controller.vwc = identify::VWC_PRESENT;
                    data.copy_from_slice(controller.as_bytes());
                } else {
                    let mut namespace = IdentifyNamespace::zeroed();
                    namespace.nsze = ((1 << 20) / BLOCK as u64).into();
                    namespace.lbaf[0] = (9 << 16).into();
                    data.copy_from_slice(namespace.as_bytes());
                }
                return done(Known::SUCCESS);
            }
            let at = command.cdw10[0] as usize * BLOCK;
            let (status, len) = match data {
                RawData::Read(data) => {
                    data.copy_from_slice(&fake.blocks[at..at + data.len()]);
                    (Known::SUCCESS, data.len())
                }
                RawData::Write(data) if command.opcode == nvm::COMPARE => {
                    let same = fake.blocks[at..at + data.len()] == *data;
                    (if same { Known::SUCCESS } else { Known::COMPARE_FAILURE }, data.len())
                }
                RawData::Write(data) => {
                    fake.blocks[at..at + data.len()].copy_from_slice(data);
                    (Known::SUCCESS, data.len())
                }
                RawData::None => (Known::SUCCESS, 0),
            };
            fake.seen.push((command.opcode, len));
            done(status)
        })
    }

    #[test]
    fn the_same_calls_go_through_the_kernels_driver() {
        let file = tempfile::NamedTempFile::new().unwrap();
        FAKE.with_borrow_mut(|fake| fake.blocks = vec![0; 1 << 20]);
        let namespace = Namespace::by_kernel(Device::standing_in(file.path(), stand_in), 1).unwrap();
        assert_eq!((namespace.block_size(), namespace.size()), (512, 1 << 20));
        assert_eq!(namespace.max_transfer() as u64, MAX_COMMAND);
        let data: Vec<u8> = (0..300 * 1024).map(|n| (n / 7) as u8).collect();
        namespace.write_at(&data, 4096).unwrap();
        let mut back = vec![0; data.len()];
        namespace.read_at(&mut back, 4096).unwrap();
        assert!(back == data);
        assert!(namespace.compare(&data, 4096).unwrap() && !namespace.compare(&data, 8192).unwrap());
        namespace.flush().unwrap();
        let piece = MAX_COMMAND as usize;
        let cut = [piece, piece, 300 * 1024 - 2 * piece];
        let expected = [nvm::WRITE, nvm::READ, nvm::COMPARE]
            .iter()
            .flat_map(|opcode| cut.map(|len| (*opcode, len)))
            .chain([(nvm::COMPARE, piece), (nvm::FLUSH, 0)]);
        FAKE.with_borrow(|fake| assert!(fake.seen.iter().copied().eq(expected), "{:?}", fake.seen));
        // What it has not is refused as everywhere.
        for refused in [
            namespace.verify(0, 512).unwrap_err(),
            namespace.compare_and_write(&[0; 512], &[1; 512], 0).unwrap_err(),
        ] {
            assert!(matches!(refused.kind(), ErrorKind::Unsupported(_)), "{refused}");
        }
        let outside = namespace.read_at(&mut [0; 512], 1 << 20).unwrap_err();
        assert!(matches!(outside.kind(), ErrorKind::OutOfRange { .. }), "{outside}");
    }
}
