//! What is logged, as a value that can be read and changed while the process runs.

use std::sync::{Arc, Mutex, PoisonError};

type Set = dyn Fn(&str) -> Result<(), String> + Send + Sync;

/// The filter of the log. Cheap to clone.
#[derive(Clone)]
pub struct LogLevel {
    current: Arc<Mutex<String>>,
    set: Arc<Set>,
}

impl LogLevel {
    /// A filter that is in force, and what puts another one in its place.
    pub fn new(current: &str, set: impl Fn(&str) -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self {
            current: Arc::new(Mutex::new(current.to_owned())),
            set: Arc::new(set),
        }
    }

    /// The filter in force.
    pub fn get(&self) -> String {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts another filter in force.
    ///
    /// # Errors
    /// What is wrong with it; the old one stays.
    pub fn set(&self, filter: &str) -> Result<(), String> {
        if filter.is_empty() {
            return Err("it is empty".into());
        }
        (self.set)(filter)?;
        filter.clone_into(&mut self.current.lock().unwrap_or_else(PoisonError::into_inner));
        tracing::info!(filter, "what is logged was changed");
        Ok(())
    }
}
