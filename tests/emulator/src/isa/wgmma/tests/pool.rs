//! `setmaxnreg`.

use super::all_execute;
use crate::exec::machine::Machine;
use crate::fault::FaultKind::*;
use crate::isa::Flow;

const LESS: &str = "setmaxnreg.dec.sync.aligned.u32 40;";
const MORE: &str = "setmaxnreg.inc.sync.aligned.u32 232;";

#[test]
fn more_registers_are_given_when_others_have_given_theirs_back() {
    // Three warpgroups begin with 168 registers a thread: 40 + 232 + 232 = 3 * 168.
    let machine = Machine::new(&[LESS, MORE].join("\n"));
    let mut run = machine.launch(1, 12);
    for warp in 4..12 {
        assert_eq!(run.try_execute((0, warp), 1).unwrap(), Flow::Retry);
    }
    all_execute(&mut run, 0..1);
    for warp in 4..12 {
        assert_eq!(run.try_execute((0, warp), 1).unwrap(), Flow::Next);
    }
    assert_eq!(run.faults(), []);
    run.finish(0).unwrap();
}

#[test]
fn a_partial_warpgroup_counts_only_the_warps_it_has() {
    // Five warps of 255 registers; the fifth may not change its own.
    let machine = Machine::new(&[LESS, MORE].join("\n"));
    let mut run = machine.launch(1, 5);
    assert_eq!(run.stop((0, 4), 0).kind, Divergence);
    all_execute(&mut run, 0..1);
    all_execute(&mut run, 1..2);
}

#[test]
fn more_is_not_less_and_less_not_more() {
    let machine =
        Machine::new("setmaxnreg.dec.sync.aligned.u32 176;\nsetmaxnreg.inc.sync.aligned.u32 160;");
    let mut run = machine.launch(1, 12);
    assert!(
        run.stop((0, 0), 0)
            .message
            .contains("dec to 176 registers from 168")
    );
    assert_eq!(run.stop((0, 0), 1).kind, InvalidOperand);
}

#[test]
fn four_warps_change_their_registers_together() {
    let machine = Machine::new(LESS);
    let mut run = machine.launch(1, 8);
    (0..3).for_each(|warp| run.execute((0, warp), 0));
    let fault = run.finish(0).unwrap_err();
    assert_eq!(fault.kind, Divergence);
    assert!(fault.message.contains("[1, 1, 1, 0]"), "{fault}");
}

#[test]
fn counts_that_do_not_exist_are_refused() {
    for count in ["16", "44", "264"] {
        let error = Machine::error(&format!("setmaxnreg.inc.sync.aligned.u32 {count};"));
        assert!(error.contains("multiple of 8 from 24 to 256"), "{error}");
    }
}
