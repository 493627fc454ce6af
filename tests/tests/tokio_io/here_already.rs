//! What is here already when a task is told so, once.

use std::time::{Duration, Instant};

use system_tests::DEADLINE;
use tokio::runtime::Builder;
use tokio::task::{JoinSet, yield_now};
use tokio::time::timeout;

use super::{open, served};

const READS: u64 = 96;
const LEN: u64 = 16 * 1024;
/// Half of the time after which a connection is looked at in any case.
const SOON: Duration = Duration::from_millis(250);

#[test]
fn answers_that_one_receive_does_not_take_are_not_waited_for() {
    for tls in [false, true] {
        let served = served(READS * LEN, tls);
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let test = async {
            let (controller, namespace) = open(served.options()).await;
            // So that the kernel makes room for as much in the socket.
            for _ in 0..16 {
                namespace.read_at(vec![0; (READS * LEN) as usize], 0).await.0.unwrap();
            }
            let mut fastest = Duration::MAX;
            // The machine may have something else to do meanwhile.
            for _ in 0..5 {
                let sent = served.target.statistics().bytes_sent;
                let mut reads = JoinSet::new();
                for number in 0..READS {
                    let namespace = namespace.clone();
                    reads
                        .spawn(async move { namespace.read_at(vec![0; LEN as usize], number * LEN).await.0 });
                }
                // First they hand their reads over, then those are sent.
                yield_now().await;
                yield_now().await;
                let until = Instant::now() + DEADLINE / 4;
                while served.target.statistics().bytes_sent < sent + READS * LEN {
                    if Instant::now() > until {
                        eprintln!("SKIPPED tokio_io::here_already: the socket takes less than all answers");
                        return;
                    }
                    std::thread::yield_now();
                }
                let begun = Instant::now();
                while let Some(read) = reads.join_next().await {
                    read.unwrap().unwrap();
                }
                fastest = fastest.min(begun.elapsed());
            }
            assert!(fastest < SOON, "{fastest:?}");
            controller.shutdown().await;
        };
        runtime.block_on(async { timeout(DEADLINE, test).await.expect("in time") });
    }
}
