//! From flags to the library's options.

use std::time::Duration;

use nvme_tcp::uri::Address;
use nvme_tcp::{Controller, Options, Security};

use crate::args::{HostArgs, QueueArgs, TimeArgs};
use crate::exit::Failure;
use crate::output;
use crate::report::TlsReport;
use crate::tls_args::TlsArgs;

/// How to reach `subsystem_nqn` at `address`.
pub fn options(
    address: &Address,
    subsystem_nqn: &str,
    host: &HostArgs,
    tls: &TlsArgs,
    time: &TimeArgs,
    queues: Option<&QueueArgs>,
) -> Result<Options, Failure> {
    let host = host.resolve()?;
    output::step(format_args!(
        "connecting to {address}, {subsystem_nqn}, as {}: {}",
        host.nqn,
        tls.summary()
    ));
    let mut options = Options::new(address.to_string(), subsystem_nqn, host);
    if let Some(security) = tls.resolve()? {
        options = options.security(security);
    }
    if tls.auth.concat {
        options = options.security(Security::Concat);
    }
    if let Some(authentication) = tls.auth.resolve()? {
        options = options.authentication(authentication);
    }
    if let Some(seconds) = time.timeout {
        let limit = Duration::from_secs(seconds.into());
        options = options.timeout(limit).connect_timeout(limit);
    }
    let Some(queues) = queues else { return Ok(options) };
    options = options.digests(queues.hdr_digest, queues.data_digest);
    if let Some(size) = queues.queue_size {
        // So many commands in flight take one entry more.
        options = options.queue_size(u32::from(size) + 1);
    }
    if let Some(seconds) = queues.keep_alive_tmo {
        options = options.keep_alive(Duration::from_secs(seconds.into()));
    }
    if let Some(name) = &queues.congestion_control {
        options = options.congestion_control(name);
    }
    Ok(options)
}

/// Connects, and tells what came of it.
pub fn controller(options: Options) -> Result<Controller, Failure> {
    let controller = options.connect()?;
    let info = controller.info();
    let traits = &info.traits;
    output::step(format_args!(
        "connected: controller {}, {} I/O queues of {} entries, {}{}",
        traits.cntlid,
        traits.io_queues,
        traits.io_entries,
        if info.authentication.is_some() { "authenticated, " } else { "" },
        match info.tls.as_ref().map(TlsReport::new) {
            Some(tls) => format!("{} {}, sent records sealed by {}", tls.version, tls.suite, tls.tx_why),
            None => "plain".to_owned(),
        }
    ));
    Ok(controller)
}
