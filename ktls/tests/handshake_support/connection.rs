//! A TCP connection with a handshake read record by record, and records sealed and opened in the test.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use ktls::handshake::{Error, Event, Handshake, PostHandshake, RECORD_HEADER_LEN, record_length};
use ktls::keys::Established;

use super::Half;
use super::process::DEADLINE;

fn read_record(stream: &mut TcpStream) -> std::io::Result<Result<Vec<u8>, Error>> {
    let mut record = vec![0; RECORD_HEADER_LEN];
    stream.read_exact(&mut record)?;
    match record_length(record.first_chunk().unwrap()) {
        Ok(len) => {
            record.resize(RECORD_HEADER_LEN + len, 0);
            stream.read_exact(&mut record[RECORD_HEADER_LEN..])?;
            Ok(Ok(record))
        }
        Err(error) => Ok(Err(error)),
    }
}

fn drive<H: Handshake>(stream: &mut TcpStream, mut handshake: H) -> Result<Established, Error> {
    loop {
        stream.write_all(&handshake.take_output()).expect("the peer takes what is sent");
        if handshake.is_finished() {
            return handshake.into_established();
        }
        let mut record = match read_record(stream) {
            Ok(record) => record?,
            Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => {
                return Err(handshake.closed());
            }
            Err(error) => panic!("{error}"),
        };
        if let Err(error) = handshake.read_record(&mut record) {
            stream.write_all(&handshake.take_output()).expect("the peer takes the alert");
            return Err(error);
        }
    }
}

/// A connection after its handshake.
pub struct Connection {
    stream: TcpStream,
    pub established: Established,
    tx: Half,
    rx: Half,
    post: PostHandshake,
    /// What came beside the data.
    pub events: Vec<Event>,
}

impl Connection {
    pub fn new(mut stream: TcpStream, handshake: impl Handshake) -> Result<Self, Error> {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let established = drive(&mut stream, handshake)?;
        Ok(Self {
            stream,
            tx: Half::new(&established.tx),
            rx: Half::new(&established.rx),
            established,
            post: PostHandshake::new(),
            events: Vec::new(),
        })
    }

    pub fn send(&mut self, kind: u8, data: &[u8]) {
        let record = self.tx.seal(kind, data);
        self.stream.write_all(&record).unwrap();
    }

    /// Reads data until `text` has come.
    pub fn wait_for(&mut self, text: &[u8]) {
        let mut data = Vec::new();
        while !data.windows(text.len()).any(|window| window == text) {
            match self.receive() {
                (23, content) => {
                    assert!(!self.post.is_partial());
                    data.extend_from_slice(&content);
                }
                (22, content) => self.handshake_record(&content),
                (kind, content) => panic!("content type {kind}: {content:02x?}"),
            }
        }
    }

    /// The next record: its content type and content.
    pub fn receive(&mut self) -> (u8, Vec<u8>) {
        let mut record = read_record(&mut self.stream).unwrap().unwrap();
        self.rx.open(&mut record)
    }

    fn handshake_record(&mut self, content: &[u8]) {
        let events = self.post.read(content).unwrap();
        if matches!(events.last(), Some(Event::KeyUpdate { .. })) {
            self.established.rx = self.established.rx.next();
            self.rx = Half::new(&self.established.rx);
        }
        self.events.extend(events);
    }

    /// Sends a KeyUpdate and seals under the next key from then on.
    pub fn update_keys(&mut self, request: bool) {
        self.send(22, &ktls::handshake::key_update_message(request));
        self.established.tx = self.established.tx.next();
        self.tx = Half::new(&self.established.tx);
    }

    pub fn close(mut self) {
        self.send(21, &ktls::alert::Alert::CLOSE_NOTIFY.to_bytes());
    }
}
