//! What stands on the wire, as tshark sees it on loopback.

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use system_tests::{
    DEADLINE, HOST_NQN, KeyFile, Needle, Process, SUBSYSTEM_NQN, Server, Tool, image, scaled, skip,
};

/// A capture of all of TCP on loopback, in sections. It is one, for tshark takes its time to start.
struct Capture {
    tshark: Process,
    file: PathBuf,
    /// For marks between the sections: datagrams to itself.
    marks: UdpSocket,
    sections: u8,
}

impl Capture {
    /// Starts it; says why where this machine cannot capture.
    fn start(folder: &Path) -> Result<Self, String> {
        if !geteuid().is_root() {
            return Err("only root may capture".to_owned());
        }
        let file = folder.join("capture");
        let marks = UdpSocket::bind("127.0.0.1:0").unwrap();
        let filter = format!("tcp or udp port {}", marks.local_addr().unwrap().port());
        let mut tshark = Command::new("tshark");
        // A buffer that holds everything, for a capture with gaps shows nothing; a line for each packet.
        tshark.args(["-n", "-i", "lo", "-B", "64", "-F", "pcap", "-f", &filter]);
        tshark.args(["-P", "-l", "-T", "fields", "-e", "udp.length", "-w"]).arg(&file);
        tshark.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if Command::new("tshark").arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
            return Err("no tshark here (package tshark)".to_owned());
        }
        let tshark = Process::start(&mut tshark);
        if !tshark.has_said("Capturing on") {
            return Err(format!("tshark cannot capture here: {}", tshark.finish().stderr.replace('\n', " ")));
        }
        let mut capture = Self { tshark, file, marks, sections: 0 };
        capture.mark();
        Ok(capture)
    }

    fn mark_text(section: u8) -> Vec<u8> {
        // Each is of another length, which is what tshark prints of it.
        [&b"-- capture: section "[..], &vec![b'a' + section; 4 + usize::from(section)]].concat()
    }

    /// Ends a section. Packets are captured in order: when the mark is there, everything before it is.
    fn mark(&mut self) {
        let text = Self::mark_text(self.sections);
        // The length that UDP's header tells counts the header's 8 bytes.
        let line = (text.len() + 8).to_string();
        let end = Instant::now() + DEADLINE;
        loop {
            self.marks.send_to(&text, self.marks.local_addr().unwrap()).unwrap();
            if self.tshark.has_printed(&line, Duration::from_secs(1)) {
                break;
            }
            assert!(Instant::now() < end, "the capture does not show mark {}", self.sections);
        }
        self.sections += 1;
    }

    /// What was captured in each section.
    fn finish(self) -> Vec<Vec<u8>> {
        kill(Pid::from_raw(self.tshark.id() as i32), Signal::SIGINT).unwrap();
        let run = self.tshark.finish();
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        assert!(!run.stderr.contains("dropped"), "{}", run.stderr);
        let all = std::fs::read(self.file).unwrap();
        let place = |section| {
            let mark = Self::mark_text(section);
            all.windows(mark.len()).position(|window| window == mark).unwrap()
        };
        (1..self.sections).map(|section| all[place(section - 1)..place(section)].to_vec()).collect()
    }
}

fn count(hay: &[u8], needle: &str) -> usize {
    hay.windows(needle.len()).filter(|window| *window == needle.as_bytes()).count()
}

#[test]
fn over_tls_the_wire_shows_nothing_of_the_image_or_of_connect_and_in_plain_it_does() {
    let name = "over_tls_the_wire_shows_nothing_of_the_image_or_of_connect_and_in_plain_it_does";
    let key = KeyFile::generate("sha256");
    let bytes = image(1, scaled(4 << 20, 1 << 20));
    let needle = Needle::new(&bytes);
    let copy = |server: &Server, flags: &[&str]| {
        let copy = Tool::new(["copy", "-", &server.uri(1), "--verify"]).args(flags).input(bytes.clone());
        drop(copy.run().succeeded());
    };
    let mut capture = match Capture::start(key.folder()) {
        Ok(capture) => capture,
        Err(why) => return skip(name, &why),
    };
    copy(&Server::plain(["ram:4M"]), &["--hostnqn", HOST_NQN]);
    capture.mark();
    copy(&Server::tls(["ram:4M"], &key), &key.flags());
    capture.mark();
    let file = key.folder().join("image");
    std::fs::write(&file, &bytes).unwrap();
    drop(Tool::new(["demo", "--file", file.to_str().unwrap()]).run().succeeded());
    capture.mark();
    let [plain, tls, demo] = <[_; 3]>::try_from(capture.finish()).unwrap();

    // In Connect's data a name ends with zeros; in the PSK identity of a ClientHello with a space.
    let connect_data = format!("{HOST_NQN}\0");
    let identity = format!("{HOST_NQN} {SUBSYSTEM_NQN} ");

    // In and back out; segments cut a block in two now and then.
    let found = needle.count_in(&plain);
    assert!(found > needle.len() * 19 / 10, "{found} of twice {} blocks", needle.len());
    assert!(count(&plain, &connect_data) > 0);

    assert!(tls.len() > 2 * bytes.len(), "{} bytes captured", tls.len());
    assert_eq!(needle.count_in(&tls), 0);
    assert_eq!(count(&tls, &connect_data), 0);
    // Each connection names its key once, and that is all.
    let hellos = count(&tls, "NVMe1R01 ");
    assert!(hellos > 0);
    assert_eq!((count(&tls, &identity), count(&tls, HOST_NQN)), (hellos, hellos));
    assert_eq!(count(&tls, "nqn."), 2 * hellos);

    // Written, read, and read once more to be compared.
    assert!(demo.len() > 3 * bytes.len(), "{} bytes captured", demo.len());
    assert_eq!(needle.count_in(&demo), 0);
}
