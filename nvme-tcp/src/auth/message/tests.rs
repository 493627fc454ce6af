use super::*;

#[test]
fn fields_stand_where_the_specification_has_them() {
    let bytes =
        negotiate(0x0201, SecureChannel::NewTlsPsk, &[Hash::Sha384], &[DhGroup::Null, DhGroup::Ffdhe8192]);
    assert_eq!(bytes.len(), 72);
    assert_eq!(bytes[..12], [0, 0, 0, 0, 1, 2, 2, 1, 1, 0, 1, 2]);
    assert_eq!((bytes[12], &bytes[42..45]), (2, &[0, 5, 0][..]));

    let value = Challenge { hash: 1, group: 5, sequence: 7, value: &[9; 32], dh_value: &[8; 3] };
    let bytes = challenge(1, &value);
    assert_eq!(bytes[..16], [1, 1, 0, 0, 1, 0, 32, 0, 1, 5, 3, 0, 7, 0, 0, 0]);
    assert_eq!(parse(&bytes), Ok((Kind::Challenge, 1, Message::Challenge(value))));

    let value = Reply { response: &[9; 32], challenge: Some(&[3; 32]), sequence: 7, dh_value: &[8; 3] };
    let bytes = reply(1, &value);
    assert_eq!(bytes[..16], [1, 2, 0, 0, 1, 0, 32, 0, 1, 0, 3, 0, 7, 0, 0, 0]);
    assert_eq!(parse(&bytes), Ok((Kind::Reply, 1, Message::Reply(value))));

    let bytes = success1(1, 48, Some(&[4; 48]));
    assert_eq!((bytes.len(), &bytes[..10]), (64, &[1, 3, 0, 0, 1, 0, 48, 0, 1, 0][..]));
    assert_eq!(success1(1, 48, None).len(), 64);
    assert_eq!((success2(1).len(), parse(&success2(1)).unwrap().2), (16, Message::Success2));
    assert_eq!(failure(Kind::Failure1, 1, Reason::HashUnusable), [0, 0xf1, 0, 0, 1, 0, 1, 4]);
    assert_eq!(failure(Kind::Failure2, 1, Reason::Failed), [0, 0xf0, 0, 0, 1, 0, 1, 1]);
}

#[test]
fn a_message_that_ends_too_early_is_truncated_wherever_it_ends() {
    let challenge_values = Challenge { hash: 1, group: 1, sequence: 1, value: &[1; 32], dh_value: &[2; 9] };
    let reply_values = Reply { response: &[1; 32], challenge: None, sequence: 0, dh_value: &[2; 9] };
    let whole = [
        negotiate(1, SecureChannel::None, &[Hash::Sha256], &[DhGroup::Null]),
        challenge(1, &challenge_values),
        reply(1, &reply_values),
        success1(1, 64, Some(&[1; 64])),
        success2(1),
        failure(Kind::Failure1, 1, Reason::Failed),
        failure(Kind::Failure2, 1, Reason::Failed),
    ];
    for bytes in whole {
        let mut longer = bytes.clone();
        longer.extend([0xee; 100]);
        assert_eq!(parse(&longer), parse(&bytes));
        for len in 0..bytes.len() {
            let error = parse(&bytes[..len]).unwrap_err();
            assert!(matches!(error, AuthError::Truncated { .. }), "{len} of {bytes:02x?}: {error}");
            assert_eq!(error.reason(), Reason::IncorrectPayload);
        }
    }
}

#[test]
fn lists_longer_than_their_room_are_refused() {
    let mut bytes = negotiate(1, SecureChannel::None, &[Hash::Sha256], &[DhGroup::Null]);
    bytes[10] = 31;
    let error = parse(&bytes).unwrap_err();
    assert_eq!(error, AuthError::ListLength { field: "HALEN", max: 30, found: 31 });
    // Another protocol's descriptor before ours.
    bytes[8] = 9;
    let (_, _, Message::Negotiate(other)) = parse(&bytes).unwrap() else { panic!() };
    assert_eq!(other.hashes, None);
}
