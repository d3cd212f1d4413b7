//! What ptxas says (`-Xptxas -v`) that a kernel takes of the hardware.

use std::fmt::Write;

use crate::target::Target;

/// The figures of one kernel on one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resources {
    /// The entry point.
    pub kernel: String,
    /// The architecture of the machine code.
    pub target: Target,
    /// Registers a thread.
    pub registers: u32,
    /// Static shared memory a block, in bytes.
    pub static_shared: u32,
    /// Stack a thread, in bytes.
    pub stack: u32,
    /// Spilled registers written, in bytes a thread.
    pub spill_stores: u32,
    /// Spilled registers read back, in bytes a thread.
    pub spill_loads: u32,
    /// Named barriers a block.
    pub barriers: u32,
}

/// The figures in the output of a compilation.
pub(crate) fn parse(log: &str) -> Vec<Resources> {
    let mut all: Vec<Resources> = Vec::new();
    for line in log.lines() {
        if let Some((_, rest)) = line.split_once("Compiling entry function '") {
            let mut names = rest.split('\'');
            let kernel = names.next().unwrap_or_default().to_owned();
            if let Some(target) = names.nth(1).and_then(Target::named) {
                all.push(Resources {
                    kernel,
                    target,
                    registers: 0,
                    static_shared: 0,
                    stack: 0,
                    spill_stores: 0,
                    spill_loads: 0,
                    barriers: 0,
                });
            }
        } else if let Some(kernel) = all.last_mut() {
            // Functions that were not inlined are listed after the kernel that calls them: what they spill, it spills.
            if line.contains("bytes stack frame") {
                kernel.stack += figure(line, "bytes stack frame");
                kernel.spill_stores += figure(line, "bytes spill stores");
                kernel.spill_loads += figure(line, "bytes spill loads");
            } else if line.contains("Used ") {
                kernel.registers = figure(line, "registers");
                kernel.barriers = figure(line, "barriers");
                kernel.static_shared = figure(line, "bytes smem");
            }
        }
    }
    all.sort_by(|a, b| (&a.kernel, a.target).cmp(&(&b.kernel, b.target)));
    all
}

/// The number before `unit` in a list such as "Used 125 registers, used 1 barriers, 29696 bytes smem"; 0 if the
/// list has no such unit.
fn figure(line: &str, unit: &str) -> u32 {
    let items = line.split(',');
    let found = items.filter_map(|item| item.trim().strip_suffix(unit)?.split_whitespace().last());
    found
        .filter_map(|number| number.parse().ok())
        .next()
        .unwrap_or(0)
}

/// The figures as a table to read.
pub(crate) fn to_markdown(resources: &[Resources]) -> String {
    let mut text = "| kernel | target | registers | static shared | stack | spill stores | spill loads | barriers |\n\
                    |---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for row in resources {
        let Resources {
            kernel,
            target,
            registers,
            static_shared,
            stack,
            spill_stores,
            spill_loads,
            barriers,
        } = row;
        writeln!(
            text,
            "| {kernel} | {target} | {registers} | {static_shared} | {stack} | {spill_stores} | {spill_loads} \
             | {barriers} |"
        )
        .expect("a String takes all that is written to it");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'wide' for 'sm_90a'
ptxas info    : Function properties for wide
    1120 bytes stack frame, 1388 bytes spill stores, 1412 bytes spill loads
ptxas info    : Used 64 registers, used 2 barriers, 1120 bytes cumulative stack size, 29696 bytes smem, 364 bytes cmem[0]
ptxas info    : Compile time = 57.338 ms
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'wide' for 'sm_80'
ptxas info    : Function properties for wide
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 10 registers, used 0 barriers, 360 bytes cmem[0]
ptxas info    : Function properties for helper
    16 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads
";

    #[test]
    fn figures_are_read_a_kernel_and_target() {
        let narrow = Resources {
            kernel: "wide".to_owned(),
            target: Target::Sm80,
            registers: 10,
            static_shared: 0,
            stack: 16,
            spill_stores: 8,
            spill_loads: 12,
            barriers: 0,
        };
        let wide = Resources {
            kernel: "wide".to_owned(),
            target: Target::Sm90a,
            registers: 64,
            static_shared: 29696,
            stack: 1120,
            spill_stores: 1388,
            spill_loads: 1412,
            barriers: 2,
        };
        assert_eq!(parse(LOG), [narrow, wide]);
        assert_eq!(parse(""), []);
    }

    #[test]
    fn the_table_has_a_row_each() {
        let table = to_markdown(&parse(LOG));
        assert!(table.ends_with(
            "| wide | sm_80 | 10 | 0 | 16 | 8 | 12 | 0 |\n| wide | sm_90a | 64 | 29696 | 1120 | 1388 | 1412 | 2 |\n"
        ));
    }
}
