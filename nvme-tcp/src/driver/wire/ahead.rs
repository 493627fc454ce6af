//! Receiving many PDUs at once, the data of each where it belongs, when that is foreseen.

use std::io::IoSliceMut;

use super::{Intake, LOOK_AHEAD, RING_LEN};
use crate::driver::transport::{TransportError, Wait};
use crate::spec::pdu::DATA_HEADER_LEN;

/// The most PDUs that are foreseen for one receive.
pub(crate) const MAX_AHEAD: usize = 31;
/// So few take less time to make room for.
const FEW_AHEAD: usize = 4;
/// Where their headers end in the ring, and what comes behind them all begins.
const HEADERS: usize = MAX_AHEAD * DATA_HEADER_LEN;
/// Where that ends, and what has to be put in line begins.
const LINE: usize = HEADERS + LOOK_AHEAD;
/// How long they are at most with their headers, in bytes: so that all of it has room in line.
pub(crate) const MOST_AHEAD: u32 = (RING_LEN - LINE - LOOK_AHEAD) as u32;

impl Intake {
    /// Whether [`receive_ahead`](Self::receive_ahead) may be: not where records are opened in the process, nor into memory
    /// where somebody else could change what is read back as the controller's word.
    pub(crate) fn may_receive_ahead(&self) -> bool {
        self.private_memory && !self.opens_in_process()
    }

    /// Receives, with [`bytes`](Self::bytes) empty: into the first of `places`, which are at most `count`, if one is
    /// `begun`, then a header, the next of them, and so on, and what follows into the ring. How many bytes; `None` where
    /// nothing came in time. Only where it [may be](Self::may_receive_ahead).
    pub(crate) fn receive_ahead<'a>(
        &mut self,
        places: impl Iterator<Item = &'a mut [u8]>,
        count: usize,
        begun: bool,
        wait: Wait,
    ) -> Result<Option<usize>, TransportError> {
        if count <= FEW_AHEAD {
            self.receive_places::<{ 2 * FEW_AHEAD + 1 }>(places, begun, wait)
        } else {
            self.receive_places::<{ 2 * MAX_AHEAD + 1 }>(places, begun, wait)
        }
    }

    fn receive_places<'a, const N: usize>(
        &mut self,
        places: impl Iterator<Item = &'a mut [u8]>,
        begun: bool,
        wait: Wait,
    ) -> Result<Option<usize>, TransportError> {
        debug_assert!(self.bytes().is_empty(), "received bytes must be consumed first");
        (self.start, self.end) = (0, 0);
        let (headers, behind) = self.ring.split_at_mut(HEADERS);
        let mut room = LOOK_AHEAD;
        let mut all: [IoSliceMut<'_>; N] = std::array::from_fn(|_| IoSliceMut::new(&mut []));
        let mut count = 0;
        for (pair, (header, place)) in
            all.chunks_exact_mut(2).zip(headers.chunks_exact_mut(DATA_HEADER_LEN).zip(places))
        {
            if count > 0 || !begun {
                pair[0] = IoSliceMut::new(header);
                room += DATA_HEADER_LEN;
            }
            room += place.len();
            pair[1] = IoSliceMut::new(place);
            count += 1;
        }
        all[2 * count] = IoSliceMut::new(&mut behind[..LOOK_AHEAD]);
        // An empty piece at the front would be looked at as if there were no room.
        let begin = usize::from(begun && count > 0);
        let all = &mut all[begin..=2 * count];
        let received = self.patience.receive(&mut self.half, wait, |half, wait| half.recv(all, wait))?;
        self.brimful = received == Some(room);
        Ok(received)
    }

    /// The header before place `index`, if it is whole in the `left` bytes from it on.
    pub(crate) fn header_ahead(&self, index: usize, left: usize) -> Option<&[u8; DATA_HEADER_LEN]> {
        let headers = self.ring.get(index * DATA_HEADER_LEN..).filter(|_| left >= DATA_HEADER_LEN)?;
        headers.first_chunk()
    }

    /// All places were right: `len` bytes came behind them.
    pub(crate) fn take_behind(&mut self, len: usize) {
        (self.start, self.end) = (HEADERS, HEADERS + len);
    }

    /// From the header before place `from` on it was not: puts the `len` bytes that came from there on, with those of
    /// `places` from that on, in line, as if they had been received so.
    pub(crate) fn put_in_line<'a>(
        &mut self,
        places: impl Iterator<Item = &'a [u8]>,
        from: usize,
        len: usize,
    ) {
        let (before, line) = self.ring.split_at_mut(LINE);
        let (headers, behind) = before.split_at(HEADERS);
        let mut end = 0;
        let mut put = |bytes: &[u8]| {
            let bytes = &bytes[..bytes.len().min(len - end)];
            line[end..end + bytes.len()].copy_from_slice(bytes);
            end += bytes.len();
        };
        for (header, place) in headers.chunks_exact(DATA_HEADER_LEN).skip(from).zip(places) {
            put(header);
            put(place);
        }
        put(behind);
        (self.start, self.end) = (LINE, LINE + end);
    }
}

#[cfg(test)]
mod tests {
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

    fn c2h_data(cid: u16, at: usize, data: &[u8], flags: Flags) -> Vec<u8> {
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
        let (mut engine, mut intake, mut peer) = ends_of(8);
        let socket = TcpStream::from(intake.half().as_fd().try_clone_to_owned().unwrap());
        let mut answers = Vec::new();
        for number in 0..8 {
            engine.submit(&nvm::read(1, 0, 7), Loan::owned_read(vec![0; LEN]), None).unwrap();
            engine.flush().unwrap();
            answers.extend(c2h_data(take(&mut peer), 0, &data(number, LEN), Flags::LAST | Flags::SUCCESS));
        }
        // First up to the middle of one, then the rest.
        let (first, rest) = answers.split_at(3 * LEN);
        for (part, done) in [(first, 2), (rest, 8)] {
            peer.write_all(part).unwrap();
            arrived(&socket, part.len());
            assert!(engine.receive_foreseeing(&mut intake, Wait::Block).unwrap());
            assert_eq!(engine.finished_len(), done);
        }
        for (number, finished) in engine.finished().enumerate() {
            assert!(finished.completion.cqe.status().is_success());
            assert!(finished.loan.into_owned().unwrap() == data(number, LEN));
        }
        assert!(intake.ring[HEADERS..].iter().all(|byte| *byte == 0));
    }

    /// What a controller does with a read.
    fn answer(random: &mut impl FnMut(usize) -> usize, cid: u16, data: &[u8]) -> (Vec<u8>, Status) {
        let done = Flags::LAST | Flags::SUCCESS;
        match random(12) {
            0 => (response(cid, Status::INVALID_FIELD), Status::INVALID_FIELD),
            1 => {
                let pieces = [c2h_data(cid, 0, data, Flags::LAST), response(cid, Status::SUCCESS)];
                (pieces.concat(), Status::SUCCESS)
            }
            2 => {
                let (first, second) = data.split_at(data.len() / 2);
                let first_pdu = c2h_data(cid, 0, first, Flags::empty());
                ([first_pdu, c2h_data(cid, first.len(), second, done)].concat(), Status::SUCCESS)
            }
            _ => (c2h_data(cid, 0, data, done), Status::SUCCESS),
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
                // Every third round brings what is foreseen.
                let (bytes, status) = match round % 3 {
                    0 => (c2h_data(cid, 0, &data, Flags::LAST | Flags::SUCCESS), Status::SUCCESS),
                    _ => answer(&mut random, cid, &data),
                };
                expected[usize::from(cid & 0xfff)] = Some((data, status));
                answers.push(bytes);
            }
            for _ in 0..(round % 3) * random(4) {
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
            let all = answers.concat();
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
