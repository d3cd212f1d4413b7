//! Bugs and messages in functions that nvcc does not inline.

use standin::fault::FaultKind;

use super::{finds, finds_saying};
use crate::harness::{Case, equal, line_of};

const FILE: &str = "bugs_calls";

fn case(kernel: &'static str) -> Case {
    Case::new(FILE, kernel)
}

#[test]
fn argument_never_written() {
    let mut case = case("argument_never_written");
    case.input(&[0, 1]);
    case.output::<i32>(32);
    let place = line_of(FILE, case.name());
    let run = case.run(0);
    let fault = &run.report.faults[0];
    assert_eq!(fault.kind, FaultKind::Uninitialised, "{fault}");
    assert!(
        fault.source.starts_with("bugs_calls.cu:")
            && fault.source.ends_with(&format!("(in {place})")),
        "{fault}"
    );
}

#[test]
fn an_argument_that_was_written_is_no_finding() {
    let mut case = case("argument_never_written");
    case.input(&[6, 1]);
    let y = case.output::<i32>(32);
    equal(&case.check().get(y), &[1; 32]).unwrap();
}

#[test]
fn past_end_in_function() {
    let mut case = case("past_end_in_function");
    case.input(&[1; 40]);
    case.output::<i32>(32);
    let fault = finds(FILE, &case, FaultKind::OutOfBounds, 0, 10);
    assert!(fault.source.contains("(in bugs_calls.cu:"), "{fault}");
}

#[test]
fn assertion() {
    let mut case = case("assertion");
    case.input(&(25..57).collect::<Vec<i32>>());
    let parts = ["too large", "bugs_calls.cu:", "check(int)"];
    finds_saying(FILE, &case, FaultKind::Assert, 0, 15, &parts);
    assert_eq!(FaultKind::Assert.cuda_error(), 710);
}

#[test]
fn printing() {
    let mut case = case("printing").grid(2, 1);
    case.input(&(0..32).collect::<Vec<i32>>());
    let y = case.input(&[-1; 64]);
    let run = case.check();
    let block = |block: i32| {
        format!(
            "block {block} thread  3: three d  0.75 1099511627776|3   |0xff\n\
            block {block} thread 19: other t  4.75 1099511627776|19  |0xff\nplain\n"
        )
    };
    assert_eq!(run.report.printed, block(0) + &block(1));
    let counts = run.get(y);
    assert_eq!([counts[3], counts[51], counts[4]], [8, 8, -1]);
}
