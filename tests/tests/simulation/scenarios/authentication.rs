//! Each failed authentication, on the admin queue of a controller that is brought up.

use nvme_tcp::auth::{
    AuthError, Authentication, DhGroup, DhchapSecret, Entropy, Host, Reason, SecretHash, SecureChannel,
};
use nvme_tcp::proto::Exchange;
use nvme_tcp_target::Channel;

use super::*;

fn secret(fill: u8) -> DhchapSecret {
    DhchapSecret::new(SecretHash::Sha256, &[fill; 32]).unwrap()
}

/// What both ends know: secret 1 is the host's, secret 2 the controller's.
fn settings() -> Authentication {
    Authentication::new(secret(1)).controller_secret(secret(2)).groups([DhGroup::Null, DhGroup::Ffdhe2048])
}

fn lab(target: Option<Authentication>) -> Lab {
    let served = match target {
        Some(settings) => subsystem().allow_host_with(HOST, settings),
        None => subsystem().allow_host(HOST),
    };
    Lab::new(served)
}

fn host(settings: Authentication, channel: SecureChannel) -> Host {
    Host::new(settings, HOST, SUBSYSTEM, channel, Entropy::gather().unwrap())
}

/// Brings a controller up as a host with `settings`.
fn bring_up(lab: &mut Lab, settings: Option<Authentication>) -> Result<Wire, NotUp> {
    let mutual = settings.as_ref().is_some_and(Authentication::is_mutual);
    let mut setup = BringUp::new(lab.settings());
    if let Some(settings) = settings {
        setup = setup.authenticating(host(settings, SecureChannel::None), mutual);
    }
    lab.admin(&mut setup, Origin::default())
}

fn failure(target: Option<Authentication>, settings: Authentication) -> AuthError {
    let mut lab = lab(target);
    let error = match bring_up(&mut lab, Some(settings)) {
        Err(NotUp::BringUp(BringUpError::Authentication(error))) => error,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it is up"),
    };
    // A failure is one connection's: who knows the secrets comes in.
    error
}

#[test]
fn with_the_right_secrets_both_ways_the_controller_comes_up() {
    let mut lab = lab(Some(settings()));
    let mut admin = bring_up(&mut lab, Some(settings())).unwrap();
    // Once more, on the queue in use.
    let mut again = Exchange::new(host(settings(), SecureChannel::None));
    while let Some(command) = again.command().unwrap() {
        let (write, read) = (&command.write, command.read as usize);
        let (completion, data) = lab.run(&mut admin, &command.sqe, write, read).unwrap();
        again.completed(&completion.cqe, &data).unwrap();
    }
    assert!(again.into_agreed().unwrap().mutual);
}

#[test]
fn a_wrong_host_secret_is_refused() {
    let wrong = Authentication::new(secret(9));
    assert_eq!(failure(Some(settings()), wrong), AuthError::Refused(Reason::Failed));
}

#[test]
fn a_wrong_host_secret_with_diffie_hellman_is_refused() {
    let wrong = Authentication::new(secret(9)).groups([DhGroup::Ffdhe2048]);
    assert_eq!(failure(Some(settings()), wrong), AuthError::Refused(Reason::Failed));
}

#[test]
fn a_controller_with_another_secret_is_not_believed() {
    let other = settings().controller_secret(secret(9));
    assert_eq!(failure(Some(settings()), other), AuthError::ControllerUnverified);
}

#[test]
fn a_controller_without_a_secret_cannot_be_asked_for_one() {
    let error = failure(Some(Authentication::new(secret(1))), settings());
    assert!(matches!(error, AuthError::Refused(_) | AuthError::NotMutual), "{error:?}");
}

#[test]
fn a_host_without_a_secret_is_told_that_it_needs_one() {
    let mut lab = lab(Some(settings()));
    let error = bring_up(&mut lab, None).err().expect("not up");
    assert!(matches!(error, NotUp::BringUp(BringUpError::AuthenticationRequired)), "{error:?}");
}

#[test]
fn a_controller_that_knows_no_secret_of_the_host_is_not_believed_when_asked() {
    let mut lab = lab(None);
    let error = bring_up(&mut lab, Some(settings())).err().expect("not up");
    assert!(matches!(error, NotUp::BringUp(_)), "{error:?}");
    // Who does not ask comes in, as nothing is required.
    bring_up(&mut lab, Some(Authentication::new(secret(1)))).unwrap();
}

#[test]
fn no_hash_in_common_is_named() {
    use ktls::crypto::Hash;
    let target = settings().hashes([Hash::Sha512]);
    let error = failure(Some(target), settings().hashes([Hash::Sha256]));
    assert_eq!(error, AuthError::Refused(Reason::HashUnusable), "{error:?}");
}

#[test]
fn no_diffie_hellman_group_in_common_is_named() {
    let target = settings().groups([DhGroup::Ffdhe3072]);
    let error = failure(Some(target), settings().groups([DhGroup::Ffdhe2048]));
    assert_eq!(error, AuthError::Refused(Reason::DhGroupUnusable), "{error:?}");
}

#[test]
fn concatenation_where_the_connection_is_not_for_it_is_refused() {
    let mut lab = lab(Some(settings()));
    let setup = BringUp::new(lab.settings());
    let mut setup = setup.authenticating(host(settings(), SecureChannel::NewTlsPsk), true);
    let error = lab.admin(&mut setup, Origin::default()).err().expect("not up");
    let NotUp::BringUp(BringUpError::Authentication(AuthError::Refused(reason))) = error else {
        panic!("{error:?}");
    };
    assert_eq!(reason.code(), 3, "secure channel concatenation mismatch");
}

#[test]
fn plain_authentication_where_the_connection_is_for_concatenation_is_refused() {
    let mut lab = lab(Some(settings()));
    let setup = BringUp::new(lab.settings());
    let mut setup = setup.authenticating(host(settings(), SecureChannel::None), true);
    let origin = Origin { channel: Channel::Concat, ..Origin::default() };
    let error = lab.admin(&mut setup, origin).err().expect("not up");
    assert!(matches!(error, NotUp::BringUp(_)), "{error:?}");
}

#[test]
fn a_connection_that_falls_silent_in_the_middle_of_authentication_is_given_up() {
    // Before each of the messages that the controller sends.
    for answered in 0..2 {
        let mut lab = lab(Some(settings()));
        let mut setup =
            BringUp::new(lab.settings()).authenticating(host(settings(), SecureChannel::None), true);
        let mut wire = lab.opened(31, Origin::default()).unwrap();
        let mut messages = 0;
        loop {
            let Step::Admin(command) = setup.next(lab.now).unwrap() else { panic!("it waits for an answer") };
            if nvme_tcp::spec::command::fabrics::kind(&command.sqe)
                == nvme_tcp::spec::command::fabrics::AUTHENTICATION_RECEIVE
            {
                messages += 1;
            }
            if messages > answered {
                wire.swallow();
            }
            let begun = lab.now;
            let (write, read) = (&command.write, command.read as usize);
            match lab.run(&mut wire, &command.sqe, write, read) {
                Some((completion, data)) => setup.completed(&completion.cqe, &data, lab.now).unwrap(),
                None => {
                    assert!(messages > answered && lab.now - begun >= TIMEOUT);
                    break;
                }
            }
        }
        // The next connection is as good as ever.
        bring_up(&mut lab, Some(settings())).unwrap();
    }
}
