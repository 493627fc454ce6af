//! Targets that break the protocol, fall silent or die: the tool ends in time, with the documented exit code
//! and a message that names the field, what was expected and what came.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use nvme_tcp::psk::ConfiguredKey;
use nvme_tcp::spec::pdu::PduType;
use nvme_tcp_target::{Fault, FaultPlan, Field, Namespace};
use system_tests::{HOST_NQN, KeyFile, Run, Server, Tool, faulty, image, scaled, uri};

/// Copies an image out of a target that breaks the protocol as `plan` says.
fn copy_out(plan: &FaultPlan, flags: &[&str]) -> Run {
    let served = faulty(Namespace::ram(1 << 20), None, plan);
    Tool::new(["copy", &served.uri(), "-", "-i", "1"]).args(flags).run()
}

/// Copies an image into one.
fn copy_in(plan: &FaultPlan, flags: &[&str]) -> Run {
    let served = faulty(Namespace::ram(1 << 20), None, plan);
    Tool::new(["copy", "-", &served.uri(), "-i", "1"]).args(flags).input(image(1, 1 << 20)).run()
}

/// It broke the protocol: the message names the field.
#[track_caller]
fn broke(run: &Run, plan: &FaultPlan, field: &str) {
    assert_eq!(plan.happened(), 1, "the fault did not happen");
    run.failed(6, "the controller broke the protocol: ", "fault of the target");
    assert!(run.stderr.contains(field), "{field:?} in: {}", run.stderr);
    assert!(run.stderr.contains(" is ") && run.stderr.contains(", expected "), "{}", run.stderr);
}

#[test]
fn a_wrong_field_of_read_data_is_named() {
    for (fault, field) in [
        (Fault::Set(Field::Plen, 20), "PLEN"),
        (Fault::Set(Field::Plen, u32::MAX), "PLEN"),
        (Fault::Set(Field::Hlen, 23), "HLEN"),
        (Fault::Set(Field::Type, 0x55), "PDU-Type"),
        (Fault::Set(Field::Type, PduType::IcReq as u32), "PDU-Type"),
        (Fault::Flip(Field::Offset, 0x1000), "DATAO"),
        (Fault::Flip(Field::Length, 0x200), "DATAL"),
        (Fault::Flip(Field::CommandId, 0x0040), "CCCID"),
        (Fault::MoreData(512), "DATA"),
    ] {
        let plan = FaultPlan::new();
        plan.io(PduType::C2hData, 2, fault);
        let run = copy_out(&plan, &[]);
        assert_eq!(run.code, Some(6), "{fault:?}: {}", run.stderr);
        broke(&run, &plan, field);
    }
}

#[test]
fn a_wrong_field_of_a_request_for_data_is_named() {
    for (fault, field) in [
        (Fault::Flip(Field::Offset, 0x1000), "R2TO"),
        (Fault::Set(Field::Length, u32::MAX), "R2TL"),
        (Fault::Set(Field::Length, 0), "R2TL"),
        (Fault::Flip(Field::CommandId, 0x0040), "CCCID"),
        (Fault::Set(Field::Plen, 28), "PLEN"),
    ] {
        let plan = FaultPlan::new();
        plan.io(PduType::R2t, 2, fault);
        let run = copy_in(&plan, &[]);
        assert_eq!(run.code, Some(6), "{fault:?}: {}", run.stderr);
        broke(&run, &plan, field);
    }
}

#[test]
fn an_answer_to_a_command_that_does_not_exist_is_named() {
    let plan = FaultPlan::new();
    // The second: the first is Connect's.
    plan.io(PduType::CapsuleResp, 2, Fault::Flip(Field::CommandId, 0x0040));
    broke(&copy_in(&plan, &[]), &plan, "CID");
}

#[test]
fn a_wrong_beginning_is_named() {
    for (fault, field) in [
        (Fault::Set(Field::Plen, 64), "PLEN"),
        (Fault::Set(Field::Cpda, 200), "CPDA"),
        (Fault::Set(Field::MaxH2cData, 100), "MAXH2CDATA"),
        (Fault::Set(Field::Type, PduType::CapsuleResp as u32), "PDU-Type"),
    ] {
        let plan = FaultPlan::new();
        plan.any(PduType::IcResp, 1, fault);
        let run = copy_out(&plan, &[]);
        assert_eq!(run.code, Some(6), "{fault:?}: {}", run.stderr);
        broke(&run, &plan, field);
    }
}

#[test]
fn a_wrong_header_digest_ends_the_connection() {
    let plan = FaultPlan::new();
    plan.io(PduType::C2hData, 2, Fault::HeaderDigest);
    broke(&copy_out(&plan, &["-g", "-G"]), &plan, "HDGST");
}

#[test]
fn a_wrong_data_digest_fails_the_copy() {
    for fault in [Fault::DataDigest, Fault::Data] {
        let plan = FaultPlan::new();
        plan.io(PduType::C2hData, 2, fault);
        let run = copy_out(&plan, &["-G"]);
        assert_eq!(plan.happened(), 1);
        run.failed(1, "Read: the data digest does not match the data", "network hardware");
    }
}

#[test]
fn what_no_digest_protects_verify_finds() {
    let file = KeyFile::with("");
    std::fs::write(file.path(), image(1, 1 << 20)).unwrap();
    for (source, said) in [("-", "SHA-256 "), (file.path(), "the first difference is at byte ")] {
        let plan = FaultPlan::new();
        plan.io(PduType::C2hData, 1, Fault::Data);
        let served = faulty(Namespace::ram(1 << 20), None, &plan);
        let copy = Tool::new(["copy", source, &served.uri(), "-i", "1", "--verify"]);
        let run = copy.input(image(1, 1 << 20)).run();
        assert_eq!(plan.happened(), 1);
        run.failed(1, &format!("the namespace differs from {source}: {said}"), "--data-digest");
    }
}

#[test]
fn broken_protocol_inside_tls_is_the_same() {
    let file = KeyFile::generate("sha256");
    let key = ConfiguredKey::from_file(file.path()).unwrap();
    let plan = FaultPlan::new();
    plan.io(PduType::C2hData, 2, Fault::Flip(Field::Offset, 0x1000));
    let served = faulty(Namespace::ram(1 << 20), Some(key), &plan);
    let run = Tool::new(["copy", &served.uri(), "-", "-i", "1"]).args(file.flags()).run();
    broke(&run, &plan, "DATAO");
}

#[test]
fn silence_in_a_command_ends_at_the_deadline() {
    for kind in [PduType::C2hData, PduType::R2t] {
        let plan = FaultPlan::new();
        plan.io(kind, 2, Fault::Stall);
        let run = match kind {
            PduType::R2t => copy_in(&plan, &["--timeout", "1"]),
            _ => copy_out(&plan, &["--timeout", "1"]),
        };
        assert_eq!(plan.happened(), 1);
        run.failed(1, "no answer to a command within 1000 ms", "--timeout");
    }
}

#[test]
fn silence_of_the_admin_queue_ends_at_the_deadline() {
    let plan = FaultPlan::new();
    plan.admin(PduType::CapsuleResp, 1, Fault::Stall);
    let run = copy_out(&plan, &["--timeout", "1"]);
    assert_eq!(plan.happened(), 1);
    run.failed(1, "within 1000 ms", "--timeout");
}

#[test]
fn silence_at_the_beginning_is_no_connection() {
    let plan = FaultPlan::new();
    plan.any(PduType::IcResp, 1, Fault::Stall);
    copy_out(&plan, &["--timeout", "1"]).failed(3, "no answer to ICReq within 1000 ms", "--timeout");
    assert_eq!(plan.happened(), 1);
    // Somebody takes the connection and never says a word: neither NVMe nor TLS.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = uri(silent.local_addr().unwrap(), 1);
    let file = KeyFile::generate("sha256");
    for flags in [&["--hostnqn", HOST_NQN][..], &file.flags()] {
        let run = Tool::new(["copy", &uri, "-", "--timeout", "1"]).args(flags).run();
        assert_eq!(run.code, Some(3), "{}", run.stderr);
        assert!(run.stderr.lines().count() == 2 && run.stderr.contains("\nhint: "), "{}", run.stderr);
    }
}

#[test]
fn a_listener_that_is_no_target_is_named() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = uri(other.local_addr().unwrap(), 1);
    let answer = std::thread::spawn(move || {
        let (mut stream, _) = other.accept().unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").unwrap();
        // Until the tool gives up.
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let run = Tool::new(["copy", &uri, "-"]).run();
    run.failed(6, "the controller broke the protocol: PDU-Type is 72", "fault of the target");
    answer.join().unwrap();
}

#[test]
fn a_connection_that_is_cut_fails_the_copy() {
    for fault in [Fault::Cut, Fault::CutWithin(100)] {
        let plan = FaultPlan::new();
        plan.io(PduType::C2hData, 2, fault);
        copy_out(&plan, &[]).failed(1, "connection", "what was not flushed may not be written");
        let plan = FaultPlan::new();
        plan.io(PduType::R2t, 2, fault);
        copy_in(&plan, &[]).failed(1, "connection", "what was not flushed may not be written");
    }
}

#[test]
fn a_command_that_fails_is_named_with_its_status() {
    let plan = FaultPlan::new();
    // Status code type 2, media errors; 0x81, unrecovered read error; the phase bit is bit 0.
    plan.io(PduType::CapsuleResp, 3, Fault::Set(Field::Status, 0x0281 << 1));
    let run = copy_in(&plan, &[]);
    assert_eq!(plan.happened(), 1);
    run.failed(1, "Write failed: unrecovered read error", "the medium behind the namespace");
}

/// Kills the target when a part of the image is there, then offers the rest.
fn target_dies(server: Server, flags: &[&str]) {
    let chunk = image(1, 1 << 20);
    let total = scaled(64, 16);
    let copy = Tool::new(["copy", "-", &server.uri(1), "-i", "1", "-Q", "4"]).args(flags).piped_input();
    let mut copy = copy.start();
    let mut stdin = copy.take_stdin();
    // More than a pipe and four commands hold: a part of it was acknowledged.
    for _ in 0..total / 2 {
        stdin.write_all(&chunk).unwrap();
    }
    server.kill();
    for _ in 0..total / 2 {
        if stdin.write_all(&chunk).is_err() {
            break;
        }
    }
    drop(stdin);
    let run = copy.finish();
    run.failed(1, "connection", "what was not flushed may not be written");
    assert_eq!(run.text(), "", "nothing was copied");
}

#[test]
fn a_target_that_dies_in_the_middle_of_a_copy_fails_it() {
    target_dies(Server::plain(["ram:64M"]), &[]);
}

#[test]
fn a_target_that_dies_in_the_middle_of_a_copy_over_tls_fails_it() {
    let key = KeyFile::generate("sha256");
    target_dies(Server::tls(["ram:64M"], &key), &key.flags());
}

#[test]
fn a_target_that_dies_while_it_is_read_fails_the_copy() {
    let server = Server::plain(["ram:64M"]);
    // What nobody takes stays where it is: the copy cannot be done before the target dies.
    let (mut out, taken) = UnixStream::pair().unwrap();
    let copy = Tool::new(["copy", &server.uri(1), "-", "-i", "1", "-Q", "4"]).stdout(OwnedFd::from(taken));
    let copy = copy.start();
    out.read_exact(&mut vec![0; 1 << 16]).unwrap();
    server.kill();
    let rest = std::io::copy(&mut out, &mut std::io::sink()).unwrap();
    assert!(rest < 63 << 20, "{rest}");
    copy.finish().failed(1, "connection", "what was not flushed may not be written");
}
