//! What the `printf` of a kernel prints: collected while it runs, printed when it has ended.

use std::sync::Mutex;

/// Bytes kept of a launch, as many as the buffer on a GPU has.
const MOST: usize = 1 << 20;

/// Texts with the cluster that each is from.
#[derive(Debug, Default)]
pub struct Printed(Mutex<(usize, Vec<(u32, String)>)>);

impl Printed {
    /// Adds what a cluster prints; nothing where the buffer is full.
    pub fn add(&self, cluster: u32, text: String) {
        let mut kept = self.0.lock().expect("no worker panicked");
        if kept.0 + text.len() <= MOST {
            kept.0 += text.len();
            kept.1.push((cluster, text));
        }
    }

    /// All of it, in the order of clusters.
    pub fn into_text(self) -> String {
        let mut texts = self.0.into_inner().expect("no worker panicked").1;
        texts.sort_by_key(|&(cluster, _)| cluster);
        texts.into_iter().map(|(_, text)| text).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_in_the_order_of_clusters() {
        let printed = Printed::default();
        for (cluster, text) in [(2, "c"), (0, "a"), (2, "d"), (1, "b")] {
            printed.add(cluster, text.to_owned());
        }
        assert_eq!(printed.into_text(), "abcd");
    }

    #[test]
    fn a_full_buffer_takes_no_more() {
        let printed = Printed::default();
        let half = "x".repeat(MOST / 2);
        (0..3).for_each(|_| printed.add(0, half.clone()));
        assert_eq!(printed.into_text().len(), MOST);
    }
}
