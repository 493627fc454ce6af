//! From one discovery controller to those it refers to, and to the subsystems they all know.

use std::collections::{HashSet, VecDeque};
use std::thread;

use super::{Decision, Entry, EntryKind, Refusal, ask};
use crate::controller::Controller;
use crate::error::{Error, Result};
use crate::nqn::DISCOVERY_NQN;
use crate::options::Options;
use crate::spec::discovery_log::MAX_RECORDS;

/// How far referrals are followed, unless the caller says otherwise.
const MAX_DEPTH: u32 = 8;
/// How many discovery controllers are asked, unless the caller says otherwise.
const MAX_CONTROLLERS: usize = 64;
/// How many connections are made side by side.
const AT_ONCE: usize = 16;

/// Asks a discovery controller, and those that it refers to.
#[derive(Clone, Debug)]
pub struct Discovery {
    options: Options,
    nqn: String,
    max_depth: u32,
    max_controllers: usize,
}

/// What was found.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Discovered {
    /// The entries, each once, in the order in which they were found. Those of the first controller come first.
    pub found: Vec<Found>,
    /// Referrals that did not lead anywhere.
    pub unreached: Vec<Unreached>,
}

/// An entry, and who told of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Found {
    /// The entry.
    pub entry: Entry,
    /// The address of the discovery controller that has it.
    pub from: String,
    /// How many referrals led there.
    pub depth: u32,
}

/// A referral that did not lead anywhere.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Unreached {
    /// The referral.
    pub entry: Entry,
    /// Why.
    pub why: Why,
}

/// Why a referral was not followed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Why {
    /// It would lead further than [`Discovery::max_depth`].
    #[error("it leads further away than {0} referrals")]
    TooDeep(u32),
    /// So many controllers were asked already: [`Discovery::max_controllers`].
    #[error("{0} discovery controllers were asked already")]
    TooMany(usize),
    /// It cannot be followed without giving up what the caller's options ask for.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It was followed, and that failed.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// A subsystem's port, and the controller there.
#[derive(Debug)]
#[non_exhaustive]
pub struct Connected {
    /// Where.
    pub entry: Entry,
    /// The controller, or why there is none.
    pub controller: Result<Controller>,
}

/// A discovery controller to ask.
struct Stop {
    options: Options,
    nqn: String,
    depth: u32,
    /// The referral that led here; `None` for the first.
    referral: Option<Entry>,
}

impl Discovery {
    /// Begins at the options' address, whatever subsystem they name. Every referral is followed with the same
    /// options: with the same keys, and never with less security.
    ///
    /// ```no_run
    /// # fn main() -> nvme_tcp::Result<()> {
    /// use nvme_tcp::psk::ConfiguredKey;
    /// use nvme_tcp::{Options, discovery::Discovery, host::HostIdentity, nqn::DISCOVERY_NQN};
    ///
    /// let key = ConfiguredKey::from_file("/etc/nvme/discovery.key")?;
    /// let options = Options::new("10.0.0.5:8009", DISCOVERY_NQN, HostIdentity::load()?).tls(key);
    /// // A referral to a controller without TLS is tried with TLS all the same.
    /// println!("{} entries", Discovery::new(options).run()?.found.len());
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(options: Options) -> Self {
        Self {
            options,
            nqn: DISCOVERY_NQN.to_owned(),
            max_depth: MAX_DEPTH,
            max_controllers: MAX_CONTROLLERS,
        }
    }

    /// The NQN of the first discovery subsystem, where it has a unique one. The well-known one by default.
    ///
    /// ```no_run
    /// # fn example(options: nvme_tcp::Options) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::discovery::Discovery;
    ///
    /// // A TLS PSK is bound to the subsystem's name, and so to this one.
    /// let site = Discovery::new(options).discovery_nqn("nqn.2024-01.io.example:discovery.site-2");
    /// println!("{} entries", site.run()?.found.len());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn discovery_nqn(self, nqn: impl Into<String>) -> Self {
        Self { nqn: nqn.into(), ..self }
    }

    /// How many referrals are followed one after the other; 0 for none. 8 by default.
    ///
    /// ```no_run
    /// # fn example(options: nvme_tcp::Options) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::discovery::Discovery;
    ///
    /// // Only what this one knows by itself: its referrals stand in `unreached`, with the reason.
    /// let found = Discovery::new(options).max_depth(0).run()?;
    /// found.unreached.iter().for_each(|referral| println!("{}: {}", referral.entry.address, referral.why));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn max_depth(self, max_depth: u32) -> Self {
        Self { max_depth, ..self }
    }

    /// How many discovery controllers are asked. 64 by default.
    ///
    /// ```no_run
    /// # fn example(options: nvme_tcp::Options) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::discovery::{Discovery, Why};
    ///
    /// let found = Discovery::new(options).max_controllers(4).run()?;
    /// let more = found.unreached.iter().any(|referral| matches!(referral.why, Why::TooMany(_)));
    /// println!("complete: {}", !more);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn max_controllers(self, max_controllers: usize) -> Self {
        Self { max_controllers, ..self }
    }

    /// Asks them.
    ///
    /// ```no_run
    /// # fn example(discovery: &nvme_tcp::discovery::Discovery) -> nvme_tcp::Result<()> {
    /// let found = discovery.run()?;
    /// for found in &found.found {
    ///     println!("{} (by {}, {} referrals away)", found.entry.subsystem_nqn, found.from, found.depth);
    /// }
    /// for referral in &found.unreached {
    ///     eprintln!("{}: {}", referral.entry.address, referral.why);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The first controller could not be asked. For the others see [`Discovered::unreached`].
    pub fn run(&self) -> Result<Discovered> {
        let mut discovered = Discovered::default();
        let mut known = HashSet::new();
        // Addresses and names that were asked or are going to be, and the unique names of who answered: who is
        // known by either is not asked twice.
        let mut visited = HashSet::from([(self.options.address.clone(), self.nqn.clone())]);
        let mut named = HashSet::new();
        let mut asked = 0;
        let first = Stop { options: self.options.clone(), nqn: self.nqn.clone(), depth: 0, referral: None };
        let mut stops = VecDeque::from([first]);
        while let Some(Stop { options, nqn, depth, referral }) = stops.pop_front() {
            if nqn != DISCOVERY_NQN && named.contains(&nqn) {
                continue;
            }
            if let (Some(entry), true) = (&referral, asked >= self.max_controllers) {
                let why = Why::TooMany(self.max_controllers);
                discovered.unreached.push(Unreached { entry: entry.clone(), why });
                continue;
            }
            asked += 1;
            let from = options.address.clone();
            let answer = match (ask(options, &nqn), referral) {
                (Ok(answer), _) => answer,
                (Err(error), None) => return Err(error),
                (Err(error), Some(entry)) => {
                    discovered.unreached.push(Unreached { entry, why: error.into() });
                    continue;
                }
            };
            named.insert(answer.nqn);
            for entry in answer.entries {
                // However many controllers say so, no more is believed than one log can hold.
                if known.len() as u64 > MAX_RECORDS || !known.insert(entry.clone()) {
                    continue;
                }
                if entry.kind == EntryKind::Referral
                    && visited.insert((entry.address.clone(), entry.subsystem_nqn.clone()))
                {
                    match self.follow(&entry, depth) {
                        Ok(stop) => stops.push_back(stop),
                        Err(why) => discovered.unreached.push(Unreached { entry: entry.clone(), why }),
                    }
                }
                discovered.found.push(Found { entry, from: from.clone(), depth });
            }
        }
        Ok(discovered)
    }

    fn follow(&self, entry: &Entry, depth: u32) -> Result<Stop, Why> {
        if depth >= self.max_depth {
            return Err(Why::TooDeep(self.max_depth));
        }
        if let Decision::Refused(refusal) = entry.decide(&self.options.security) {
            return Err(refusal.into());
        }
        let options = entry.options(&self.options)?;
        let (nqn, referral) = (entry.subsystem_nqn.clone(), Some(entry.clone()));
        Ok(Stop { options, nqn, depth: depth + 1, referral })
    }
}

impl Discovered {
    /// The subsystems' ports, each once.
    ///
    /// ```no_run
    /// # fn example(found: &nvme_tcp::discovery::Discovered) {
    /// use nvme_tcp::discovery::TlsNeed;
    ///
    /// // Two discovery controllers may name one port: it comes once.
    /// for entry in found.subsystems().filter(|entry| entry.tls != TlsNeed::Off) {
    ///     println!("{} at {}", entry.subsystem_nqn, entry.address);
    /// }
    /// # }
    /// ```
    pub fn subsystems(&self) -> impl Iterator<Item = &Entry> {
        let mut seen = HashSet::new();
        self.found
            .iter()
            .map(|found| &found.entry)
            .filter(|entry| entry.kind == EntryKind::Subsystem)
            .filter(move |entry| seen.insert((&entry.subsystem_nqn, &entry.address)))
    }

    /// Connects to every port of every subsystem, as the options of `base` say but for address and subsystem; some
    /// of them side by side. An entry that [`Entry::decide`] refuses is not connected to.
    ///
    /// ```no_run
    /// # fn example(found: &nvme_tcp::discovery::Discovered, base: &nvme_tcp::Options) {
    /// // One that fails keeps nobody else from being connected to.
    /// let (up, down): (Vec<_>, Vec<_>) =
    ///     found.connect_all(base).into_iter().partition(|port| port.controller.is_ok());
    /// println!("{} up, {} down", up.len(), down.len());
    /// # }
    /// ```
    pub fn connect_all(&self, base: &Options) -> Vec<Connected> {
        let entries: Vec<_> = self.subsystems().collect();
        let mut connected = Vec::with_capacity(entries.len());
        for some in entries.chunks(AT_ONCE) {
            let all: Vec<_> = thread::scope(|scope| {
                let connect = |entry: &'_ Entry| entry.options(base).and_then(Options::connect);
                let threads: Vec<_> = some.iter().map(|entry| scope.spawn(move || connect(entry))).collect();
                threads
                    .into_iter()
                    .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                    .collect()
            });
            let pairs = some.iter().zip(all);
            connected
                .extend(pairs.map(|(entry, controller)| Connected { entry: (*entry).clone(), controller }));
        }
        connected
    }
}
