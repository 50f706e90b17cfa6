//! Service protection: a principal's request goes in, admission or a 429 comes out.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;

use super::clock::{later, whole_seconds_until};
use super::faults::{ProtectionLimit, Throttle};
use super::ids::Guid;
use super::world::{Limits, Span};

/// The counters of every principal.
#[derive(Debug, Default)]
pub(super) struct Protection {
    principals: HashMap<Guid, Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    /// Arrival and execution time of each request in the window. Never more than the request limit.
    recent: VecDeque<(Timestamp, Duration)>,
    spent: Duration,
    running: u32,
}

/// What is left of the limits, for the `x-ms-ratelimit-*` headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Remaining {
    pub(super) requests: u32,
    pub(super) time: Duration,
}

impl Protection {
    /// Admits a request, which must be [left](Self::leave) again.
    pub(super) fn enter(&mut self, principal: Guid, limits: &Limits, now: Timestamp) -> Result<Remaining, Throttle> {
        let counters = self.principals.entry(principal).or_default();
        let window = limits.window.get();
        while counters.recent.front().is_some_and(|(at, _)| later(*at, window) <= now) {
            if let Some((_, spent)) = counters.recent.pop_front() {
                counters.spent = counters.spent.saturating_sub(spent);
            }
        }
        let until_free = counters
            .recent
            .front()
            .map_or(1, |(at, _)| whole_seconds_until(now, later(*at, window)));
        let refuse = |limit, seconds| Throttle {
            limit,
            retry_after: Span::seconds(seconds),
            as_date: false,
        };
        if counters.running >= limits.concurrent {
            return Err(refuse(ProtectionLimit::Concurrent, 1));
        }
        let used = u32::try_from(counters.recent.len()).unwrap_or(u32::MAX);
        if used >= limits.requests {
            return Err(refuse(ProtectionLimit::Requests, until_free));
        }
        if counters.spent >= limits.execution_time.get() {
            return Err(refuse(ProtectionLimit::ExecutionTime, until_free));
        }
        counters.running += 1;
        counters.recent.push_back((now, Duration::ZERO));
        Ok(Remaining {
            requests: limits.requests - used - 1,
            time: limits.execution_time.get().saturating_sub(counters.spent),
        })
    }

    /// Ends a request that was admitted and took so long.
    pub(super) fn leave(&mut self, principal: Guid, took: Duration) {
        let Some(counters) = self.principals.get_mut(&principal) else {
            return;
        };
        counters.running = counters.running.saturating_sub(1);
        if let Some((_, spent)) = counters.recent.back_mut() {
            *spent += took;
            counters.spent += took;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHO: Guid = Guid::from_bits(1);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn limits() -> Limits {
        Limits {
            requests: 2,
            concurrent: 2,
            execution_time: Span::seconds(10),
            ..Limits::default()
        }
    }

    #[test]
    fn the_window_slides_and_retry_after_names_the_moment_it_frees() {
        let mut protection = Protection::default();
        for second in [0, 100] {
            protection.enter(WHO, &limits(), at(second)).unwrap();
            protection.leave(WHO, Duration::ZERO);
        }
        let refused = protection.enter(WHO, &limits(), at(120)).unwrap_err();
        assert_eq!(
            (refused.limit, refused.retry_after),
            (ProtectionLimit::Requests, Span::seconds(180))
        );
        assert_eq!(protection.enter(WHO, &limits(), at(300)).unwrap().requests, 0);
    }

    #[test]
    fn concurrency_and_execution_time_are_limited_too() {
        let limits = Limits {
            requests: 100,
            ..limits()
        };
        let mut protection = Protection::default();
        protection.enter(WHO, &limits, at(0)).unwrap();
        protection.enter(WHO, &limits, at(0)).unwrap();
        assert_eq!(
            protection.enter(WHO, &limits, at(0)).unwrap_err().limit,
            ProtectionLimit::Concurrent
        );
        protection.leave(WHO, Duration::from_secs(6));
        protection.leave(WHO, Duration::from_secs(6));
        assert_eq!(
            protection.enter(WHO, &limits, at(1)).unwrap_err().limit,
            ProtectionLimit::ExecutionTime
        );
    }
}
