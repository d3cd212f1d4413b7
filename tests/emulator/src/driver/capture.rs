//! Stream capture: work is noted as the nodes of a graph instead of being done.

use std::collections::BTreeMap;
use std::ffi::{c_int, c_void};

use super::entry::{capture_mode, thread};
use super::error::{Code, Failure, misuse};
use super::event::Last;
use super::graph::{Graph, Node};
use super::state::Driver;
use super::stream::{Kind, Stream};
use super::table::{Handle, Object};
use super::work::Work;

/// Which calls a capture forbids, and to whom: those that a graph cannot hold and that may wait for captured work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Mode {
    /// To every thread.
    Global = 0,
    /// To the thread that captures.
    ThreadLocal = 1,
    /// To nobody.
    Relaxed = 2,
}

impl Mode {
    /// The mode with this number.
    pub fn from_number(number: c_int) -> Result<Self, Failure> {
        match number {
            0 => Ok(Mode::Global),
            1 => Ok(Mode::ThreadLocal),
            2 => Ok(Mode::Relaxed),
            _ => Err(misuse(Code::InvalidValue, format!("capture mode {number}"))),
        }
    }
}

/// A point in a capture: the nodes that come before it.
type Point = (Handle<Capture>, Vec<usize>);

/// A capture under way.
#[derive(Debug)]
pub struct Capture {
    /// The stream in which it began.
    pub origin: Handle<Stream>,
    /// What it forbids.
    pub mode: Mode,
    /// The thread that began it.
    pub thread: u64,
    /// It was spoilt.
    pub invalid: bool,
    /// What it has noted.
    pub graph: Handle<Graph>,
    /// The streams that take part, with the nodes that their next one comes after.
    pub members: BTreeMap<Handle<Stream>, Vec<usize>>,
    /// What `cuStreamGetCaptureInfo` last gave a pointer to.
    pub shown: Vec<*mut c_void>,
}

// SAFETY: the pointers in `shown` are handles, which nothing ever follows.
unsafe impl Send for Capture {}

impl Object for Capture {
    const NAME: &'static str = "capture";
    const RANGE: u64 = 0x43;
}

impl Driver {
    /// Notes the work of a stream that is being captured. Gives false for others, which are to do it.
    pub fn note_in_capture(
        &mut self,
        stream: Handle<Stream>,
        work: &Work,
    ) -> Result<bool, Failure> {
        let Some(handle) = self.streams.get(stream)?.capture else {
            return Ok(false);
        };
        let graph = self.valid_capture(handle)?.graph;
        let after = self
            .captures
            .get(handle)?
            .members
            .get(&stream)
            .cloned()
            .unwrap_or_default();
        let node = self.graphs.get_mut(graph)?.add(Node {
            work: work.clone(),
            after,
        });
        self.captures
            .get_mut(handle)?
            .members
            .insert(stream, vec![node]);
        Ok(true)
    }

    /// Notes the launch of a graph in a stream that is being captured: its nodes become nodes of the capture.
    pub fn note_graph_in_capture(
        &mut self,
        stream: Handle<Stream>,
        nodes: &[Node],
    ) -> Result<bool, Failure> {
        let Some(handle) = self.streams.get(stream)?.capture else {
            return Ok(false);
        };
        let graph = self.valid_capture(handle)?.graph;
        let after = self
            .captures
            .get(handle)?
            .members
            .get(&stream)
            .cloned()
            .unwrap_or_default();
        let end = self.graphs.get_mut(graph)?.append(nodes, &after);
        self.captures
            .get_mut(handle)?
            .members
            .insert(stream, vec![end]);
        Ok(true)
    }

    /// The capture and nodes that an event recorded now in this stream stands for.
    pub fn captured_point(&mut self, stream: Handle<Stream>) -> Result<Option<Point>, Failure> {
        let Some(handle) = self.streams.get(stream)?.capture else {
            return Ok(None);
        };
        let capture = self.valid_capture(handle)?;
        Ok(Some((
            handle,
            capture.members.get(&stream).cloned().unwrap_or_default(),
        )))
    }

    /// Makes a stream wait for an event, where either belongs to a capture. Gives false where neither does.
    pub fn join_capture(&mut self, stream: Handle<Stream>, last: &Last) -> Result<bool, Failure> {
        let of_stream = self.streams.get(stream)?.capture;
        let (handle, nodes) = match (last, of_stream) {
            (Last::Captured(handle, nodes), _) => (*handle, nodes),
            (_, None) => return Ok(false),
            (_, Some(capture)) => {
                self.invalidate(capture);
                return Err(misuse(
                    Code::CaptureIsolation,
                    "a captured stream cannot wait for an event that was not recorded in its capture",
                ));
            }
        };
        if self.captures.get(handle).is_err() {
            return Err(misuse(
                Code::CapturedEvent,
                "the event was last recorded in a capture that has ended: record it again",
            ));
        }
        if let Some(other) = of_stream
            && other != handle
        {
            self.invalidate(other);
            self.invalidate(handle);
            return Err(misuse(
                Code::CaptureMerge,
                "the event belongs to another capture than the stream",
            ));
        }
        if self.streams.get(stream)?.kind == Kind::Legacy {
            self.invalidate(handle);
            return Err(misuse(
                Code::CaptureImplicit,
                "the legacy default stream cannot take part in a capture",
            ));
        }
        self.valid_capture(handle)?;
        self.streams.get_mut(stream)?.capture = Some(handle);
        let frontier = self
            .captures
            .get_mut(handle)?
            .members
            .entry(stream)
            .or_default();
        for &node in nodes {
            if !frontier.contains(&node) {
                frontier.push(node);
            }
        }
        Ok(true)
    }

    fn valid_capture(&self, handle: Handle<Capture>) -> Result<&Capture, Failure> {
        let capture = self.captures.get(handle)?;
        if capture.invalid {
            Err(Code::CaptureInvalidated.into())
        } else {
            Ok(capture)
        }
    }

    /// Spoils a capture, if it is still under way: it ends without a graph.
    pub fn invalidate(&mut self, capture: Handle<Capture>) {
        if let Ok(capture) = self.captures.get_mut(capture) {
            capture.invalid = true;
        }
    }

    /// Fails where a capture forbids this thread to wait, allocate, free or load; the call spoils the capture.
    pub fn refuse_while_capturing(&mut self) -> Result<(), Failure> {
        let own = capture_mode().get();
        let mut refused = false;
        for (_, capture) in self.captures.iter_mut() {
            let mine =
                capture.thread == thread() && capture.mode != Mode::Relaxed && own != Mode::Relaxed;
            if mine || capture.mode == Mode::Global && own == Mode::Global {
                capture.invalid = true;
                refused = true;
            }
        }
        if refused {
            return Err(misuse(
                Code::CaptureUnsupported,
                "a stream is being captured: this call is forbidden until the capture has ended (capture mode relaxed allows it)",
            ));
        }
        Ok(())
    }

    /// Ends the part that a destroyed context's streams take in captures.
    pub fn end_captures_of(&mut self, keep: impl Fn(Handle<Stream>) -> bool) {
        self.captures.retain(|capture| keep(capture.origin));
        let Driver {
            streams, captures, ..
        } = self;
        for (_, stream) in streams.iter_mut() {
            stream.capture = stream
                .capture
                .filter(|&capture| captures.get(capture).is_ok());
        }
    }

    /// Ends the capture that began in a stream.
    pub fn end_capture(&mut self, stream: Handle<Stream>) -> Result<Handle<Graph>, Failure> {
        let handle = self
            .streams
            .get(stream)?
            .capture
            .ok_or_else(|| misuse(Code::IllegalState, "the stream is not being captured"))?;
        let capture = self.captures.get(handle)?;
        if capture.origin != stream {
            self.invalidate(handle);
            return Err(misuse(
                Code::CaptureUnmatched,
                "the capture began in another stream",
            ));
        }
        if capture.mode != Mode::Relaxed && capture.thread != thread() {
            return Err(misuse(
                Code::CaptureWrongThread,
                "the capture began in another thread: only capture mode relaxed allows that",
            ));
        }
        let Capture {
            invalid,
            graph,
            members,
            ..
        } = self.captures.remove(handle)?;
        for &member in members.keys() {
            if let Ok(stream) = self.streams.get_mut(member) {
                stream.capture = None;
            }
        }
        let end = members.get(&stream).map_or(&[][..], Vec::as_slice);
        let joined = self.graphs.get(graph)?.before(end);
        let unjoined = members
            .iter()
            .find(|(_, nodes)| nodes.iter().any(|&node| !joined[node]));
        if invalid {
            self.graphs.remove(graph)?;
            return Err(Code::CaptureInvalidated.into());
        }
        if let Some((forked, _)) = unjoined {
            let message = format!(
                "work of the forked stream {forked:?} was not joined: let the first stream wait for an event recorded behind it"
            );
            self.graphs.remove(graph)?;
            return Err(misuse(Code::CaptureUnjoined, message));
        }
        Ok(graph)
    }
}
