//! The kernel's own count of what this library gave it. One test alone in its process: the counters are
//! those of the whole network namespace.

mod socket_support;

use ktls::observe::{Conf, SocketTls, TlsStat};
use ktls::{Layer, Options, SealedBy, probe};
use socket_support::{kernel_has_tls, sockets};

#[test]
fn each_connection_end_is_counted_once() {
    if !kernel_has_tls("each_connection_end_is_counted_once") {
        return;
    }
    // The probe opens sockets of its own, once.
    assert_eq!(probe().missing, None);
    let count = |name| TlsStat::read().unwrap().get(name).unwrap();
    let (tx, rx) = (count("TlsTxSw"), count("TlsRxSw"));
    let kernel = Options::new().layer(Layer::Kernel);
    let process = Options::new().layer(Layer::Process);
    let [a, b] = sockets(socket_support::SUITE, [&kernel, &process]);
    assert_eq!((count("TlsTxSw"), count("TlsRxSw")), (tx + 1, rx + 1));
    assert_eq!((a.info().send.by, a.info().receive.by), (SealedBy::Kernel, SealedBy::Kernel));
    assert!(a.info().send.to_string().starts_with("the kernel"), "{}", a.info().send);
    assert_eq!((b.info().send.by, b.info().receive.by), (SealedBy::Process, SealedBy::Process));
    let half = Options::new().send_layer(Layer::Kernel).receive_layer(Layer::Process);
    let _pair = sockets(socket_support::SUITE, [&half, &half]);
    assert_eq!((count("TlsTxSw"), count("TlsRxSw")), (tx + 3, rx + 1));

    // Where this kernel tells this user, it tells the same.
    let tcp = a.tcp();
    if let Ok(told) = SocketTls::ask(tcp.local_addr().unwrap(), tcp.peer_addr().unwrap()) {
        assert_eq!((told.version, told.cipher), (Some(0x0304), Some(51)));
        assert_eq!((told.tx, told.rx), (Some(Conf::Software), Some(Conf::Software)));
    }
}
