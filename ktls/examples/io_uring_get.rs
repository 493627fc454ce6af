//! Kernel TLS under io_uring: a client of `psk_echo` whose handshake is this library's, and whose records go and come
//! by a ring on the bare descriptor, with the control messages of [`ktls::cmsg`]. KEY is a file with 32 secret bytes.
//!
//! `cargo run -p linux-ktls --example psk_echo -- serve 127.0.0.1:24433 KEY`
//! `cargo run -p linux-ktls --example io_uring_get -- 127.0.0.1:24433 KEY "hello"`
#![allow(unsafe_code, reason = "io_uring takes addresses")]

use std::error::Error;
use std::io;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use io_uring::types::Fd;
use io_uring::{IoUring, opcode, squeue};
use ktls::alert::Alert;
use ktls::crypto::Hash;
use ktls::handshake::{ClientConfig, Event, PostHandshake, Psk};
use ktls::record::ContentType;
use ktls::secret::Secret;
use ktls::{Layer, Options, Socket, cmsg};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, key, text] = &arguments[..] else {
        return Err("usage: io_uring_get ADDRESS KEY TEXT".into());
    };
    let key = Secret::new(&std::fs::read(key)?).ok_or("a key has at most 64 bytes")?;
    let psk = Psk::new(b"psk_echo".to_vec(), key, Hash::Sha256)?;
    // Without the kernel the ring would send what is not sealed: so it is required.
    let options = Options::new().layer(Layer::Kernel);
    let deadline = Some(Instant::now() + Duration::from_secs(10));
    let socket = Socket::connect(TcpStream::connect(address)?, &ClientConfig::new(psk), &options, deadline)?;
    let mut ring = Ring { ring: IoUring::new(2)?, fd: Fd(socket.tcp().as_raw_fd()) };

    let mut sent = 0;
    while sent < text.len() {
        sent += ring.send(&text.as_bytes()[sent..], None)?;
    }
    let mut post = PostHandshake::new();
    let mut got = 0;
    let mut buf = vec![0; 64 * 1024];
    while got < text.len() {
        let (record_type, n) = ring.receive(&mut buf)?;
        match record_type.and_then(ContentType::from_byte) {
            Some(ContentType::ApplicationData) => {
                print!("{}", String::from_utf8_lossy(&buf[..n]));
                got += n;
            }
            // Tickets are dropped. Who goes on after a KeyUpdate installs the next key first.
            Some(ContentType::Handshake) => {
                if post.read(&buf[..n])?.iter().any(|event| !matches!(event, Event::Ticket)) {
                    return Err("the peer changes its key".into());
                }
            }
            Some(ContentType::Alert) => {
                return Err(format!("the peer ends with alert {:?}", &buf[..n]).into());
            }
            None => return Err("the stream was cut off".into()),
        }
    }
    println!();
    ring.send(&Alert::CLOSE_NOTIFY.to_bytes(), Some(ContentType::Alert))?;
    Ok(())
}

/// One thing at a time, for brevity: a real program has many under way.
struct Ring {
    ring: IoUring,
    fd: Fd,
}

impl Ring {
    fn send(&mut self, data: &[u8], record_type: Option<ContentType>) -> io::Result<usize> {
        let mut part = libc::iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: data.len() };
        let mut header = header(&mut part);
        let mut control = cmsg::set_record_type(record_type.map_or(0, ContentType::to_byte));
        if record_type.is_some() {
            header.msg_control = control.as_mut_ptr().cast();
            header.msg_controllen = control.len() as _;
        }
        self.run(&opcode::SendMsg::new(self.fd, &header).flags(libc::MSG_NOSIGNAL as u32).build())
    }

    /// The type of the record, or records of data, that came, and how many bytes.
    fn receive(&mut self, buf: &mut [u8]) -> io::Result<(Option<u8>, usize)> {
        let mut part = libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.len() };
        let mut header = header(&mut part);
        let mut control = [0_u8; cmsg::SPACE];
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = control.len() as _;
        let n = self.run(&opcode::RecvMsg::new(self.fd, &mut header).build())?;
        // u32 on musl, usize else.
        #[allow(clippy::unnecessary_cast)]
        let len = control.len().min(header.msg_controllen as usize);
        Ok((cmsg::record_type(&control[..len]), n))
    }

    fn run(&mut self, entry: &squeue::Entry) -> io::Result<usize> {
        // SAFETY: what the entry points to outlives it: this waits until it is done.
        unsafe { self.ring.submission().push(entry) }.map_err(io::Error::other)?;
        self.ring.submit_and_wait(1)?;
        let done = self.ring.completion().next().ok_or(io::ErrorKind::Interrupted)?.result();
        usize::try_from(done).map_err(|_| io::Error::from_raw_os_error(-done))
    }
}

fn header(part: &mut libc::iovec) -> libc::msghdr {
    // SAFETY: msghdr is made of integers and pointers, for which zero is a valid value.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = part;
    header.msg_iovlen = 1;
    header
}
