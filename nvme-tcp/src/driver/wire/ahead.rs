//! Receiving many PDUs at once, the data of each where it belongs, when that is foreseen.

use std::io::IoSliceMut;

use super::{Intake, LOOK_AHEAD, RING_LEN};
use crate::driver::transport::{TransportError, Wait};
use crate::proto::Gaps;

/// The most PDUs that are foreseen for one receive.
pub(crate) const MAX_AHEAD: usize = 31;
/// So few take less time to make room for.
const FEW_AHEAD: usize = 4;
/// Where what comes before the data of each ends in the ring, and what comes behind them all begins.
const GAPS: usize = MAX_AHEAD * Gaps::MOST;
/// Where that ends, and what has to be put in line begins.
const LINE: usize = GAPS + LOOK_AHEAD;
/// How long they are at most with their gaps, in bytes: so that all of it has room in line.
pub(crate) const MOST_AHEAD: u32 = (RING_LEN - LINE - LOOK_AHEAD) as u32;

impl Intake {
    /// Whether [`receive_ahead`](Self::receive_ahead) may be: not where records are opened in the process, nor into memory
    /// where somebody else could change what is read back as the controller's word.
    pub(crate) fn may_receive_ahead(&self) -> bool {
        self.private_memory && !self.opens_in_process()
    }

    /// Receives, with [`bytes`](Self::bytes) empty: what comes before the first of `places`, which are at most `count`, that
    /// place, and so on, and what follows into the ring. How many bytes; `None` where nothing came in time. Only where it
    /// [may be](Self::may_receive_ahead).
    pub(crate) fn receive_ahead<'a>(
        &mut self,
        places: impl Iterator<Item = &'a mut [u8]>,
        count: usize,
        gaps: Gaps,
        wait: Wait,
    ) -> Result<Option<usize>, TransportError> {
        if count <= FEW_AHEAD {
            self.receive_places::<{ 2 * FEW_AHEAD + 1 }>(places, gaps, wait)
        } else {
            self.receive_places::<{ 2 * MAX_AHEAD + 1 }>(places, gaps, wait)
        }
    }

    fn receive_places<'a, const N: usize>(
        &mut self,
        places: impl Iterator<Item = &'a mut [u8]>,
        gaps: Gaps,
        wait: Wait,
    ) -> Result<Option<usize>, TransportError> {
        debug_assert!(self.bytes().is_empty(), "received bytes must be consumed first");
        (self.start, self.end) = (0, 0);
        let (before, behind) = self.ring.split_at_mut(GAPS);
        let mut room = LOOK_AHEAD;
        let mut all: [IoSliceMut<'_>; N] = std::array::from_fn(|_| IoSliceMut::new(&mut []));
        let mut count = 0;
        for (pair, (gap, place)) in
            all.chunks_exact_mut(2).zip(before.chunks_exact_mut(Gaps::MOST).zip(places))
        {
            let gap = &mut gap[..gaps.before(count)];
            room += gap.len() + place.len();
            pair[0] = IoSliceMut::new(gap);
            pair[1] = IoSliceMut::new(place);
            count += 1;
        }
        all[2 * count] = IoSliceMut::new(&mut behind[..LOOK_AHEAD]);
        // An empty piece at the front would be looked at as if there were no room.
        let begin = usize::from(gaps.first == 0 && count > 0);
        let all = &mut all[begin..=2 * count];
        let received = self.patience.receive(&mut self.half, wait, |half, wait| half.recv(all, wait))?;
        self.brimful = received == Some(room);
        Ok(received)
    }

    /// The first `len` bytes of what came before place `index`.
    pub(crate) fn gap_ahead(&self, index: usize, len: usize) -> &[u8] {
        &self.ring[index * Gaps::MOST..][..len]
    }

    /// All places were right: `len` bytes came behind them.
    pub(crate) fn take_behind(&mut self, len: usize) {
        (self.start, self.end) = (GAPS, GAPS + len);
    }

    /// From the gap before place `from` on, or from `taken` bytes on in that, it was not: puts the `len` bytes that came from
    /// there on, with those of `places` from that on, in line, as if they had been received so.
    pub(crate) fn put_in_line<'a>(
        &mut self,
        places: impl Iterator<Item = &'a [u8]>,
        gaps: Gaps,
        (from, taken): (usize, usize),
        len: usize,
    ) {
        let (before, line) = self.ring.split_at_mut(LINE);
        let (before, behind) = before.split_at(GAPS);
        let mut end = 0;
        let mut put = |bytes: &[u8]| {
            let bytes = &bytes[..bytes.len().min(len - end)];
            line[end..end + bytes.len()].copy_from_slice(bytes);
            end += bytes.len();
        };
        let mut taken = taken;
        for ((index, gap), place) in before.chunks_exact(Gaps::MOST).enumerate().skip(from).zip(places) {
            put(&gap[std::mem::take(&mut taken)..gaps.before(index)]);
            put(place);
        }
        put(behind);
        (self.start, self.end) = (LINE, LINE + end);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;
    use std::net::TcpStream;
    use std::os::fd::AsFd;

    use zerocopy::IntoBytes;

    use super::*;
    use crate::driver::Loan;
    use crate::driver::shared::tests::{ends_of, take};
    use crate::driver::wire::tests::arrived;
    use crate::spec::command::nvm;
    use crate::spec::completion::{Cqe, Status};
    use crate::spec::pdu::{CapsuleResp, CommonHeader, DataPdu, Flags, Layout, PduType};

    /// The data of a command, which says whose it is.
    fn data(number: usize, len: usize) -> Vec<u8> {
        (0..len).map(|i| (number * 31 + i / 5) as u8).collect()
    }

    pub(crate) fn c2h_data(cid: u16, at: usize, data: &[u8], flags: Flags) -> Vec<u8> {
        let common = Layout::default().common_header(PduType::C2hData, flags, data.len() as u32);
        let header = DataPdu::new(common, cid, 0, at as u32, data.len() as u32);
        [header.as_bytes(), data].concat()
    }

    fn response(cid: u16, status: Status) -> Vec<u8> {
        let common = CommonHeader::bare(PduType::CapsuleResp);
        CapsuleResp { common, cqe: Cqe::new(cid, status, 0) }.as_bytes().to_vec()
    }

    #[test]
    fn data_of_4_kib_in_order_never_lies_in_the_ring() {
        const LEN: usize = 4096;
        let responding =
            |cid, data: &[u8]| [c2h_data(cid, 0, data, Flags::LAST), response(cid, Status::SUCCESS)].concat();
        for responds in [false, true] {
            let (mut engine, mut intake, mut peer) = ends_of(8);
            let socket = TcpStream::from(intake.half().as_fd().try_clone_to_owned().unwrap());
            let mut round =
                |engine: &mut crate::driver::Engine, intake: &mut Intake, cuts: [(usize, usize); 2]| {
                    let mut answers = Vec::new();
                    for number in 0..8 {
                        engine.submit(&nvm::read(1, 0, 7), Loan::owned_read(vec![0; LEN]), None).unwrap();
                        engine.flush().unwrap();
                        let (cid, data) = (take(&mut peer), data(number, LEN));
                        answers.extend(match responds {
                            true => responding(cid, &data),
                            false => c2h_data(cid, 0, &data, Flags::LAST | Flags::SUCCESS),
                        });
                    }
                    let mut rest = &answers[..];
                    for (len, done) in cuts {
                        let (part, later) = rest.split_at(len.min(rest.len()));
                        peer.write_all(part).unwrap();
                        arrived(&socket, part.len());
                        assert!(engine.receive_foreseeing(intake, Wait::Block).unwrap());
                        assert_eq!(engine.finished_len(), done);
                        rest = later;
                    }
                    for (number, finished) in engine.finished().enumerate() {
                        assert!(finished.completion.cqe.status().is_success());
                        assert!(finished.loan.into_owned().unwrap() == data(number, LEN));
                    }
                };
            // The first may be another than it was thought.
            round(&mut engine, &mut intake, [(LEN + 24, usize::from(!responds)), (usize::MAX, 8)]);
            intake.ring.fill(0);
            // Up to the middle of one, and then the rest.
            round(&mut engine, &mut intake, [(3 * LEN, 2), (usize::MAX, 8)]);
            let behind = usize::from(responds) * size_of::<CapsuleResp>();
            assert!(intake.ring[GAPS + behind..].iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn a_response_of_another_read_than_was_foreseen_takes_no_data_with_it() {
        const LEN: usize = 4096;
        let (mut engine, mut intake, mut peer) = ends_of(4);
        let submit = |engine: &mut crate::driver::Engine, peer: &mut TcpStream| {
            engine.submit(&nvm::read(1, 0, 7), Loan::owned_read(vec![0; LEN]), None).unwrap();
            engine.flush().unwrap();
            take(peer)
        };
        let data_of = |cid, number| c2h_data(cid, 0, &data(number, LEN), Flags::LAST);
        let done = |cid| response(cid, Status::SUCCESS);
        let socket = TcpStream::from(intake.half().as_fd().try_clone_to_owned().unwrap());
        let first = submit(&mut engine, &mut peer);
        // From here on responses are foreseen.
        peer.write_all(&[data_of(first, 0), done(first)].concat()).unwrap();
        arrived(&socket, LEN + 48);
        engine.receive_foreseeing(&mut intake, Wait::Block).unwrap();
        let [second, third, fourth] = std::array::from_fn(|_| submit(&mut engine, &mut peer));
        peer.write_all(&data_of(second, 1)).unwrap();
        arrived(&socket, LEN + 24);
        engine.receive_foreseeing(&mut intake, Wait::Block).unwrap();
        let others = [response(third, Status::INVALID_FIELD), done(second), data_of(fourth, 2), done(fourth)];
        let others = others.concat();
        peer.write_all(&others).unwrap();
        arrived(&socket, others.len());
        while engine.outstanding() > 0 {
            engine.receive_foreseeing(&mut intake, Wait::Block).unwrap();
        }
        let found = engine.finished().map(|finished| {
            let status = finished.completion.cqe.status();
            (status, finished.loan.into_owned().filter(|_| status == Status::SUCCESS))
        });
        let right = |number| (Status::SUCCESS, Some(data(number, LEN)));
        assert!(found.eq([right(0), (Status::INVALID_FIELD, None), right(1), right(2)]));
    }

    #[test]
    fn a_command_id_that_comes_again_is_not_that_of_a_read_long_answered() {
        const LEN: usize = 4096;
        let (mut engine, mut intake, mut peer) = ends_of(2);
        let socket = TcpStream::from(intake.half().as_fd().try_clone_to_owned().unwrap());
        let mut receive = |engine: &mut crate::driver::Engine, peer: &mut TcpStream, bytes: &[u8]| {
            peer.write_all(bytes).unwrap();
            arrived(&socket, bytes.len());
            assert!(engine.receive_foreseeing(&mut intake, Wait::Block).unwrap());
        };
        let submit = |engine: &mut crate::driver::Engine, peer: &mut TcpStream, sqe, loan| {
            engine.submit(&sqe, loan, None).unwrap();
            engine.flush().unwrap();
            take(peer)
        };
        let read = || (nvm::read(1, 0, 7), Loan::owned_read(vec![0; LEN]));
        let (sqe, loan) = read();
        let first = submit(&mut engine, &mut peer, sqe, loan);
        receive(&mut engine, &mut peer, &c2h_data(first, 0, &data(0, LEN), Flags::LAST));
        receive(&mut engine, &mut peer, &response(first, Status::SUCCESS));
        // A command ID has 16 generations.
        for _ in 1..16 {
            let cid = submit(&mut engine, &mut peer, nvm::flush(1), Loan::default());
            receive(&mut engine, &mut peer, &response(cid, Status::SUCCESS));
        }
        engine.finished().for_each(|finished| assert!(finished.completion.cqe.status().is_success()));
        let [again, other] = std::array::from_fn(|_| {
            let (sqe, loan) = read();
            submit(&mut engine, &mut peer, sqe, loan)
        });
        assert_eq!(again, first);
        // Without data, and then the data of the other one.
        let bytes = [response(again, Status::INVALID_FIELD), c2h_data(other, 0, &data(1, LEN), Flags::LAST)];
        receive(&mut engine, &mut peer, &bytes.concat());
        receive(&mut engine, &mut peer, &response(other, Status::SUCCESS));
        let found = engine.finished().map(|finished| {
            let status = finished.completion.cqe.status();
            (status, finished.loan.into_owned().filter(|_| status == Status::SUCCESS))
        });
        assert!(found.eq([(Status::INVALID_FIELD, None), (Status::SUCCESS, Some(data(1, LEN)))]));
    }

    /// What a controller does with a read, at once and later.
    fn answer(random: &mut impl FnMut(usize) -> usize, cid: u16, data: &[u8]) -> (Vec<u8>, Vec<u8>, Status) {
        let done = Flags::LAST | Flags::SUCCESS;
        let with = |bytes| (bytes, Vec::new(), Status::SUCCESS);
        match random(12) {
            0 => (response(cid, Status::INVALID_FIELD), Vec::new(), Status::INVALID_FIELD),
            1..=3 => {
                let status = [Status::SUCCESS, Status::SUCCESS, Status::UNRECOVERED_READ][random(3)];
                (c2h_data(cid, 0, data, Flags::LAST), response(cid, status), status)
            }
            4 => {
                let (first, second) = data.split_at(data.len() / 2);
                let first_pdu = c2h_data(cid, 0, first, Flags::empty());
                with([first_pdu, c2h_data(cid, first.len(), second, done)].concat())
            }
            _ => with(c2h_data(cid, 0, data, done)),
        }
    }

    #[test]
    fn whatever_order_and_portions_it_comes_in_data_is_where_it_belongs() {
        const DEPTH: usize = 40;
        let (mut engine, mut intake, mut peer) = ends_of(DEPTH as u32);
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below as u64) as usize
        };
        for round in 0..120 {
            let mut expected = vec![None; DEPTH];
            let mut answers = Vec::new();
            for number in 0..1 + random(DEPTH) {
                // Every other round has reads that are never foreseen.
                let len =
                    [4096, 4096, 8192, 16384, 4096, 512, 40960][random(if round % 2 == 0 { 5 } else { 7 })];
                let read = nvm::read(1, 0, (len / 512) as u32 - 1);
                engine.submit(&read, Loan::owned_read(vec![0; len]), None).unwrap();
                engine.flush().unwrap();
                let cid = take(&mut peer);
                let data = data(round + number, len);
                // Two rounds bring what is foreseen, then two anything.
                let (bytes, later, status) = match round % 8 {
                    0 | 1 => {
                        (c2h_data(cid, 0, &data, Flags::LAST | Flags::SUCCESS), Vec::new(), Status::SUCCESS)
                    }
                    4 | 5 => (
                        c2h_data(cid, 0, &data, Flags::LAST),
                        response(cid, Status::SUCCESS),
                        Status::SUCCESS,
                    ),
                    _ => answer(&mut random, cid, &data),
                };
                expected[usize::from(cid & 0xfff)] = Some((data, status));
                answers.push((bytes, later));
            }
            let wild = round % 4 > 1;
            for _ in 0..random(if wild { 8 } else { 1 }) {
                let (one, other) = (random(answers.len()), random(answers.len()));
                answers.swap(one, other);
            }
            let mut done = 0;
            let mut check = |engine: &mut crate::driver::Engine| {
                for finished in engine.finished() {
                    let slot = usize::from(finished.completion.command.slot());
                    let (data, status) = expected[slot].take().unwrap();
                    assert_eq!(finished.completion.cqe.status(), status);
                    assert_eq!(finished.completion.fault, None);
                    let memory = finished.loan.into_owned().unwrap();
                    assert!(status != Status::SUCCESS || memory == data, "slot {slot} in round {round}");
                    done += 1;
                }
            };
            let (mut all, mut responses) = (Vec::new(), Vec::new());
            for (bytes, later) in &answers {
                all.extend_from_slice(bytes);
                responses.extend_from_slice(later);
                if !wild || random(3) > 0 {
                    all.append(&mut responses);
                }
            }
            all.append(&mut responses);
            let mut rest = &all[..];
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rest.len().min(1 + random(50_000)));
                peer.write_all(now).unwrap();
                while engine.receive_foreseeing(&mut intake, Wait::Now).unwrap() {
                    check(&mut engine);
                }
                rest = later;
            }
            while engine.outstanding() > 0 {
                engine.receive_foreseeing(&mut intake, Wait::Block).unwrap();
                check(&mut engine);
            }
            assert_eq!(done, answers.len());
        }
    }
}
