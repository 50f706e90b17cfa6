//! What operations count: one set of numbers for the process, filled where things happen, read by the port for operations.
//!
//! Labels hold names of settings, job types, hosts and statuses, never a value of a job.

mod families;

use std::collections::HashSet;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use self::families::{
    BUCKETS, Counters, Found, Gauges, Times, add, begun_at_zero, counter, histogram, owned, set, time,
};

/// So many hosts have numbers of their own; tasks can name any number of hosts.
const MOST_HOSTS: usize = 200;
const OTHER_HOSTS: &str = "other";

/// The label of the outcome that most jobs have.
const COMPLETED: &str = "completed";

/// What every job of a type is counted by.
#[derive(Clone)]
struct JobNumbers {
    pushed: Counter,
    polled: Counter,
    buffered_seconds: Histogram,
    completed: Counter,
    seconds: Histogram,
}

/// How a job came to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// On the job stream.
    Push,
    /// By a poll of the backlog.
    Poll,
}

/// Every number of the process.
pub struct Metrics {
    registry: Registry,
    by_job_type: Found<String, Arc<JobNumbers>>,
    by_command: Found<(&'static str, &'static str), (Counter, Histogram)>,
    jobs: Counters,
    jobs_received: Counters,
    jobs_lost: Counters,
    job_seconds: Times,
    buffered_seconds: Times,
    permits: Gauges,
    permits_free: Gauges,
    jobs_parked: Gauge,
    starts_waiting: Gauges,
    breaker_changes: Counters,
    breakers_open: Gauges,
    commands: Counters,
    command_seconds: Times,
    heartbeats: Counters,
    stream_up: Gauges,
    stream_openings: Counters,
    polls: Counters,
    token_fetches: Counters,
    policy_refusals: Counters,
    credential_ends: Gauges,
    late_starts: Counters,
    messages: Counters,
    spans: Counters,
    http_requests: Counters,
    http_seconds: Times,
    hosts: Mutex<HashSet<String>>,
    refresh: Mutex<Option<Refresh>>,
    series: Vec<String>,
}

/// A state of a circuit breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breaker {
    /// Calls are held back.
    Opened,
    /// One call looks whether the server is back.
    HalfOpen,
    /// Calls go through.
    Closed,
}

/// Sets the numbers that are looked up rather than counted.
type Refresh = Box<dyn Fn(&Metrics) + Send + Sync>;

/// The numbers of this process.
pub fn metrics() -> &'static Metrics {
    static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);
    &METRICS
}

impl Metrics {
    fn new() -> Self {
        let mut registry = Registry::with_prefix("deskhand");
        let times = || Times::new_with_constructor(|| Histogram::new(BUCKETS));
        let mut series = vec!["deskhand_build_info".to_owned()];
        macro_rules! registered {
            ($name:literal, $help:literal, $metric:expr) => {{
                let metric = $metric;
                registry.register($name, $help, metric.clone());
                let suffixes: &[&str] = match metric.metric_type() {
                    MetricType::Counter => &["_total"],
                    MetricType::Histogram => &["_bucket", "_sum", "_count"],
                    _ => &[""],
                };
                series.extend(
                    suffixes
                        .iter()
                        .map(|suffix| format!("deskhand_{}{suffix}", $name)),
                );
                metric
            }};
        }
        #[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
        struct Version {
            version: &'static str,
        }
        let build: Family<Version, Gauge> = Family::default();
        build
            .get_or_create(&Version {
                version: env!("CARGO_PKG_VERSION"),
            })
            .set(1);
        registry.register("build_info", "The running version; always 1", build);
        Self {
            jobs: registered!(
                "jobs",
                "Jobs whose outcome the engine acknowledged",
                Counters::default()
            ),
            jobs_received: registered!(
                "jobs_received",
                "Jobs that were begun, by the way they came",
                Counters::default()
            ),
            jobs_lost: registered!(
                "jobs_lost",
                "Jobs that ended without an outcome of ours: rejected by the engine, lapsed, refused, unheard, left, handed back",
                Counters::default()
            ),
            job_seconds: registered!(
                "job_seconds",
                "Seconds from a job's receipt until its outcome was acknowledged",
                times()
            ),
            buffered_seconds: registered!(
                "job_buffered_seconds",
                "Seconds that pushed jobs lay in buffers before they were read",
                times()
            ),
            permits: registered!("permits", "Jobs that may be worked on at once", Gauges::default()),
            permits_free: registered!("permits_free", "Permits that nobody has", Gauges::default()),
            jobs_parked: registered!("jobs_parked", "Jobs that wait without a permit", Gauge::default()),
            starts_waiting: registered!(
                "starts_waiting",
                "Starts of desktop flows that wait for their turn, by what they wait for",
                Gauges::default()
            ),
            breaker_changes: registered!(
                "breaker_changes",
                "Circuit breakers of Dataverse that opened, looked (half-open) or closed",
                Counters::default()
            ),
            breakers_open: registered!(
                "breakers_open",
                "Circuit breakers that hold calls back because Dataverse or its sign-in is away, one a credential",
                Gauges::default()
            ),
            commands: registered!(
                "commands",
                "Commands to the engine, by what came of them",
                Counters::default()
            ),
            command_seconds: registered!(
                "command_seconds",
                "Seconds from a command's first try until its last answer",
                times()
            ),
            heartbeats: registered!(
                "heartbeats",
                "Heartbeats of running and parked jobs",
                Counters::default()
            ),
            stream_up: registered!(
                "stream_up",
                "Whether the job stream is open, as far as we know",
                Gauges::default()
            ),
            stream_openings: registered!("stream_openings", "Job streams that were opened", Counters::default()),
            polls: registered!("polls", "Polls of the backlog", Counters::default()),
            token_fetches: registered!("token_fetches", "Requests to token endpoints", Counters::default()),
            policy_refusals: registered!(
                "policy_refusals",
                "What was not sent because nothing allows it: by rule, by field or diagram, by identity, by network",
                Counters::default()
            ),
            credential_ends: registered!(
                "credential_expiry_timestamp_seconds",
                "When an identity's certificate, client secret or refresh token ends, seconds since 1970",
                Gauges::default()
            ),
            late_starts: registered!(
                "late_starts",
                "Runs that were started late beside another one of the same task: cancelled, over before that, or alive",
                // Shown from the start: an alert sees no rise in a number that begins with one.
                begun_at_zero("result", &["cancelled", "ended", "alive"])
            ),
            messages: registered!(
                "messages_published",
                "Messages about ended runs, by what became of them: new, already there, refused, denied, unheard",
                begun_at_zero("result", &["new", "already", "refused", "denied", "unheard"])
            ),
            spans: registered!(
                "spans",
                "Spans for a collector of traces: exported, or lost because it did not take them",
                begun_at_zero("result", &["exported", "lost"])
            ),
            http_requests: registered!("http_requests", "HTTP requests of connectors", Counters::default()),
            http_seconds: registered!("http_request_seconds", "Seconds of HTTP requests", times()),
            by_job_type: Found::default(),
            by_command: Found::default(),
            hosts: Mutex::default(),
            refresh: Mutex::default(),
            series,
            registry,
        }
    }

    /// All numbers as OpenMetrics text.
    pub fn text(&self) -> String {
        if let Some(refresh) = self.refresh.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            refresh(self);
        }
        let mut out = String::new();
        // Writing into a String does not fail.
        let _ = text::encode(&mut out, &self.registry);
        out
    }

    /// The names of all series, whether or not anything was counted yet.
    pub fn series(&self) -> &[String] {
        &self.series
    }

    /// Calls this before each reading, in place of what was called before.
    pub fn before_reading(&self, refresh: impl Fn(&Metrics) + Send + Sync + 'static) {
        *self.refresh.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(refresh));
    }

    /// The engine acknowledged an outcome.
    pub fn job_answered(&self, job_type: &str, outcome: &str, took: Duration) {
        let numbers = self.of_job_type(job_type);
        numbers.seconds.observe(took.as_secs_f64());
        match outcome {
            COMPLETED => numbers.completed.inc(),
            _ => counter(&self.jobs, &[("job_type", job_type), ("outcome", outcome)]).inc(),
        };
    }

    /// A job was begun that came this way.
    pub fn job_received(&self, job_type: &str, way: Way) {
        let numbers = self.of_job_type(job_type);
        match way {
            Way::Push => numbers.pushed.inc(),
            Way::Poll => numbers.polled.inc(),
        };
    }

    /// A job ended without an outcome of ours.
    pub fn job_lost(&self, job_type: &str, reason: &str) {
        add(&self.jobs_lost, &[("job_type", job_type), ("reason", reason)]);
    }

    /// A pushed job was read, this long after it was sent.
    pub fn job_buffered(&self, job_type: &str, age: Duration) {
        self.of_job_type(job_type).buffered_seconds.observe(age.as_secs_f64());
    }

    fn of_job_type(&self, job_type: &str) -> Arc<JobNumbers> {
        let this = [("job_type", job_type)];
        let received = |way| counter(&self.jobs_received, &[("job_type", job_type), ("way", way)]);
        self.by_job_type.get(job_type, || {
            Arc::new(JobNumbers {
                pushed: received("push"),
                polled: received("poll"),
                buffered_seconds: histogram(&self.buffered_seconds, &this),
                completed: counter(&self.jobs, &[("job_type", job_type), ("outcome", COMPLETED)]),
                seconds: histogram(&self.job_seconds, &this),
            })
        })
    }

    /// A pool's permits.
    pub fn permits(&self, pool: &str, all: usize, free: usize) {
        set(&self.permits, &[("pool", pool)], all);
        set(&self.permits_free, &[("pool", pool)], free);
    }

    /// Jobs that wait without a permit.
    pub fn parked(&self, jobs: usize) {
        self.jobs_parked.set(i64::try_from(jobs).unwrap_or(i64::MAX));
    }

    /// So many starts wait for their turn for one of the reasons, where it was so many before.
    pub fn starts_waiting(&self, reason: &str, before: usize, now: usize) {
        let more = i64::try_from(now).unwrap_or(i64::MAX) - i64::try_from(before).unwrap_or(i64::MAX);
        self.starts_waiting
            .get_or_create(&owned(&[("reason", reason)]))
            .inc_by(more);
    }

    /// The circuit breaker of a host and credential came into another state.
    pub fn breaker(&self, host: &str, to: Breaker) {
        let host = self.host(host);
        let open = self.breakers_open.get_or_create(&owned(&[("host", &host)]));
        let to = match to {
            Breaker::Opened => {
                open.inc();
                "opened"
            }
            Breaker::HalfOpen => "half-open",
            Breaker::Closed => {
                open.dec();
                "closed"
            }
        };
        // The family is locked while a number of it is kept.
        drop(open);
        add(&self.breaker_changes, &[("host", &host), ("to", to)]);
    }

    /// A command got its last answer.
    pub fn command(&self, command: &'static str, result: &'static str, took: Duration) {
        let (times, seconds) = self.by_command.get(&(command, result), || {
            let labels = [("command", command), ("result", result)];
            (
                counter(&self.commands, &labels),
                histogram(&self.command_seconds, &labels[..1]),
            )
        });
        times.inc();
        seconds.observe(took.as_secs_f64());
    }

    /// A heartbeat was answered.
    pub fn heartbeat(&self, result: &str) {
        add(&self.heartbeats, &[("result", result)]);
    }

    /// A job stream is being opened.
    pub fn stream_opened(&self, job_type: &str) {
        add(&self.stream_openings, &[("job_type", job_type)]);
        set(&self.stream_up, &[("job_type", job_type)], 1);
    }

    /// A job stream ended.
    pub fn stream_ended(&self, job_type: &str) {
        set(&self.stream_up, &[("job_type", job_type)], 0);
    }

    /// A poll ended.
    pub fn poll(&self, job_type: &str, result: &str) {
        add(&self.polls, &[("job_type", job_type), ("result", result)]);
    }

    /// Something was not sent: no `rule` allows a secret there, the `field` is none for secrets, the `identity` is not for
    /// this, or the `network` would lead inside.
    pub fn policy_refused(&self, reason: &str) {
        add(&self.policy_refusals, &[("reason", reason)]);
    }

    /// When a credential of an identity ends, seconds since 1970.
    pub fn credential_ends(&self, identity: &str, credential: &str, ends: i64) {
        let labels = owned(&[("identity", identity), ("credential", credential)]);
        self.credential_ends.get_or_create(&labels).set(ends);
    }

    /// A run that was started late beside another one was `cancelled`, had `ended` before that, or is still `alive`.
    pub fn late_start(&self, result: &str) {
        add(&self.late_starts, &[("result", result)]);
    }

    /// A message about the end of a run was published, or not: `new`, `already`, `refused`, `denied`, `unheard`.
    pub fn message(&self, result: &str) {
        add(&self.messages, &[("result", result)]);
    }

    /// So many spans were `exported`, or `lost`.
    pub fn spans(&self, result: &str, spans: usize) {
        let spans = u64::try_from(spans).unwrap_or(u64::MAX);
        self.spans.get_or_create(&owned(&[("result", result)])).inc_by(spans);
    }

    /// A token endpoint was asked.
    pub fn token_fetched(&self, host: &str, result: &str) {
        add(&self.token_fetches, &[("host", &self.host(host)), ("result", result)]);
    }

    /// An HTTP request ended with this status, or with `error`.
    pub fn http(&self, host: &str, status: &str, took: Duration) {
        let host = self.host(host);
        add(&self.http_requests, &[("host", &host), ("status", status)]);
        time(&self.http_seconds, &[("host", &host)], took);
    }

    fn host(&self, host: &str) -> String {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if hosts.contains(host) {
            return host.to_owned();
        }
        if hosts.len() >= MOST_HOSTS {
            return OTHER_HOSTS.to_owned();
        }
        hosts.insert(host.to_owned());
        host.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_openmetrics_text_with_our_prefix() {
        let metrics = Metrics::new();
        metrics.job_answered("a:b:1", "completed", Duration::from_millis(3));
        metrics.permits("shared", 32, 30);
        metrics.late_start("ended");
        let text = metrics.text();
        for line in [
            "deskhand_late_starts_total{result=\"ended\"} 1",
            "deskhand_late_starts_total{result=\"alive\"} 0",
            "deskhand_jobs_total{job_type=\"a:b:1\",outcome=\"completed\"} 1",
            "deskhand_permits_free{pool=\"shared\"} 30",
            "deskhand_job_seconds_bucket{le=\"0.005\",job_type=\"a:b:1\"} 1",
        ] {
            assert!(text.lines().any(|one| one == line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            assert!(line.starts_with("deskhand_"), "{line}");
        }
    }

    #[test]
    fn however_many_hosts_tasks_name_the_numbers_stay_few() {
        let metrics = Metrics::new();
        for host in 0..1_000 {
            metrics.http(&format!("host-{host}"), "200", Duration::ZERO);
        }
        let text = metrics.text();
        let hosts = text
            .lines()
            .filter(|line| line.starts_with("deskhand_http_requests_total"));
        assert_eq!(hosts.count(), MOST_HOSTS + 1);
        assert!(text.contains("host=\"other\",status=\"200\"} 800"));
    }
}
