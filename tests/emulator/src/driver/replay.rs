//! Instantiated graphs: replay, and the exchange of parameters.

use std::ffi::{c_int, c_ulonglong, c_void};

use super::entry::{Locked, enter, enter_context, input, out};
use super::error::{Code, Failure, misuse};
use super::graph::{Graph, Node};
use super::host_call::call_in_time;
use super::launch_calls::KernelNodeParameters;
use super::queue::TaskId;
use super::stream::Stream;
use super::table::{Handle, Object};
use super::work::Work;

/// `CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH`.
const DEVICE_LAUNCH: c_ulonglong = 4;

/// `CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH`.
const AUTO_FREE: c_ulonglong = 1;

/// All flags of `cuGraphInstantiateWithFlags`.
const FLAGS: c_ulonglong = 15;

/// An instantiated graph.
#[derive(Debug)]
pub struct Executable {
    graph: Handle<Graph>,
    nodes: Vec<Node>,
    /// The end of its last replay: replays of one graph never overlap.
    last: Option<TaskId>,
}

impl Object for Executable {
    const NAME: &'static str = "executable graph";
    const RANGE: u64 = 0x58;
}

impl Locked {
    fn launch_graph(
        &mut self,
        executable: Handle<Executable>,
        stream: Handle<Stream>,
    ) -> Result<(), Failure> {
        let Executable {
            ref nodes, last, ..
        } = *self.executables.get(executable)?;
        let nodes = nodes.clone();
        if self.note_graph_in_capture(stream, &nodes)? {
            return Ok(());
        }
        let mut before = self.dependencies(stream)?;
        before.extend(last);
        let context = self.streams.get(stream)?.context;
        let mut tasks: Vec<TaskId> = Vec::with_capacity(nodes.len());
        let mut calls_host = false;
        for node in &nodes {
            let after = if node.after.is_empty() {
                before.clone()
            } else {
                node.after.iter().map(|&node| tasks[node]).collect()
            };
            calls_host |= matches!(node.work, Work::HostCall(_));
            tasks.push(self.queue.add(context, after, node.work.clone()));
        }
        let end = self.queue.add(
            context,
            if tasks.is_empty() { before } else { tasks },
            Work::Nothing,
        );
        self.streams.get_mut(stream)?.frontier = vec![end];
        self.executables.get_mut(executable)?.last = Some(end);
        if calls_host {
            call_in_time(end);
        }
        Ok(())
    }
}

/// Makes a graph ready to run.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphInstantiateWithFlags(
    executable: *mut *mut c_void,
    graph: *mut c_void,
    flags: c_ulonglong,
) -> Code {
    enter_context("cuGraphInstantiateWithFlags", |driver, _| {
        // SAFETY: the driver interface demands a pointer that may be written.
        let executable = unsafe { out(executable) }?;
        let graph = Handle::from_raw(graph);
        let nodes = driver.graphs.get(graph)?.nodes.clone();
        if flags & !FLAGS != 0 || flags & DEVICE_LAUNCH != 0 && flags & AUTO_FREE != 0 {
            return Err(misuse(
                Code::InvalidValue,
                format!("instantiation flags {flags:#x}"),
            ));
        }
        if flags & DEVICE_LAUNCH != 0 {
            return Err(misuse(
                Code::NotSupported,
                "graphs launched by kernels are not supported",
            ));
        }
        executable.write(
            driver
                .executables
                .insert(Executable {
                    graph,
                    nodes,
                    last: None,
                })
                .raw(),
        );
        Ok(())
    })
}

/// Runs a graph in a stream.
#[unsafe(no_mangle)]
pub extern "C" fn cuGraphLaunch(executable: *mut c_void, stream: *mut c_void) -> Code {
    enter_context("cuGraphLaunch", |driver, context| {
        let stream = driver.stream(stream, context)?;
        driver.launch_graph(Handle::from_raw(executable), stream)
    })
}

/// Prepares a launch: there is nothing to prepare.
#[unsafe(no_mangle)]
pub extern "C" fn cuGraphUpload(executable: *mut c_void, stream: *mut c_void) -> Code {
    enter_context("cuGraphUpload", |driver, context| {
        let stream = driver.stream(stream, context)?;
        driver.refuse_captured(stream)?;
        driver
            .executables
            .get(Handle::from_raw(executable))
            .map(drop)
    })
}

/// Destroys an instantiated graph; a replay under way goes on.
#[unsafe(no_mangle)]
pub extern "C" fn cuGraphExecDestroy(executable: *mut c_void) -> Code {
    enter("cuGraphExecDestroy", |driver| {
        driver
            .executables
            .remove(Handle::from_raw(executable))
            .map(drop)
    })
}

/// Gives a kernel node of an instantiated graph other parameters.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphExecKernelNodeSetParams_v2(
    executable: *mut c_void,
    node: *mut c_void,
    parameters: *const KernelNodeParameters,
) -> Code {
    enter_context("cuGraphExecKernelNodeSetParams", |driver, context| {
        // SAFETY: the driver interface demands a pointer to the structure.
        let parameters = unsafe { input(parameters) }?;
        let handle = Handle::from_raw(executable);
        let (graph, number) = Handle::of_node(node);
        let Executable {
            graph: own,
            ref nodes,
            ..
        } = *driver.executables.get(handle)?;
        let node = nodes
            .get(number)
            .filter(|_| graph == own)
            .ok_or_else(|| misuse(Code::InvalidValue, "the node is not of this graph"))?;
        let Work::Launch(old) = &node.work else {
            return Err(misuse(Code::InvalidValue, "the node launches no kernel"));
        };
        let old = old.clone();
        // SAFETY: the structure holds what `cuLaunchKernel` takes, under the same contract.
        let launch = unsafe { driver.kernel_node(parameters, &old, context) }?;
        driver.executables.get_mut(handle)?.nodes[number].work = Work::Launch(launch);
        Ok(())
    })
}

/// `CUgraphExecUpdateResultInfo`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct UpdateResult {
    result: c_int,
    node: *mut c_void,
    from: *mut c_void,
}

/// Takes over the parameters of another graph of the same shape.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphExecUpdate_v2(
    executable: *mut c_void,
    graph: *mut c_void,
    result: *mut UpdateResult,
) -> Code {
    enter_context("cuGraphExecUpdate", |driver, _| {
        // SAFETY: the driver interface demands a pointer that may be written.
        let result = unsafe { out(result) }?;
        let (executable, graph) = (
            Handle::from_raw(executable),
            Handle::<Graph>::from_raw(graph),
        );
        let new = driver.graphs.get(graph)?.nodes.clone();
        let old = &driver.executables.get(executable)?.nodes;
        let null = std::ptr::null_mut();
        if let Some((reason, number)) = difference(old, &new) {
            result.write(UpdateResult {
                result: reason,
                node: null,
                from: number.map_or(null, |number| graph.node(number)),
            });
            return Err(misuse(
                Code::GraphExecUpdateFailure,
                format!("the graphs differ (CUgraphExecUpdateResult {reason})"),
            ));
        }
        result.write(UpdateResult {
            result: 0,
            node: null,
            from: null,
        });
        driver.executables.get_mut(executable)?.nodes = new;
        Ok(())
    })
}

/// Why a graph cannot take another's parameters: `CUgraphExecUpdateResult`, and the node.
fn difference(old: &[Node], new: &[Node]) -> Option<(c_int, Option<usize>)> {
    const TOPOLOGY_CHANGED: c_int = 2;
    const NODE_TYPE_CHANGED: c_int = 3;
    if old.len() != new.len() {
        return Some((TOPOLOGY_CHANGED, None));
    }
    (0..new.len()).find_map(|number| {
        if old[number].kind() != new[number].kind() {
            return Some((NODE_TYPE_CHANGED, Some(number)));
        }
        (old[number].after != new[number].after).then_some((TOPOLOGY_CHANGED, Some(number)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(after: &[usize]) -> Node {
        Node {
            work: Work::Nothing,
            after: after.to_vec(),
        }
    }

    #[test]
    fn updates_need_the_same_shape() {
        let old = [node(&[]), node(&[0])];
        assert_eq!(difference(&old, &[node(&[]), node(&[0])]), None);
        assert_eq!(difference(&old, &[node(&[])]), Some((2, None)));
        assert_eq!(
            difference(&old, &[node(&[]), node(&[])]),
            Some((2, Some(1)))
        );
    }
}
