//! Engines that any thread may use, one at a time each.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::engine::Engine;

/// Some engines of the same model, those that are idle in line.
pub(crate) struct EnginePool {
    idle: Mutex<VecDeque<Box<dyn Engine>>>,
    returned: Condvar,
    len: usize,
}

/// An engine that goes back to its pool. One that was left in a panic has scratch memory that every call overwrites.
pub(crate) struct PooledEngine<'a> {
    pool: &'a EnginePool,
    engine: Option<Box<dyn Engine>>,
}

impl EnginePool {
    /// A pool of all engines of some devices: work goes to one device after the other.
    pub(crate) fn new(devices: Vec<Vec<Box<dyn Engine>>>) -> Self {
        let mut devices: Vec<_> = devices.into_iter().map(Vec::into_iter).collect();
        let mut idle = VecDeque::new();
        loop {
            let before = idle.len();
            idle.extend(devices.iter_mut().filter_map(Iterator::next));
            if idle.len() == before {
                break;
            }
        }
        Self {
            len: idle.len(),
            idle: Mutex::new(idle),
            returned: Condvar::new(),
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The engine that has been idle for longest, after waiting for one if need be.
    pub(crate) fn take(&self) -> PooledEngine<'_> {
        let mut idle = self.lock();
        loop {
            if let Some(engine) = idle.pop_front() {
                return PooledEngine {
                    pool: self,
                    engine: Some(engine),
                };
            }
            idle = self
                .returned
                .wait(idle)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Box<dyn Engine>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const UNTIL_DROPPED: &str = "an engine is there until its guard is dropped. This is a bug";

impl Deref for PooledEngine<'_> {
    type Target = Box<dyn Engine>;

    fn deref(&self) -> &Self::Target {
        self.engine.as_ref().expect(UNTIL_DROPPED)
    }
}

impl DerefMut for PooledEngine<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.engine.as_mut().expect(UNTIL_DROPPED)
    }
}

impl Drop for PooledEngine<'_> {
    fn drop(&mut self) {
        self.pool.lock().extend(self.engine.take());
        self.pool.returned.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::embeddings::Embeddings;
    use crate::engine::{Encoded, Memory, Want};
    use crate::error::Result;
    use crate::pack::PackedBatch;

    /// Its number is what it says of its memory.
    struct Numbered(usize);

    impl Engine for Numbered {
        fn encode(&mut self, batch: &PackedBatch, want: Want) -> Result<Encoded> {
            let embeddings = Embeddings::of_empty_documents(batch.len(), want.outputs);
            Ok(Encoded::new(embeddings))
        }

        fn memory(&self, _: usize) -> Memory {
            Memory {
                weights: self.0,
                arena: 0,
                peak: self.0,
            }
        }
    }

    fn pool(devices: &[&[usize]]) -> EnginePool {
        let engine = |&number: &usize| -> Box<dyn Engine> { Box::new(Numbered(number)) };
        let device = |numbers: &&[usize]| numbers.iter().map(engine).collect();
        EnginePool::new(devices.iter().map(device).collect())
    }

    #[test]
    fn devices_take_turns() {
        let pool = pool(&[&[0, 1], &[10, 11, 12]]);
        assert_eq!(pool.len(), 5);
        let engines: Vec<_> = (0..5).map(|_| pool.take()).collect();
        let numbers = engines.iter().map(|engine| engine.memory(0).weights);
        assert_eq!(numbers.collect::<Vec<_>>(), [0, 10, 1, 11, 12]);
    }

    #[test]
    fn nobody_gets_an_engine_that_another_has() {
        let pool = pool(&[&[0, 1, 2]]);
        let users = [0, 1, 2].map(AtomicUsize::new);
        users
            .iter()
            .for_each(|users| users.store(0, Ordering::Relaxed));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let engine = pool.take();
                        let users = &users[engine.memory(0).weights];
                        assert_eq!(users.fetch_add(1, Ordering::SeqCst), 0);
                        thread::sleep(Duration::from_micros(50));
                        users.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
    }

    #[test]
    fn an_engine_comes_back_from_a_panic() {
        let pool = pool(&[&[7]]);
        let panicked = thread::scope(|scope| {
            let user = scope.spawn(|| {
                let _engine = pool.take();
                panic!("while it is out");
            });
            user.join().is_err()
        });
        assert!(panicked);
        assert_eq!(pool.take().memory(0).weights, 7);
    }
}
