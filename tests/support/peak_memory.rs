//! The most memory that a process took at any time (Linux).

use std::fs;
use std::process::Child;
use std::thread;
use std::time::Duration;

/// Waits for `child` and gives its largest resident set so far as it was seen, in kB.
pub fn peak_memory(child: &mut Child) -> u64 {
    let mut peak = 0;
    while child.try_wait().expect("it is mine").is_none() {
        peak = peak.max(high_water_mark(child.id()));
        thread::sleep(Duration::from_millis(2));
    }
    peak
}

/// The kernel's own record of the peak, in kB; 0 for a process that has ended.
fn high_water_mark(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or(0, |line| {
        line.trim()
            .trim_end_matches(" kB")
            .parse()
            .expect("a number of kB")
    })
}
