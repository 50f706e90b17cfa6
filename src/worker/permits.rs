//! The right to hold a job, as a value: taken before a job is read, dropped when its command was acknowledged.
//!
//! Job types share one pool, but for those that operations gave a pool of their own. A job that only waits gives its
//! [`Permit`] up for a place in the car park ([`Permit::park`]) and takes one again when there is work
//! ([`Parked::resume`]): ahead of new intake, so that what was begun is finished before more is begun.
//!
//! Order: a pool serves first come, first served. An intake asks for one permit at a time and takes more only while
//! nobody waits, so at most one ticket of each job type goes before a job that comes back.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// All pools of a worker. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Permits {
    shared: Arc<Pool>,
    own: Arc<HashMap<String, Arc<Pool>>>,
    parking: Arc<Semaphore>,
    max_parked: usize,
}

impl Permits {
    /// A shared pool of `max_jobs`, pools of their own for some job types, and `max_parked` places for jobs that only
    /// wait, over all pools.
    pub fn new(max_jobs: usize, own: impl IntoIterator<Item = (String, usize)>, max_parked: usize) -> Self {
        let parking = Arc::new(Semaphore::new(max_parked));
        let own = own
            .into_iter()
            .map(|(job_type, size)| (job_type, Pool::new(size, parking.clone())));
        Self {
            shared: Pool::new(max_jobs, parking.clone()),
            own: Arc::new(own.collect()),
            parking,
            max_parked,
        }
    }

    /// The pool that jobs of this type take their permits from.
    pub fn pool(&self, job_type: &str) -> &Arc<Pool> {
        self.own.get(job_type).unwrap_or(&self.shared)
    }

    /// Each pool with its name: the job type, or `shared`.
    pub fn pools(&self) -> impl Iterator<Item = (&str, &Arc<Pool>)> {
        let own = self.own.iter().map(|(job_type, pool)| (job_type.as_str(), pool));
        std::iter::once(("shared", &self.shared)).chain(own)
    }

    /// Number of jobs that are parked.
    pub fn parked(&self) -> usize {
        self.max_parked - self.parking.available_permits()
    }
}

/// The permits of one or several job types.
#[derive(Debug)]
pub struct Pool {
    slots: Arc<Semaphore>,
    size: usize,
    /// Everybody who waits for a permit, and those of them that come back from the car park.
    waiting: AtomicUsize,
    returning: AtomicUsize,
    changed: Notify,
    parking: Arc<Semaphore>,
}

impl Pool {
    fn new(size: usize, parking: Arc<Semaphore>) -> Arc<Self> {
        Arc::new(Self {
            slots: Arc::new(Semaphore::new(size)),
            size,
            waiting: AtomicUsize::new(0),
            returning: AtomicUsize::new(0),
            changed: Notify::new(),
            parking,
        })
    }

    /// Number of permits, taken ones included.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Number of permits that nobody has.
    pub fn free(&self) -> usize {
        self.slots.available_permits()
    }

    /// Waits for a permit, first come, first served. Safe to drop half-way.
    pub async fn acquire(self: &Arc<Self>) -> Permit {
        let slot = match self.slots.clone().try_acquire_owned() {
            Ok(slot) => slot,
            Err(_) => {
                let _waiting = InLine::at(&self.waiting, &self.changed);
                let slot = self.slots.clone().acquire_owned().await;
                slot.expect("a pool is never closed")
            }
        };
        Permit {
            pool: self.clone(),
            _slot: slot,
        }
    }

    /// A permit if one is free and nobody waits for it.
    pub fn try_acquire(self: &Arc<Self>) -> Option<Permit> {
        let slot = self.slots.clone().try_acquire_owned().ok()?;
        Some(Permit {
            pool: self.clone(),
            _slot: slot,
        })
    }

    /// Waits until somebody waits in vain for a permit: whoever sits idle on one should give it back after a while.
    pub async fn contended(&self) {
        self.someone(&self.waiting).await;
    }

    /// Waits until a parked job waits in vain: whoever sits idle on a permit should give it back at once.
    pub async fn wanted_back(&self) {
        self.someone(&self.returning).await;
    }

    async fn someone(&self, count: &AtomicUsize) {
        loop {
            let changed = self.changed.notified();
            if count.load(Ordering::SeqCst) > 0 {
                return;
            }
            changed.await;
        }
    }
}

/// Somebody in the line for a permit; leaves it when dropped.
struct InLine<'a>(&'a AtomicUsize);

impl<'a> InLine<'a> {
    fn at(count: &'a AtomicUsize, changed: &Notify) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        changed.notify_waiters();
        Self(count)
    }
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The right to hold one job and work on it. Dropping it gives the right back, panics included.
#[derive(Debug)]
#[must_use = "dropping a permit gives the right to hold a job back"]
pub struct Permit {
    pool: Arc<Pool>,
    _slot: OwnedSemaphorePermit,
}

impl Permit {
    /// Gives the place among the running jobs up for one among the parked.
    ///
    /// # Errors
    /// The permit itself when all places are taken: the job waits where it is.
    pub fn park(self) -> Result<Parked, Self> {
        match self.pool.parking.clone().try_acquire_owned() {
            Ok(place) => Ok(Parked {
                pool: self.pool,
                _place: place,
            }),
            Err(_) => Err(self),
        }
    }
}

/// The right to hold one job that only waits.
#[derive(Debug)]
#[must_use = "dropping it gives the right to hold a job back"]
pub struct Parked {
    pool: Arc<Pool>,
    _place: OwnedSemaphorePermit,
}

impl Parked {
    /// Waits for a place among the running jobs, ahead of new intake; the parking place is kept until then. Dropping the
    /// future half-way drops the right to hold the job.
    pub async fn resume(self) -> Permit {
        let _returning = InLine::at(&self.pool.returning, &self.pool.changed);
        self.pool.acquire().await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;

    fn permits(max_jobs: usize, max_parked: usize) -> Permits {
        Permits::new(max_jobs, [("own".to_owned(), 1)], max_parked)
    }

    #[tokio::test]
    async fn a_job_type_with_a_pool_of_its_own_neither_takes_from_the_others_nor_gives_to_them() {
        let permits = permits(1, 0);
        let _shared = permits.pool("a").acquire().await;
        assert!(permits.pool("b").try_acquire().is_none(), "a and b share");
        let _own = permits.pool("own").try_acquire().unwrap();
        assert!(permits.pool("own").try_acquire().is_none());
        assert_eq!(permits.pool("own").size(), 1);
    }

    #[tokio::test]
    async fn parking_frees_the_running_place_and_a_full_car_park_gives_the_permit_back() {
        let permits = permits(1, 1);
        let pool = permits.pool("a");
        let parked = pool.acquire().await.park().unwrap();
        assert_eq!((permits.parked(), pool.free()), (1, 1));
        let second = pool.acquire().await.park().unwrap_err();
        assert_eq!((permits.parked(), pool.free()), (1, 0));
        drop(second);
        let running = parked.resume().await;
        assert_eq!((permits.parked(), pool.free()), (0, 0));
        drop(running);
        assert_eq!(pool.free(), 1);
    }

    #[tokio::test]
    async fn what_comes_back_goes_before_new_intake() {
        let permits = permits(2, 10);
        let pool = permits.pool("a");
        let mut parked = Vec::new();
        for _ in 0..5 {
            parked.push(pool.acquire().await.park().unwrap());
        }
        let mut busy = vec![pool.acquire().await, pool.acquire().await];
        let mut back: Vec<_> = parked.into_iter().map(|one| Box::pin(one.resume())).collect();
        for one in &mut back {
            assert!(one.now_or_never().is_none());
        }
        let mut new = Box::pin(pool.acquire());
        assert!((&mut new).now_or_never().is_none());
        assert!(pool.wanted_back().now_or_never().is_some());
        for one in back {
            drop(busy.remove(0));
            assert!(pool.try_acquire().is_none(), "nobody barges in");
            busy.push(one.now_or_never().expect("the next of those that come back"));
            assert!((&mut new).now_or_never().is_none());
        }
        drop(busy.remove(0));
        assert!((&mut new).now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_holder_hears_that_others_want_its_permit() {
        let permits = permits(1, 1);
        let pool = permits.pool("a").clone();
        let idle = pool.acquire().await;
        assert!(pool.contended().now_or_never().is_none());
        let other = tokio::spawn({
            let pool = pool.clone();
            async move { drop(pool.acquire().await) }
        });
        pool.contended().await;
        assert!(pool.wanted_back().now_or_never().is_none(), "new intake can wait");
        drop(idle);
        other.await.unwrap();
        let quiet = tokio::time::timeout(Duration::from_secs(1), pool.contended()).await;
        assert!(quiet.is_err(), "nobody waits any more");
    }

    #[tokio::test]
    async fn whoever_leaves_the_line_leaves_nothing_behind() {
        let permits = permits(1, 1);
        let pool = permits.pool("a");
        let held = pool.acquire().await;
        assert!(pool.acquire().now_or_never().is_none());
        assert!(pool.contended().now_or_never().is_none());
        drop(held);
        assert_eq!(pool.free(), 1);
    }
}
