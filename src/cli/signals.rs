//! SIGTERM and Ctrl-C: the first asks to stop, the second cuts.

use tokio_util::sync::CancellationToken;

/// Fires `stop` at the first signal; the second one ends the process with 128 + its number.
pub(super) fn stop_on_signal(stop: CancellationToken) {
    tokio::spawn(async move {
        signal().await;
        tracing::info!("asked to stop; a second signal cuts");
        stop.cancel();
        std::process::exit(128 + signal().await);
    });
}

/// Waits for one signal.
pub(super) async fn asked_to_stop() {
    signal().await;
}

#[cfg(unix)]
async fn signal() -> i32 {
    use tokio::signal::unix::{SignalKind, signal};
    const SIGINT: i32 = 2;
    const SIGTERM: i32 = 15;
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = terminate.recv() => SIGTERM,
            _ = tokio::signal::ctrl_c() => SIGINT,
        },
        Err(_) => {
            let _ = tokio::signal::ctrl_c().await;
            SIGINT
        }
    }
}

#[cfg(not(unix))]
async fn signal() -> i32 {
    let _ = tokio::signal::ctrl_c().await;
    2
}
