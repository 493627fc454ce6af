//! How the paths of a subsystem are used.

use std::time::Duration;

use crate::proto::PathPolicy;

/// How the paths of a subsystem are used.
#[derive(Clone, Copy, Debug, Default)]
pub struct MultipathOptions {
    pub(super) policy: PathPolicy,
    pub(super) no_path_timeout: Option<Duration>,
}

impl MultipathOptions {
    /// How a path is chosen among those that are equally good. [`PathPolicy::RoundRobin`] by default.
    ///
    /// ```
    /// use nvme_tcp::multipath::{MultipathOptions, PathPolicy};
    ///
    /// // Paths of unequal speed: the faster gets more. ANA states come first all the same.
    /// let options = MultipathOptions::default().policy(PathPolicy::Latency);
    /// assert!(format!("{options:?}").contains("Latency"));
    /// ```
    #[must_use]
    pub fn policy(self, policy: PathPolicy) -> Self {
        Self { policy, ..self }
    }

    /// How long a command waits without any path before it fails; `None`, the default, as long as one may come
    /// back. Each path is given up after its own
    /// [`Recovery::controller_loss_timeout`](crate::Recovery::controller_loss_timeout).
    ///
    /// ```
    /// use std::time::Duration;
    /// use nvme_tcp::multipath::MultipathOptions;
    ///
    /// // A database that would rather fail over to another machine than hang.
    /// let options = MultipathOptions::default().no_path_timeout(Some(Duration::from_secs(30)));
    /// assert!(format!("{options:?}").contains("30s"));
    /// ```
    #[must_use]
    pub fn no_path_timeout(self, limit: Option<Duration>) -> Self {
        Self { no_path_timeout: limit, ..self }
    }
}
