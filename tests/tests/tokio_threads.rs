//! On tokio what controllers do by themselves is done by tasks. Alone in its process, whose threads are counted.

use std::fs;
use std::time::{Duration, Instant};

use nvme_tcp::Recovery;
use nvme_tcp::multipath::MultipathOptions;
use nvme_tcp::tokio::{Controller, Subsystem};
use nvme_tcp_target as target;
use system_tests::{DEADLINE, SUBSYSTEM_NQN, options, scaled};
use tokio::runtime::Builder;
use tokio::time::sleep;

/// After which a thread that tokio keeps for what waits ends, when it has nothing to do.
const IDLE: Duration = Duration::from_millis(20);
const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// The threads of this process, without those of the target in it.
fn threads() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    // A thread may have ended.
    let names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names
        .map(|name| name.trim().to_owned())
        .filter(|name| !matches!(&**name, "nvme-accept" | "nvme-queue"))
        .collect()
}

/// Waits until there are no more threads than this.
async fn back_to(before: usize) {
    let begun = Instant::now();
    while threads().len() > before {
        assert!(begun.elapsed() < DEADLINE, "{before} threads before, and now {:?}", threads());
        sleep(IDLE).await;
    }
}

#[test]
fn many_controllers_and_paths_have_no_thread() {
    // Before the target's threads come, which have no names of their own at first.
    let before = threads().len();
    let any = || target::Listener::plain(std::net::SocketAddr::from(([127, 0, 0, 1], 0)));
    let subsystem = target::Subsystem::new(SUBSYSTEM_NQN).namespace(1, target::Namespace::ram(1 << 20));
    let served = target::Target::builder().subsystem(subsystem).listen(any()).listen(any()).start().unwrap();
    let options = |port: usize| {
        options(served.local_addrs()[port], None).keep_alive(KEEP_ALIVE).recovery(Recovery::default())
    };
    let runtime = Builder::new_current_thread().enable_all().thread_keep_alive(IDLE).build().unwrap();
    let count = scaled(50, 10);
    runtime.block_on(async {
        let mut controllers = Vec::new();
        for number in 0..count {
            controllers.push(Controller::connect(options(number as usize % 2)).await.unwrap());
        }
        let paths = [0, 1].map(options);
        let several = Subsystem::connect(paths, MultipathOptions::default()).await.unwrap();
        let namespace = several.namespace(1).await.unwrap();
        back_to(before).await;

        // Keep-alives are sent, or the target would end the associations.
        let commands = served.statistics().commands;
        sleep(KEEP_ALIVE * 2).await;
        assert!(served.statistics().commands >= commands + 2 * count);
        controllers.iter().for_each(|controller| controller.check().unwrap());
        assert!(several.paths(1).iter().all(|path| path.error.is_none()));
        assert_eq!(threads().len(), before, "{:?}", threads());

        // What took over is alone in the end, and again nothing is left of what brought it up.
        for controller in &controllers {
            controller.reconnect().await.unwrap();
            assert_eq!(controller.info().generation, 1);
        }
        namespace.write_at(vec![1; 512], 0).await.0.unwrap();
        back_to(before).await;
        let begun = Instant::now();
        // An admin and an I/O queue each; of the two paths one may not have been taken yet.
        while served.statistics().open_connections > 2 * count + 4 {
            assert!(begun.elapsed() < DEADLINE, "{:?}", served.statistics());
            sleep(IDLE).await;
        }
        for controller in controllers {
            controller.shutdown().await;
        }
        several.shutdown().await;
        back_to(before).await;
    });
}
