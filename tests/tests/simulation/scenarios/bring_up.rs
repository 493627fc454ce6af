//! Controllers that come up slowly, never, or with limits of their own.

use nvme_tcp::spec::command::{admin, fabrics};
use nvme_tcp::spec::property;

use super::*;

/// Whether a command is Property Get of this property.
fn reads(sqe: &Sqe, offset: u32, wide: bool) -> bool {
    let get = fabrics::property_get(offset, wide);
    (sqe.opcode, sqe.nsid) == (get.opcode, get.nsid)
        && (10..=11).all(|dword| sqe.get_cdw(dword) == get.get_cdw(dword))
}

pub(super) fn reads_csts(sqe: &Sqe) -> bool {
    reads(sqe, property::CSTS, false)
}

/// CAP with CAP.TO of so many units.
fn with_ready_timeout(cqe: &mut Cqe, units: u8) {
    cqe.result.set(cqe.result.get() & !(0xff << 24) | u64::from(units) << 24);
}

/// Brings up a controller that answers otherwise; what became of it, and how long it took.
fn bring_up(change: impl Fn(&Sqe, &mut Cqe, &mut [u8])) -> (Result<ControllerTraits, NotUp>, Duration) {
    let mut lab = Lab::new(subsystem());
    // It takes longer than this target would wait for a keep-alive, which is not what is tried here.
    let mut setup = BringUp::new(Settings { keep_alive: Duration::ZERO, ..lab.settings() });
    let begun = lab.now;
    let up = lab.admin_of(&mut setup, Origin::default(), change);
    (up.map(|_| setup.into_traits()), lab.now - begun)
}

fn not_ready(up: Result<ControllerTraits, NotUp>, expected: &str) -> Duration {
    match up {
        Err(NotUp::BringUp(BringUpError::NotReady { wanted, limit })) if wanted == expected => limit,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_controller_that_never_gets_ready_is_given_cap_to() {
    for units in [1, 7, 255] {
        let (up, took) = bring_up(|sqe, cqe, _| {
            if reads(sqe, property::CAP, true) {
                with_ready_timeout(cqe, units);
            } else if reads_csts(sqe) {
                cqe.result.set(0);
            }
        });
        let limit = not_ready(up, "ready");
        assert_eq!(limit, Duration::from_millis(500) * u32::from(units));
        assert!((limit..limit + Duration::from_secs(1)).contains(&took), "{took:?}");
    }
}

#[test]
fn a_controller_that_says_so_is_given_crto_where_that_is_longer() {
    // In units of 500 ms: CAP.TO, CRTO.CRWMT and CRTO.CRIMT, and what comes of them.
    for (to, crwmt, crimt, expected) in
        [(7, 300, 0, 300), (255, 20, 0, 255), (1, 0, 9, 1), (255, u16::MAX, 0, 1200)]
    {
        let (up, took) = bring_up(|sqe, cqe, _| {
            if reads(sqe, property::CAP, true) {
                with_ready_timeout(cqe, to);
                cqe.result.set(cqe.result.get() | 1 << 59);
            } else if reads(sqe, property::CRTO, false) {
                *cqe = Cqe::new(cqe.cid.get(), Status::SUCCESS, crimt << 16 | u64::from(crwmt));
            } else if reads_csts(sqe) {
                cqe.result.set(0);
            }
        });
        let limit = not_ready(up, "ready");
        assert_eq!(limit, Duration::from_millis(500) * expected);
        assert!((limit..limit + Duration::from_secs(1)).contains(&took), "{took:?}");
    }
}

#[test]
fn a_controller_that_refuses_crto_is_given_cap_to() {
    let (up, _) = bring_up(|sqe, cqe, _| {
        if reads(sqe, property::CAP, true) {
            with_ready_timeout(cqe, 7);
            cqe.result.set(cqe.result.get() | 1 << 59);
        } else if reads_csts(sqe) {
            cqe.result.set(0);
        }
    });
    assert_eq!(not_ready(up, "ready"), Duration::from_millis(3500));
}

#[test]
fn a_controller_that_never_gets_disabled_is_given_cap_to() {
    let (up, took) = bring_up(|sqe, cqe, _| {
        if reads(sqe, property::CC, false) {
            cqe.result.set((property::CC_FOR_FABRICS | property::CC_ENABLE).into());
        } else if reads_csts(sqe) {
            cqe.result.set(property::CSTS_READY.into());
        } else if reads(sqe, property::CAP, true) {
            with_ready_timeout(cqe, 4);
        }
    });
    let limit = not_ready(up, "disabled");
    assert_eq!(limit, Duration::from_secs(2));
    assert!((limit..limit + Duration::from_secs(1)).contains(&took), "{took:?}");
}

#[test]
fn a_controller_with_a_fatal_status_is_not_waited_for() {
    let (up, took) = bring_up(|sqe, cqe, _| {
        if reads_csts(sqe) {
            cqe.result.set(property::CSTS_FATAL.into());
        }
    });
    assert!(matches!(up, Err(NotUp::BringUp(BringUpError::Fatal))), "{up:?}");
    assert!(took < Duration::from_millis(500), "{took:?}");
}

/// CRDT1 to CRDT3 in Identify Controller.
const CRDT: std::ops::Range<usize> = 128..134;

#[test]
fn the_controller_s_retry_delays_count_where_it_takes_that_this_host_honours_them() {
    for honoured in [true, false] {
        let (up, _) = bring_up(|sqe, cqe, data| {
            if sqe.opcode == admin::IDENTIFY {
                data[CRDT].copy_from_slice(&[5, 0, 30, 0, 0, 1]);
            } else if sqe.opcode == admin::SET_FEATURES && sqe.get_cdw(10) as u8 == 0x16 {
                let status = if honoured { Status::SUCCESS } else { Status::INVALID_FIELD };
                *cqe = Cqe::new(cqe.cid.get(), status, 0);
            }
        });
        let expected = if honoured { [500, 3000, 25_600] } else { [0; 3] };
        assert_eq!(up.unwrap().retry_delays, expected.map(Duration::from_millis));
    }
}

#[test]
fn a_controller_without_a_keep_alive_fences_nothing() {
    let (up, _) = bring_up(|sqe, _, data| {
        if sqe.opcode == admin::IDENTIFY {
            // KAS.
            data[320..322].fill(0);
        }
    });
    let traits = up.unwrap();
    assert_eq!(traits.keep_alive_timeout(KATO), Duration::ZERO);
    let policy = nvme_tcp::proto::Recovery::default();
    let fence =
        policy.fence(traits.keep_alive_timeout(KATO), traits.traffic_based_keep_alive, traits.quiesce_time);
    assert_eq!(fence, None);
    assert_eq!(policy.after_loss(false, None), nvme_tcp::proto::AfterLoss::Report);
}
