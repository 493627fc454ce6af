//! A TCP proxy that can be cut, and can go silent one way.
// Each test binary uses its own part of this.
#![allow(dead_code)]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};

#[path = "../../../ktls/tests/handshake_support/port.rs"]
mod port;

use port::Port;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    ToHost,
    ToTarget,
}

#[derive(Default)]
struct State {
    dead: bool,
    silent: Option<Direction>,
    streams: Vec<TcpStream>,
    accepted: u64,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// It forwards every connection. Dropping it cuts all of them.
pub(crate) struct Proxy {
    /// Nobody else's while nobody listens.
    port: Port,
    upstream: SocketAddr,
    shared: Arc<Shared>,
    /// To wake the acceptor.
    listener: Option<TcpStream>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl Proxy {
    pub(crate) fn start(upstream: SocketAddr) -> Self {
        let port = Port::hold();
        let mut proxy =
            Self { port, upstream, shared: Arc::default(), listener: None, threads: Arc::default() };
        proxy.revive();
        proxy
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// How many connections there were.
    pub(crate) fn accepted(&self) -> u64 {
        self.shared.state.lock().unwrap().accepted
    }

    /// Forwards nothing more this way, on the connections that there are, until they are cut.
    pub(crate) fn stall(&self, direction: Direction) {
        self.shared.state.lock().unwrap().silent = Some(direction);
    }

    /// Tells every host that nothing more comes, and goes on taking what it sends: no connection is reset.
    pub(crate) fn end_to_hosts(&self) {
        let state = self.shared.state.lock().unwrap();
        for host in state.streams.iter().step_by(2) {
            host.shutdown(Shutdown::Write).unwrap();
        }
    }

    /// Takes no connection any more, and cuts those that there are.
    pub(crate) fn kill(&mut self) {
        if let Some(listener) = self.listener.take() {
            listener.shutdown(Shutdown::Both).unwrap();
        }
        let mut state = self.shared.state.lock().unwrap();
        state.dead = true;
        for stream in state.streams.drain(..) {
            // The other end may have closed it.
            drop(stream.shutdown(Shutdown::Both));
        }
        drop(state);
        self.shared.changed.notify_all();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap());
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        // What the acceptor began meanwhile.
        let threads = std::mem::take(&mut *self.threads.lock().unwrap());
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    /// Takes connections, at the same address as before.
    pub(crate) fn revive(&mut self) {
        let listener = TcpListener::bind(self.port.address()).unwrap();
        self.listener = Some(listener.as_fd().try_clone_to_owned().unwrap().into());
        *self.shared.state.lock().unwrap() = State { accepted: self.accepted(), ..State::default() };
        let (shared, threads, upstream) = (self.shared.clone(), self.threads.clone(), self.upstream);
        let accept = move || {
            while let Ok((host, _)) = listener.accept() {
                let target = TcpStream::connect(upstream).unwrap();
                let mut state = shared.state.lock().unwrap();
                if state.dead {
                    return;
                }
                state.accepted += 1;
                for stream in [&host, &target] {
                    stream.set_nodelay(true).unwrap();
                    state.streams.push(stream.try_clone().unwrap());
                }
                drop(state);
                let ends = [
                    (host.try_clone().unwrap(), target.try_clone().unwrap(), Direction::ToTarget),
                    (target, host, Direction::ToHost),
                ];
                let pumps = ends.map(|(from, to, direction)| {
                    let shared = shared.clone();
                    thread::spawn(move || pump(from, to, direction, &shared))
                });
                threads.lock().unwrap().extend(pumps);
            }
        };
        self.threads.lock().unwrap().push(thread::spawn(accept));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if self.listener.is_some() {
            self.kill();
        }
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, direction: Direction, shared: &Shared) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let state = shared.state.lock().unwrap();
        let silent = |state: &mut State| state.silent == Some(direction) && !state.dead;
        if shared.changed.wait_while(state, silent).unwrap().dead || to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    // Whichever of the two ends first ends both.
    drop(from.shutdown(Shutdown::Both));
    drop(to.shutdown(Shutdown::Both));
}
