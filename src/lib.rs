//! deskhand: a job worker for process engines that speak the Zeebe gateway protocol (Camunda 8).
//!
//! A job goes through these modules in this order:
//!
//! ```text
//! engine ── job ──▶ permit ──▶ secrets ──▶ connector ──▶ HTTP ──▶ response ──▶ mapping ──▶ outcome ──▶ command ──▶ engine
//! ```
//!
//! | room          | what happens there                                                                     |
//! |---------------|----------------------------------------------------------------------------------------|
//! | [`engine`]    | the process engine over gRPC: channels, credentials, jobs in, commands out              |
//! | [`worker`]    | permits, running jobs, heartbeats, drain; `pipeline` is one job's way on one page       |
//! | [`job`]       | an activated job, typed                                                                 |
//! | [`outcome`]   | what can go wrong, and what the engine shall be told                                    |
//! | [`message`]   | what a process gets that waits for the end of a run                                     |
//! | [`progress`]  | the steps of a job as values: what the demo shows and operations count                  |
//! | [`secrets`]   | references, providers, policy (who may send what where), redaction                      |
//! | [`connector`] | what one job type means: `http_json`, `desktop_flow`                                    |
//! | [`runs`]      | waiting for runs of desktop flows, and what must be known about them if this process dies |
//! | [`microsoft`] | Entra tokens and the Dataverse Web API, typed                                           |
//! | [`http`]      | the one way out: timeouts, size caps, tokens; no URL and no secret in an error          |
//! | [`mapping`]   | `resultVariable`, `resultExpression`, `errorExpression` over a response                 |
//! | [`feel`]      | the FEEL engine: text → program → value                                                 |
//!
//! Leaves that several rooms read: [`metrics`] (what operations count), [`audit`] (what became of which run), [`spans`] (which request
//! belongs to which job, for a collector of traces), [`iso_duration`] (durations as Java reads them) and [`spelling`] (the word that was
//! probably meant).
//!
//! Around them: [`cli`] (one file a subcommand), [`config`] (what was typed → what it means), [`admin`] (the port for
//! operations) and [`sandbox`] (a process engine and a Power Automate simulator for the demo and the tests).

pub mod admin;
pub mod audit;
pub mod cli;
pub mod config;
pub mod connector;
pub mod engine;
pub mod feel;
pub mod http;
pub mod iso_duration;
pub mod job;
pub mod mapping;
pub mod message;
pub mod metrics;
pub mod microsoft;
pub mod outcome;
pub mod progress;
pub mod runs;
pub mod sandbox;
pub mod secrets;
pub mod spans;
pub mod spelling;
pub mod worker;
