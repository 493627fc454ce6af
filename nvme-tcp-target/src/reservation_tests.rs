use super::*;

const A: HostId = [0xa; 16];
const B: HostId = [0xb; 16];
const C: HostId = [0xc; 16];

fn kind(kind: Kind) -> u32 {
    (kind as u32) << 8
}

/// A and B are registered with 1 and 2, and A holds it.
fn held(by_a: Kind) -> Reservations {
    let mut found = Reservations::default();
    found.register(&A, 0, [0, 1]).unwrap();
    found.register(&B, 0, [0, 2]).unwrap();
    found.acquire(&A, kind(by_a), [1, 0]).unwrap();
    found
}

const CONFLICT: Result<(), Status> = Err(Status::RESERVATION_CONFLICT);
const INVALID: Result<(), Status> = Err(Status::INVALID_FIELD);

#[test]
fn each_type_shuts_out_whom_the_standard_says() {
    // Holder, registrant, other host: each reads and writes.
    let table = [
        (Kind::WriteExclusive, [[true, true], [true, false], [true, false]]),
        (Kind::ExclusiveAccess, [[true, true], [false, false], [false, false]]),
        (Kind::WriteExclusiveRegistrantsOnly, [[true, true], [true, true], [true, false]]),
        (Kind::ExclusiveAccessRegistrantsOnly, [[true, true], [true, true], [false, false]]),
        (Kind::WriteExclusiveAllRegistrants, [[true, true], [true, true], [true, false]]),
        (Kind::ExclusiveAccessAllRegistrants, [[true, true], [true, true], [false, false]]),
    ];
    for (kind, expected) in table {
        let found = held(kind);
        let may =
            [A, B, C].map(|host| [Use::Read, Use::Write].map(|access| found.check(&host, access).is_ok()));
        assert_eq!(may, expected, "{kind:?}");
    }
    assert_eq!(Reservations::default().check(&C, Use::Write), Ok(()));
}

#[test]
fn a_registration_is_changed_by_whoever_knows_its_key() {
    let mut found = Reservations::default();
    assert_eq!(found.register(&A, 0, [0, 1]), Ok(()));
    assert_eq!(found.register(&A, 0, [0, 1]), Ok(()));
    assert_eq!(found.register(&A, 0, [0, 2]), CONFLICT);
    assert_eq!(found.register(&A, 2, [9, 2]), CONFLICT);
    assert_eq!(found.register(&A, 2, [1, 2]), Ok(()));
    assert_eq!(found.register(&A, 2 | IGNORE_KEY, [9, 3]), Ok(()));
    assert_eq!(found.register(&B, 1 | IGNORE_KEY, [0, 0]), CONFLICT);
    assert_eq!(found.register(&A, 1, [9, 0]), CONFLICT);
    assert_eq!(found.register(&A, 1, [3, 0]), Ok(()));
    assert_eq!(found.register(&A, 3, [0, 0]), INVALID);
    assert_eq!(found.register(&A, 0b11 << 30, [0, 1]), INVALID);
    assert_eq!(found.generation, 5);
}

#[test]
fn only_registrants_acquire_and_only_what_is_free() {
    let mut found = held(Kind::WriteExclusive);
    assert_eq!(found.acquire(&C, kind(Kind::WriteExclusive), [0, 0]), CONFLICT);
    assert_eq!(found.acquire(&B, kind(Kind::WriteExclusive), [2, 0]), CONFLICT);
    assert_eq!(found.acquire(&A, kind(Kind::WriteExclusive), [9, 0]), CONFLICT);
    assert_eq!(found.acquire(&A, kind(Kind::WriteExclusive), [1, 0]), Ok(()));
    assert_eq!(found.acquire(&A, kind(Kind::ExclusiveAccess), [1, 0]), CONFLICT);
    assert_eq!(found.acquire(&A, kind(Kind::WriteExclusive) | IGNORE_KEY, [1, 0]), INVALID);
    assert_eq!(found.acquire(&A, 7 << 8, [1, 0]), INVALID);
    assert_eq!(found.acquire(&A, kind(Kind::WriteExclusive) | 3, [1, 0]), INVALID);
    // Each holds it who is registered.
    let mut all = held(Kind::WriteExclusiveAllRegistrants);
    assert_eq!(all.acquire(&B, kind(Kind::WriteExclusiveAllRegistrants), [2, 0]), Ok(()));
    assert_eq!(all.acquire(&B, kind(Kind::WriteExclusive), [2, 0]), CONFLICT);
}

#[test]
fn a_preempted_holder_is_out_and_its_reservation_the_other_hosts() {
    let mut found = held(Kind::WriteExclusive);
    let generation = found.generation;
    assert_eq!(found.acquire(&B, kind(Kind::ExclusiveAccess) | 1, [2, 9]), CONFLICT);
    assert_eq!(found.acquire(&C, kind(Kind::ExclusiveAccess) | 1, [0, 1]), CONFLICT);
    assert_eq!(found.acquire(&B, kind(Kind::ExclusiveAccess) | 2, [2, 1]), Ok(()));
    assert_eq!(found.generation, generation + 1);
    assert_eq!(found.held, Some(Held { kind: Kind::ExclusiveAccess, holder: B }));
    assert_eq!(found.keys, [(B, 2)].into());
    // With one's own key, the type changes.
    assert_eq!(found.acquire(&B, kind(Kind::WriteExclusive) | 1, [2, 2]), Ok(()));
    assert_eq!((found.held.unwrap().kind, found.keys.len()), (Kind::WriteExclusive, 1));
}

#[test]
fn preempting_a_registrant_leaves_the_reservation_where_it_is() {
    let mut found = held(Kind::WriteExclusive);
    found.register(&C, 0, [0, 3]).unwrap();
    assert_eq!(found.acquire(&B, kind(Kind::ExclusiveAccess) | 1, [2, 3]), Ok(()));
    assert_eq!(found.held, Some(Held { kind: Kind::WriteExclusive, holder: A }));
    assert_eq!(found.keys, [(A, 1), (B, 2)].into());
    let mut all = held(Kind::ExclusiveAccessAllRegistrants);
    assert_eq!(all.acquire(&B, kind(Kind::WriteExclusive) | 1, [2, 1]), Ok(()));
    assert_eq!(all.held.unwrap().kind, Kind::ExclusiveAccessAllRegistrants);
    let mut all = held(Kind::ExclusiveAccessAllRegistrants);
    assert_eq!(all.acquire(&B, kind(Kind::WriteExclusive) | 1, [2, 0]), Ok(()));
    assert_eq!(all.held, Some(Held { kind: Kind::WriteExclusive, holder: B }));
    assert_eq!(all.keys, [(B, 2)].into());
}

#[test]
fn a_reservation_goes_by_release_clear_and_unregistration() {
    let mut found = held(Kind::WriteExclusive);
    assert_eq!(found.release(&C, kind(Kind::WriteExclusive), 0), CONFLICT);
    assert_eq!(found.release(&B, kind(Kind::WriteExclusive), 2), Ok(()));
    assert_eq!(found.release(&A, kind(Kind::ExclusiveAccess), 1), INVALID);
    assert_eq!(found.release(&A, 2, 1), INVALID);
    assert!(found.held.is_some());
    assert_eq!(found.release(&A, kind(Kind::WriteExclusive), 1), Ok(()));
    assert_eq!((found.held, found.keys.len()), (None, 2));

    let mut found = held(Kind::ExclusiveAccess);
    assert_eq!(found.release(&B, 1, 2), Ok(()));
    assert_eq!((found.held, found.keys.len()), (None, 0));

    let mut found = held(Kind::WriteExclusiveRegistrantsOnly);
    found.register(&A, 1, [1, 0]).unwrap();
    assert_eq!(found.held, None);

    let mut found = held(Kind::WriteExclusiveAllRegistrants);
    found.register(&A, 1, [1, 0]).unwrap();
    assert!(found.check(&B, Use::Write).is_ok() && found.check(&A, Use::Write).is_err());
    found.register(&B, 1, [2, 0]).unwrap();
    assert_eq!(found.held, None);
}

#[test]
fn a_report_lists_each_registrant() {
    let report = held(Kind::ExclusiveAccess).report();
    assert_eq!(report.len(), 3 * 64);
    assert_eq!(report[..10], [2, 0, 0, 0, 2, 2, 0, 0, 0, 0]);
    assert_eq!(report[64..80], [0xff, 0xff, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(report[80..96], A);
    assert_eq!((report[128 + 2], report[128 + 8]), (0, 2));
}
