//! `list`: what a target has.

use clap::Args;
use nvme_tcp::ErrorKind;
use nvme_tcp::discovery::{self, EntryKind, TlsNeed};
use nvme_tcp::nqn::DISCOVERY_NQN;
use nvme_tcp::uri::{Address, DEFAULT_PORT, SCHEME, TargetUri};
use serde::Serialize;

use crate::args::{HostArgs, TimeArgs, nqn_parser};
use crate::connect;
use crate::exit::Failure;
use crate::output::{self, OutputArgs};
use crate::size;
use crate::tls_args::TlsArgs;

/// The help's examples.
const EXAMPLES: &str = "\
Examples:
  The subsystems of a target:
    nvme-tcp list nvme+tcp://10.0.0.7:8009
  The same by nvme-cli's flags, for a script:
    nvme-tcp discover -t tcp -a 10.0.0.7 -s 8009 -o json
  A subsystem's namespaces, each with the URI that copy takes:
    nvme-tcp list nvme+tcp://10.0.0.7:4420/nqn.2024-01.com.example:a --tls --keyfile store.key";

/// `list`
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ListArgs {
    /// A target's subsystems (nvme+tcp://HOST:PORT), or a subsystem's namespaces
    /// (nvme+tcp://HOST:PORT/SUBNQN)
    #[arg(value_name = "URI", conflicts_with_all = ["traddr", "trsvcid", "nqn"])]
    pub uri: Option<TargetUri>,
    /// Transport; there is one
    #[arg(short = 't', long, value_name = "TYPE", value_parser = ["tcp"], default_value = "tcp")]
    pub transport: String,
    /// Address or name of the target, in place of a URI
    #[arg(short = 'a', long, value_name = "ADDRESS", required_unless_present = "uri")]
    pub traddr: Option<String>,
    /// Port of the target [default: 4420]
    #[arg(short = 's', long, value_name = "PORT")]
    pub trsvcid: Option<u16>,
    /// NQN of the subsystem
    #[arg(short = 'n', long, alias = "subsysnqn", value_name = "NQN", value_parser = nqn_parser())]
    pub nqn: Option<String>,
    #[command(flatten)]
    pub host: HostArgs,
    #[command(flatten)]
    pub tls: TlsArgs,
    #[command(flatten)]
    pub time: TimeArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

impl ListArgs {
    /// What is to be listed, however it was named. The discovery subsystem's name stands for none.
    pub fn target(&self) -> Result<TargetUri, Failure> {
        let mut target = match (&self.uri, &self.traddr) {
            (Some(uri), _) => uri.clone(),
            (None, host) => TargetUri {
                address: Address::new(
                    host.as_deref().unwrap_or_default(),
                    self.trsvcid.unwrap_or(DEFAULT_PORT),
                )
                .map_err(Failure::usage)?,
                subsystem_nqn: self.nqn.clone(),
                namespace_id: None,
            },
        };
        target.subsystem_nqn.take_if(|nqn| nqn == DISCOVERY_NQN);
        Ok(target)
    }
}

#[derive(Debug, Serialize)]
struct SubsystemLine {
    nqn: String,
    address: String,
    /// "discovery", "referral" or "nvm".
    kind: &'static str,
    /// "required", "possible" or "off".
    tls: &'static str,
}

#[derive(Debug, Serialize)]
struct Subsystems {
    subsystems: Vec<SubsystemLine>,
}

#[derive(Debug, Serialize)]
struct NamespaceLine {
    nsid: u32,
    /// Bytes.
    size: u64,
    /// Bytes.
    block_size: u32,
    uri: String,
}

#[derive(Debug, Serialize)]
struct Namespaces {
    subsystem: String,
    model: String,
    serial: String,
    firmware: String,
    namespaces: Vec<NamespaceLine>,
}

/// Lists.
pub fn run(args: &ListArgs) -> Result<(), Failure> {
    let target = args.target()?;
    match &target.subsystem_nqn {
        None => list_subsystems(args, &target),
        Some(nqn) => list_namespaces(args, &target, nqn),
    }
}

fn list_subsystems(args: &ListArgs, target: &TargetUri) -> Result<(), Failure> {
    let options = connect::options(&target.address, DISCOVERY_NQN, &args.host, &args.tls, &args.time, None)?;
    let lines = discovery::discover(options)?.into_iter().map(|entry| SubsystemLine {
        kind: match entry.kind {
            EntryKind::Subsystem => "nvm",
            EntryKind::Referral => "referral",
            EntryKind::ThisDiscovery => "discovery",
            _ => "other",
        },
        tls: match entry.tls {
            TlsNeed::Off => "off",
            TlsNeed::Possible => "possible",
            TlsNeed::Required => "required",
        },
        nqn: entry.subsystem_nqn,
        address: entry.address,
    });
    args.output.print(&Subsystems { subsystems: lines.collect() }, |list| {
        let rows = list
            .subsystems
            .iter()
            .map(|line| [line.nqn.clone(), line.address.clone(), line.kind.to_owned(), line.tls.to_owned()]);
        output::table(["subsystem", "address", "kind", "TLS"], rows)
    })
}

fn list_namespaces(args: &ListArgs, target: &TargetUri, nqn: &str) -> Result<(), Failure> {
    let options = connect::options(&target.address, nqn, &args.host, &args.tls, &args.time, None)?;
    let controller = connect::controller(options)?;
    let traits = controller.info().traits;
    let mut namespaces = Vec::new();
    for nsid in controller.namespaces()? {
        match controller.namespace(nsid) {
            Ok(namespace) => namespaces.push(NamespaceLine {
                nsid,
                size: namespace.size(),
                block_size: namespace.block_size(),
                uri: format!("{SCHEME}{}/{nqn}/{nsid}", target.address),
            }),
            Err(error) if matches!(error.kind(), ErrorKind::Namespace { .. }) => output::warn(error),
            Err(error) => return Err(error.into()),
        }
    }
    controller.shutdown();
    let list = Namespaces {
        subsystem: nqn.to_owned(),
        model: traits.model_number,
        serial: traits.serial_number,
        firmware: traits.firmware_revision,
        namespaces,
    };
    args.output.print(&list, |list| {
        let rows = list.namespaces.iter().map(|line| {
            [line.nsid.to_string(), size::human(line.size), line.block_size.to_string(), line.uri.clone()]
        });
        output::table([">namespace", ">size", ">block", "URI"], rows)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct List {
        #[command(flatten)]
        args: ListArgs,
    }

    fn target(line: &str) -> Option<String> {
        let parsed = List::try_parse_from(["list"].into_iter().chain(line.split_whitespace())).ok()?;
        parsed.args.target().ok().map(|target| target.to_string())
    }

    #[test]
    fn uris_and_flags_name_the_same() {
        for (line, uri) in [
            ("nvme+tcp://[::1]", "nvme+tcp://[::1]:4420"),
            ("-t tcp -a ::1", "nvme+tcp://[::1]:4420"),
            ("-a 10.0.0.1 -s 8009 -n nqn.test:s", "nvme+tcp://10.0.0.1:8009/nqn.test:s"),
            ("-a h -n nqn.2014-08.org.nvmexpress.discovery", "nvme+tcp://h:4420"),
        ] {
            assert_eq!(target(line).as_deref(), Some(uri), "{line}");
        }
    }

    #[test]
    fn what_is_refused() {
        for line in
            ["", "-n nqn.test:s", "-t rdma -a h", "nvme+tcp://h -a h", "-a h -s 0", "-a [::1]", "h:4420"]
        {
            assert_eq!(target(line), None, "{line}");
        }
    }
}
