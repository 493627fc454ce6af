//! DH-HMAC-CHAP and secure channel concatenation over loopback, this family's initiator against its target.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use ktls::crypto::Hash;
use nvme_tcp::auth::{AuthError, Authentication, DhGroup, DhchapSecret, Reason, SecretHash};
use nvme_tcp::host::{HostIdentity, HostSource};
use nvme_tcp::proto::BringUpError;
use nvme_tcp::psk::{ConfiguredKey, KeyHash, Origin};
use nvme_tcp::{Blame, Controller, Error, ErrorKind, Options, Security};
use nvme_tcp_target::{KeyRing, Listener, Namespace, Subsystem, Target};

const SUBSYSTEM: &str = "nqn.2024-01.test:images";
const HOST: &str = "nqn.2024-01.test:host";

fn secret(fill: u8) -> DhchapSecret {
    DhchapSecret::new(SecretHash::Sha384, &[fill; 48]).unwrap()
}

fn one_way() -> Authentication {
    Authentication::new(secret(1))
}

fn both_ways() -> Authentication {
    one_way().controller_secret(secret(2))
}

fn loopback() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

/// A target that knows the host's secret and its own.
fn target(listener: Listener) -> Target {
    target_with(listener, both_ways())
}

fn target_with(listener: Listener, authentication: Authentication) -> Target {
    let subsystem =
        Subsystem::new(SUBSYSTEM).allow_host_with(HOST, authentication).namespace(1, Namespace::ram(1 << 20));
    Target::builder().subsystem(subsystem).listen(listener).start().unwrap()
}

fn options(target: &Target) -> Options {
    let host = HostIdentity { nqn: HOST.to_owned(), id: [7; 16], source: HostSource::Given };
    Options::new(target.local_addrs()[0].to_string(), SUBSYSTEM, host)
}

fn use_it(controller: &Controller) {
    let namespace = controller.namespace(1).unwrap();
    namespace.write_at(&[7; 4096], 8192).unwrap();
    let mut back = [0; 4096];
    namespace.read_at(&mut back, 8192).unwrap();
    assert_eq!(back, [7; 4096]);
}

fn failure(error: &Error) -> AuthError {
    match error.kind() {
        ErrorKind::BringUp(BringUpError::Authentication(error)) => *error,
        _ => panic!("{error}"),
    }
}

#[test]
fn plain_one_way_and_both_ways_with_diffie_hellman_and_without() {
    let target = target(Listener::plain(loopback()));
    for (settings, group) in [
        (one_way(), DhGroup::Null),
        (both_ways(), DhGroup::Null),
        (one_way().groups([DhGroup::Ffdhe2048]).hashes([Hash::Sha512]), DhGroup::Ffdhe2048),
        (both_ways().groups([DhGroup::Ffdhe3072]), DhGroup::Ffdhe3072),
    ] {
        let mutual = settings.is_mutual();
        let controller =
            options(&target).authentication(settings).io_queues(2).owned_queues(1).connect().unwrap();
        let agreed = controller.info().authentication.unwrap();
        assert_eq!((agreed.mutual, agreed.group, agreed.tls_psk), (mutual, group, None));
        use_it(&controller);
        drop(controller.queue().unwrap());
        controller.reauthenticate().unwrap();
        controller.reauthenticate().unwrap();
        use_it(&controller);
        controller.reconnect().unwrap();
        use_it(&controller);
        controller.shutdown();
    }
}

#[test]
fn authentication_inside_of_tls() {
    let key = ConfiguredKey::generate(KeyHash::Sha256).unwrap();
    let target = target(Listener::tls(loopback(), KeyRing::new().key(key.clone())));
    let controller =
        options(&target).tls(key.clone()).authentication(both_ways()).io_queues(2).connect().unwrap();
    let info = controller.info();
    assert!(info.authentication.unwrap().mutual);
    assert_eq!(info.tls.unwrap().origin, Origin::Retained);
    use_it(&controller);
    // The key alone is not enough.
    let error = options(&target).tls(key).connect().unwrap_err();
    let required = ErrorKind::BringUp(BringUpError::AuthenticationRequired);
    assert_eq!(error.to_string(), required.to_string());
}

#[test]
fn concatenation_makes_the_tls_key_of_every_queue() {
    let target = target(Listener::concat(loopback()));
    for settings in [
        one_way().groups([DhGroup::Ffdhe2048]),
        both_ways().groups([DhGroup::Ffdhe3072]).hashes([Hash::Sha384]),
    ] {
        let hash = settings.is_mutual();
        let controller = options(&target)
            .security(Security::Concat)
            .authentication(settings)
            .io_queues(2)
            .owned_queues(1)
            .connect()
            .unwrap();
        let info = controller.info();
        let (agreed, tls) = (info.authentication.unwrap(), info.tls.unwrap());
        assert_eq!((agreed.mutual, tls.origin), (hash, Origin::Generated));
        let psk = agreed.tls_psk.unwrap();
        assert_eq!(tls.info.psk_identity, psk.identity().as_bytes());
        use_it(&controller);
        drop(controller.queue().unwrap());
        controller.reauthenticate().unwrap();
        drop(controller.queue().unwrap());
        // The next association agrees on a key of its own.
        controller.reconnect().unwrap();
        let next = controller.info().authentication.unwrap().tls_psk.unwrap();
        assert_ne!(next.identity(), psk.identity());
        use_it(&controller);
        controller.shutdown();
    }
}

#[test]
fn wrong_secrets_are_named_with_whose_turn_it_is() {
    for listener in [Listener::plain(loopback()), Listener::concat(loopback())] {
        let concat = format!("{listener:?}").contains("Concat");
        let target = target(listener);
        let connect = |settings: Authentication| {
            let options = options(&target).authentication(settings.groups([DhGroup::Ffdhe2048]));
            let security = if concat { Security::Concat } else { Security::Plain };
            options.security(security).connect().unwrap_err()
        };
        let error = connect(Authentication::new(secret(9)));
        assert_eq!(failure(&error), AuthError::Refused(Reason::Failed));
        assert!(error.to_string().contains("authentication failed"), "{error}");
        assert_eq!(error.blame(), Blame::Caller);
        assert!(error.hint().unwrap().contains("secret") && !error.is_retryable());

        let error = connect(one_way().controller_secret(secret(9)));
        assert_eq!(failure(&error), AuthError::ControllerUnverified);
        assert_eq!(error.blame(), Blame::Caller);
    }
}

#[test]
fn without_a_secret_nothing_is_served() {
    let plain = target(Listener::plain(loopback()));
    let error = options(&plain).connect().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::BringUp(BringUpError::AuthenticationRequired)), "{error}");
    assert_eq!(error.blame(), Blame::Caller);
    // With one, but not told to make a secure channel.
    let concat = target(Listener::concat(loopback()));
    let error = options(&concat).authentication(one_way()).connect().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::BringUp(BringUpError::SecureChannelRequired)), "{error}");
}

#[test]
fn a_target_that_does_not_concatenate_gets_no_more_than_authentication() {
    let target = target(Listener::plain(loopback()));
    let options = options(&target).security(Security::Concat).authentication(one_way());
    let error = options.connect().unwrap_err();
    assert_eq!(failure(&error), AuthError::Refused(Reason::SecureChannelMismatch));
}

#[test]
fn a_target_that_was_to_prove_itself_and_cannot() {
    let target = target_with(Listener::plain(loopback()), one_way());
    let error = options(&target).authentication(both_ways()).connect().unwrap_err();
    assert_eq!(failure(&error), AuthError::Refused(Reason::Failed));
    // One that asks for no authentication at all does not get away with it.
    let subsystem = Subsystem::new(SUBSYSTEM).namespace(1, Namespace::ram(1 << 20));
    let open = Target::builder().subsystem(subsystem).listen(Listener::plain(loopback())).start().unwrap();
    options(&open).authentication(both_ways()).connect().unwrap_err();
    options(&open).authentication(one_way()).connect().unwrap().shutdown();
}

#[test]
fn wrong_options_are_refused_before_anything_is_sent() {
    let target = target(Listener::concat(loopback()));
    for options in [
        options(&target).security(Security::Concat),
        options(&target).security(Security::Concat).authentication(one_way().groups([DhGroup::Null])),
        options(&target).security(Security::Concat).authentication(one_way().hashes([Hash::Sha512])),
        options(&target).authentication(one_way().hashes([])),
    ] {
        let error = options.connect().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::InvalidArgument(_)), "{error}");
    }
    assert_eq!(target.statistics().connections, 0);
}

#[test]
fn tls_without_a_generated_key_is_refused_by_a_listener_for_concatenation() {
    let target = target(Listener::concat(loopback()));
    let key = ConfiguredKey::generate(KeyHash::Sha256).unwrap();
    let error = options(&target).tls(key).authentication(one_way()).connect().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Tls { .. }), "{error}");
    // Neither TLS nor NVMe.
    let mut stream = TcpStream::connect(target.local_addrs()[0]).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    // The kernel may say reset: bytes were left unread.
    drop(stream.read_to_end(&mut answer));
    assert!(answer.first().is_none_or(|first| *first == 3), "a C2HTermReq at most: {answer:?}");
}
