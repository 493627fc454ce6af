//! What the kernel's target serves, and what the kernel's initiator is connected to.

use std::fmt::Write as _;
use std::net::SocketAddr;

use super::{Lab, Port};

/// The host ID that the kernel's initiator gives with any host NQN of these tests.
const HOST_ID: &str = "07070707-0707-0707-0707-070707070707";

impl Lab {
    /// Has the kernel's target serve a new subsystem, in whose name `name` stands, on all three ports: a namespace
    /// for each block size, which keeps up to 64 MiB in memory.
    pub fn export(&self, name: &str, blocks: &[u32]) -> Export<'_> {
        let nqn = format!("nqn.2024-01.org.example:{name}");
        let disks: Vec<_> = blocks.iter().map(|block| format!("{name}-{block}")).collect();
        let export = Export { lab: self, nqn, disks };
        let nqn = &export.nqn;
        let mut script = format!("subsystem {nqn}\n");
        for ((disk, block), nsid) in export.disks.iter().zip(blocks).zip(1..) {
            writeln!(script, "disk {disk} 64 {block}; namespace {nqn} {nsid} /dev/{disk}")
                .expect("a String grows");
        }
        self.ask(&format!("{script}offer {nqn} 1 2 3"));
        export
    }

    /// Puts what a key text gives between a host and a subsystem into the guest's keyring `.nvme`, by nvme-cli.
    pub fn insert_key(&self, text: &str, version: u8, host: &str, subsystem: &str, flags: &str) -> String {
        let said = self.ask(&format!(
            "nvme check-tls-key --identity={version} --hostnqn={host} --subsysnqn={subsystem} --keydata={text} --insert {flags}"
        ));
        said.rsplit(' ').next().unwrap_or_default().to_owned()
    }

    /// Revokes a key by the serial number that [`insert_key`](Self::insert_key) gave.
    pub fn revoke_key(&self, serial: &str) {
        self.ask(&format!(
            "keyctl session - sh -c 'keyctl link %:.nvme @s && keyctl revoke 0x{serial}' 2>&1"
        ));
    }

    /// Connects the kernel's initiator to a target on this machine.
    #[track_caller]
    pub fn connect(&self, to: SocketAddr, subsystem: &str, host: &str, flags: &str) -> Connected<'_> {
        let script = format!("connected {} {flags}", arguments(to, subsystem, host));
        let run = self.sh(&script);
        if run.code != Some(0) {
            let log = self.ask("tail -n 40 /tmp/tlshd.log; dmesg | tail -n 40");
            panic!("{script}: {}\n{log}", run.stderr);
        }
        Connected { lab: self, name: run.text().trim().to_owned() }
    }

    /// The same where it fails: what nvme-cli says.
    #[track_caller]
    pub fn refused(&self, to: SocketAddr, subsystem: &str, host: &str, flags: &str) -> String {
        let run = self.sh(&format!("connected {} {flags}", arguments(to, subsystem, host)));
        assert_ne!(run.code, Some(0), "connected: {}", run.text());
        run.stderr
    }
}

/// nvme-cli's arguments for a target on this machine, which the guest sees at another address.
pub fn arguments(to: SocketAddr, subsystem: &str, host: &str) -> String {
    format!("-a 10.0.2.2 -s {} -n {subsystem} --hostnqn={host} --hostid={HOST_ID}", to.port())
}

/// A subsystem of the kernel's target. It goes when this is dropped.
#[derive(Debug)]
pub struct Export<'a> {
    lab: &'a Lab,
    /// Its name.
    pub nqn: String,
    /// The block devices of its namespaces, in the guest's /dev.
    pub disks: Vec<String>,
}

impl Export<'_> {
    /// Where a namespace of it is, or itself.
    pub fn uri(&self, port: Port, nsid: impl Into<Option<u32>>) -> String {
        let nsid = nsid.into().map(|nsid| format!("/{nsid}")).unwrap_or_default();
        format!("nvme+tcp://{}/{}{nsid}", self.lab.address(port), self.nqn)
    }

    /// Takes it from a port of the target's, by the port's number: the controllers there are gone at once.
    #[track_caller]
    pub fn withdraw(&self, port: u16) {
        self.lab.ask(&format!("rm $NVMET/ports/{port}/subsystems/{}", self.nqn));
    }

    /// Of the first `bytes` of a namespace, as the guest reads them: SHA-256.
    pub fn sha256(&self, nsid: usize, bytes: usize) -> String {
        let script = format!(
            "dd if=/dev/{} bs=1M count={bytes} iflag=count_bytes,direct 2>/dev/null | sha256sum",
            self.disks[nsid - 1]
        );
        self.lab.ask(&script).split(' ').next().unwrap_or_default().to_owned()
    }
}

impl Drop for Export<'_> {
    fn drop(&mut self) {
        // What stays is in nobody's way.
        self.lab.sh(&format!("gone {} {}", self.nqn, self.disks.join(" ")));
    }
}

/// A controller of the kernel's initiator. It is disconnected when this is dropped.
#[derive(Debug)]
pub struct Connected<'a> {
    lab: &'a Lab,
    /// Its name, as `nvme0`.
    pub name: String,
}

impl Connected<'_> {
    /// The block device of its first namespace.
    #[track_caller]
    pub fn device(&self) -> String {
        self.lab.ask(&format!("device {}", self.name))
    }
}

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.lab.sh(&format!("nvme disconnect -d {}", self.name));
    }
}
