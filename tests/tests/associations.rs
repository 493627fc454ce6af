//! Associations take over from one another, and no I/O fails.

mod load;

use std::time::Duration;

use load::{LANE, under_load, wait_until};
use nvme_tcp_target::Namespace;
use system_tests::{DEADLINE, embedded, image, key, scaled};

#[test]
fn reconnecting_under_load_fails_no_command() {
    for tls in [false, true] {
        let served = embedded(Namespace::ram(4 * LANE), tls.then(key), |_| {});
        let controller = served.options().io_queues(2).connect().unwrap();
        let times = scaled(20, 5);
        let rounds = under_load(&controller.namespace(1).unwrap(), 4, 65_536, || {
            for _ in 0..times {
                controller.reconnect().unwrap();
            }
        });
        assert!(rounds > 0);
        assert_eq!(controller.info().generation, times);
        // The old associations are shut down: three connections of the present one are left.
        wait_until("old connections stay", || served.target.statistics().open_connections == 3);
        assert_eq!(served.target.statistics().failed_commands, 0);
        controller.shutdown();
        wait_until("connections stay", || served.target.statistics().open_connections == 0);
    }
}

#[test]
fn an_owned_queue_follows_its_controller() {
    let served = embedded(Namespace::ram(LANE), Some(key()), |_| {});
    let controller = served.options().owned_queues(1).connect().unwrap();
    let namespace = controller.namespace(1).unwrap();
    let mut queue = controller.queue().unwrap();
    let mut completions = Vec::new();
    let mut submitted = 0;
    for round in 0..scaled(10, 4) {
        for index in 0..4 {
            queue.submit_write(&namespace, image(round, 65_536), index * 65_536, round).unwrap();
            submitted += 1;
        }
        // In flight on the old connection, while the new one comes up.
        controller.reconnect().unwrap();
        queue.submit_write(&namespace, image(round, 65_536), 4 * 65_536, round).unwrap();
        submitted += 1;
        while completions.len() < submitted {
            assert!(queue.poll(&mut completions, DEADLINE).unwrap() > 0);
        }
    }
    assert!(completions.iter().all(|completion| completion.result.is_ok()));
    assert_eq!(served.target.statistics().failed_commands, 0);
}

#[test]
fn before_a_key_s_records_are_used_up_the_next_association_takes_over() {
    let served = embedded(Namespace::ram(4 * LANE), Some(key()), |_| {});
    let budget = ktls::Options::new().record_limit(4000).record_alarm(2000);
    let controller = served.options().io_queues(2).tls_options(budget).connect().unwrap();
    under_load(&controller.namespace(1).unwrap(), 2, 16_384, || {
        wait_until("no new association", || controller.info().generation >= scaled(4, 2));
    });
    controller.shutdown();
    assert_eq!(served.target.statistics().failed_commands, 0);
}

#[test]
fn many_keep_alives_hold_an_idle_controller() {
    let served = embedded(Namespace::ram(LANE), Some(key()), |_| {});
    let controller = served.options().keep_alive(Duration::from_secs(1)).connect().unwrap();
    let namespace = controller.namespace(1).unwrap();
    let before = served.target.statistics().commands;
    // Nothing but the housekeeper sends.
    wait_until("no keep-alive", || served.target.statistics().commands >= before + 3);
    namespace.write_at(&image(1, 512), 0).unwrap();
    assert_eq!(controller.info().generation, 0);
}
