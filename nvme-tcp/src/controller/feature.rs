//! Features: any of them as it is, and some by their meaning (Base, section 5.1.25).

use std::time::Duration;

use super::{Controller, admin};
use crate::driver::shared::Buffer;
use crate::error::{Error, Result};
use crate::spec::command::admin::{
    self as spec, FEATURE_ASYNC_EVENTS, FEATURE_HOST_BEHAVIOR, FEATURE_KEEP_ALIVE, FEATURE_NUMBER_OF_QUEUES,
    FEATURE_POWER_MANAGEMENT, FEATURE_SAVE, FEATURE_WRITE_CACHE, FeatureValue,
};

/// Feature 07h: the I/O queues that the controller granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NumberOfQueues {
    /// Submission queues.
    pub submission: u32,
    /// Completion queues.
    pub completion: u32,
}

bitflags::bitflags! {
    /// Feature 0Bh: the asynchronous events that the controller may send.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct AsyncEvents: u32 {
        /// The critical warnings of the SMART log, a bit each.
        const SMART = 0xff;
        /// A namespace was changed, added or removed.
        const NAMESPACE_ATTRIBUTES = crate::spec::log_page::EVENT_NAMESPACE;
        /// New firmware starts to run.
        const FIRMWARE_ACTIVATION = crate::spec::async_event::EVENT_FIRMWARE;
        /// There is a telemetry log.
        const TELEMETRY = 1 << 10;
        /// The ANA state of a group changed.
        const ANA_CHANGE = crate::spec::async_event::EVENT_ANA;
        /// The discovery log changed.
        const DISCOVERY_CHANGE = crate::spec::log_page::EVENT_DISCOVERY;
        // What this library has no name for is kept as it is.
        const _ = !0;
    }
}

/// Feature 02h: how much power the controller takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PowerManagement {
    /// PS: the power state, 0 to 31.
    pub state: u8,
    /// WH: the workload to expect, 0 to 7; 0 for none in particular.
    pub workload: u8,
}

/// Feature 16h: what this host can do with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostBehavior {
    /// ACRE: completions may say how long to wait before a retry.
    pub retry_delays: bool,
    /// LBAFEE: LBA formats beyond the sixteenth, and those of extended protection information.
    pub extended_formats: bool,
    /// CDFE: the formats 2 to 15 of Copy's source ranges, a bit each.
    pub copy_formats: u16,
}

const HOST_BEHAVIOR_LEN: usize = 512;

impl HostBehavior {
    fn read(data: &[u8; HOST_BEHAVIOR_LEN]) -> Self {
        Self {
            retry_delays: data[0] & 1 != 0,
            extended_formats: data[2] & 1 != 0,
            copy_formats: u16::from_le_bytes([data[4], data[5]]),
        }
    }

    /// Puts it into what is there already, whose other bytes stay as they are.
    fn put(self, data: &mut [u8; HOST_BEHAVIOR_LEN]) {
        data[0] = self.retry_delays.into();
        data[2] = self.extended_formats.into();
        data[4..6].copy_from_slice(&self.copy_formats.to_le_bytes());
    }
}

impl Controller {
    /// Gets a feature: its data, if it has any, in `data` (which must be as long as the feature's), and DW0 of the
    /// completion.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::spec::command::admin::{FEATURE_WRITE_CACHE, FeatureValue};
    ///
    /// let can = controller.get_feature(FEATURE_WRITE_CACHE, 0, FeatureValue::Capabilities, &mut [])?;
    /// println!("the write cache can be switched: {}; for good: {}", can & 0b100 != 0, can & 0b001 != 0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The command failed, or the association is lost.
    pub fn get_feature(&self, feature: u8, nsid: u32, value: FeatureValue, data: &mut [u8]) -> Result<u32> {
        let buffer = if data.is_empty() { Buffer::None } else { Buffer::Read(data) };
        let sqe = spec::get_features(feature, nsid, value);
        admin(&self.generations, "Get Features", sqe, buffer).map(|cqe| cqe.dw0())
    }

    /// Sets a feature by CDW11 and its data, if it has any; `save` makes it outlive a reset. Gives back DW0 of the
    /// completion.
    ///
    /// Whoever sets what this library has set itself (Number of Queues, Keep Alive Timer, Asynchronous Event
    /// Configuration) must know what comes of it.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// // Temperature Threshold (04h), in kelvin: above it, the controller warns by an event.
    /// controller.set_feature(0x04, 0, 273 + 70, &[], false)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The command failed, or the association is lost.
    pub fn set_feature(&self, feature: u8, nsid: u32, cdw11: u32, data: &[u8], save: bool) -> Result<u32> {
        let sqe = spec::set_features(feature, cdw11);
        let save = if save { FEATURE_SAVE } else { 0 };
        let mut sqe = sqe.cdw(10, sqe.get_cdw(10) | save);
        sqe.nsid = nsid.into();
        let buffer = if data.is_empty() { Buffer::None } else { Buffer::Write(data) };
        admin(&self.generations, "Set Features", sqe, buffer).map(|cqe| cqe.dw0())
    }

    fn current(&self, feature: u8) -> Result<u32> {
        self.get_feature(feature, 0, FeatureValue::Current, &mut [])
    }

    /// Feature 07h: the I/O queues that the controller granted. It cannot be set once a queue is connected.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// let granted = controller.number_of_queues()?;
    /// if granted.submission < 8 {
    ///     println!("eight threads share {} queues", granted.submission);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The command failed, or the association is lost.
    pub fn number_of_queues(&self) -> Result<NumberOfQueues> {
        let dw0 = self.current(FEATURE_NUMBER_OF_QUEUES)?;
        Ok(NumberOfQueues { submission: (dw0 & 0xffff) + 1, completion: (dw0 >> 16) + 1 })
    }

    /// Feature 0Bh: the events that the controller may send.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// if !controller.async_events()?.contains(nvme_tcp::AsyncEvents::ANA_CHANGE) {
    ///     println!("nothing tells of a failover: read the ANA log from time to time");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The command failed, or the association is lost.
    pub fn async_events(&self) -> Result<AsyncEvents> {
        self.current(FEATURE_ASYNC_EVENTS).map(AsyncEvents::from_bits_retain)
    }

    /// Sets feature 0Bh, of the present association.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::AsyncEvents;
    ///
    /// controller.set_async_events(AsyncEvents::NAMESPACE_ATTRIBUTES | AsyncEvents::ANA_CHANGE)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The command failed, or the association is lost.
    pub fn set_async_events(&self, events: AsyncEvents) -> Result<()> {
        self.set_feature(FEATURE_ASYNC_EVENTS, 0, events.bits(), &[], false).map(drop)
    }

    /// Feature 0Fh, KATO: how long the controller waits for a keep-alive; `None` where it does not.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// match controller.keep_alive_timeout()? {
    ///     Some(limit) => println!("a host that went silent is given up after {limit:?}"),
    ///     None => println!("a host that went silent is never given up"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The command failed, or the association is lost.
    pub fn keep_alive_timeout(&self) -> Result<Option<Duration>> {
        let millis = self.current(FEATURE_KEEP_ALIVE)?;
        Ok((millis > 0).then(|| Duration::from_millis(millis.into())))
    }

    /// Sets feature 0Fh, KATO, of the present association. This host goes on to send its keep-alives as
    /// [`Options::keep_alive`](crate::Options::keep_alive) says.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// controller.set_keep_alive_timeout(std::time::Duration::from_secs(30))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The timeout is shorter than that one, so that the controller would give up between two keep-alives; the
    /// command failed, or the association is lost.
    pub fn set_keep_alive_timeout(&self, timeout: Duration) -> Result<()> {
        let own = self.generations.connector.options().keep_alive;
        let millis = u32::try_from(timeout.as_millis())
            .map_err(|_| Error::invalid(format!("KATO is {timeout:?}, expected at most 2^32 - 1 ms")))?;
        if millis > 0 && (own.is_zero() || timeout < own) {
            return Err(Error::invalid(format!(
                "KATO is {millis} ms and this host sends keep-alives for {} ms: set Options::keep_alive",
                own.as_millis()
            )));
        }
        self.set_feature(FEATURE_KEEP_ALIVE, 0, millis, &[], false).map(drop)
    }

    /// Feature 06h: whether the volatile write cache is on.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// if controller.write_cache()? {
    ///     println!("what was written is durable after a flush");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The command failed (there is no such cache), or the association is lost.
    pub fn write_cache(&self) -> Result<bool> {
        self.current(FEATURE_WRITE_CACHE).map(|dw0| dw0 & 1 != 0)
    }

    /// Switches the volatile write cache on or off; `save` makes it outlive a reset.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// // Off, after a reset as well: what was written is durable without a flush.
    /// controller.set_write_cache(false, true)?;
    /// assert!(!controller.write_cache()?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The command failed (there is no such cache), or the association is lost.
    pub fn set_write_cache(&self, on: bool, save: bool) -> Result<()> {
        self.set_feature(FEATURE_WRITE_CACHE, 0, on.into(), &[], save).map(drop)
    }

    /// Feature 02h: the power state, and the workload that the controller was told to expect.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// let (power, identify) = (controller.power_management()?, controller.identify_controller()?);
    /// println!("power state {} of 0 to {}", power.state, identify.npss);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The command failed, or the association is lost.
    pub fn power_management(&self) -> Result<PowerManagement> {
        let dw0 = self.current(FEATURE_POWER_MANAGEMENT)?;
        Ok(PowerManagement { state: dw0 as u8 & 0x1f, workload: (dw0 >> 5) as u8 & 0b111 })
    }

    /// Sets feature 02h; `save` makes it outlive a reset.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::PowerManagement;
    ///
    /// // The last state takes the least power; not to be saved, so that a reset ends it.
    /// let state = controller.identify_controller()?.npss;
    /// controller.set_power_management(PowerManagement { state, workload: 0 }, false)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// State or workload are out of range, the command failed, or the association is lost.
    pub fn set_power_management(&self, power: PowerManagement, save: bool) -> Result<()> {
        let PowerManagement { state, workload } = power;
        if state > 31 || workload > 7 {
            let what = format!("power state {state} and workload {workload}, expected at most 31 and 7");
            return Err(Error::invalid(what));
        }
        let cdw11 = u32::from(state) | u32::from(workload) << 5;
        self.set_feature(FEATURE_POWER_MANAGEMENT, 0, cdw11, &[], save).map(drop)
    }

    fn host_behavior_data(&self) -> Result<[u8; HOST_BEHAVIOR_LEN]> {
        let mut data = [0; HOST_BEHAVIOR_LEN];
        self.get_feature(FEATURE_HOST_BEHAVIOR, 0, FeatureValue::Current, &mut data)?;
        Ok(data)
    }

    /// Feature 16h: what the controller was told that this host can do with.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// if !controller.host_behavior()?.retry_delays {
    ///     println!("a busy controller cannot say how long to wait before a retry");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The command failed, or the association is lost.
    pub fn host_behavior(&self) -> Result<HostBehavior> {
        self.host_behavior_data().map(|data| HostBehavior::read(&data))
    }

    /// Sets feature 16h; what this library does not know of it stays as it is.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::HostBehavior;
    ///
    /// // Besides what it was told before.
    /// let behavior = HostBehavior { retry_delays: true, ..controller.host_behavior()? };
    /// controller.set_host_behavior(behavior)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The command failed, or the association is lost.
    pub fn set_host_behavior(&self, behavior: HostBehavior) -> Result<()> {
        let mut data = self.host_behavior_data()?;
        behavior.put(&mut data);
        self.set_feature(FEATURE_HOST_BEHAVIOR, 0, 0, &data, false).map(drop)
    }
}
