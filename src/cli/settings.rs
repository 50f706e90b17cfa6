//! The settings as flags, made from their table.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command, FromArgMatches};

use super::output::complain;
use super::{UNAVAILABLE, USAGE};
use crate::config::settings::SETTINGS;
use crate::config::{Config, Flags, Process};

/// The flags of commands that take the configuration.
#[derive(Debug)]
pub(super) struct Settings(Flags);

impl Settings {
    /// The configuration, or its faults on stderr and the exit code.
    pub(super) fn load(&self) -> Result<Config, ExitCode> {
        Config::load(&self.0, &Process).map_err(|faults| {
            let many = if faults.0.len() == 1 { "a fault" } else { "faults" };
            complain(format_args!("the configuration has {many}:"));
            for fault in &faults.0 {
                complain(format_args!("  {}: {}", fault.place, fault.message));
            }
            complain(format_args!(
                "`deskhand run --help` and deskhand.toml tell what each setting takes"
            ));
            ExitCode::from(USAGE)
        })
    }
}

impl clap::Args for Settings {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .help("Read settings from this file [env: DESKHAND_CONFIG] [default: deskhand.toml, if there is one]")
            .value_parser(clap::value_parser!(PathBuf));
        let flags = SETTINGS.iter().filter_map(|setting| {
            let flag = setting.flag?;
            let default = match setting.default {
                "" => String::new(),
                default => format!(" [default: {default}]"),
            };
            Some(
                Arg::new(setting.key)
                    .long(flag)
                    .value_name(setting.kind.placeholder())
                    .help(format!("{} [env: {}]{default}", setting.meaning, setting.variable())),
            )
        });
        command.arg(file).args(flags.collect::<Vec<_>>())
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Settings {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let typed = |key: &str| matches.get_one::<String>(key).cloned();
        let flagged = SETTINGS.iter().filter(|setting| setting.flag.is_some());
        Ok(Self(Flags {
            values: flagged
                .filter_map(|setting| Some((setting.key, typed(setting.key)?)))
                .collect(),
            config: matches.get_one::<PathBuf>("config").cloned(),
        }))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Says why a server could not be started, and gives the exit code.
pub(super) fn not_started(what: &str, listen: std::net::SocketAddr, error: &dyn std::fmt::Display) -> ExitCode {
    complain(format_args!(
        "{what} could not be started at {listen}: {error}; choose another address"
    ));
    ExitCode::from(UNAVAILABLE)
}
