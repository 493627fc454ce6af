//! What a controller may do though few do it: the host's core takes it in its stride.

mod support;

use nvme_tcp::proto::{CommandId, Completion, ConnectionConfig, DataFault, Door, SubmitError, Transfer};
use nvme_tcp::spec::command::nvm;
use nvme_tcp::spec::completion::{Cqe, Status};
use nvme_tcp::spec::pdu::{DataPdu, FatalStatus, Flags, Layout, PduType};
use support::host::{Host, Seen};
use support::wire::{Pdus, patterned};
use zerocopy::IntoBytes;

const MAXH2CDATA: u32 = 4096;
const READ_LEN: u32 = 8192;
const WRITE_LEN: u32 = 16_384;

fn open() -> Host {
    Host::open(ConnectionConfig { depth: 4, ..ConnectionConfig::default() }, 0, MAXH2CDATA)
}

fn completed(command: CommandId, status: Status, fault: Option<DataFault>) -> Seen {
    let cqe = Cqe::new(command.to_wire(), status, 0);
    Seen::Completed(Completion { command, cqe, fault, cancelled: false })
}

#[test]
fn a_wrong_data_digest_fails_its_command_alone() {
    let config = ConnectionConfig { depth: 4, data_digest: true, ..ConnectionConfig::default() };
    let mut host = Host::open(config, 0, MAXH2CDATA);
    let (wrong, right) = (host.read(READ_LEN), host.read(READ_LEN));
    let mut stream = Vec::new();
    for id in [wrong, right] {
        let data = patterned(id.slot(), 0, READ_LEN);
        stream.extend(host.pdus.data(id.to_wire(), 0, &data, Flags::LAST));
        stream.extend(host.pdus.success(id.to_wire()));
    }
    stream[100] ^= 1;
    let seen = host.feed(&stream).unwrap();
    assert!(seen.contains(&completed(wrong, Status::SUCCESS, Some(DataFault::Digest))), "{seen:?}");
    assert!(seen.contains(&completed(right, Status::SUCCESS, None)), "{seen:?}");
    assert!(host.connection.is_open());
    // The next command in the same slot starts clean.
    let next = host.flush();
    assert_eq!(
        host.feed(&host.pdus.success(next.to_wire())),
        Ok(vec![completed(next, Status::SUCCESS, None)])
    );
}

#[test]
fn a_success_after_too_little_data_is_none() {
    let short = |got| Some(DataFault::Short { got, expected: READ_LEN });
    let mut host = open();
    let id = host.read(READ_LEN);
    let stream = [host.pdus.data(id.to_wire(), 0, &[1; 512], Flags::LAST), host.pdus.success(id.to_wire())];
    let seen = host.feed(&stream.concat()).unwrap();
    assert_eq!(seen.last(), Some(&completed(id, Status::SUCCESS, short(512))));
    let id = host.read(READ_LEN);
    let seen = host.feed(&host.pdus.success(id.to_wire())).unwrap();
    assert_eq!(seen, [completed(id, Status::SUCCESS, short(0))]);
    let id = host.read(READ_LEN);
    let flags = Flags::LAST | Flags::SUCCESS;
    let seen = host.feed(&host.pdus.data(id.to_wire(), 0, &[1; 4096], flags)).unwrap();
    assert_eq!(seen.last(), Some(&completed(id, Status::SUCCESS, short(4096))));
    // A command that failed owes no data.
    let id = host.read(READ_LEN);
    let failed = Cqe::new(id.to_wire(), Status::UNRECOVERED_READ, 0);
    let seen = host.feed(&host.pdus.response(failed)).unwrap();
    assert_eq!(seen, [completed(id, Status::UNRECOVERED_READ, None)]);
}

#[test]
fn a_term_req_ends_the_connection_without_an_answer() {
    let mut host = open();
    let (read, write) = (host.read(READ_LEN), host.write(WRITE_LEN));
    host.take_wire();
    let stream = Pdus::terminate(FatalStatus::OutOfRange, 12, &[0xab; 128]);
    assert_eq!(host.feed(&stream), Ok(vec![Seen::Terminated(4, 12)]));
    assert!(host.take_wire().is_empty());
    assert!(!host.connection.is_open());
    let mut lost = host.connection.abandon();
    lost.sort_by_key(|id| id.slot());
    assert_eq!(lost, [read, write]);
}

#[test]
fn a_completion_waits_for_data_that_is_still_to_be_sent() {
    let mut host = open();
    let id = host.write(WRITE_LEN);
    host.take_wire();
    let stream = [host.pdus.r2t(id.to_wire(), 7, 0, 8192), host.pdus.success(id.to_wire())].concat();
    assert_eq!(host.feed(&stream), Ok(vec![]));
    // Everything but the last byte of the second H2CData.
    assert_eq!(host.send(2 * 24 + 8191), 2 * 24 + 8191);
    assert_eq!(host.connection.next_event(), None);
    assert_eq!(host.send(1), 1);
    assert_eq!(host.feed(&[]), Ok(vec![completed(id, Status::SUCCESS, None)]));
    // An in-capsule write whose response comes before its capsule is told to be sent.
    let id = host.write(4096);
    assert_eq!(host.feed(&host.pdus.success(id.to_wire())), Ok(vec![]));
    host.send(usize::MAX);
    assert_eq!(host.feed(&[]), Ok(vec![completed(id, Status::SUCCESS, None)]));
}

#[test]
fn an_r2t_is_answered_in_pieces_of_maxh2cdata_with_its_own_tag() {
    let mut host = open();
    let id = host.write(WRITE_LEN);
    host.take_wire();
    assert_eq!(host.feed(&host.pdus.r2t(id.to_wire(), 0xbeef, 0, 10_000)), Ok(vec![]));
    let mut expected = Vec::new();
    for (offset, len, flags) in
        [(0, 4096, Flags::empty()), (4096, 4096, Flags::empty()), (8192, 1808, Flags::LAST)]
    {
        let common = Layout::default().common_header(PduType::H2cData, flags, len);
        expected.extend(DataPdu::new(common, id.to_wire(), 0xbeef, offset, len).as_bytes());
        expected.extend(patterned(id.slot(), offset, len));
    }
    assert_eq!(host.take_wire(), expected);
}

#[test]
fn a_cancelled_read_drains_to_nowhere() {
    let mut host = open();
    let id = host.read(READ_LEN);
    let data = host.pdus.data(id.to_wire(), 0, &[1; READ_LEN as usize], Flags::LAST);
    // It is given up in the middle of its data.
    host.feed(&data[..24 + 100]).unwrap();
    assert!(host.connection.cancel(id));
    assert_eq!(host.connection.door(), Door::Discard(READ_LEN - 100));
    host.connection.advance(1000);
    assert_eq!(host.feed(&data[24 + 1100..]), Ok(vec![]));
    let seen = host.feed(&host.pdus.success(id.to_wire())).unwrap();
    let cqe = Cqe::new(id.to_wire(), Status::SUCCESS, 0);
    assert_eq!(seen, [Seen::Completed(Completion { command: id, cqe, fault: None, cancelled: true })]);
    assert!(host.memory[&id.slot()][100..].iter().all(|byte| *byte == 0));
    assert_eq!(host.connection.outstanding(), 0);
}

#[test]
fn a_cancelled_write_finishes_its_pdu_and_answers_no_r2t() {
    let mut host = open();
    let id = host.write(WRITE_LEN);
    host.take_wire();
    host.feed(&host.pdus.r2t(id.to_wire(), 7, 0, 4096)).unwrap();
    host.send(1000);
    assert!(!host.connection.cancel(id), "its data is still being sent");
    assert_eq!(host.connection.next_event(), None);
    host.send(usize::MAX);
    assert_eq!(host.feed(&[]), Ok(vec![Seen::Released(id)]));
    host.take_wire();
    assert_eq!(host.feed(&host.pdus.r2t(id.to_wire(), 8, 4096, 4096)), Ok(vec![]));
    assert!(host.take_wire().is_empty(), "its memory is not ours any more");
    let aborted = Cqe::new(id.to_wire(), Status::ABORT_REQUESTED, 0);
    let seen = host.feed(&host.pdus.response(aborted)).unwrap();
    assert_eq!(
        seen,
        [Seen::Completed(Completion { command: id, cqe: aborted, fault: None, cancelled: true })]
    );
    // Between its PDUs a write is free at once.
    let id = host.write(WRITE_LEN);
    host.take_wire();
    assert!(host.connection.cancel(id));
}

#[test]
fn a_full_queue_says_so_and_takes_one_for_each_that_ends() {
    let mut host = open();
    let ids: Vec<_> = (0..4).map(|_| host.flush()).collect();
    assert_eq!(host.connection.room(), 0);
    let refused = host.connection.submit(&nvm::flush(1), Transfer::None, None);
    assert_eq!(refused, Err(SubmitError::Full(4)));
    host.feed(&host.pdus.success(ids[2].to_wire())).unwrap();
    let next = host.flush();
    assert_eq!(next.slot(), ids[2].slot());
    assert_ne!(next, ids[2]);
    assert_eq!(host.connection.room(), 0);
}
