//! Work waits here until somebody waits for it.
//!
//! A GPU may run asynchronous work at any moment between the call and the synchronisation. The stand-in runs it at the last
//! one: a program that forgets to synchronise sees old data, every time. A task runs when a goal is completed that comes
//! after it: its stream, an event, a context is synchronised.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::context::Context;
use super::entry::{Locked, thread};
use super::error::{Code, misuse};
use super::table::Handle;
use super::work::Work;
use crate::exec::Random;

/// Names a task. A later task has a higher number.
pub type TaskId = u64;

/// Tasks that a seeded schedule chooses among.
const CHOICE: usize = 64;

/// Tasks of a context that wait at most, as in the queue of a GPU.
const DEPTH: usize = 1024;

const PANICKED: &str = "the stand-in panicked (message above). This is a bug of the stand-in";

/// Tells the schedule's random numbers from those that launches draw.
const RANDOM_STREAM: u32 = u32::MAX - 2;

#[derive(Debug)]
struct Task {
    context: Handle<Context>,
    after: Vec<TaskId>,
    work: Work,
    running: bool,
}

/// The tasks that are not done.
#[derive(Debug, Default)]
pub struct Queue {
    made: TaskId,
    pending: BTreeMap<TaskId, Task>,
    /// How many of them each context has.
    counts: BTreeMap<Handle<Context>, usize>,
    random: Option<Random>,
}

/// What can be done towards a goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pick {
    /// This task can run now.
    Run(TaskId),
    /// Another thread runs what comes next.
    Elsewhere,
    /// The goal is reached.
    Nothing,
}

impl Queue {
    /// Adds a task that may run once those in `after` are done.
    pub fn add(&mut self, context: Handle<Context>, mut after: Vec<TaskId>, work: Work) -> TaskId {
        after.retain(|id| self.pending.contains_key(id));
        self.made += 1;
        self.pending.insert(
            self.made,
            Task {
                context,
                after,
                work,
                running: false,
            },
        );
        *self.counts.entry(context).or_default() += 1;
        self.made
    }

    fn remove(&mut self, id: TaskId) {
        if let Some(task) = self.pending.remove(&id) {
            self.uncount(task.context);
        }
    }

    fn uncount(&mut self, context: Handle<Context>) {
        if let Some(count) = self.counts.get_mut(&context) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&context);
            }
        }
    }

    /// Whether a task is not done.
    pub fn is_pending(&self, id: TaskId) -> bool {
        self.pending.contains_key(&id)
    }

    /// The tasks of a context that are not done.
    pub fn of_context(&self, context: Handle<Context>) -> Vec<TaskId> {
        self.pending
            .iter()
            .filter(|(_, task)| task.context == context)
            .map(|(&id, _)| id)
            .collect()
    }

    /// The tasks that are not done and whose work is wanted.
    pub fn with(&self, wanted: impl Fn(&Work) -> bool) -> Vec<TaskId> {
        let tasks = self.pending.iter().filter(|(_, task)| wanted(&task.work));
        tasks.map(|(&id, _)| id).collect()
    }

    /// Forgets what a context still had to do: after an error, nothing more of it runs.
    pub fn abandon(&mut self, context: Handle<Context>) {
        for id in self.of_context(context) {
            if self.pending.get(&id).is_some_and(|task| !task.running) {
                self.remove(id);
            }
        }
    }

    /// Chooses the schedule: 0 runs tasks in the order of the calls, others in any order that streams and events allow.
    pub fn set_seed(&mut self, seed: u64) {
        self.random = (seed != 0).then(|| Random::new(seed, RANDOM_STREAM));
    }

    /// The goals and all they come after.
    fn before(&self, goals: &[TaskId]) -> BTreeSet<TaskId> {
        let mut found = BTreeSet::new();
        let mut next = goals.to_vec();
        while let Some(id) = next.pop() {
            if let Some(task) = self.pending.get(&id)
                && found.insert(id)
            {
                next.extend(&task.after);
            }
        }
        found
    }

    fn is_ready(&self, task: &Task) -> bool {
        !task.running && !task.after.iter().any(|id| self.pending.contains_key(id))
    }

    fn pick(&mut self, wanted: &mut BTreeSet<TaskId>) -> Pick {
        if let Some(mut random) = self.random.take() {
            let chosen = self.pick_any(wanted, &mut random);
            self.random = Some(random);
            if let Some(id) = chosen {
                return Pick::Run(id);
            }
        }
        // The oldest one comes after none of the others.
        while let Some(&oldest) = wanted.first() {
            match self.pending.get(&oldest) {
                Some(task) if task.running => return Pick::Elsewhere,
                Some(_) => return Pick::Run(oldest),
                None => wanted.pop_first(),
            };
        }
        Pick::Nothing
    }

    fn pick_any(&self, wanted: &BTreeSet<TaskId>, random: &mut Random) -> Option<TaskId> {
        if !wanted.iter().any(|id| self.pending.contains_key(id)) {
            return None;
        }
        // Now and then other streams get ahead as well.
        let anything = random.below(4) == 0;
        let ready: Vec<TaskId> = (self.pending.iter())
            .filter(|(id, task)| (anything || wanted.contains(id)) && self.is_ready(task))
            .map(|(&id, _)| id)
            .take(CHOICE)
            .collect();
        (!ready.is_empty()).then(|| ready[random.below(ready.len())])
    }
}

impl Locked {
    /// Runs tasks until the goals are done.
    pub fn complete(&mut self, goals: &[TaskId]) {
        let mut wanted = self.queue.before(goals);
        loop {
            match self.queue.pick(&mut wanted) {
                Pick::Run(id) => self.run(id),
                Pick::Elsewhere => self.wait(),
                Pick::Nothing => return,
            }
        }
    }

    /// Runs one task towards the goals, so that a program that asks again and again gets there. Gives whether they are done.
    pub fn progress(&mut self, goals: &[TaskId]) -> bool {
        let mut wanted = self.queue.before(goals);
        if let Pick::Run(id) = self.queue.pick(&mut wanted) {
            self.run(id);
        }
        !goals.iter().any(|&id| self.queue.is_pending(id))
    }

    /// Runs the oldest tasks of a context that has too many: then a call waits, as it does on a GPU.
    pub fn make_room(&mut self, context: Handle<Context>) {
        while self
            .queue
            .counts
            .get(&context)
            .is_some_and(|&count| count > DEPTH)
        {
            let oldest = self
                .queue
                .pending
                .iter()
                .find(|(_, task)| task.context == context);
            let Some((&oldest, _)) = oldest else { return };
            self.complete(&[oldest]);
        }
    }

    fn run(&mut self, id: TaskId) {
        let Some(task) = self.queue.pending.get_mut(&id) else {
            return;
        };
        task.running = true;
        let (context, work) = (task.context, task.work.clone());
        // A task that panicked must not stay behind as one that runs: everybody would wait for it.
        let outcome = catch_unwind(AssertUnwindSafe(|| work.execute(self, id)))
            .unwrap_or_else(|_| Err(misuse(Code::Unknown, PANICKED)))
            .inspect_err(|failure| self.journal.refused(work.name(), failure, thread()));
        self.queue.remove(id);
        if let Err(failure) = outcome {
            self.fail(context, failure.code);
        }
    }

    fn fail(&mut self, context: Handle<Context>, code: Code) {
        self.queue.abandon(context);
        if let Ok(context) = self.contexts.get_mut(context) {
            context.failed.get_or_insert(code);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> Handle<Context> {
        Handle::from_number(1)
    }

    fn order(queue: &mut Queue, goals: &[TaskId]) -> Vec<TaskId> {
        let mut wanted = queue.before(goals);
        let mut done = Vec::new();
        while let Pick::Run(id) = queue.pick(&mut wanted) {
            queue.remove(id);
            done.push(id);
        }
        done
    }

    /// Two streams of two tasks each, the second waiting for the first's beginning.
    fn two_streams(queue: &mut Queue) -> [TaskId; 4] {
        let a = queue.add(context(), vec![], Work::Nothing);
        let b = queue.add(context(), vec![a], Work::Nothing);
        let c = queue.add(context(), vec![a], Work::Nothing);
        let d = queue.add(context(), vec![c], Work::Nothing);
        [a, b, c, d]
    }

    #[test]
    fn only_what_comes_before_the_goal_runs() {
        let mut queue = Queue::default();
        let [a, b, c, d] = two_streams(&mut queue);
        assert_eq!(order(&mut queue, &[d]), [a, c, d]);
        assert!(queue.is_pending(b));
        assert_eq!(order(&mut queue, &[b]), [b]);
    }

    #[test]
    fn seeds_try_every_allowed_order_and_no_other() {
        let mut seen = BTreeSet::new();
        for seed in 1..200 {
            let mut queue = Queue::default();
            queue.set_seed(seed);
            let [a, b, c, d] = two_streams(&mut queue);
            let order = order(&mut queue, &[d, b]);
            let at = |id: TaskId| order.iter().position(|&one| one == id).unwrap();
            assert!(at(a) == 0 && at(c) < at(d), "{order:?}");
            seen.insert(
                order
                    .iter()
                    .map(|&id| if id == b { 'b' } else { '.' })
                    .collect::<String>(),
            );
        }
        assert_eq!(
            seen.into_iter().collect::<Vec<_>>(),
            ["...b", "..b.", ".b.."]
        );
    }

    #[test]
    fn a_failed_context_takes_its_work_along() {
        let mut queue = Queue::default();
        let other = queue.add(Handle::from_number(2), vec![], Work::Nothing);
        let [.., d] = two_streams(&mut queue);
        queue.abandon(context());
        assert!(queue.is_pending(other) && !queue.is_pending(d));
        assert!(queue.of_context(context()).is_empty());
        assert_eq!(queue.counts, BTreeMap::from([(Handle::from_number(2), 1)]));
    }
}
