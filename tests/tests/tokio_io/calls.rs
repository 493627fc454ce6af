//! What is called does what it says.

use std::sync::Arc;

use nvme_tcp::discovery::Discovery;
use nvme_tcp::spec::reservation::ReservationType;
use nvme_tcp::{Acquire, ByteRange, ErrorKind, Register, Release};
use system_tests::{SUBSYSTEM_NQN, image};
use tokio::task::JoinSet;

use super::{PIECE, open, run, served};

#[test]
fn what_is_written_is_read_by_many_tasks_at_once() {
    for tls in [false, true] {
        let served = served(8 << 20, tls);
        run(async {
            let (controller, namespace) = open(served.options().io_queues(2).queue_size(16)).await;
            let whole: Arc<[u8]> = image(1, 8 << 20).into();
            let (result, same) = namespace.write_at(whole.clone(), 0).await;
            result.unwrap();
            assert!(Arc::ptr_eq(&same, &whole));
            namespace.flush().await.unwrap();
            let mut reads = JoinSet::new();
            for number in 0..(8 << 20) / PIECE {
                let namespace = namespace.clone();
                reads.spawn(async move {
                    let (result, back) = namespace.read_at(vec![0; PIECE], (number * PIECE) as u64).await;
                    result.map(|()| (number, back))
                });
            }
            let mut count = 0;
            while let Some(read) = reads.join_next().await {
                let (number, back) = read.unwrap().unwrap();
                assert!(back == whole[number * PIECE..][..PIECE], "piece {number}");
                count += 1;
            }
            assert_eq!(count, (8 << 20) / PIECE);
            controller.shutdown().await;
        });
    }
}

#[test]
fn every_call_does_what_its_blocking_sibling_does() {
    let served = served(4 << 20, false);
    run(async {
        let (controller, namespace) = open(served.options()).await;
        let data = image(2, 1 << 20);
        let (result, data) = namespace.write_at(data, 0).await;
        result.unwrap();
        let (same, mut data) = namespace.compare(data, 0).await;
        assert!(same.unwrap());
        data[70_000] ^= 1;
        let (same, _) = namespace.compare(data, 0).await;
        assert!(!same.unwrap());
        namespace.write_zeroes(4096, 8192).await.unwrap();
        let (result, back) = namespace.read_at(vec![1; 8192], 4096).await;
        result.unwrap();
        assert!(back.iter().all(|byte| *byte == 0));
        namespace.deallocate(0, 1 << 20).await.unwrap();
        // Errors bring the memory back too.
        let (result, back) = namespace.read_at(vec![7; 512], namespace.size()).await;
        assert!(matches!(result.unwrap_err().kind(), ErrorKind::OutOfRange { .. }));
        assert_eq!(back, [7; 512]);
        let (result, back) = namespace.write_at([3; 100], 0).await;
        assert!(matches!(result.unwrap_err().kind(), ErrorKind::Unaligned { .. }));
        assert_eq!(back, [3; 100]);
        let missing = controller.namespace(9).await.unwrap_err();
        assert!(matches!(missing.kind(), ErrorKind::Namespace { nsid: 9, .. }));
        let vendor = controller.with(|controller| Ok(controller.identify_controller()?.cntlid.get())).await;
        assert!(vendor.unwrap() > 0);
        controller.shutdown().await;
        let error = namespace.read_at(vec![0; 512], 0).await.0.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::ShutDown), "{error}");
    });
}

#[test]
fn rarer_commands_do_what_their_blocking_siblings_do() {
    let served = served(1 << 20, false);
    run(async {
        let (controller, namespace) = open(served.options().queue_size(8)).await;
        let data = image(3, 65_536);
        namespace.write_at(data.clone(), 0).await.0.unwrap();
        namespace.verify(0, 65_536).await.unwrap();
        namespace.copy(&[ByteRange { offset: 0, len: 65_536 }], 1 << 19).await.unwrap();
        let (result, back) = namespace.read_at(vec![0; 65_536], 1 << 19).await;
        result.unwrap();
        assert!(back == data);
        // Both ends of a fused operation, with others beside it.
        let mut beside = JoinSet::new();
        for number in 0..16_u64 {
            let namespace = namespace.clone();
            beside.spawn(async move { namespace.read_at(vec![0; PIECE], number * 4096).await.0 });
        }
        let (written, [same, new]) = namespace.compare_and_write(vec![0; 512], vec![9; 512], 1 << 18).await;
        assert!(written.unwrap() && same == [0; 512] && new == [9; 512]);
        let (written, _) = namespace.compare_and_write(vec![0; 512], vec![8; 512], 1 << 18).await;
        assert!(!written.unwrap());
        let (result, back) = namespace.read_at(vec![0; 512], 1 << 18).await;
        result.unwrap();
        assert_eq!(back, [9; 512]);
        while let Some(read) = beside.join_next().await {
            read.unwrap().unwrap();
        }
        namespace.write_uncorrectable(4096, 512).await.unwrap();
        let error = namespace.read_at(vec![0; 512], 4096).await.0.unwrap_err();
        assert!(error.status().is_some(), "{error}");
        assert!(namespace.verify(0, 65_536).await.is_err());
        // A reservation, from the registration to its end.
        namespace.reservation_register(&Register { new_key: 7, ..Register::default() }).await.unwrap();
        let kind = ReservationType::WriteExclusive;
        let acquire = Acquire { action: Default::default(), kind, current_key: 7, preempt_key: 0 };
        namespace.reservation_acquire(&acquire).await.unwrap();
        let report = namespace.reservation_report().await.unwrap();
        assert_eq!((report.held, report.registrants.len()), (Some(kind), 1));
        let release = Release { kind: Some(kind), current_key: 7, ..Release::default() };
        namespace.reservation_release(&release).await.unwrap();
        assert_eq!(namespace.reservation_report().await.unwrap().held, None);
        controller.shutdown().await;
    });
}

#[test]
fn what_discovery_finds_is_connected_to() {
    let served = served(1 << 20, false);
    run(async {
        let options = served.options();
        let found = nvme_tcp::tokio::discover(Discovery::new(options.clone())).await.unwrap();
        let mut names = Vec::new();
        for entry in found.subsystems() {
            let (controller, namespace) = open(entry.options(&options).unwrap()).await;
            namespace.read_at(vec![0; 512], 0).await.0.unwrap();
            names.push(entry.subsystem_nqn.clone());
            controller.shutdown().await;
        }
        assert_eq!(names, [SUBSYSTEM_NQN]);
    });
}

#[test]
fn two_entries_are_too_few_for_a_fused_operation() {
    let served = served(1 << 20, false);
    run(async {
        let (controller, namespace) = open(served.options().queue_size(2)).await;
        let (result, _) = namespace.compare_and_write(vec![0; 512], vec![9; 512], 0).await;
        assert!(result.unwrap_err().to_string().contains("3 entries"));
        namespace.write_at(vec![1; 512], 0).await.0.unwrap();
        controller.shutdown().await;
    });
}
