//! Each way for a transaction to fail, by name, with what the other end is told.

use ktls::crypto::Hash;
use nvme_tcp::auth::message::{Kind, Message, parse};
use nvme_tcp::auth::{
    Action, AuthError, Authentication, Controller, DhError, DhGroup, Host, Progress, Reason, SecureChannel,
};
use proptest::prelude::*;

use crate::support::{
    HOST, Pair, SUBSYSTEM, both_ways, controller_entropy, host_entropy, message, one_way, secret,
};

const NEGOTIATE: usize = 0;
const CHALLENGE: usize = 1;
const REPLY: usize = 2;
const SUCCESS1: usize = 3;
const SUCCESS2: usize = 4;

/// Runs a pair with message `number` changed, and expects one end to find `error` and the other to be told.
fn fails(pair: Pair, number: usize, change: impl Fn(&mut Vec<u8>), error: AuthError) {
    let (host, controller) = pair.run_with(|at, bytes| {
        if at == number {
            change(bytes);
        }
    });
    let (finder, told) = if number == CHALLENGE || number == SUCCESS1 {
        (host.unwrap_err(), controller.unwrap_err())
    } else {
        (controller.unwrap_err(), host.unwrap_err())
    };
    assert_eq!(finder, error);
    assert_eq!(told, AuthError::Refused(error.reason()), "{error}");
}

fn pair(settings: &Authentication) -> Pair {
    Pair::new(settings.clone(), settings.clone(), SecureChannel::None)
}

fn ends(host: Authentication, controller: Authentication) -> (AuthError, AuthError) {
    let (host, controller) = Pair::new(host, controller, SecureChannel::None).run();
    (host.unwrap_err(), controller.unwrap_err())
}

#[test]
fn a_wrong_host_secret() {
    let told = AuthError::Refused(Reason::Failed);
    let wrong = Authentication::new(secret(9));
    assert_eq!(ends(wrong.groups([DhGroup::Null]), one_way()), (told, AuthError::HostUnverified));
}

#[test]
fn a_wrong_controller_secret() {
    let other = one_way().controller_secret(secret(9));
    let told = AuthError::Refused(Reason::Failed);
    assert_eq!(ends(both_ways(), other), (AuthError::ControllerUnverified, told));
}

#[test]
fn a_controller_without_a_secret_that_is_asked_for_one() {
    let told = AuthError::Refused(Reason::Failed);
    assert_eq!(ends(both_ways(), one_way()), (told, AuthError::NoControllerSecret));
}

#[test]
fn a_controller_that_does_not_answer_the_hosts_challenge() {
    fails(pair(&both_ways()), SUCCESS1, |bytes| bytes[8] = 0, AuthError::NotMutual);
}

#[test]
fn a_hash_that_was_not_offered() {
    let (told, found) = ends(one_way().hashes([Hash::Sha256]), one_way().hashes([Hash::Sha512]));
    assert_eq!((told, found), (AuthError::Refused(Reason::HashUnusable), AuthError::Hash(None)));
    let settings = one_way().hashes([Hash::Sha256]);
    fails(pair(&settings), CHALLENGE, |bytes| bytes[8] = 2, AuthError::Hash(Some(2)));
    fails(pair(&settings), CHALLENGE, |bytes| bytes[8] = 77, AuthError::Hash(Some(77)));
}

#[test]
fn a_group_that_was_not_offered() {
    let (told, found) = ends(one_way(), one_way().groups([DhGroup::Ffdhe2048]));
    assert_eq!((told, found), (AuthError::Refused(Reason::DhGroupUnusable), AuthError::DhGroup(None)));
    fails(pair(&one_way()), CHALLENGE, |bytes| bytes[9] = 1, AuthError::DhGroup(Some(1)));
    fails(pair(&one_way()), CHALLENGE, |bytes| bytes[9] = 6, AuthError::DhGroup(Some(6)));
}

#[test]
fn concatenation_without_diffie_hellman_or_with_a_hash_that_has_no_psks() {
    for (settings, error) in [
        (one_way(), AuthError::DhGroup(None)),
        (one_way().groups([DhGroup::Ffdhe2048]).hashes([Hash::Sha512]), AuthError::Hash(None)),
    ] {
        let (host, controller) = Pair::new(settings.clone(), settings, SecureChannel::NewTlsPsk).run();
        assert_eq!(controller.unwrap_err(), error);
        assert_eq!(host.unwrap_err(), AuthError::Refused(error.reason()));
    }
}

#[test]
fn a_protocol_that_is_not_ours() {
    fails(pair(&one_way()), NEGOTIATE, |bytes| bytes[8] = 2, AuthError::Protocol);
    fails(pair(&one_way()), NEGOTIATE, |bytes| bytes[7] = 0, AuthError::Protocol);
}

#[test]
fn a_secure_channel_that_one_end_does_not_want() {
    for (sent, expected) in [(0, SecureChannel::NewTlsPsk), (2, SecureChannel::None)] {
        let settings = one_way().groups([DhGroup::Ffdhe2048]);
        let error = AuthError::SecureChannel { expected: expected as u8, found: sent };
        let pair = Pair::new(settings.clone(), settings, expected);
        fails(pair, NEGOTIATE, |bytes| bytes[6] = sent, error);
        assert_eq!(error.reason().code(), 3);
    }
    let replace = AuthError::SecureChannel { expected: 0, found: 3 };
    fails(pair(&one_way()), NEGOTIATE, |bytes| bytes[6] = 3, replace);
}

#[test]
fn an_sc_c_that_was_changed_on_the_way_and_back_shows_in_the_response() {
    // The host asks for concatenation, the controller hears of none: their responses differ.
    let settings = one_way().groups([DhGroup::Ffdhe2048]);
    let pair = Pair {
        host: Host::new(settings.clone(), HOST, SUBSYSTEM, SecureChannel::NewTlsPsk, host_entropy()),
        controller: Controller::new(settings, HOST, SUBSYSTEM, SecureChannel::None, controller_entropy()),
    };
    let (host, controller) = pair.run_with(|at, bytes| {
        if at == NEGOTIATE {
            bytes[6] = 0;
        }
    });
    assert_eq!(controller.unwrap_err(), AuthError::HostUnverified);
    assert_eq!(host.unwrap_err(), AuthError::Refused(Reason::Failed));
}

#[test]
fn a_wrong_hash_length() {
    let error = AuthError::HashLength { expected: 32, found: 31 };
    fails(pair(&one_way()), CHALLENGE, |bytes| bytes[6] = 31, error);
    fails(pair(&one_way()), REPLY, |bytes| bytes[6] = 31, error);
    fails(pair(&both_ways()), SUCCESS1, |bytes| bytes[6] = 31, error);
}

#[test]
fn diffie_hellman_values_that_give_the_secret_away() {
    let settings = one_way().groups([DhGroup::Ffdhe2048]);
    assert_eq!(message(pair(&settings), CHALLENGE).len(), 16 + 32 + 256);
    let prime = ffdhe2048_prime();
    let mut before = prime.clone();
    before[255] -= 1;
    let mut one = vec![0; 256];
    one[255] = 1;
    for value in [vec![0; 256], one, before, prime] {
        let put = |start: usize| {
            let value = value.clone();
            move |bytes: &mut Vec<u8>| bytes[start..].copy_from_slice(&value)
        };
        fails(pair(&settings), CHALLENGE, put(48), AuthError::DhValue(DhError::Range));
        fails(pair(&settings), REPLY, put(80), AuthError::DhValue(DhError::Range));
    }
    assert_eq!(AuthError::DhValue(DhError::Range).reason(), Reason::IncorrectPayload);
    let none = |bytes: &mut Vec<u8>| bytes[10..12].copy_from_slice(&[0, 0]);
    let length = AuthError::DhValue(DhError::Length { expected: 256, found: 0 });
    fails(pair(&settings), CHALLENGE, none, length);
    // A value where there is no group.
    let more = |bytes: &mut Vec<u8>| {
        bytes[10] = 1;
        bytes.push(2);
    };
    let length = AuthError::DhValue(DhError::Length { expected: 0, found: 1 });
    fails(pair(&one_way()), CHALLENGE, more, length);
    fails(pair(&one_way()), REPLY, more, length);
}

/// ffdhe2048, as RFC 7919 prints it (appendix A.1).
fn ffdhe2048_prime() -> Vec<u8> {
    let hex = "FFFFFFFFFFFFFFFFADF85458A2BB4A9AAFDC5620273D3CF1D8B9C583CE2D3695A9E13641146433FBCC939DCE249B3EF9\
        7D2FE363630C75D8F681B202AEC4617AD3DF1ED5D5FD65612433F51F5F066ED0856365553DED1AF3B557135E7F57C935\
        984F0C70E0E68B77E2A689DAF3EFE8721DF158A136ADE73530ACCA4F483A797ABC0AB182B324FB61D108A94BB2C8E3FB\
        B96ADAB760D7F4681D4F42A3DE394DF4AE56EDE76372BB190B07A7C8EE0A6D709E02FCE1CDF7E2ECC03404CD28342F61\
        9172FE9CE98583FF8E4F1232EEF28183C3FE3B1B4C6FAD733BB5FCBC2EC22005C58EF1837D1683B2C6F34A26C1B2EFFA\
        886B423861285C97FFFFFFFFFFFFFFFF";
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn sequence_numbers_that_are_zero() {
    let zero = |bytes: &mut Vec<u8>| bytes[12..16].fill(0);
    fails(pair(&one_way()), CHALLENGE, zero, AuthError::Sequence);
    fails(pair(&both_ways()), REPLY, zero, AuthError::Sequence);
}

#[test]
fn concatenation_without_a_challenge_of_the_hosts() {
    let settings = one_way().groups([DhGroup::Ffdhe2048]);
    let pair = Pair::new(settings.clone(), settings, SecureChannel::NewTlsPsk);
    fails(pair, REPLY, |bytes| bytes[8] = 0, AuthError::NoChallenge);
}

#[test]
fn another_transactions_messages() {
    let error = AuthError::Transaction { expected: 0x4321, found: 0x4322 };
    let change = |bytes: &mut Vec<u8>| bytes[4] += 1;
    for number in [CHALLENGE, REPLY, SUCCESS1] {
        fails(pair(&both_ways()), number, change, error);
    }
    // After Success2 the host is done: only the controller knows.
    let (host, controller) = pair(&both_ways()).run_with(|at, bytes| {
        if at == SUCCESS2 {
            bytes[4] += 1;
        }
    });
    host.unwrap();
    assert_eq!(controller.unwrap_err(), AuthError::NothingDue);
}

#[test]
fn messages_out_of_order() {
    for number in [NEGOTIATE, CHALLENGE, REPLY, SUCCESS1] {
        let expected = [Kind::Negotiate, Kind::Challenge, Kind::Reply, Kind::Success1][number];
        // Each of them is nobody's turn here.
        for other in [NEGOTIATE, CHALLENGE, REPLY, SUCCESS1, SUCCESS2].into_iter().filter(|n| *n != number) {
            let wrong = message(pair(&both_ways()), other);
            let found = parse(&wrong).unwrap().0;
            let error = AuthError::Message { expected: Some(expected), found };
            assert_eq!(error.reason(), Reason::IncorrectMessage);
            fails(pair(&both_ways()), number, |bytes| bytes.clone_from(&wrong), error);
        }
    }
    let unknown = AuthError::Message { expected: None, found: Kind::Other { auth_type: 1, auth_id: 9 } };
    fails(pair(&one_way()), REPLY, |bytes| bytes[1] = 9, unknown);
}

#[test]
fn a_controller_that_is_asked_too_early() {
    let mut controller =
        Controller::new(one_way(), HOST, SUBSYSTEM, SecureChannel::None, controller_entropy());
    let failure = controller.give();
    assert_eq!(parse(&failure).unwrap().2, Message::Failure1(Reason::IncorrectMessage));
    assert_eq!(controller.progress(), Progress::Failed(AuthError::NothingDue));
}

#[test]
fn messages_that_end_too_early() {
    for number in [NEGOTIATE, CHALLENGE, REPLY, SUCCESS1] {
        let whole = message(pair(&both_ways()), number);
        for len in [0, 5, 6, whole.len() - 1] {
            let (host, controller) = pair(&both_ways()).run_with(|at, bytes| {
                if at == number {
                    bytes.truncate(len);
                }
            });
            let is_truncated = |end: &Result<_, AuthError>| matches!(end, Err(AuthError::Truncated { len: found, .. }) if *found == len);
            let (host, controller) = (is_truncated(&host), is_truncated(&controller));
            assert!(host || controller, "message {number} of {len} bytes");
        }
    }
}

#[test]
fn a_recorded_reply_does_not_answer_another_challenge() {
    let recorded = message(pair(&one_way()), REPLY);
    let other = nvme_tcp::auth::Entropy::fixed([0xc3; 64], [0x89; 64], 0x9877, 0);
    let pair = Pair {
        host: Host::new(one_way(), HOST, SUBSYSTEM, SecureChannel::None, host_entropy()),
        controller: Controller::new(one_way(), HOST, SUBSYSTEM, SecureChannel::None, other),
    };
    fails(pair, REPLY, |bytes| bytes.clone_from(&recorded), AuthError::HostUnverified);
}

#[test]
fn a_challenge_that_was_there_before() {
    let (agreed, _) = pair(&one_way()).run();
    let mut again = pair(&one_way());
    again.host = again.host.after(&agreed.unwrap());
    let (host, controller) = again.run();
    assert_eq!(host.unwrap_err(), AuthError::ReplayedChallenge);
    assert_eq!(controller.unwrap_err(), AuthError::Refused(Reason::Failed));
}

#[test]
fn a_challenge_that_is_sent_back() {
    let back = |bytes: &mut Vec<u8>| bytes[48..80].fill(0x88);
    fails(pair(&both_ways()), REPLY, back, AuthError::ReplayedChallenge);
}

#[test]
fn what_failed_stays_failed() {
    let mut host = Host::new(one_way(), HOST, SUBSYSTEM, SecureChannel::None, host_entropy());
    let Ok(Action::Send(_)) = host.action() else { panic!() };
    host.received(&[1]);
    let Ok(Action::Send(failure)) = host.action() else { panic!() };
    assert_eq!(parse(&failure).unwrap().2, Message::Failure2(Reason::IncorrectPayload));
    let error = host.action().unwrap_err();
    host.received(&message(pair(&one_way()), CHALLENGE));
    assert!(matches!(host.action(), Ok(Action::Send(_)) | Err(_)));
    assert_eq!(host.action().unwrap_err(), error);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// A message that was changed never makes either end panic, nor lets them agree on different things.
    #[test]
    fn changed_messages_never_panic(
        number in 0_usize..5,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
        more in 0_usize..64,
    ) {
        let (host, controller) = pair(&both_ways()).run_with(|at, bytes| {
            if at == number {
                for (index, value) in &changes {
                    let index = index.index(bytes.len());
                    bytes[index] = *value;
                }
                if let Some(cut) = &cut {
                    bytes.truncate(cut.index(bytes.len()));
                }
                bytes.resize(bytes.len() + more, 0);
            }
        });
        if let (Ok(host), Ok(controller)) = (host, controller) {
            prop_assert_eq!(host, controller);
        }
    }

    #[test]
    fn any_bytes_are_taken_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let known = [[0, 0], [1, 1], [1, 2], [1, 3], [1, 4], [0, 0xf0], [0, 0xf1]];
        for start in known {
            let message = [&start[..], &bytes].concat();
            drop(parse(&message));
        }
        drop(parse(&bytes));
    }
}
