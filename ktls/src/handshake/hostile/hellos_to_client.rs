//! ServerHellos and HelloRetryRequests, and the hello after one.

use super::super::hello::{ClientHello, RETRY_RANDOM};
use super::super::message::extension_type as ext;
use super::*;

/// A client that waits, and the ServerHello that it waits for.
fn client_and_server_hello(retry: bool) -> (ClientHandshake, Hello) {
    let shares = usize::from(!retry);
    let mut client = ClientHandshake::new(&ClientConfig::new(psk()).key_shares(shares)).unwrap();
    let mut server = new_server();
    server.read_record(&mut client.take_output()).unwrap();
    (client, Hello::parse(&first_message(&server.take_output())))
}

fn client_alert(retry: bool, change: impl Fn(Hello) -> Hello) -> Alert {
    let (mut client, hello) = client_and_server_hello(retry);
    alert(answer(&mut client, &change(hello).build()))
}

#[test]
fn server_hellos_that_break_the_rules() {
    let share = |group: u16, len: usize| {
        let mut data = Vec::new();
        put_u16(&mut data, group);
        put_vec16(&mut data, |out| out.resize(out.len() + len, 0));
        data
    };
    type Change = Box<dyn Fn(Hello) -> Hello>;
    let with = |kind: u16, data: Vec<u8>| -> Change { Box::new(move |hello| hello.with(kind, &data)) };
    let without = |kind: u16| -> Change { Box::new(move |hello| hello.without(kind)) };
    let head = |at: usize| -> Change {
        Box::new(move |mut hello| {
            hello.head[at] ^= 1;
            hello
        })
    };
    let changes: Vec<(&str, Change, Alert)> = vec![
        ("no key_share", without(ext::KEY_SHARE), Alert::MISSING_EXTENSION),
        ("no pre_shared_key", without(ext::PRE_SHARED_KEY), Alert::MISSING_EXTENSION),
        ("no supported_versions", without(ext::SUPPORTED_VERSIONS), Alert::PROTOCOL_VERSION),
        ("TLS 1.2 chosen", with(ext::SUPPORTED_VERSIONS, vec![3, 3]), Alert::ILLEGAL_PARAMETER),
        ("selected_identity", with(ext::PRE_SHARED_KEY, vec![0, 1]), Alert::ILLEGAL_PARAMETER),
        ("selected_identity cut", with(ext::PRE_SHARED_KEY, vec![0]), Alert::DECODE_ERROR),
        ("a group without a share", with(ext::KEY_SHARE, share(0x17, 65)), Alert::ILLEGAL_PARAMETER),
        ("an unknown group", with(ext::KEY_SHARE, share(0x9999, 32)), Alert::ILLEGAL_PARAMETER),
        ("a share of another length", with(ext::KEY_SHARE, share(0x1d, 31)), Alert::ILLEGAL_PARAMETER),
        ("a share of zeros", with(ext::KEY_SHARE, share(0x1d, 32)), Alert::ILLEGAL_PARAMETER),
        ("an unknown extension", with(0x1234, vec![]), Alert::UNSUPPORTED_EXTENSION),
        ("a cookie", with(ext::COOKIE, vec![0, 1, 1]), Alert::UNSUPPORTED_EXTENSION),
        ("supported_groups", with(ext::SUPPORTED_GROUPS, vec![]), Alert::ILLEGAL_PARAMETER),
        ("the session id", head(35), Alert::ILLEGAL_PARAMETER),
        ("the suite", head(35 + 32 + 1), Alert::ILLEGAL_PARAMETER),
        ("the compression", head(35 + 32 + 2), Alert::ILLEGAL_PARAMETER),
    ];
    for (name, change, expected) in changes {
        assert_eq!(client_alert(false, change), expected, "{name}");
    }
}

#[test]
fn a_server_of_tls_1_2_is_named() {
    // ServerHello without any extension: version, random, no session id, a suite, no compression.
    let old = message(message_type::SERVER_HELLO, |out| {
        put_u16(out, 0x0303);
        out.extend_from_slice(&[7; 32]);
        out.extend_from_slice(&[0, 0xc0, 0x2f, 0]);
    });
    let error = answer(&mut new_client(), &old).unwrap_err();
    assert_eq!(error, Error::OlderVersion { version: 0x0303 });
    assert!(error.to_string().contains("up to version 3.3"), "{error}");
}

#[test]
fn hello_retry_requests_that_break_the_rules() {
    let cookie = [0, 3, 1, 2, 3];
    let (mut client, hello) = client_and_server_hello(true);
    assert_eq!(hello.head[2..34], RETRY_RANDOM);
    answer(&mut client, &hello.clone().with(ext::COOKIE, &cookie).build()).unwrap();
    // The second hello has the cookie and the share.
    let second = client.take_output();
    let at = 6 + 5 + 4;
    let second = ClientHello::decode(&second[at..]).unwrap();
    assert_eq!(second.extensions.get(ext::COOKIE).unwrap().bytes(5, "cookie").unwrap(), cookie);
    assert_eq!(second.shares(&second.groups().unwrap()).unwrap().len(), 1);
    assert_eq!(alert(answer(&mut client, &hello.build())), Alert::UNEXPECTED_MESSAGE, "a second retry");

    let retry = |change: &dyn Fn(Hello) -> Hello| client_alert(true, change);
    assert_eq!(retry(&|hello| hello.without(ext::KEY_SHARE)), Alert::ILLEGAL_PARAMETER);
    assert_eq!(retry(&|hello| hello.with(ext::KEY_SHARE, &[0x99, 0x99])), Alert::ILLEGAL_PARAMETER);
    assert_eq!(retry(&|hello| hello.with(ext::COOKIE, &[0, 0])), Alert::DECODE_ERROR);
    assert_eq!(retry(&|hello| hello.with(ext::COOKIE, &[0x40, 1])), Alert::DECODE_ERROR);
    assert_eq!(retry(&|hello| hello.with(ext::PRE_SHARED_KEY, &[0, 0])), Alert::ILLEGAL_PARAMETER);

    // A group whose share the server has already.
    let (mut client, mut hello) = client_and_server_hello(false);
    hello.head[2..34].copy_from_slice(&RETRY_RANDOM);
    let again = hello.without(ext::PRE_SHARED_KEY).with(ext::KEY_SHARE, &[0, 0x1d]);
    assert_eq!(alert(answer(&mut client, &again.build())), Alert::ILLEGAL_PARAMETER);
}

#[test]
fn a_second_client_hello_must_repeat_the_first() {
    let run = |change: &dyn Fn(&mut Hello)| {
        let mut client =
            ClientHandshake::new(&ClientConfig::new(psk()).key_shares(0).middlebox_compatibility(false))
                .unwrap();
        let mut server = new_server();
        server.read_record(&mut client.take_output()).unwrap();
        client.read_record(&mut server.take_output()).unwrap();
        let mut second = Hello::parse(&first_message(&client.take_output()));
        change(&mut second);
        answer(&mut server, &second.build())
    };
    assert_eq!(run(&|_| {}), Ok(()));
    assert_eq!(alert(run(&|hello| hello.head[2] ^= 1)), Alert::ILLEGAL_PARAMETER);
    let change = |kind, data: &'static [u8]| alert(run(&|hello| *hello = hello.clone().with(kind, data)));
    assert_eq!(change(ext::KEY_SHARE, &[0, 0]), Alert::ILLEGAL_PARAMETER);
    assert_eq!(change(ext::KEY_SHARE, &[0, 5, 0, 0x17, 0, 1, 4]), Alert::ILLEGAL_PARAMETER);
    assert_eq!(change(ext::SUPPORTED_GROUPS, &[0, 2, 0, 0x1d]), Alert::ILLEGAL_PARAMETER);
    let withdrawn = alert(run(&|hello| *hello = hello.clone().without(ext::PRE_SHARED_KEY)));
    assert_eq!(withdrawn, Alert::MISSING_EXTENSION);
}
