//! What can be chosen about the engine; every default is Zeebe's own.

use std::time::Duration;

/// How the engine behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The release that `Topology` names.
    pub gateway_version: String,
    /// How long a poll that names no `requestTimeout` is parked.
    pub long_poll: Duration,
    /// How long `CreateProcessInstanceWithResult` waits when it names no `requestTimeout`.
    pub result_timeout: Duration,
    /// How often activated jobs are looked through for those whose time is over.
    pub timeout_check: Duration,
    /// Bytes of pushed jobs that may wait for a stream's client, beyond what HTTP/2 holds; then it counts as blocked.
    pub stream_buffer: usize,
    /// The largest gRPC message either way, in bytes.
    pub max_message_size: usize,
    /// Whether a job whose time is over is pushed again (8.6) or left to polls (8.8 and later).
    pub push_lapsed_jobs: bool,
    /// Milliseconds by which the engine's clock is ahead of this machine's; negative: behind.
    pub clock_offset: i64,
    /// Process instances that may run at once; more are refused with RESOURCE_EXHAUSTED.
    pub max_instances: usize,
    /// Messages that may be buffered at once; more are refused with RESOURCE_EXHAUSTED.
    pub max_messages: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            gateway_version: "8.10.0".to_owned(),
            long_poll: Duration::from_secs(10),
            result_timeout: Duration::from_secs(15),
            timeout_check: Duration::from_secs(1),
            stream_buffer: 16 * 1024,
            max_message_size: 4 * 1024 * 1024,
            push_lapsed_jobs: false,
            clock_offset: 0,
            max_instances: 1_000_000,
            max_messages: 100_000,
        }
    }
}
