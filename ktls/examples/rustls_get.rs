//! Downloads a file over HTTPS to standard output: rustls checks the certificate, the kernel opens the records.
//!
//! `cargo run -p linux-ktls --features rustls --example rustls_get -- www.example.com:443 /`
//!
//! A third argument is a PEM file with the certificates to trust, instead of the system's.

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ktls::{Options, Wait};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

const SYSTEM: &str = "/etc/ssl/certs/ca-certificates.crt";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, path, trust @ ..] = &arguments[..] else {
        return Err("usage: rustls_get HOST:PORT PATH [CA.pem]".into());
    };
    let (host, _) = address.rsplit_once(':').ok_or("HOST:PORT")?;
    let mut roots = RootCertStore::empty();
    let trusted = trust.first().map_or(SYSTEM, String::as_str);
    let trusted: Vec<_> = CertificateDer::pem_file_iter(trusted)?.collect::<Result<_, _>>()?;
    roots.add_parsable_certificates(trusted);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();

    let stream = TcpStream::connect(address)?;
    let name = ServerName::try_from(host)?.to_owned();
    let deadline = Some(Instant::now() + Duration::from_secs(10));
    let mut socket = ktls::rustls::connect(stream, &Arc::new(config), name, &Options::new(), deadline)?;
    let info = socket.info();
    eprintln!("{}, {}, opened by {}", info.version(), info.suite.name(), info.receive);

    write!(socket, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut response = Vec::new();
    // Large reads take many records in one call.
    let mut buf = vec![0; 256 * 1024];
    let body = loop {
        match socket.read(&mut buf)? {
            0 => return Err("the answer ended in its header".into()),
            n => response.extend_from_slice(&buf[..n]),
        }
        if let Some(at) = response.windows(4).position(|window| window == b"\r\n\r\n") {
            break response.split_off(at + 4);
        }
    };
    let status = String::from_utf8_lossy(&response);
    let status = status.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        return Err(status.into());
    }
    let mut out = io::stdout().lock();
    out.write_all(&body)?;
    // Only close_notify ends it well: a connection that was cut is an error here.
    io::copy(&mut socket, &mut out)?;
    socket.halves().0.close_notify(Wait::Block)?;
    Ok(())
}
