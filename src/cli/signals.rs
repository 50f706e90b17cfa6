//! SIGTERM and Ctrl-C: the first asks to stop, the second cuts.

use tokio_util::sync::CancellationToken;

/// The signals that ask to stop. They are caught from the moment this exists, so it is made before anybody is told that
/// the process is there.
pub(super) struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    /// Catches them.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn catch() -> std::io::Result<Self> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            Ok(Self {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
            })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }

    /// Waits for the next one; its number.
    pub(super) async fn next(&mut self) -> i32 {
        const SIGINT: i32 = 2;
        #[cfg(unix)]
        {
            const SIGTERM: i32 = 15;
            tokio::select! {
                _ = self.terminate.recv() => SIGTERM,
                _ = self.interrupt.recv() => SIGINT,
            }
        }
        #[cfg(not(unix))]
        {
            let _ = tokio::signal::ctrl_c().await;
            SIGINT
        }
    }

    /// Fires `stop` at the first signal; the second one ends the process with 128 + its number.
    pub(super) fn stop_then_cut(mut self, stop: CancellationToken) {
        tokio::spawn(async move {
            self.next().await;
            tracing::info!("asked to stop; a second signal cuts");
            stop.cancel();
            std::process::exit(128 + self.next().await);
        });
    }
}
