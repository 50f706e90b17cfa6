//! Schemas of flows' inputs, kept for a while: every start asks for one, and they change when somebody edits the flow.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::microsoft::dataverse::{Dataverse, Error, Guid, Identity};

/// How long a schema is believed.
const FRESH: Duration = Duration::from_secs(60);
/// Schemas that are kept; when there are more, all begin anew.
const KEPT: usize = 1000;

type Kept = (Instant, Arc<Option<Value>>);

/// What was read lately.
#[derive(Default)]
pub(super) struct Schemas(Mutex<HashMap<(Identity, Guid), Kept>>);

impl Schemas {
    /// The schema of the flow's inputs; `None` inside for a flow without inputs.
    pub(super) async fn inputs_of(&self, dataverse: &Dataverse, flow: &Guid) -> Result<Arc<Option<Value>>, Error> {
        let key = (dataverse.identity(), *flow);
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = lock().get(&key).filter(|(read, _)| read.elapsed() < FRESH).cloned();
        if let Some((_, schema)) = known {
            return Ok(schema);
        }
        let schema = Arc::new(dataverse.workflow_inputs_schema(flow).await?);
        let mut kept = lock();
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(key, (Instant::now(), schema.clone()));
        Ok(schema)
    }
}
