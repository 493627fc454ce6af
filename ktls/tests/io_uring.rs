//! The same socket by io_uring: where the kernel has the keys, its descriptor and the control messages are all that it
//! takes; where this process has them, the halves are codecs.
#![allow(unsafe_code, reason = "io_uring takes addresses")]

mod socket_support;

use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;

use io_uring::types::Fd;
use io_uring::{IoUring, Probe, cqueue, opcode, squeue};
use ktls::alert::Alert;
use ktls::record::ContentType;
use ktls::{Layer, Socket, Wait, cmsg};
use socket_support::process::skip;
use socket_support::{FRAGMENT, Peer, kernel_has_tls, pattern, with_peer};

const TICKET: [u8; 7] = [4, 0, 0, 3, 1, 2, 3];

/// A ring that does one thing at a time.
struct Ring(IoUring);

impl Ring {
    /// `None`, and the test is skipped, where the kernel gives none: it may have none, or a container forbids it.
    fn new(test: &str) -> Option<Self> {
        match IoUring::new(4) {
            Ok(ring) => Some(Self(ring)),
            Err(error) => {
                skip(test, &format!("no io_uring here: {error}"));
                None
            }
        }
    }

    fn knows(&self, code: u8) -> bool {
        let mut probe = Probe::new();
        self.0.submitter().register_probe(&mut probe).is_ok() && probe.is_supported(code)
    }

    /// What the kernel says to `entry`: a number, or an errno.
    fn run(&mut self, entry: &squeue::Entry) -> io::Result<usize> {
        let mut queue = self.0.submission();
        // SAFETY: what the entry points to outlives it, because this waits for its completion.
        unsafe { queue.push(entry) }.unwrap();
        drop(queue);
        let done = self.wait();
        if cqueue::more(done.flags()) {
            assert!(cqueue::notif(self.wait().flags()), "memory that was lent is given back");
        }
        usize::try_from(done.result()).map_err(|_| io::Error::from_raw_os_error(-done.result()))
    }

    fn wait(&mut self) -> cqueue::Entry {
        self.0.submit_and_wait(1).unwrap();
        self.0.completion().next().unwrap()
    }

    /// sendmsg(2): application data, or a record of the type that is named.
    fn send(&mut self, socket: &Socket, parts: &[&[u8]], record_type: Option<u8>) -> io::Result<usize> {
        let parts: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut control = record_type.map(cmsg::set_record_type);
        let mut header = empty_header();
        header.msg_iov = parts.as_ptr().cast_mut().cast();
        header.msg_iovlen = parts.len() as _;
        if let Some(control) = &mut control {
            header.msg_control = control.as_mut_ptr().cast();
            header.msg_controllen = cmsg::SPACE as _;
        }
        let fd = Fd(socket.tcp().as_raw_fd());
        self.run(&opcode::SendMsg::new(fd, &header).flags(libc::MSG_NOSIGNAL as u32).build())
    }

    /// recvmsg(2): what came, its content type, and whether a control record ends there.
    fn receive(&mut self, socket: &Socket, room: usize) -> io::Result<(Option<u8>, Vec<u8>, bool)> {
        let mut data = vec![0; room];
        let mut iov = libc::iovec { iov_base: data.as_mut_ptr().cast(), iov_len: room };
        let mut control = [0_u8; cmsg::SPACE];
        let mut header = empty_header();
        header.msg_iov = &mut iov;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = cmsg::SPACE as _;
        let fd = Fd(socket.tcp().as_raw_fd());
        let len = self.run(&opcode::RecvMsg::new(fd, &mut header).build())?;
        data.truncate(len);
        assert_eq!(header.msg_flags & libc::MSG_CTRUNC, 0, "there was room");
        // u32 on musl, usize else.
        #[allow(clippy::unnecessary_cast)]
        let used = control.get(..header.msg_controllen as usize).unwrap();
        let record_type = cmsg::record_type(used);
        // The kernel may say so of data as well, where a whole record was read.
        let control_ends = record_type != Some(23) && header.msg_flags & libc::MSG_EOR != 0;
        Ok((record_type, data, control_ends))
    }
}

fn empty_header() -> libc::msghdr {
    // SAFETY: msghdr is made of integers and pointers, for which zero is a valid value; musl's has private padding.
    unsafe { std::mem::zeroed() }
}

/// A socket whose records the kernel seals and opens, its peer, and a ring; or the test `name` is skipped.
fn by_the_kernel(name: &str) -> Option<(Ring, Socket, Peer)> {
    if !kernel_has_tls(name) {
        return None;
    }
    let ring = Ring::new(name)?;
    let (socket, peer) = with_peer(Layer::Kernel);
    Some((ring, socket, peer))
}

#[test]
fn records_go_out_by_sendmsg() {
    let Some((mut ring, socket, mut peer)) = by_the_kernel("records_go_out_by_sendmsg") else { return };
    assert_eq!(ring.send(&socket, &[b"hello ", b"by io_uring"], None).unwrap(), 17);
    assert_eq!(peer.receive().unwrap(), (ContentType::ApplicationData, b"hello by io_uring".to_vec()));
    assert_eq!(ring.send(&socket, &[&TICKET], Some(ContentType::Handshake.to_byte())).unwrap(), TICKET.len());
    assert_eq!(peer.receive().unwrap(), (ContentType::Handshake, TICKET.to_vec()));
    // Many records in one call.
    let data = pattern(4 * FRAGMENT);
    assert_eq!(ring.send(&socket, &[&data[..100], &data[100..]], None).unwrap(), data.len());
    for part in data.chunks(FRAGMENT) {
        assert_eq!(peer.receive().unwrap(), (ContentType::ApplicationData, part.to_vec()));
    }
    let close = Alert::CLOSE_NOTIFY.to_bytes();
    assert_eq!(ring.send(&socket, &[&close], Some(ContentType::Alert.to_byte())).unwrap(), 2);
    assert_eq!(peer.receive().unwrap(), (ContentType::Alert, close.to_vec()));
}

#[test]
fn records_come_by_recvmsg_with_their_types() {
    let name = "records_come_by_recvmsg_with_their_types";
    let Some((mut ring, socket, mut peer)) = by_the_kernel(name) else { return };
    let (data, handshake, alert) = (Some(23), Some(22), Some(21));
    peer.send_data(b"one");
    assert_eq!(ring.receive(&socket, 100).unwrap(), (data, b"one".to_vec(), false));
    peer.send(ContentType::Handshake, &TICKET);
    peer.send_data(b"two");
    // Less room than the control record needs: it comes in parts, and the last one says so.
    assert_eq!(ring.receive(&socket, 4).unwrap(), (handshake, TICKET[..4].to_vec(), false));
    assert_eq!(ring.receive(&socket, 100).unwrap(), (handshake, TICKET[4..].to_vec(), true));
    assert_eq!(ring.receive(&socket, 100).unwrap(), (data, b"two".to_vec(), false));
    peer.send(ContentType::Alert, &Alert::CLOSE_NOTIFY.to_bytes());
    assert_eq!(ring.receive(&socket, 100).unwrap(), (alert, vec![1, 0], true));
    peer.cut();
    let (record_type, rest, _) = ring.receive(&socket, 100).unwrap();
    assert_eq!((record_type, rest), (None, vec![]), "the end of the stream has no type");
}

#[test]
fn a_plain_receive_keeps_a_control_record() {
    let name = "a_plain_receive_keeps_a_control_record";
    let Some((mut ring, socket, mut peer)) = by_the_kernel(name) else { return };
    peer.send(ContentType::Handshake, &TICKET);
    let mut buf = [0; 100];
    let fd = Fd(socket.tcp().as_raw_fd());
    let plain = opcode::Recv::new(fd, buf.as_mut_ptr(), buf.len() as u32).build();
    assert_eq!(ring.run(&plain).unwrap_err().raw_os_error(), Some(libc::EIO));
    assert_eq!(ring.receive(&socket, 100).unwrap(), (Some(22), TICKET.to_vec(), true));
    peer.send_data(b"data");
    assert_eq!(ring.run(&plain).unwrap(), 4);
    assert_eq!(&buf[..4], b"data");
}

#[test]
fn zero_copy_is_refused_and_nothing_is_sent() {
    let name = "zero_copy_is_refused_and_nothing_is_sent";
    let Some((mut ring, socket, mut peer)) = by_the_kernel(name) else { return };
    if !ring.knows(opcode::SendZc::CODE) {
        return skip(name, "this kernel's io_uring has no SEND_ZC (Linux 6.0)");
    }
    let data = b"not sent";
    let fd = Fd(socket.tcp().as_raw_fd());
    let entry = opcode::SendZc::new(fd, data.as_ptr(), data.len() as u32).build();
    assert_eq!(ring.run(&entry).unwrap_err().raw_os_error(), Some(libc::EOPNOTSUPP));
    assert_eq!(ring.send(&socket, &[b"sent"], None).unwrap(), 4);
    assert_eq!(peer.receive().unwrap(), (ContentType::ApplicationData, b"sent".to_vec()));
}

/// Moves what this process has sealed.
fn send_sealed(ring: &mut Ring, socket: &mut Socket, data: &[u8]) {
    let fd = Fd(socket.tcp().as_raw_fd());
    let mut rest = data;
    while !rest.is_empty() {
        let (send, _) = socket.halves();
        let n = send.seal_vectored(&[IoSlice::new(rest)]).unwrap().expect("this process seals");
        rest = &rest[n..];
        while let sealed @ [_, ..] = send.sealed() {
            let len = sealed.len() as u32;
            let n = ring.run(&opcode::Send::new(fd, sealed.as_ptr(), len).build()).unwrap();
            send.sent(n);
        }
    }
}

#[test]
fn the_process_s_layer_is_a_codec() {
    let Some(mut ring) = Ring::new("the_process_s_layer_is_a_codec") else { return };
    let (mut socket, mut peer) = with_peer(Layer::Process);
    let data = pattern(3 * FRAGMENT + 5);
    send_sealed(&mut ring, &mut socket, &data);
    let mut got = Vec::new();
    while got.len() < data.len() {
        let (content_type, content) = peer.receive().unwrap();
        assert_eq!(content_type, ContentType::ApplicationData);
        got.extend(content);
    }
    assert!(got == data);

    peer.send(ContentType::Handshake, &TICKET);
    peer.send_data(&data[..1000]);
    peer.send(ContentType::Alert, &Alert::CLOSE_NOTIFY.to_bytes());
    let fd = Fd(socket.tcp().as_raw_fd());
    let (_, recv) = socket.halves();
    let mut got = Vec::new();
    let mut calls = 0;
    while !recv.is_closed() {
        if let Some(space) = recv.space() {
            let entry = opcode::Recv::new(fd, space.as_mut_ptr(), space.len() as u32).build();
            let n = ring.run(&entry).unwrap();
            assert!(n > 0, "close_notify comes first");
            recv.filled(n);
            calls += 1;
        }
        match recv.fill_buf(Wait::Now) {
            Ok(part) => {
                got.extend_from_slice(part);
                let len = part.len();
                recv.consume(len);
            }
            Err(error) => assert!(error.is_would_block(), "{error}"),
        }
    }
    assert!(calls > 0);
    assert!(got == data[..1000]);
}
