//! Futures that are dropped or leaked.

use system_tests::{image, scaled};
use tokio::task::JoinSet;

use super::{Dice, open, poll_some, run, served};

#[test]
fn futures_given_up_at_any_point_harm_nothing() {
    const LANES: u64 = 4;
    let (rounds, len) = (scaled(60, 15), 1 << 18);
    for tls in [false, true] {
        let served = served(LANES * rounds * len, tls);
        run(async {
            let (controller, namespace) = open(served.options().queue_size(8)).await;
            let mut tasks = JoinSet::new();
            for lane in 0..LANES {
                let namespace = namespace.clone();
                tasks.spawn(async move {
                    let mut dice = Dice(lane + 1);
                    for round in 0..rounds {
                        // Each its own place: what was given up may still be written, after what comes later.
                        let offset = (lane * rounds + round) * len;
                        let old = image(1000 * lane + 2 * round, len);
                        namespace.write_at(old.clone(), offset).await.0.unwrap();
                        let new = image(1000 * lane + 2 * round + 1, len);
                        let polls = dice.roll(6);
                        match dice.roll(4) {
                            0 => {
                                drop(poll_some(namespace.read_at(vec![0; len as usize], offset), polls).await)
                            }
                            1 => drop(poll_some(namespace.write_at(new.clone(), offset), polls).await),
                            // Leaked once it is under way: its memory stays lent, and nothing else happens.
                            2 => {
                                let mut leaked = Box::pin(async {
                                    let namespace = namespace.clone();
                                    namespace.write_at(new.clone(), offset).await
                                });
                                drop(poll_some(leaked.as_mut(), polls).await);
                                std::mem::forget(leaked);
                            }
                            _ => drop(poll_some(namespace.compare(old.clone(), offset), polls).await),
                        }
                        let (result, back) = namespace.read_at(vec![0; len as usize], offset).await;
                        result.unwrap();
                        let blocks = back.chunks(512).zip(old.chunks(512).zip(new.chunks(512)));
                        assert!(
                            blocks.into_iter().all(|(back, (old, new))| back == old || back == new),
                            "round {round} of lane {lane}"
                        );
                    }
                });
            }
            while let Some(task) = tasks.join_next().await {
                task.unwrap();
            }
            controller.shutdown().await;
        });
        assert_eq!(served.target.statistics().failed_commands, 0);
    }
}

#[test]
fn a_read_that_is_given_up_frees_its_slot_when_it_is_answered() {
    let served = served(1 << 20, false);
    run(async {
        // One command at a time.
        let (controller, namespace) = open(served.options().queue_size(2)).await;
        for round in 0..200 {
            drop(poll_some(namespace.read_at(vec![0; 65_536], 0), round % 5).await);
        }
        namespace.write_at(image(5, 65_536), 0).await.0.unwrap();
        let (result, back) = namespace.read_at(vec![0; 65_536], 0).await;
        result.unwrap();
        assert!(back == image(5, 65_536));
        controller.shutdown().await;
    });
}
