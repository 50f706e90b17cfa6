//! Incidents: trouble that needs a person. Raised where an element or job cannot go on; resolving tries again.

use super::elements::{Phase, Step};
use super::events::{Event, Incident, IncidentKind};
use super::jobs::State;
use super::machine::{Key, Machine};
use super::rejection::Rejection;

impl Machine {
    pub(super) fn raise(&mut self, element_instance: Key, job: Option<Key>, kind: IncidentKind, message: String) {
        let key = self.new_key();
        let Some(element) = self.elements.get_mut(element_instance) else {
            return;
        };
        element.incidents.push(key);
        let incident = Incident {
            key,
            instance: element.instance,
            element_id: element.element().id.clone(),
            element_instance,
            job,
            kind,
            message,
        };
        self.emit(|| Event::IncidentRaised(incident.clone()));
        self.incidents.insert(key, incident);
    }

    /// Every incident that is open, the oldest first.
    pub fn open_incidents(&self) -> Vec<Incident> {
        let mut open: Vec<Incident> = self.incidents.values().cloned().collect();
        open.sort_by_key(|incident| incident.key);
        open
    }

    /// Closes an incident and tries again what it stopped.
    ///
    /// # Errors
    /// There is no such incident, or it is about a job that still has no retries.
    pub fn resolve_incident(&mut self, key: Key) -> Result<(), Rejection> {
        let Some(incident) = self.incidents.get(&key) else {
            return Err(Rejection::not_found(
                "RESOLVE",
                format!("Expected to resolve incident with key '{key}', but no such incident was found"),
            ));
        };
        let (job, element) = (incident.job, incident.element_instance);
        if let Some(job) = job
            && self.jobs.get(job).is_some_and(|job| job.retries <= 0)
        {
            let reason = format!(
                "Expected to resolve incident with key '{key}', but job with key '{job}' has no retries left. Please update the job retries and retry resolving the incident"
            );
            return Err(Rejection::invalid_state("RESOLVE", reason));
        }
        self.close_incident(key);
        match job {
            Some(job) => {
                if matches!(
                    self.jobs.get(job).map(|job| &job.state),
                    Some(State::Failed | State::ErrorThrown)
                ) {
                    self.offer(job);
                }
            }
            None => match self.elements.get(element).map(|element| element.phase) {
                Some(Phase::Activating) => self.steps.push_back(Step::Activate(element)),
                Some(Phase::Completing) => self.steps.push_back(Step::Complete(element)),
                Some(Phase::Active) | None => {}
            },
        }
        Ok(())
    }

    fn close_incident(&mut self, key: Key) {
        let Some(incident) = self.incidents.remove(&key) else {
            return;
        };
        if let Some(element) = self.elements.get_mut(incident.element_instance) {
            element.incidents.retain(|&other| other != key);
        }
        self.emit(|| Event::IncidentResolved {
            incident: key,
            instance: incident.instance,
        });
    }
}
