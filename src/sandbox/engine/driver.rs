//! The one task that owns the state machine: commands enter through a bounded channel, time through the clock. It
//! sleeps until the next command or the next due time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::machine::Machine;
use super::timers::Millis;

/// Commands that may wait for the machine; more callers wait for a place.
const QUEUE: usize = 1024;

/// Commands that are taken before parked polls are served.
const BATCH: usize = 64;

/// Steps between two looks at the queue.
const STEPS: usize = 4096;

type Command = Box<dyn FnOnce(&mut Machine) + Send>;

/// The engine has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the engine has stopped")]
pub struct Stopped;

/// Sends commands to the machine.
#[derive(Clone, Debug)]
pub(super) struct Handle {
    commands: mpsc::Sender<Command>,
}

impl Handle {
    /// Runs a command on the machine and waits for what it gives.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        command: impl FnOnce(&mut Machine) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let (answer, answered) = oneshot::channel();
        let command: Command = Box::new(move |machine| {
            // A caller that has gone needs no answer.
            let _ = answer.send(command(machine));
        });
        self.commands.send(command).await.map_err(|_| Stopped)?;
        answered.await.map_err(|_| Stopped)
    }

    /// Leaves a command behind where nobody can wait; false when the queue is full or the engine has stopped.
    pub(super) fn tell(&self, command: impl FnOnce(&mut Machine) + Send + 'static) -> bool {
        self.commands.try_send(Box::new(command)).is_ok()
    }
}

/// The engine's clock: this machine's wall clock at the start, moved on by the monotonic clock and by hand.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    started: Instant,
    started_at: Millis,
    ahead: Arc<AtomicI64>,
}

impl Clock {
    pub(super) fn new(ahead: Millis) -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            started: Instant::now(),
            started_at: millis(wall),
            ahead: Arc::new(AtomicI64::new(ahead)),
        }
    }

    pub(super) fn now(&self) -> Millis {
        let passed = millis(self.started.elapsed());
        self.started_at + passed + self.ahead.load(Ordering::Relaxed)
    }

    pub(super) fn move_on(&self, by: Duration) {
        self.ahead.fetch_add(millis(by), Ordering::Relaxed);
    }
}

fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}

/// Starts the task. It ends when `stop` is cancelled, and with it every job stream and parked poll.
pub(super) fn start(machine: Machine, clock: Clock, stop: CancellationToken) -> Handle {
    let (commands, queue) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = drive(machine, clock, queue) => {}
        }
    });
    Handle { commands }
}

async fn drive(mut machine: Machine, clock: Clock, mut queue: mpsc::Receiver<Command>) {
    loop {
        let wait = machine
            .next_due()
            .map(|due| due.saturating_sub(clock.now()).max(0).unsigned_abs());
        let command = tokio::select! {
            biased;
            command = queue.recv() => match command {
                Some(command) => Some(command),
                None => return,
            },
            () = std::future::ready(()), if machine.is_unsettled() => None,
            () = tokio::time::sleep(Duration::from_millis(wait.unwrap_or_default())), if wait.is_some() => None,
        };
        machine.advance(clock.now());
        if let Some(command) = command {
            command(&mut machine);
            for _ in 1..BATCH {
                let Ok(command) = queue.try_recv() else { break };
                command(&mut machine);
            }
        }
        machine.settle(STEPS);
    }
}
