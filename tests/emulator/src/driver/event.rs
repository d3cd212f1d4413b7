//! Events: points in streams that others wait for, with the time at which they were reached.

use std::ffi::{c_uint, c_void};
use std::time::Instant;

use super::capture::Capture;
use super::context::Context;
use super::entry::{enter, enter_context, out};
use super::error::{Code, Failure, misuse};
use super::queue::TaskId;
use super::state::Driver;
use super::table::{Handle, Object};
use super::work::Work;

/// `CU_EVENT_BLOCKING_SYNC`: accepted, every wait sleeps anyway.
const BLOCKING_SYNC: c_uint = 1;

/// `CU_EVENT_DISABLE_TIMING`.
const DISABLE_TIMING: c_uint = 2;

/// What an event last recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Last {
    /// Nothing yet.
    Never,
    /// A point in a stream.
    Task(TaskId),
    /// A point in a capture: the nodes that come before it.
    Captured(Handle<Capture>, Vec<usize>),
}

/// An event.
#[derive(Debug)]
pub struct Event {
    /// Its context.
    pub context: Handle<Context>,
    /// Whether it keeps the time.
    timed: bool,
    /// What it last recorded.
    pub last: Last,
    /// When that was reached.
    time: Option<Instant>,
}

impl Object for Event {
    const NAME: &'static str = "event";
    const RANGE: u64 = 0x45;
}

impl Driver {
    /// The stream has reached the point that the event records.
    pub fn record_now(&mut self, event: Handle<Event>, task: TaskId) {
        // An event that was destroyed or recorded again in the meantime has no use for this time.
        if let Ok(event) = self.events.get_mut(event)
            && event.last == Last::Task(task)
        {
            event.time = Some(Instant::now());
        }
    }

    /// The point that an event recorded, if it is one that can be waited for by the host.
    fn point(&mut self, event: Handle<Event>) -> Result<(Handle<Context>, Vec<TaskId>), Failure> {
        let Event {
            context, ref last, ..
        } = *self.events.get(event)?;
        let goals = match *last {
            Last::Never => Vec::new(),
            Last::Task(task) => vec![task],
            Last::Captured(capture, _) => {
                self.invalidate(capture);
                return Err(misuse(
                    Code::CapturedEvent,
                    "the event was last recorded in a capturing stream: the host cannot wait for it",
                ));
            }
        };
        self.refuse_while_capturing()?;
        self.healthy(context)?;
        Ok((context, goals))
    }
}

/// Creates an event.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventCreate(event: *mut *mut c_void, flags: c_uint) -> Code {
    enter_context("cuEventCreate", |driver, context| {
        // SAFETY: the driver interface demands a pointer that may be written.
        let event = unsafe { out(event) }?;
        if flags & !(BLOCKING_SYNC | DISABLE_TIMING) != 0 {
            return Err(misuse(
                Code::NotSupported,
                format!("event flags {flags:#x}: events between processes are not supported"),
            ));
        }
        let timed = flags & DISABLE_TIMING == 0;
        event.write(
            driver
                .events
                .insert(Event {
                    context,
                    timed,
                    last: Last::Never,
                    time: None,
                })
                .raw(),
        );
        Ok(())
    })
}

/// Destroys an event; waits for it that were asked for stay.
#[unsafe(no_mangle)]
pub extern "C" fn cuEventDestroy_v2(event: *mut c_void) -> Code {
    enter("cuEventDestroy", |driver| {
        driver.events.remove(Handle::from_raw(event)).map(drop)
    })
}

/// Records the point that a stream has come to.
#[unsafe(no_mangle)]
pub extern "C" fn cuEventRecord(event: *mut c_void, stream: *mut c_void) -> Code {
    enter_context("cuEventRecord", |driver, context| {
        let event = Handle::from_raw(event);
        let stream = driver.stream(stream, context)?;
        if driver.events.get(event)?.context != driver.streams.get(stream)?.context {
            return Err(misuse(
                Code::InvalidHandle,
                "event and stream belong to different contexts",
            ));
        }
        let last = match driver.captured_point(stream)? {
            Some((capture, nodes)) => Last::Captured(capture, nodes),
            None => {
                let task = driver.submit(stream, Work::Record(event))?;
                Last::Task(task.expect("a stream that is not being captured makes a task"))
            }
        };
        let event = driver.events.get_mut(event)?;
        event.last = last;
        event.time = None;
        Ok(())
    })
}

/// Records the point that a stream has come to. In a capture, the flag for an event outside of the graph is not supported.
#[unsafe(no_mangle)]
pub extern "C" fn cuEventRecordWithFlags(
    event: *mut c_void,
    stream: *mut c_void,
    flags: c_uint,
) -> Code {
    if flags != 0 {
        return enter("cuEventRecordWithFlags", |_| {
            Err(misuse(
                Code::NotSupported,
                "external event records are not supported",
            ))
        });
    }
    cuEventRecord(event, stream)
}

/// Waits until an event's point is reached.
#[unsafe(no_mangle)]
pub extern "C" fn cuEventSynchronize(event: *mut c_void) -> Code {
    enter("cuEventSynchronize", |driver| {
        let (context, goals) = driver.point(Handle::from_raw(event))?;
        driver.complete(&goals);
        driver.healthy(context)
    })
}

/// Asks whether an event's point is reached; the asking brings it one task nearer.
#[unsafe(no_mangle)]
pub extern "C" fn cuEventQuery(event: *mut c_void) -> Code {
    enter("cuEventQuery", |driver| {
        let (context, goals) = driver.point(Handle::from_raw(event))?;
        let done = driver.progress(&goals);
        driver.healthy(context)?;
        if done {
            Ok(())
        } else {
            Err(Code::NotReady.into())
        }
    })
}

/// Milliseconds between two events: the time the stand-in took, which says nothing about a GPU.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventElapsedTime_v2(
    milliseconds: *mut f32,
    start: *mut c_void,
    end: *mut c_void,
) -> Code {
    enter("cuEventElapsedTime", |driver| {
        // SAFETY: the driver interface demands a pointer that may be written.
        let milliseconds = unsafe { out(milliseconds) }?;
        let mut times = [None; 2];
        for (time, raw) in times.iter_mut().zip([start, end]) {
            let event = driver.events.get(Handle::from_raw(raw))?;
            driver.healthy(event.context)?;
            if !event.timed || event.last == Last::Never {
                return Err(misuse(
                    Code::InvalidHandle,
                    "an event without timing, or never recorded, has no time",
                ));
            }
            *time = event.time;
        }
        let [Some(start), Some(end)] = times else {
            return Err(Code::NotReady.into());
        };
        let forward = end.saturating_duration_since(start).as_secs_f32();
        milliseconds.write(1e3 * (forward - start.saturating_duration_since(end).as_secs_f32()));
        Ok(())
    })
}

/// The same under its older name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventElapsedTime(
    milliseconds: *mut f32,
    start: *mut c_void,
    end: *mut c_void,
) -> Code {
    // SAFETY: the same contract.
    unsafe { cuEventElapsedTime_v2(milliseconds, start, end) }
}
