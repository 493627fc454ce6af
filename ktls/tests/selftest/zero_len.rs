//! The test `zero_len`: records without content in every place, one test for each of the kernel's variants.
//!
//! In TLS 1.3 an empty application_data record is allowed and is no end of the stream; an empty handshake
//! record is not (RFC 8446, section 5.1), so where the kernel's variant has one the typed refusal must come,
//! after the data before it.

use ktls::record::{BadRecord, ContentType};
use ktls::{Error, Layer, Wait};

use crate::harness::{expect_nothing, try_receive};
use crate::socket_support::with_peer;

alone!(
    data_data_data,
    data_0ctrl_data,
    _0data_0data_0data,
    _0data_0data_ctrl,
    _0data_0data_0ctrl,
    _0ctrl_0ctrl_0ctrl,
    _0data_0data_data,
    data_0data_0data,
);

const HELLO: &[u8] = b"Hello world";

#[derive(Clone, Copy)]
enum Sent {
    Data,
    EmptyData,
    Ctrl,
    EmptyCtrl,
}
use Sent::{Ctrl, Data, EmptyCtrl, EmptyData};

/// What is sent last, so that the receiver need not ask how much has arrived so far.
const LAST: &[u8] = b"the end";

/// Sends the three records, and receives all of it: the data, and whether an empty handshake record was refused at the
/// end.
fn run(layer: Layer, records: [Sent; 3]) -> (Vec<u8>, bool) {
    let (mut socket, mut peer) = with_peer(layer);
    for record in records {
        match record {
            Data => peer.send_data(HELLO),
            EmptyData => peer.send_data(b""),
            Ctrl => peer.send(ContentType::Handshake, &[4, 0, 0, 7, 1, 2, 3, 4, 5, 6, 7]),
            EmptyCtrl => peer.send(ContentType::Handshake, b""),
        }
    }
    peer.send_data(LAST);
    let mut got = Vec::new();
    loop {
        match try_receive(&mut socket, 128, Wait::Block) {
            Ok(part) => {
                assert!(!part.is_empty(), "no end of the stream was sent");
                got.extend(part);
                if let Some(data) = got.strip_suffix(LAST) {
                    return (data.to_vec(), false);
                }
            }
            Err(Error::BadRecord(BadRecord::Empty { content_type: ContentType::Handshake })) => {
                return (got, true);
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn data_data_data(layer: Layer) {
    assert_eq!(run(layer, [Data; 3]), (HELLO.repeat(3), false));
}

fn data_0ctrl_data(layer: Layer) {
    assert_eq!(run(layer, [Data, EmptyCtrl, Data]), (HELLO.to_vec(), true));
}

fn _0data_0data_0data(layer: Layer) {
    assert_eq!(run(layer, [EmptyData; 3]), (Vec::new(), false));
    let (mut socket, mut peer) = with_peer(layer);
    peer.send_data(b"");
    expect_nothing(&mut socket);
}

fn _0data_0data_ctrl(layer: Layer) {
    assert_eq!(run(layer, [EmptyData, EmptyData, Ctrl]), (Vec::new(), false));
}

fn _0data_0data_0ctrl(layer: Layer) {
    assert_eq!(run(layer, [EmptyData, EmptyData, EmptyCtrl]), (Vec::new(), true));
}

fn _0ctrl_0ctrl_0ctrl(layer: Layer) {
    assert_eq!(run(layer, [EmptyCtrl; 3]), (Vec::new(), true));
}

fn _0data_0data_data(layer: Layer) {
    assert_eq!(run(layer, [EmptyData, EmptyData, Data]), (HELLO.to_vec(), false));
}

fn data_0data_0data(layer: Layer) {
    assert_eq!(run(layer, [Data, EmptyData, EmptyData]), (HELLO.to_vec(), false));
}
