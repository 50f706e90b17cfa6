//! What was typed.

use std::path::PathBuf;

const HELP: &str = "\
Kills replicas of deskhand and counts runs of desktop flows.

  --kills N            kills and freezes in all (default 40)
  --engine ADDRESS     a gateway, e.g. http://127.0.0.1:26500; without it the engine of the sandbox is used
  --replicas N         replicas at once (default 2)
  --instances N        process instances in flight (default 50)
  --seed S             what happens when (default: from the clock, printed)
  --state FILE         keeps totals after each round; begun again, the campaign goes on there
  --broker-crash CMD   a shell command that kills the broker and starts it again; run up to --broker-crashes times
  --broker-crashes N   at most 20 (default 0)
  --without GUARD      takes a guard down: intent, settle, look or lease. The campaign must then fail
  --log DIRECTORY      where replicas write their logs";

/// What the campaign shall do.
#[derive(Clone, Debug)]
pub struct Arguments {
    pub kills: u32,
    pub engine: Option<String>,
    pub replicas: usize,
    pub instances: usize,
    pub seed: u64,
    pub state: Option<PathBuf>,
    pub broker_crash: Option<String>,
    pub broker_crashes: u32,
    pub without: Option<String>,
    pub log: Option<PathBuf>,
}

pub fn parse(words: &[String]) -> Result<Arguments, String> {
    let mut arguments = Arguments {
        kills: 40,
        engine: None,
        replicas: 2,
        instances: 50,
        seed: u64::from(std::process::id()) ^ jiff::Timestamp::now().as_microsecond().unsigned_abs(),
        state: None,
        broker_crash: None,
        broker_crashes: 0,
        without: None,
        log: None,
    };
    let mut words = words.iter();
    while let Some(flag) = words.next() {
        if matches!(flag.as_str(), "--help" | "-h") {
            return Err(HELP.to_owned());
        }
        let value = words
            .next()
            .ok_or_else(|| format!("{flag} needs a value\n\n{HELP}"))?
            .as_str();
        let number = || value.parse().map_err(|_| format!("{flag} {value}: not a number"));
        match flag.as_str() {
            "--kills" => arguments.kills = number()?,
            "--engine" => {
                let scheme = if value.contains("://") { "" } else { "http://" };
                arguments.engine = Some(format!("{scheme}{value}"));
            }
            "--replicas" => arguments.replicas = number()?.clamp(1, 8) as usize,
            "--instances" => arguments.instances = number()?.clamp(1, 1_000) as usize,
            "--seed" => arguments.seed = u64::from(number()?),
            "--state" => arguments.state = Some(value.into()),
            "--broker-crash" => arguments.broker_crash = Some(value.to_owned()),
            "--broker-crashes" => arguments.broker_crashes = number()?.min(20),
            "--without" if ["intent", "settle", "look", "lease"].contains(&value) => {
                arguments.without = Some(value.to_owned());
            }
            "--without" => return Err(format!("--without {value}: write intent, settle, look or lease")),
            "--log" => arguments.log = Some(value.into()),
            _ => return Err(format!("{flag}: there is no such flag\n\n{HELP}")),
        }
    }
    Ok(arguments)
}
