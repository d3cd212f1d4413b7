//! The calls that begin, end and describe a capture.

use std::collections::BTreeMap;
use std::ffi::{c_int, c_void};

use super::capture::{Capture, Mode};
use super::entry::{capture_mode, enter, enter_context, out, thread, write_if_wanted};
use super::error::{Code, misuse};
use super::graph::Graph;
use super::stream::Kind;

/// Begins to capture a stream.
#[unsafe(no_mangle)]
pub extern "C" fn cuStreamBeginCapture_v2(stream: *mut c_void, mode: c_int) -> Code {
    enter_context("cuStreamBeginCapture", |driver, context| {
        let mode = Mode::from_number(mode)?;
        let stream = driver.stream(stream, context)?;
        if driver.streams.get(stream)?.kind == Kind::Legacy {
            return Err(misuse(
                Code::CaptureUnsupported,
                "the legacy default stream cannot be captured",
            ));
        }
        if driver.streams.get(stream)?.capture.is_some() {
            return Err(misuse(
                Code::IllegalState,
                "the stream is being captured already",
            ));
        }
        let graph = driver.graphs.insert(Graph::default());
        let members = BTreeMap::from([(stream, Vec::new())]);
        let capture = Capture {
            origin: stream,
            mode,
            thread: thread(),
            invalid: false,
            graph,
            members,
            shown: Vec::new(),
        };
        let capture = driver.captures.insert(capture);
        driver.streams.get_mut(stream)?.capture = Some(capture);
        Ok(())
    })
}

/// Ends a capture and gives its graph; null where the capture was spoilt.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamEndCapture(stream: *mut c_void, graph: *mut *mut c_void) -> Code {
    enter_context("cuStreamEndCapture", |driver, context| {
        // SAFETY: the driver interface demands a pointer that may be written.
        let graph = unsafe { out(graph) }?;
        graph.write(std::ptr::null_mut());
        let stream = driver.stream(stream, context)?;
        graph.write(driver.end_capture(stream)?.raw());
        Ok(())
    })
}

/// Whether a stream is being captured.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamIsCapturing(stream: *mut c_void, status: *mut c_int) -> Code {
    use std::ptr::null_mut;
    // SAFETY: the same contract; all other results are not wanted.
    unsafe {
        cuStreamGetCaptureInfo_v2(
            stream,
            status,
            null_mut(),
            null_mut(),
            null_mut(),
            null_mut(),
        )
    }
}

/// State, number, graph and last nodes of a stream's capture.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamGetCaptureInfo_v2(
    stream: *mut c_void,
    status: *mut c_int,
    id: *mut u64,
    graph: *mut *mut c_void,
    dependencies: *mut *const *mut c_void,
    count: *mut usize,
) -> Code {
    enter_context("cuStreamGetCaptureInfo", |driver, context| {
        // SAFETY: the driver interface demands a pointer that may be written.
        let status = unsafe { out(status) }?;
        let stream = driver.stream(stream, context)?;
        let Some(handle) = driver.streams.get(stream)?.capture else {
            status.write(0);
            return Ok(());
        };
        let capture = driver.captures.get_mut(handle)?;
        status.write(if capture.invalid { 2 } else { 1 });
        let nodes = capture.members.get(&stream).map_or(&[][..], Vec::as_slice);
        capture.shown = nodes.iter().map(|&node| capture.graph.node(node)).collect();
        // SAFETY: the driver interface allows null, or a pointer that may be written, for each of these.
        unsafe {
            write_if_wanted(id, handle.number())?;
            write_if_wanted(graph, capture.graph.raw())?;
            write_if_wanted(dependencies, capture.shown.as_ptr())?;
            write_if_wanted(count, capture.shown.len())
        }
    })
}

/// As version 2; the edges carry no data.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamGetCaptureInfo_v3(
    stream: *mut c_void,
    status: *mut c_int,
    id: *mut u64,
    graph: *mut *mut c_void,
    dependencies: *mut *const *mut c_void,
    edges: *mut *const c_void,
    count: *mut usize,
) -> Code {
    if !edges.is_null() {
        // SAFETY: not null; the driver interface demands that it may be written.
        unsafe { edges.write(std::ptr::null()) };
    }
    // SAFETY: the same contract for the other results.
    unsafe { cuStreamGetCaptureInfo_v2(stream, status, id, graph, dependencies, count) }
}

/// Changes which calls the captures of others forbid to this thread; gives the mode until now.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuThreadExchangeStreamCaptureMode(mode: *mut c_int) -> Code {
    enter("cuThreadExchangeStreamCaptureMode", |_| {
        // SAFETY: the driver interface demands a pointer to a mode.
        let new = Mode::from_number(*unsafe { super::entry::input(mode) }?)?;
        // SAFETY: the same pointer may be written.
        unsafe { out(mode) }?.write(capture_mode().replace(new) as c_int);
        Ok(())
    })
}
