//! The guest as a process: QEMU with its wires to this machine, and its end.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::image::Image;
use super::packages::Packages;
use crate::Result;
use crate::suite::read_file;

/// The ports on which the guest's target listens; lab.sh makes them.
const SERVICES: [u16; 5] = [4420, 4421, 4422, 4423, 4424];
/// From start to an answer of the agent. Software emulation takes ten seconds by itself, and minutes on a busy machine.
const BOOT: Duration = Duration::from_secs(900);
/// A guest whose console says nothing more for so long has stopped.
const STILL: Duration = Duration::from_secs(180);
/// A guest that KVM runs says its first word in a second. Some machines have KVM and run no guest.
const FIRST_WORD: Duration = Duration::from_secs(8);
/// The memory holds what all tests together write at one time.
const MEMORY: &str = "1G";
/// The kernel's own tests of its ciphers and groups take time that emulation does not have: where that of ffdhe8192
/// comes to no end within a minute, the group is refused until the next boot.
const COMMAND_LINE: &str = "console=ttyS0 panic=-1 mitigations=off random.trust_cpu=on cryptomgr.notests=1";
/// Asks the agent to run `true`, and its answer.
const ASK: &[u8] = b"boot dHJ1ZQo=\n";
const ANSWER: &str = "boot 0";

/// What runs the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accelerator {
    Kvm,
    Emulation,
}

impl Accelerator {
    fn arguments(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            Self::Emulation => ["-accel", "tcg,thread=multi", "-cpu", "max"],
        }
    }
}

/// A guest that runs. It ends when this is dropped.
pub(super) struct Machine {
    child: Child,
    folder: PathBuf,
    console: PathBuf,
    pub(super) accelerator: Accelerator,
    /// The guest's ports and where they are reached here.
    pub(super) ports: Vec<(u16, u16)>,
}

impl Machine {
    /// Boots, with KVM where that works. `folder` keeps the console, and the one above it what is known of KVM.
    pub(super) fn boot(packages: &Packages, image: &Image, folder: &Path) -> Result<Self> {
        // KVM may work after the next start of this machine.
        let here = read_file(Path::new("/proc/sys/kernel/random/boot_id"))?;
        let stalled = folder.with_file_name("kvm-stalls");
        let may = fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
        if may && read_file(&stalled)? != here {
            match Self::start(packages, image, folder, Accelerator::Kvm) {
                Ok(machine) => return Ok(machine),
                Err(error) => println!("qemu: KVM is here and does not run the guest ({error}); emulating"),
            }
            fs::write(&stalled, here)?;
        }
        let emulated = || Self::start(packages, image, folder, Accelerator::Emulation);
        // On a busy machine a guest may stand still before its first word.
        emulated().or_else(|error| {
            println!("qemu: {error}; once more");
            emulated()
        })
    }

    fn start(packages: &Packages, image: &Image, folder: &Path, accelerator: Accelerator) -> Result<Self> {
        let start = Instant::now();
        let console = folder.join("console.log");
        super::packages::remove(&console)?;
        // A socket's path is short, and only this user may run commands in the guest.
        let private = private_folder()?;
        let ports = free_ports()?;
        let forwards: String =
            ports.iter().map(|(service, port)| format!(",hostfwd=tcp:127.0.0.1:{port}-:{service}")).collect();
        let mut command = packages.program("usr/bin/qemu-system-x86_64");
        command
            .args([
                "-nodefaults",
                "-no-user-config",
                "-display",
                "none",
                "-no-reboot",
                "-machine",
                "q35,hpet=off",
            ])
            .args(["-smp", "2", "-m", MEMORY])
            .args(accelerator.arguments())
            .args(["-L", &packages.root.join("usr/share/qemu").to_string_lossy()])
            .args(["-L", &packages.root.join("usr/share/seabios").to_string_lossy()])
            .arg("-kernel")
            .arg(&image.kernel)
            .arg("-initrd")
            .arg(&image.initrd)
            .args(["-append", COMMAND_LINE])
            .args(["-serial", &format!("file:{}", console.display())])
            .args(["-netdev", &format!("user,id=net{forwards}")])
            .args(["-device", "virtio-net-pci,netdev=net,romfile="])
            .args(["-device", "virtio-rng-pci", "-device", "virtio-serial-pci"])
            .args([
                "-chardev",
                &format!("socket,id=agent,path={}/agent,server=on,wait=off", private.display()),
            ])
            .args(["-device", "virtserialport,chardev=agent,name=agent"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("qemu.log"))?);
        let child = command.spawn()?;
        let mut machine = Self { child, folder: private, console, accelerator, ports };
        match machine.wait_for_agent(start) {
            Ok(()) => {
                println!("qemu: {accelerator:?}: ready after {:.1} s", start.elapsed().as_secs_f64());
                Ok(machine)
            }
            Err(error) => Err(format!("{error} {}", read_file(&folder.join("qemu.log"))?.trim()).into()),
        }
    }

    /// The socket that leads to the agent.
    pub(super) fn agent(&self) -> PathBuf {
        self.folder.join("agent")
    }

    /// What the guest's kernel and its first process said.
    pub(super) fn said(&self) -> String {
        read_file(&self.console).unwrap_or_default().replace('\r', "")
    }

    fn wait_for_agent(&mut self, start: Instant) -> Result<()> {
        let mut asked: Option<BufReader<UnixStream>> = None;
        let mut line = String::new();
        let (mut said, mut since) = (0, start);
        let error = loop {
            if let Some(ended) = self.child.try_wait()? {
                break format!("QEMU ended: {ended}");
            }
            let console = fs::metadata(&self.console).map_or(0, |file| file.len());
            if self.accelerator == Accelerator::Kvm && console == 0 && start.elapsed() > FIRST_WORD {
                return Err("its console stays empty".into());
            }
            if console > said {
                (said, since) = (console, Instant::now());
            }
            if since.elapsed() > STILL {
                break format!("its console says nothing more since {} s", STILL.as_secs());
            }
            if start.elapsed() > BOOT {
                break format!("no answer of the agent in {} s", BOOT.as_secs());
            }
            match &mut asked {
                // QEMU makes the socket in its first moments; nothing tells when.
                None => match UnixStream::connect(self.agent()) {
                    Ok(mut stream) => {
                        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
                        stream.write_all(ASK)?;
                        asked = Some(BufReader::new(stream));
                    }
                    Err(_) => std::thread::sleep(Duration::from_millis(50)),
                },
                Some(stream) => match stream.read_line(&mut line) {
                    Ok(_) if line.ends_with('\n') && line.starts_with(ANSWER) => return Ok(()),
                    // A part of a line stays for the next read.
                    _ if line.ends_with('\n') => line.clear(),
                    _ => {}
                },
            }
        };
        println!("{}\nqemu: {error}; the console stands above", self.said());
        Err(error.into())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It keeps nothing: the next run boots anew.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A new folder for this user alone.
fn private_folder() -> Result<PathBuf> {
    let (temporary, id) = (std::env::temp_dir(), std::process::id());
    let mut names = (0..).map(|n: u32| temporary.join(format!("nvme-tcp-lab-{id}-{n}")));
    loop {
        // A run that was killed may have left one of this name.
        let Some(folder) = names.next() else { return Err("no name for a folder is free".into()) };
        match fs::DirBuilder::new().mode(0o700).create(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Free ports of this machine, one for each service. They are held together, so that they differ; between here
/// and QEMU another program could take one: then QEMU says so.
fn free_ports() -> Result<Vec<(u16, u16)>> {
    let listeners: std::io::Result<Vec<_>> =
        SERVICES.iter().map(|service| Ok((*service, TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?))).collect();
    let ports = listeners?
        .iter()
        .map(|(service, listener)| Ok((*service, listener.local_addr()?.port())))
        .collect::<std::io::Result<_>>();
    Ok(ports?)
}
