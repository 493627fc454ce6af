//! How many queues there are, how deep, what they protect and how long they wait.

use std::time::Duration;

use super::Options;

impl Options {
    /// I/O queues, each a connection of its own; the controller may grant fewer. 1 by default; 0 for admin
    /// commands only.
    ///
    /// ```no_run
    /// # fn example(options: nvme_tcp::Options) -> nvme_tcp::Result<()> {
    /// println!("{} of 8 granted", options.io_queues(8).connect()?.info().traits.io_queues);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn io_queues(self, io_queues: u16) -> Self {
        Self { io_queues, ..self }
    }

    /// I/O queues kept for [`Controller::queue`](crate::Controller::queue). None by default.
    ///
    /// ```no_run
    /// # fn example(options: nvme_tcp::Options) -> nvme_tcp::Result<()> {
    /// // Besides the one for `Namespace`: one for each of two threads.
    /// let controller = options.io_queues(1).owned_queues(2).connect()?;
    /// let (mut first, mut second) = (controller.queue()?, controller.queue()?);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn owned_queues(self, owned_queues: u16) -> Self {
        Self { owned_queues, ..self }
    }

    /// Entries in each I/O queue, 2 to 4,096; the controller may grant fewer. One entry less than that can be
    /// outstanding. 128 by default.
    ///
    /// ```
    /// # let host = nvme_tcp::host::HostIdentity::load()?;
    /// # let options = nvme_tcp::Options::new("127.0.0.1:1", "nqn.2024-01.io.example:images", host);
    /// let error = options.queue_size(1).connect().unwrap_err();
    /// assert_eq!(error.to_string(), "queue size is 1, expected 2 to 4096");
    /// # Ok::<(), nvme_tcp::Error>(())
    /// ```
    #[must_use]
    pub fn queue_size(self, queue_size: u32) -> Self {
        Self { queue_size, ..self }
    }

    /// Asks for CRC-32C over headers and over data.
    ///
    /// ```no_run
    /// # fn example(options: nvme_tcp::Options) -> nvme_tcp::Result<()> {
    /// // Over data only; a target that has none is not connected to.
    /// let controller = options.digests(false, true).connect()?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn digests(self, header: bool, data: bool) -> Self {
        Self { header_digest: header, data_digest: data, ..self }
    }

    /// Whether the controller is to tell by SQHD how far it has come with the submission queue, as it is by default. This
    /// host bounds what is outstanding by the queue's size in any case; without it the kernel's target saves the response
    /// of each read that succeeds. `false` asks for none, and
    /// [`ControllerTraits::sq_flow_control`](crate::proto::ControllerTraits::sq_flow_control) says what came of that.
    ///
    /// ```no_run
    /// # fn example(options: nvme_tcp::Options) -> nvme_tcp::Result<()> {
    /// let controller = options.sq_flow_control(false).connect()?;
    /// println!("it insists: {}", controller.info().traits.sq_flow_control);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn sq_flow_control(self, sq_flow_control: bool) -> Self {
        Self { sq_flow_control, ..self }
    }

    /// Goes on without a digest that the controller declines. Off by default.
    ///
    /// ```no_run
    /// # fn example(options: nvme_tcp::Options) -> nvme_tcp::Result<()> {
    /// let controller = options.digests(true, true).digests_optional(true).connect()?;
    /// println!("over data: {}", controller.info().negotiated.data_digest);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn digests_optional(self, digests_optional: bool) -> Self {
        Self { digests_optional, ..self }
    }

    /// KATO, the keep-alive timeout; zero turns it off. 10 s by default. At most
    /// 2^32 - 1 ms.
    ///
    /// ```no_run
    /// # fn example(options: nvme_tcp::Options) -> nvme_tcp::Result<()> {
    /// // A short one: the sooner a dead host is noticed, the sooner its writes are known to be over.
    /// let controller = options.keep_alive(std::time::Duration::from_secs(2)).connect()?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn keep_alive(self, keep_alive: Duration) -> Self {
        Self { keep_alive, ..self }
    }

    /// How long a command may take. 30 s by default. At most
    /// 2^32 - 1 ms. Commands that a [`Queue`](crate::Queue) sends together have the time of the first of them.
    ///
    /// ```
    /// # let host = nvme_tcp::host::HostIdentity::load()?;
    /// # let options = nvme_tcp::Options::new("127.0.0.1:1", "nqn.2024-01.io.example:images", host);
    /// let error = options.timeout(std::time::Duration::MAX).connect().unwrap_err();
    /// assert!(matches!(error.kind(), nvme_tcp::ErrorKind::TooLong { option: "the command timeout", .. }));
    /// # Ok::<(), nvme_tcp::Error>(())
    /// ```
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// How long a connection may take to come up, TLS handshake and ICResp included. 10 s by default. At most
    /// 2^32 - 1 ms.
    ///
    /// ```no_run
    /// # fn example(options: nvme_tcp::Options) -> nvme_tcp::Result<()> {
    /// // All the addresses of a target share it.
    /// let options = options.alternative_address("10.0.1.5:4420");
    /// let controller = options.connect_timeout(std::time::Duration::from_secs(20)).connect()?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn connect_timeout(self, connect_timeout: Duration) -> Self {
        Self { connect_timeout, ..self }
    }

    /// For how long a thread that waits for an answer asks the socket again and again before it sleeps: what that
    /// costs in CPU time, it spares in waking up, which at queue depth 1 is most of a command's time. A little more
    /// than a command takes is right, such as 100 us on a local network; it pays only where the other end has a CPU of
    /// its own. Where answers take longer than that time after time, ever fewer waits begin so, down to one in 64.
    /// Zero, the default, sleeps at once, and so does the time of [`poll`](crate::Queue::poll) where it is shorter
    /// than 500 ms.
    ///
    /// ```no_run
    /// # fn example(options: nvme_tcp::Options) -> nvme_tcp::Result<()> {
    /// let controller = options.busy_poll(std::time::Duration::from_micros(100)).connect()?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn busy_poll(self, busy_poll: Duration) -> Self {
        Self { busy_poll, ..self }
    }

    /// Whether only this process can reach the memory that reads put their data into, as is so of any vector and slice, and
    /// by default. `false` is for memory that is given by address, as by [`submit_read_raw`](crate::Queue::submit_read_raw), and
    /// that a guest, another process or a device can change meanwhile, but not take away. Then nothing but a read's own data
    /// is put there, and nothing there is looked at again but for data digests, with which such a change fails that read
    /// alone. In plain, data of 4 to 32 KiB is copied once more for that; with TLS all data is.
    ///
    /// With `true`, who can write to such memory could put words into the controller's mouth. All paths to memory of that
    /// kind need `false`.
    ///
    /// This is about reads. What is written has to stay as it is until that is done: with data digests some controllers,
    /// Linux's among them, end a connection whose data is not what its digest was taken of.
    ///
    /// ```no_run
    /// # fn example(options: nvme_tcp::Options) -> nvme_tcp::Result<()> {
    /// // The pages of virtual machines are read into.
    /// let controller = options.private_memory(false).owned_queues(1).connect()?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn private_memory(self, private_memory: bool) -> Self {
        Self { private_memory, ..self }
    }

    /// R2Ts that the controller may have outstanding for one command, 0-based. 0 by default, as in Linux.
    ///
    /// ```no_run
    /// # fn example(options: nvme_tcp::Options) -> nvme_tcp::Result<()> {
    /// // Up to four: a target with small buffers asks for the next part of a write before it has the last.
    /// let controller = options.maxr2t(3).connect()?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn maxr2t(self, maxr2t: u32) -> Self {
        Self { maxr2t, ..self }
    }

    /// HPDA: received data begins at a multiple of (n + 1) x 4 bytes, n from 0 to 31. 0 by default.
    ///
    /// ```
    /// # let host = nvme_tcp::host::HostIdentity::load()?;
    /// # let options = nvme_tcp::Options::new("127.0.0.1:1", "nqn.2024-01.io.example:images", host);
    /// // 31 for 128 bytes, which is the most.
    /// let error = options.hpda(32).connect().unwrap_err();
    /// assert_eq!(error.to_string(), "HPDA is 32, expected 0 to 31");
    /// # Ok::<(), nvme_tcp::Error>(())
    /// ```
    #[must_use]
    pub fn hpda(self, hpda: u8) -> Self {
        Self { hpda, ..self }
    }
}
