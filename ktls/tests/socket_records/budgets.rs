//! How many records a key may seal or open.

use super::*;

with_both_layers!(
    the_send_budget_warns_and_refuses,
    the_receive_budget_warns_and_refuses,
    a_large_send_stops_at_the_limit,
);

/// Of the records from 8 to 16, the alarm and the limit of these tests.
const LAST_QUARTER: usize = 14;

/// The kernel is asked before the next call, so what it has counted is known a record later.
fn asked(layer: Layer) -> usize {
    usize::from(layer == Layer::Kernel)
}

fn the_send_budget_warns_and_refuses(layer: Layer) {
    let options = Options::new().layer(layer).record_limit(16).record_alarm(8);
    let (mut socket, mut peer) = with_peer_and(&options, 16_384);
    let (send, _) = socket.halves();
    let mut sent = 0;
    let error = loop {
        match send.send_vectored(&[IoSlice::new(b"record")], Wait::Block) {
            Ok(n) => sent += n / 6,
            Err(error) => break error,
        }
        match send.take_event() {
            Some(Event::BudgetLow { direction, used, limit }) => {
                assert_eq!((direction, limit), (Flow::Send, 16));
                // The kernel is asked before the next call.
                assert!((8..=9).contains(&used) && used == send.budget().used, "{used}");
            }
            other => assert_eq!(other, None),
        }
        assert_eq!(send.budget().is_nearly_spent(), sent >= LAST_QUARTER + asked(layer), "after {sent}");
    };
    assert_eq!(sent, 16);
    assert!(matches!(error, Error::BudgetExhausted { direction: Flow::Send, limit: 16 }), "{error}");
    assert!(error.needs_new_connection());
    assert!(send.send_vectored(&[IoSlice::new(b"record")], Wait::Block).is_err());
    assert!(send.close_notify(Wait::Block).unwrap());
    for _ in 0..16 {
        assert_eq!(peer.receive().unwrap().1, b"record");
    }
    expect_alert(&mut peer, Alert::CLOSE_NOTIFY);
}

fn the_receive_budget_warns_and_refuses(layer: Layer) {
    let options = Options::new().layer(layer).record_limit(16).record_alarm(8);
    let (mut socket, mut peer) = with_peer_and(&options, 16_384);
    let (_, recv) = socket.halves();
    let (mut events, mut got) = (0, 0);
    let error = loop {
        peer.send_data(b"record");
        match receive(recv, 6) {
            Ok(part) => {
                assert_eq!(part, b"record");
                got += 1;
            }
            Err(error) => break error,
        }
        events += usize::from(recv.take_event().is_some());
        assert_eq!(events > 0, got >= 8 + asked(layer), "after {got}");
        assert_eq!(recv.budget().is_nearly_spent(), got >= LAST_QUARTER + asked(layer), "after {got}");
    };
    assert_eq!((got, events), (16, 1));
    assert!(matches!(error, Error::BudgetExhausted { direction: Flow::Receive, limit: 16 }), "{error}");
}

fn a_large_send_stops_at_the_limit(layer: Layer) {
    let options = Options::new().layer(layer).record_limit(20);
    let (mut socket, mut peer) = with_peer_and(&options, 16_384);
    let data = pattern(100 * 16_384);
    let reader = std::thread::spawn(move || {
        let mut got = 0;
        while let Some((ContentType::ApplicationData, part)) = peer.receive() {
            got += part.len();
        }
        got
    });
    let (send, _) = socket.halves();
    // A part of one record, so that the rest of the budget is 19.
    send_all(send, &data[..100]);
    let (mut sent, mut events) = (100, 0);
    let error = loop {
        match send.send_vectored(&[IoSlice::new(&data[sent..])], Wait::Block) {
            Ok(n) => sent += n,
            Err(error) => break error,
        }
        events += usize::from(send.take_event().is_some());
    };
    assert!(matches!(error, Error::BudgetExhausted { .. }), "{error}");
    events += usize::from(send.take_event().is_some());
    assert_eq!((sent, events), (100 + 19 * 16_384, 1));
    assert!(send.close_notify(Wait::Block).unwrap());
    assert_eq!(reader.join().unwrap(), sent);
}
