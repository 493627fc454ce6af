//! Who does what a controller does by itself: threads, or with the feature `tokio` the tasks of a runtime.

use std::thread::{self, JoinHandle};

use crate::error::{Error, Result};

/// Where it is done.
#[derive(Clone, Debug)]
pub(crate) enum Runner {
    Threads,
    /// Tasks of this runtime; what may wait, on its threads for that.
    #[cfg(feature = "tokio")]
    Tasks(::tokio::runtime::Handle),
}

impl Runner {
    /// Begins something that may wait, and ends. Where the runtime is shut down it is dropped.
    pub(crate) fn begin(&self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<()> {
        match self {
            Self::Threads => Self::thread(name, run).map(drop),
            #[cfg(feature = "tokio")]
            Self::Tasks(runtime) => {
                drop(runtime.spawn_blocking(run));
                Ok(())
            }
        }
    }

    /// Starts a thread.
    pub(crate) fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
        let builder = thread::Builder::new().name(name.to_owned());
        builder.spawn(run).map_err(|e| Error::invalid(format!("cannot start a thread: {e}")))
    }
}
