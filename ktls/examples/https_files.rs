//! Serves the files of a folder over HTTPS: rustls does the handshake, sendfile(2) the rest, so that no byte of
//! a file comes into this process where the kernel seals.
//!
//! `cargo run -p linux-ktls --features rustls --example https_files -- CERT.pem KEY.pem FOLDER 127.0.0.1:24443`

use std::error::Error;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::{Component, Path};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ktls::{Options, Socket, Wait};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The longest request that is read, in bytes.
const MAX_REQUEST: usize = 8192;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [certificate, key, folder, address] = &arguments[..] else {
        return Err("usage: https_files CERT.pem KEY.pem FOLDER ADDRESS".into());
    };
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<_, _>>()?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    let config = Arc::new(config);
    let folder: Arc<Path> = Path::new(folder).into();
    let listener = TcpListener::bind(address)?;
    println!("listening on {}", listener.local_addr()?);
    for stream in listener.incoming() {
        let (stream, config, folder) = (stream?, Arc::clone(&config), Arc::clone(&folder));
        std::thread::spawn(move || {
            if let Err(error) = serve(stream, &config, &folder) {
                eprintln!("{error}");
            }
        });
    }
    Ok(())
}

/// Answers requests until the client is done.
fn serve(stream: TcpStream, config: &Arc<ServerConfig>, folder: &Path) -> Result<(), Box<dyn Error>> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let deadline = Some(Instant::now() + Duration::from_secs(10));
    let mut socket = ktls::rustls::accept(stream, config, &Options::new(), deadline)?;
    println!("{}, sealed by {}", socket.info().version(), socket.info().send);
    let mut pending = Vec::new();
    while let Some(request) = request(&mut socket, &mut pending)? {
        let mut words = request.split(' ');
        let file = match (words.next(), words.next()) {
            (Some("GET"), Some(path)) => open(folder, path),
            _ => None,
        };
        let Some((file, len)) = file else {
            socket.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?;
            continue;
        };
        let close = request.to_ascii_lowercase().contains("\r\nconnection: close");
        write!(socket, "HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n")?;
        let mut offset = 0;
        while offset < len {
            let rest = usize::try_from(len - offset)?;
            match socket.halves().0.send_file(file.as_fd(), offset, rest, Wait::Block)? {
                0 => return Err("a file became shorter while it was sent".into()),
                sent => offset += sent as u64,
            }
        }
        if close {
            break;
        }
    }
    socket.halves().0.close_notify(Wait::Block)?;
    Ok(())
}

/// The next request's head; what follows it stays in `pending`.
fn request(socket: &mut Socket, pending: &mut Vec<u8>) -> Result<Option<String>, Box<dyn Error>> {
    loop {
        if let Some(at) = pending.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = pending.split_off(at + 4);
            return Ok(Some(String::from_utf8(std::mem::replace(pending, rest))?));
        }
        if pending.len() > MAX_REQUEST {
            return Err("the request is too long".into());
        }
        let mut buf = [0; 4096];
        match socket.read(&mut buf)? {
            0 => return Ok(None),
            n => pending.extend_from_slice(&buf[..n]),
        }
    }
}

/// A file below `folder`, and its length.
fn open(folder: &Path, path: &str) -> Option<(File, u64)> {
    let path = Path::new(path.strip_prefix('/')?);
    let below = path.components().all(|part| matches!(part, Component::Normal(_)));
    let file = File::open(folder.join(path)).ok().filter(|_| below)?;
    let metadata = file.metadata().ok()?;
    metadata.is_file().then_some((file, metadata.len()))
}
