//! Kills and freezes: one slot is a place for a replica; whoever dies there is followed by another one.

use std::collections::HashSet;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::clerk::Clerk;
use crate::weather;

/// The lease of the campaign's jobs.
pub const LEASE: Duration = Duration::from_secs(6);
/// The points at which replicas die or stand still; `BytesLeave` stands twice, since there it matters most.
const POINTS: [&str; 11] = [
    "Looked",
    "WritingIntent",
    "IntentWritten",
    "Posting",
    "BytesLeave",
    "BytesLeave",
    "Answered",
    "Unclear",
    "WritingRun",
    "RunWritten",
    "LookedAfter",
];

/// What happens to a replica.
enum Plan {
    /// It lives for this long.
    Dies(Duration),
    /// It is killed when it comes to a point.
    DiesAt(&'static str, u32),
    /// It is frozen at a point, for this long, and killed a while after.
    Freezes(&'static str, u32, Duration),
    /// It lives until the round ends.
    Lives,
}

/// What all slots share.
pub struct Chaos {
    pub environment: Vec<(String, String)>,
    pub without: Option<String>,
    pub log: Option<PathBuf>,
    pub clerk: Clerk,
    /// Kills and freezes that are still to be made.
    pub left: AtomicU32,
    pub frozen_while_writing: Mutex<HashSet<String>>,
    pub counts: Counts,
    /// Replicas that are frozen now: the others are left alone, or nobody would take over.
    pub frozen: AtomicUsize,
    pub end: CancellationToken,
}

#[derive(Default)]
pub struct Counts {
    pub kills: AtomicU32,
    pub freezes: AtomicU32,
    pub adopted: AtomicU32,
    pub reconciled: AtomicU32,
    pub late: AtomicU32,
}

/// A replica has come to the point where it stands still, with a job of this instance.
struct Said {
    instance: i64,
}

impl Chaos {
    /// Runs one slot until the round ends.
    pub async fn slot(self: Arc<Self>, number: usize, mut random: fastrand::Rng) {
        let mut life = 0;
        while !self.end.is_cancelled() {
            life += 1;
            let plan = self.plan(&mut random);
            let (mut child, mut said) = self.spawn(number, life, &plan);
            match plan {
                Plan::Lives => {
                    self.end.cancelled().await;
                    let _ = child.kill().await;
                }
                Plan::Dies(after) => {
                    sleep(after).await;
                    self.kill(&mut child).await;
                }
                Plan::DiesAt(..) => {
                    // It may never come there.
                    let _ = timeout(Duration::from_secs(8), said.recv()).await;
                    self.kill(&mut child).await;
                }
                Plan::Freezes(point, _, length) => {
                    let reached = timeout(Duration::from_secs(8), said.recv()).await.ok().flatten();
                    if let Some(said) = reached {
                        self.freeze(&mut child, point, &said, length).await;
                    }
                    self.kill(&mut child).await;
                }
            }
        }
    }

    fn plan(&self, random: &mut fastrand::Rng) -> Plan {
        let take = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if take.is_err() {
            return Plan::Lives;
        }
        // What the last look at the lease is for: a standstill before it, until somebody else has started.
        if self.without.as_deref() == Some("lease") && random.bool() {
            return Plan::Freezes("Posting", 1, Duration::from_secs(18));
        }
        let point = POINTS[random.usize(0..POINTS.len())];
        let nth = random.u32(1..4);
        match random.u32(0..20) {
            0..=8 => Plan::DiesAt(point, nth),
            9..=13 => Plan::Dies(Duration::from_millis(random.u64(300..8_000))),
            14 => Plan::Dies(Duration::from_secs(12)),
            _ => Plan::Freezes(point, nth, Duration::from_millis(random.u64(7_000..19_000))),
        }
    }

    async fn kill(&self, child: &mut Child) {
        while self.frozen.load(Ordering::SeqCst) > 0 {
            sleep(Duration::from_millis(100)).await;
        }
        let _ = child.kill().await;
        self.counts.kills.fetch_add(1, Ordering::SeqCst);
    }

    async fn freeze(&self, child: &mut Child, point: &str, said: &Said, length: Duration) {
        let Some(pid) = child.id() else { return };
        // One at a time.
        if self
            .frozen
            .compare_exchange(0, 1, Ordering::SeqCst, Ordering::SeqCst)
            .is_err()
        {
            return;
        }
        signal(pid, "STOP").await;
        if point == "BytesLeave"
            && let Some(invoice) = self.clerk.invoice_of(said.instance)
        {
            self.frozen_while_writing.lock().unwrap().insert(invoice);
        }
        sleep(length).await;
        if let Some(stdin) = &mut child.stdin {
            let _ = stdin.write_all(b"go\n").await;
        }
        signal(pid, "CONT").await;
        self.counts.freezes.fetch_add(1, Ordering::SeqCst);
        // Time for the POST, the looks after it and the cancelling.
        let until = Instant::now() + weather::START_TIMEOUT + weather::VISIBILITY + Duration::from_secs(5);
        tokio::time::sleep_until(until).await;
        self.frozen.store(0, Ordering::SeqCst);
    }

    fn spawn(self: &Arc<Self>, slot: usize, life: u32, plan: &Plan) -> (Child, mpsc::Receiver<Said>) {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .arg("replica")
            .env_clear()
            .envs(self.environment.iter().cloned());
        if let Plan::DiesAt(point, nth) | Plan::Freezes(point, nth, _) = plan {
            command.args(["--stop-at", &format!("{point}:{nth}")]);
        }
        if let Some(guard) = &self.without {
            command.args(["--without", guard]);
        }
        // The clocks of the replicas differ by ten minutes.
        if slot % 2 == 1 {
            command.args(["--clock-ahead", "600"]);
        }
        // Some park their jobs, which then have long leases; most wait with them.
        if !life.is_multiple_of(4) {
            command.env("DESKHAND_WORKER_MAX_PARKED", "0");
        }
        let log = match &self.log {
            Some(directory) => std::fs::File::create(directory.join(format!("replica-{slot}-{life}.log")))
                .map_or_else(|_| Stdio::null(), Stdio::from),
            None => Stdio::null(),
        };
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (sender, receiver) = mpsc::channel(16);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let this = self.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                this.heard(&line, &sender);
            }
        });
        (child, receiver)
    }

    fn heard(&self, line: &str, stops: &mpsc::Sender<Said>) {
        let mut words = line.rsplitn(2, ' ');
        let instance = words.next().and_then(|key| key.parse().ok()).unwrap_or_default();
        let counts = &self.counts;
        match words.next().unwrap_or_default() {
            "adopted" => _ = counts.adopted.fetch_add(1, Ordering::SeqCst),
            "reconciled" => _ = counts.reconciled.fetch_add(1, Ordering::SeqCst),
            "late" => _ = counts.late.fetch_add(1, Ordering::SeqCst),
            what => match what.strip_prefix("got ").and_then(|key| key.parse().ok()) {
                Some(key) => self.clerk.note_job(key, instance),
                None => _ = stops.try_send(Said { instance }),
            },
        }
    }
}

async fn signal(pid: u32, name: &str) {
    let signal = format!("-{name}");
    let status = Command::new("kill")
        .args([signal.as_str(), &pid.to_string()])
        .status()
        .await;
    assert!(status.is_ok_and(|status| status.success()), "kill {signal} {pid}");
}
