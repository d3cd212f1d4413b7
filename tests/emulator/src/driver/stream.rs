//! Streams: what comes after what.

use std::ffi::{c_int, c_uint, c_void};

use super::capture::Capture;
use super::context::Context;
use super::entry::{Locked, enter, enter_context, out, thread};
use super::error::{Code, Failure, misuse};
use super::event::Last;
use super::queue::TaskId;
use super::state::Driver;
use super::table::{Handle, Object};
use super::work::Work;

/// `CU_STREAM_LEGACY`.
const LEGACY: usize = 1;

/// `CU_STREAM_PER_THREAD`.
const PER_THREAD: usize = 2;

/// `CU_STREAM_NON_BLOCKING`.
const NON_BLOCKING: c_uint = 1;

/// Highest priority; the lowest is 0.
pub const HIGHEST_PRIORITY: c_int = -5;

/// How a stream goes along with the legacy default stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is the legacy default stream: it comes after all blocking streams, and they after it.
    Legacy,
    /// Ordered with the legacy default stream.
    Blocking,
    /// On its own.
    NonBlocking,
}

/// A stream.
#[derive(Debug)]
pub struct Stream {
    /// Its context.
    pub context: Handle<Context>,
    /// How it goes along with the legacy default stream.
    pub kind: Kind,
    /// As asked for.
    pub priority: c_int,
    /// What its next task comes after.
    pub frontier: Vec<TaskId>,
    /// The capture that it takes part in.
    pub capture: Option<Handle<Capture>>,
}

impl Object for Stream {
    const NAME: &'static str = "stream";
    const RANGE: u64 = 0x53;
}

impl Stream {
    /// A new stream.
    pub fn new(context: Handle<Context>, kind: Kind, priority: c_int) -> Self {
        Stream {
            context,
            kind,
            priority,
            frontier: Vec::new(),
            capture: None,
        }
    }
}

impl Driver {
    /// The stream that a program means, whose context must be healthy.
    pub fn stream(
        &mut self,
        raw: *mut c_void,
        current: Handle<Context>,
    ) -> Result<Handle<Stream>, Failure> {
        let stream = match raw.addr() {
            0 | LEGACY => self.contexts.get(current)?.legacy,
            PER_THREAD => self.per_thread_stream(current)?,
            _ => Handle::from_raw(raw),
        };
        let context = self.streams.get(stream)?.context;
        self.healthy(context)?;
        Ok(stream)
    }

    fn per_thread_stream(&mut self, context: Handle<Context>) -> Result<Handle<Stream>, Failure> {
        if let Some(&known) = self.contexts.get(context)?.per_thread.get(&thread()) {
            return Ok(known);
        }
        let stream = self.streams.insert(Stream::new(context, Kind::Blocking, 0));
        self.contexts
            .get_mut(context)?
            .per_thread
            .insert(thread(), stream);
        Ok(stream)
    }

    /// Tasks that the next one of a stream comes after.
    pub fn dependencies(&mut self, stream: Handle<Stream>) -> Result<Vec<TaskId>, Failure> {
        let Stream {
            context,
            kind,
            ref frontier,
            ..
        } = *self.streams.get(stream)?;
        let mut after = frontier.clone();
        match kind {
            Kind::NonBlocking => {}
            Kind::Blocking => after.extend(
                &self
                    .streams
                    .get(self.contexts.get(context)?.legacy)?
                    .frontier,
            ),
            Kind::Legacy => {
                after.extend(&self.contexts.get(context)?.detached);
                let mut captured = None;
                for (_, other) in self
                    .streams
                    .iter()
                    .filter(|(_, other)| other.context == context && other.kind == Kind::Blocking)
                {
                    after.extend(&other.frontier);
                    captured = captured.or(other.capture);
                }
                if let Some(capture) = captured {
                    self.invalidate(capture);
                    return Err(misuse(
                        Code::CaptureImplicit,
                        "the legacy default stream would wait for a blocking stream that is being captured",
                    ));
                }
            }
        }
        Ok(after)
    }

    /// Gives a stream something to do. A stream that is being captured only takes note of it: then there is no task.
    pub fn submit(
        &mut self,
        stream: Handle<Stream>,
        work: Work,
    ) -> Result<Option<TaskId>, Failure> {
        if self.note_in_capture(stream, &work)? {
            return Ok(None);
        }
        let after = self.dependencies(stream)?;
        let context = self.streams.get(stream)?.context;
        let task = self.queue.add(context, after, work);
        self.streams.get_mut(stream)?.frontier = vec![task];
        Ok(Some(task))
    }

    /// Makes a stream's next task come after others.
    pub fn order_after(&mut self, stream: Handle<Stream>, tasks: &[TaskId]) -> Result<(), Failure> {
        let pending: Vec<TaskId> = tasks
            .iter()
            .copied()
            .filter(|&task| self.queue.is_pending(task))
            .collect();
        let frontier = &mut self.streams.get_mut(stream)?.frontier;
        for task in pending {
            if !frontier.contains(&task) {
                frontier.push(task);
            }
        }
        Ok(())
    }

    /// Fails for a stream that is being captured: the call would have to wait for work that is not even going to run now.
    pub fn refuse_captured(&mut self, stream: Handle<Stream>) -> Result<(), Failure> {
        match self.streams.get(stream)?.capture {
            None => Ok(()),
            Some(capture) => {
                self.invalidate(capture);
                Err(misuse(
                    Code::CaptureUnsupported,
                    "the stream is being captured: this call cannot become part of a graph",
                ))
            }
        }
    }
}

impl Locked {
    /// Gives a stream something to do and waits for it.
    pub fn submit_and_wait(&mut self, stream: Handle<Stream>, work: Work) -> Result<(), Failure> {
        self.refuse_captured(stream)?;
        let context = self.streams.get(stream)?.context;
        if let Some(task) = self.submit(stream, work)? {
            self.complete(&[task]);
        }
        self.healthy(context)
    }
}

/// Creates a stream.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamCreate(stream: *mut *mut c_void, flags: c_uint) -> Code {
    // SAFETY: the same contract.
    unsafe { cuStreamCreateWithPriority(stream, flags, 0) }
}

/// Creates a stream with a priority, which is remembered and has no effect.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamCreateWithPriority(
    stream: *mut *mut c_void,
    flags: c_uint,
    priority: c_int,
) -> Code {
    enter_context("cuStreamCreateWithPriority", |driver, context| {
        // SAFETY: the driver interface demands a pointer that may be written.
        let stream = unsafe { out(stream) }?;
        let kind = match flags {
            0 => Kind::Blocking,
            NON_BLOCKING => Kind::NonBlocking,
            _ => {
                return Err(misuse(
                    Code::InvalidValue,
                    format!("stream flags {flags:#x}: 0 or CU_STREAM_NON_BLOCKING"),
                ));
            }
        };
        let priority = priority.clamp(HIGHEST_PRIORITY, 0);
        stream.write(
            driver
                .streams
                .insert(Stream::new(context, kind, priority))
                .raw(),
        );
        Ok(())
    })
}

/// Destroys a stream; what it still has to do is done in its time.
#[unsafe(no_mangle)]
pub extern "C" fn cuStreamDestroy_v2(stream: *mut c_void) -> Code {
    enter("cuStreamDestroy", |driver| {
        let handle = Handle::from_raw(stream);
        if stream.addr() <= PER_THREAD {
            return Err(misuse(
                Code::InvalidHandle,
                "default streams cannot be destroyed",
            ));
        }
        if let Some(capture) = driver.streams.get(handle)?.capture {
            driver.invalidate(capture);
        }
        let stream = driver.streams.remove(handle)?;
        let context = driver.contexts.get_mut(stream.context)?;
        if stream.kind == Kind::Blocking {
            context.detached.extend(stream.frontier);
        }
        let Driver {
            contexts, queue, ..
        } = &mut **driver;
        contexts
            .get_mut(stream.context)?
            .detached
            .retain(|&task| queue.is_pending(task));
        Ok(())
    })
}

/// Waits for a stream.
#[unsafe(no_mangle)]
pub extern "C" fn cuStreamSynchronize(stream: *mut c_void) -> Code {
    enter_context("cuStreamSynchronize", |driver, context| {
        let (owner, goals) = driver.goals_of(stream, context)?;
        driver.complete(&goals);
        driver.healthy(owner)
    })
}

/// Asks whether a stream is done; the asking brings it one task further.
#[unsafe(no_mangle)]
pub extern "C" fn cuStreamQuery(stream: *mut c_void) -> Code {
    enter_context("cuStreamQuery", |driver, context| {
        let (owner, goals) = driver.goals_of(stream, context)?;
        let done = driver.progress(&goals);
        driver.healthy(owner)?;
        if done {
            Ok(())
        } else {
            Err(Code::NotReady.into())
        }
    })
}

impl Driver {
    /// What has to be done before a stream is idle, and the stream's context.
    fn goals_of(
        &mut self,
        raw: *mut c_void,
        current: Handle<Context>,
    ) -> Result<(Handle<Context>, Vec<TaskId>), Failure> {
        let stream = self.stream(raw, current)?;
        self.refuse_captured(stream)?;
        self.refuse_while_capturing()?;
        let Stream {
            context,
            kind,
            ref frontier,
            ..
        } = *self.streams.get(stream)?;
        let goals = if kind == Kind::Legacy {
            self.dependencies(stream)?
        } else {
            frontier.clone()
        };
        Ok((context, goals))
    }
}

/// Makes a stream wait for an event.
#[unsafe(no_mangle)]
pub extern "C" fn cuStreamWaitEvent(
    stream: *mut c_void,
    event: *mut c_void,
    flags: c_uint,
) -> Code {
    enter_context("cuStreamWaitEvent", |driver, context| {
        if flags > 1 {
            return Err(misuse(
                Code::InvalidValue,
                format!("event wait flags {flags:#x}"),
            ));
        }
        let stream = driver.stream(stream, context)?;
        let last = driver.events.get(Handle::from_raw(event))?.last.clone();
        if driver.join_capture(stream, &last)? {
            return Ok(());
        }
        match last {
            Last::Task(task) => driver.order_after(stream, &[task]),
            Last::Never | Last::Captured(..) => Ok(()),
        }
    })
}
