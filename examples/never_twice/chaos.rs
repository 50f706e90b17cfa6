//! Kills and freezes: one slot is a place for a replica; whoever dies there is followed by another one.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use deskhand::sandbox::power_automate::Simulator;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{Notify, mpsc};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::clerk::Clerk;
use crate::{round, weather};

/// The lease of the campaign's jobs.
pub const LEASE: Duration = Duration::from_secs(6);
/// The points at which replicas die or stand still; `BytesLeave` stands twice, since there it matters most.
const POINTS: [&str; 13] = [
    "Looked",
    "WritingIntent",
    "IntentWritten",
    POSTING,
    WRITING,
    WRITING,
    "Answered",
    "Unclear",
    "WritingRun",
    "RunWritten",
    "LookedAfter",
    "Publishing",
    "Published",
];
/// Before the last look.
const POSTING: &str = "Posting";
/// Between the last look and the write.
const WRITING: &str = "BytesLeave";
/// How long a replica may take to come to a point; it may never come there.
const REACHED_WITHIN: Duration = Duration::from_secs(8);
/// How long somebody else may take to start what a frozen replica was about to start: its lease, the settle time and the
/// visibility bound, and as much again for whoever dies meanwhile.
const STARTED_WITHIN: Duration = Duration::from_secs(30);

/// What happens to a replica.
enum Plan {
    /// It lives for this long.
    Dies(Duration),
    /// It is killed when it comes to a point.
    DiesAt(&'static str, u32),
    /// It is frozen at a point, and killed a while after it went on.
    Freezes(&'static str, u32, Thaw),
    /// It lives until the round ends.
    Lives,
}

/// When a frozen replica goes on.
enum Thaw {
    After(Duration),
    /// When somebody else has started what it was about to start.
    Overtaken,
}

/// What all slots share.
pub struct Chaos {
    pub environment: Vec<(String, String)>,
    pub replicas: usize,
    pub without: Option<String>,
    pub log: Option<PathBuf>,
    /// A name for the round.
    pub round: String,
    pub clerk: Clerk,
    pub simulator: Arc<Simulator>,
    /// Kills and freezes that are still to be made.
    pub left: AtomicU32,
    pub owed: Mutex<Owed>,
    /// Invoices, and how many of their starts were frozen between the last look and the write.
    pub frozen_while_writing: Mutex<HashMap<String, u64>>,
    pub counts: Counts,
    /// The slot that is frozen now. The next one is left alone meanwhile, or nobody would take over.
    pub frozen: Mutex<Option<usize>>,
    /// The broker is down: nobody could take over.
    pub broker_down: AtomicBool,
    /// Replicas that live until the round ends are followed by others.
    pub replace: Notify,
    pub end: CancellationToken,
}

#[derive(Default)]
pub struct Counts {
    pub kills: AtomicU32,
    pub freezes: AtomicU32,
    pub adopted: AtomicU32,
    pub reconciled: AtomicU32,
}

/// Freezes that are due.
#[derive(Default)]
pub struct Owed {
    while_writing: u32,
    elsewhere: u32,
    /// One is being made.
    busy: bool,
}

impl Owed {
    /// Three of twenty plans are freezes.
    fn fall_due(&mut self, left: u32) {
        match left % 20 {
            2 | 12 => self.while_writing += 1,
            7 => self.elsewhere += 1,
            _ => {}
        }
    }

    fn is_paid(&self) -> bool {
        !self.busy && self.while_writing + self.elsewhere == 0
    }
}

/// What a replica said about a job of an instance.
struct Said {
    what: What,
    instance: i64,
}

#[derive(PartialEq, Eq)]
enum What {
    /// It stands still at the point where it was told to.
    Stands,
    /// It has cancelled a late run.
    CancelledLate,
}

impl Chaos {
    /// Were so many replicas killed, and all freezes made that are due?
    pub fn is_done(&self, kills: u32) -> bool {
        self.counts.kills.load(Ordering::SeqCst) >= kills && self.owed.lock().unwrap().is_paid()
    }

    /// Runs one slot until the round ends.
    pub async fn slot(self: Arc<Self>, number: usize, mut random: fastrand::Rng) {
        let mut life = 0;
        while !self.end.is_cancelled() {
            life += 1;
            let plan = self.plan(&mut random);
            let (mut child, mut said) = self.spawn(number, life, &plan);
            match plan {
                Plan::Lives => {
                    tokio::select! {
                        () = self.end.cancelled() => {}
                        () = self.replace.notified() => {}
                    }
                    let _ = child.kill().await;
                }
                Plan::Dies(after) => {
                    sleep(after).await;
                    self.kill(number, &mut child).await;
                }
                Plan::DiesAt(..) => {
                    let _ = timeout(REACHED_WITHIN, heard(&mut said, What::Stands)).await;
                    self.kill(number, &mut child).await;
                }
                Plan::Freezes(point, _, thaw) => {
                    let reached = timeout(REACHED_WITHIN, heard(&mut said, What::Stands)).await;
                    let again = matches!(thaw, Thaw::Overtaken);
                    if let Ok(Some(instance)) = reached {
                        self.freeze(number, &mut child, point, instance, &mut said, thaw).await;
                        self.owed.lock().unwrap().busy = false;
                    } else {
                        let mut owed = self.owed.lock().unwrap();
                        owed.busy = false;
                        owed.while_writing += u32::from(again);
                    }
                    self.kill(number, &mut child).await;
                }
            }
        }
    }

    fn plan(&self, random: &mut fastrand::Rng) -> Plan {
        let take = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        let point = POINTS[random.usize(0..POINTS.len())];
        let Ok(left) = take else {
            return self.freeze_due(point, random).unwrap_or(Plan::Lives);
        };
        // With a guard down, what it is there for comes more often.
        match self.without.as_deref() {
            Some("lease") => {
                let mut owed = self.owed.lock().unwrap();
                if !std::mem::replace(&mut owed.busy, true) {
                    return Plan::Freezes(POSTING, 1, Thaw::Overtaken);
                }
            }
            Some("intent") if random.bool() => return Plan::DiesAt("WritingRun", 1),
            Some(_) => {}
            None => self.owed.lock().unwrap().fall_due(left),
        }
        let nth = random.u32(1..3);
        if let Some(freeze) = self.freeze_due(point, random) {
            return freeze;
        }
        match random.u32(0..20) {
            0..=11 => Plan::DiesAt(point, nth),
            12..=18 => Plan::Dies(Duration::from_millis(random.u64(300..8_000))),
            _ => Plan::Dies(Duration::from_secs(12)),
        }
    }

    /// Freezes come one at a time, or nobody would take over; those that could not be made yet are made up for.
    fn freeze_due(&self, point: &'static str, random: &mut fastrand::Rng) -> Option<Plan> {
        let mut owed = self.owed.lock().unwrap();
        if owed.busy {
            return None;
        }
        let freeze = if let Some(left) = owed.while_writing.checked_sub(1) {
            owed.while_writing = left;
            // What the look at the lease is there for happens before it.
            let lease = self.without.as_deref() == Some("lease");
            Plan::Freezes(if lease { POSTING } else { WRITING }, 1, Thaw::Overtaken)
        } else {
            owed.elsewhere = owed.elsewhere.checked_sub(1)?;
            let length = LEASE + Duration::from_millis(random.u64(1_500..9_000));
            Plan::Freezes(point, 1, Thaw::After(length))
        };
        owed.busy = true;
        Some(freeze)
    }

    async fn kill(&self, slot: usize, child: &mut Child) {
        while self.must_be_left_alone(slot) {
            sleep(Duration::from_millis(100)).await;
        }
        let _ = child.kill().await;
        self.counts.kills.fetch_add(1, Ordering::SeqCst);
    }

    fn must_be_left_alone(&self, slot: usize) -> bool {
        if self.broker_down.load(Ordering::SeqCst) {
            return true;
        }
        let frozen = *self.frozen.lock().unwrap();
        frozen.is_some_and(|frozen| slot != frozen && (frozen + 1) % self.replicas == slot)
    }

    async fn freeze(
        &self,
        slot: usize,
        child: &mut Child,
        point: &str,
        instance: i64,
        said: &mut mpsc::Receiver<Said>,
        thaw: Thaw,
    ) {
        let Some(pid) = child.id() else { return };
        *self.frozen.lock().unwrap() = Some(slot);
        signal(pid, "STOP").await;
        let invoice = self.clerk.invoice_of(instance);
        if let Some((invoice, _)) = invoice.filter(|_| point == WRITING) {
            let mut frozen = self.frozen_while_writing.lock().unwrap();
            *frozen.entry(invoice).or_default() += 1;
        }
        match thaw {
            Thaw::After(length) => sleep(length).await,
            Thaw::Overtaken => {
                let _ = timeout(STARTED_WITHIN, self.overtaken(instance)).await;
            }
        }
        if let Some(stdin) = &mut child.stdin {
            let _ = stdin.write_all(b"go\n").await;
        }
        signal(pid, "CONT").await;
        self.counts.freezes.fetch_add(1, Ordering::SeqCst);
        // Time for the POST, the looks after it and the cancelling.
        let looking = weather::START_TIMEOUT + weather::VISIBILITY + Duration::from_secs(5);
        let _ = timeout(looking, heard(said, What::CancelledLate)).await;
        *self.frozen.lock().unwrap() = None;
    }

    /// Waits until as many runs are there as the instance wants: one of them was started in place of the frozen start.
    async fn overtaken(&self, instance: i64) {
        loop {
            if let Some((invoice, wants)) = self.clerk.invoice_of(instance)
                && round::runs_of(&self.simulator, &invoice) >= wants
            {
                return;
            }
            sleep(Duration::from_millis(200)).await;
        }
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
        // Some do not park their jobs, and stay with them.
        if life.is_multiple_of(3) {
            command.env("DESKHAND_WORKER_MAX_PARKED", "0");
        }
        let log = match &self.log {
            Some(directory) => std::fs::File::create(directory.join(format!("{}-{slot}-{life}.log", self.round)))
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

    /// A line of a replica: what happened, then numbers, the last of which is the process instance.
    fn heard(&self, line: &str, says: &mpsc::Sender<Said>) {
        let words: Vec<&str> = line.split(' ').collect();
        let numbers: Vec<i64> = words.iter().filter_map(|word| word.parse().ok()).collect();
        let (Some(what), Some(instance)) = (words.first(), numbers.last().copied()) else {
            return;
        };
        let say = |what| _ = says.try_send(Said { what, instance });
        let counts = &self.counts;
        match *what {
            "adopted" => _ = counts.adopted.fetch_add(1, Ordering::SeqCst),
            "reconciled" => _ = counts.reconciled.fetch_add(1, Ordering::SeqCst),
            "late" => say(What::CancelledLate),
            "at" => say(What::Stands),
            "got" => self.clerk.note_job(numbers[0], numbers[1], instance),
            _ => {}
        }
    }
}

/// Waits until a replica says this; of which instance.
async fn heard(said: &mut mpsc::Receiver<Said>, what: What) -> Option<i64> {
    loop {
        let one = said.recv().await?;
        if one.what == what {
            return Some(one.instance);
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
