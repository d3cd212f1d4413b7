//! Graphs: captured work, and its replay.

use std::ffi::{c_int, c_void};

use super::entry::{enter, input, out};
use super::error::{Code, Failure, misuse};

use super::table::{Handle, Object, STRIDE};
use super::work::Work;

/// One node: work, and the nodes that it comes after, which have lower numbers.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it does.
    pub work: Work,
    /// What it comes after.
    pub after: Vec<usize>,
}

impl Node {
    /// `CUgraphNodeType`.
    pub fn kind(&self) -> c_int {
        match self.work {
            Work::Launch(_) => 0,
            Work::Copy(_) => 1,
            Work::Fill(_) => 2,
            Work::HostCall(_) => 3,
            Work::Nothing => 5,
            Work::Record(_) => 7,
            Work::Free(_) => 11,
        }
    }
}

/// A graph.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// Its nodes.
    pub nodes: Vec<Node>,
}

impl Object for Graph {
    const NAME: &'static str = "graph";
    const RANGE: u64 = 0x47;
}

impl Graph {
    /// Adds a node; gives its number.
    pub fn add(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Adds the nodes of another graph, all after the given ones; gives the number of a node behind all of them.
    pub fn append(&mut self, nodes: &[Node], after: &[usize]) -> usize {
        let first = self.nodes.len();
        for node in nodes {
            let inner: Vec<usize> = node.after.iter().map(|before| before + first).collect();
            let after = if inner.is_empty() {
                after.to_vec()
            } else {
                inner
            };
            self.nodes.push(Node {
                work: node.work.clone(),
                after,
            });
        }
        let ends = if nodes.is_empty() {
            after.to_vec()
        } else {
            (first..self.nodes.len()).collect()
        };
        self.add(Node {
            work: Work::Nothing,
            after: ends,
        })
    }

    /// For every node, whether it is one of the given ones or comes before one.
    pub fn before(&self, ends: &[usize]) -> Vec<bool> {
        let mut found = vec![false; self.nodes.len()];
        for &end in ends {
            found[end] = true;
        }
        for node in (0..self.nodes.len()).rev() {
            if found[node] {
                for &earlier in &self.nodes[node].after {
                    found[earlier] = true;
                }
            }
        }
        found
    }
}

impl Handle<Graph> {
    /// `CUgraphNode`.
    pub fn node(self, number: usize) -> *mut c_void {
        Handle::<Graph>::from_number(self.number() + 1 + number as u64).raw()
    }

    /// The graph and number of a `CUgraphNode`.
    pub fn of_node(raw: *mut c_void) -> (Self, usize) {
        let number = (raw.addr() as u64).saturating_sub(1);
        (
            Handle::from_number(number / STRIDE * STRIDE),
            (number % STRIDE) as usize,
        )
    }
}

/// Destroys a graph; what was instantiated from it stays.
#[unsafe(no_mangle)]
pub extern "C" fn cuGraphDestroy(graph: *mut c_void) -> Code {
    enter("cuGraphDestroy", |driver| {
        driver.graphs.remove(Handle::from_raw(graph)).map(drop)
    })
}

/// The nodes of a graph: their number, and as many of them as there is room for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphGetNodes(
    graph: *mut c_void,
    nodes: *mut *mut c_void,
    count: *mut usize,
) -> Code {
    enter("cuGraphGetNodes", |driver| {
        let graph = Handle::<Graph>::from_raw(graph);
        let there = driver.graphs.get(graph)?.nodes.len();
        // SAFETY: the driver interface demands a pointer to the number of places in `nodes`.
        let room = *unsafe { input(count) }?;
        if !nodes.is_null() {
            for number in 0..there.min(room) {
                // SAFETY: the program has room for `room` nodes there.
                unsafe { nodes.add(number).write(graph.node(number)) };
            }
        }
        // SAFETY: the same pointer may be written.
        unsafe { out(count) }?.write(there);
        Ok(())
    })
}

/// What a node does.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphNodeGetType(node: *mut c_void, kind: *mut c_int) -> Code {
    enter("cuGraphNodeGetType", |driver| {
        // SAFETY: the driver interface demands a pointer that may be written.
        let kind = unsafe { out(kind) }?;
        let (graph, number) = Handle::of_node(node);
        let nodes = &driver.graphs.get(graph)?.nodes;
        kind.write(nodes.get(number).ok_or_else(|| no_node(number))?.kind());
        Ok(())
    })
}

fn no_node(number: usize) -> Failure {
    misuse(
        Code::InvalidValue,
        format!("the graph has no node {number}"),
    )
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
    fn a_graph_inside_of_a_graph_keeps_its_order() {
        let mut graph = Graph::default();
        let first = graph.add(node(&[]));
        let end = graph.append(&[node(&[]), node(&[0]), node(&[])], &[first]);
        assert_eq!(graph.nodes[1].after, [first]);
        assert_eq!(graph.nodes[2].after, [1]);
        assert_eq!(graph.nodes[3].after, [first]);
        assert_eq!(graph.before(&[2]), [true, true, true, false, false]);
        assert_eq!(graph.before(&[end]), [true; 5]);
    }

    #[test]
    fn node_handles_lead_back() {
        let graph = Handle::<Graph>::from_number((0x47 << 40) + 3 * STRIDE);
        assert_eq!(Handle::of_node(graph.node(0)), (graph, 0));
        assert_eq!(Handle::of_node(graph.node(999)), (graph, 999));
    }
}
