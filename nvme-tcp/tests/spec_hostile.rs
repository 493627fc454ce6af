//! Whatever bytes a controller gives as a data structure: every parser ends, none panics, and nothing is made of
//! more bytes than there are.

use nvme_tcp::spec::command::{Sqe, nvm};
use nvme_tcp::spec::completion::Status;
use nvme_tcp::spec::identify::{self, IdentifyController, IdentifyNamespace, descriptor};
use nvme_tcp::spec::log_page::{
    self, AnaLog, CommandEffectsLog, FirmwareSlotLog, SanitizeLog, SmartLog, SupportedLogsLog,
};
use nvme_tcp::spec::malformed;
use nvme_tcp::spec::reservation::ReservationStatus;
use proptest::collection::vec;
use proptest::prelude::*;
use zerocopy::FromBytes;

/// Bytes, of which most are small, so that counts and lengths are now and then right.
fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![3 => Just(0_u8), 3 => 0..5_u8, 1 => any::<u8>()], 0..most)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn lists_and_logs(bytes in bytes(300), after: u32) {
        let ids = identify::namespaces(&bytes, after);
        prop_assert!(ids.iter().all(|id| *id > after) && ids.is_sorted());
        prop_assert!(ids.len() <= bytes.len() / 4);
        if let Ok(ids) = identify::controllers(&bytes) {
            prop_assert!(2 + ids.len() * 2 <= bytes.len());
        }
        prop_assert!(identify::uuids(&bytes).len() * 32 <= bytes.len());
        let described: usize = descriptor::iter(&bytes).map(|(_, id)| id.len() + 4).sum();
        prop_assert!(described <= bytes.len());
        prop_assert!(log_page::errors(&bytes).len() * 64 <= bytes.len());
        if let Some(changed) = log_page::changed_namespaces(&bytes) {
            prop_assert!(changed.len() * 4 <= bytes.len());
        }
        if let Ok(log) = AnaLog::read(&bytes) {
            // What was understood is what stands there.
            let again = log.to_bytes();
            prop_assert!(again.len() <= bytes.len());
            prop_assert_eq!(AnaLog::read(&again), Ok(log));
        }
        if let Ok(report) = ReservationStatus::read(&bytes) {
            let again = report.to_bytes();
            prop_assert!(again.len() <= bytes.len());
            prop_assert_eq!(ReservationStatus::count(&bytes), Ok(report.registrants.len() as u16));
            prop_assert_eq!(ReservationStatus::read(&again), Ok(report));
        }
    }

    #[test]
    fn structures_of_fixed_length(bytes in vec(any::<u8>(), 4096), cut in 0..4096_usize) {
        prop_assert!(malformed::read::<IdentifyController>("Identify", &bytes[..cut]).is_err());
        let (controller, _) = malformed::read::<IdentifyController>("Identify", &bytes).unwrap();
        controller.max_transfer(u64::MAX);
        let (namespace, _) = malformed::read::<IdentifyNamespace>("Identify", &bytes).unwrap();
        namespace.format();
        let (smart, rest) = malformed::read::<SmartLog>("SMART", &bytes).unwrap();
        smart.bytes_moved();
        let (firmware, _) = malformed::read::<FirmwareSlotLog>("firmware", rest).unwrap();
        for slot in 0..=u8::MAX {
            firmware.revision(slot);
        }
        let (effects, _) = malformed::read::<CommandEffectsLog>("effects", &bytes).unwrap();
        let (supported, _) = malformed::read::<SupportedLogsLog>("supported", &bytes).unwrap();
        prop_assert!(supported.supported().len() <= 256);
        for opcode in 0..=u8::MAX {
            prop_assert_eq!(
                effects.io_command(opcode).is_some(), bytes[1024 + usize::from(opcode) * 4] & 1 != 0
            );
        }
        malformed::read::<SanitizeLog>("sanitize", &bytes).unwrap().0.state();
    }

    #[test]
    fn commands_and_statuses(bytes: [u8; 64], status: u16) {
        let sqe = Sqe::read_from_bytes(&bytes).unwrap();
        prop_assert!((1..=65_536).contains(&nvm::block_count(&sqe)));
        prop_assert!((1..=256).contains(&nvm::copy_count(&sqe)));
        prop_assert!(!Status(status).to_string().is_empty());
    }
}
