//! An echo over TLS 1.3 with a pre-shared key, and its client. KEY is a file with 32 secret bytes.
//!
//! `cargo run -p linux-ktls --example psk_echo -- serve 127.0.0.1:24433 KEY`
//! `echo hello | cargo run -p linux-ktls --example psk_echo -- connect 127.0.0.1:24433 KEY`

use std::error::Error;
use std::io::{self, BufRead, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use ktls::crypto::Hash;
use ktls::handshake::{ClientConfig, Psk, ServerConfig};
use ktls::secret::Secret;
use ktls::{Options, Socket, Wait};

const IDENTITY: &[u8] = b"psk_echo";
const HANDSHAKE: Duration = Duration::from_secs(10);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [role, address, key] = &arguments[..] else {
        return Err("usage: psk_echo serve|connect ADDRESS KEY".into());
    };
    let key = Secret::new(&std::fs::read(key)?).ok_or("a key has at most 64 bytes")?;
    let psk = Psk::new(IDENTITY.to_vec(), key, Hash::Sha256)?;
    match role.as_str() {
        "serve" => serve(&TcpListener::bind(address)?, psk),
        "connect" => connect(TcpStream::connect(address)?, psk),
        _ => Err("serve or connect".into()),
    }
}

fn serve(listener: &TcpListener, psk: Psk) -> Result<(), Box<dyn Error>> {
    println!("listening on {}", listener.local_addr()?);
    let config = ServerConfig::new(
        move |identity: &[u8]| {
            if identity == psk.identity() { vec![psk.clone()] } else { Vec::new() }
        },
    );
    for stream in listener.incoming() {
        let (stream, config) = (stream?, config.clone());
        std::thread::spawn(move || {
            if let Err(error) = echo(stream, &config) {
                eprintln!("{error}");
            }
        });
    }
    Ok(())
}

fn echo(stream: TcpStream, config: &ServerConfig) -> Result<(), ktls::Error> {
    let deadline = Some(Instant::now() + HANDSHAKE);
    let mut socket = Socket::accept(stream, config, &Options::new(), deadline)?;
    println!("received records are opened by {}", socket.info().receive);
    let mut buf = vec![0; 64 * 1024];
    loop {
        match socket.read(&mut buf)? {
            0 => break,
            n => socket.write_all(&buf[..n])?,
        }
    }
    socket.halves().0.close_notify(Wait::Block)?;
    Ok(())
}

fn connect(stream: TcpStream, psk: Psk) -> Result<(), Box<dyn Error>> {
    let deadline = Some(Instant::now() + HANDSHAKE);
    let mut socket = Socket::connect(stream, &ClientConfig::new(psk), &Options::new(), deadline)?;
    eprintln!("sent records are sealed by {}", socket.info().send);
    for line in io::stdin().lock().lines() {
        let line = line? + "\n";
        socket.write_all(line.as_bytes())?;
        let mut back = vec![0; line.len()];
        socket.read_exact(&mut back)?;
        io::stdout().write_all(&back)?;
    }
    socket.halves().0.close_notify(Wait::Block)?;
    Ok(())
}
