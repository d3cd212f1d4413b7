//! Bugs in what kernels do to memory.

use standin::fault::FaultKind;

use super::{finds, finds_saying};
use crate::harness::Case;

const FILE: &str = "bugs_memory";

fn case(kernel: &'static str) -> Case {
    Case::new(FILE, kernel)
}

#[test]
fn read_past_end() {
    let mut case = case("read_past_end").grid(2, 1);
    case.input(&[1.0_f32; 64]);
    case.output::<f32>(64);
    finds_saying(
        FILE,
        &case,
        FaultKind::OutOfBounds,
        1,
        31,
        &["4 bytes past the end", "256 bytes"],
    );
}

#[test]
fn write_past_end() {
    let mut case = case("write_past_end").grid(2, 1);
    case.output::<f32>(60);
    finds(FILE, &case, FaultKind::OutOfBounds, 1, 28);
}

#[test]
fn atomic_past_end() {
    let mut case = case("atomic_past_end");
    case.input(&[0_i32; 31]);
    finds(FILE, &case, FaultKind::OutOfBounds, 0, 31);
}

#[test]
fn tile_past_end() {
    let mut case = case("tile_past_end");
    case.output::<f32>(16 * 16 - 1);
    finds_saying(
        FILE,
        &case,
        FaultKind::OutOfBounds,
        0,
        31,
        &["4 bytes past the end"],
    );
}

#[test]
fn shared_past_end() {
    let mut case = case("shared_past_end").block(128);
    case.input(&[1.0_f32; 128]);
    case.output::<f32>(128);
    finds(FILE, &case, FaultKind::OutOfBounds, 0, 127);
}

#[test]
fn dynamic_shared_past_end() {
    let mut case = case("dynamic_shared_past_end").block(64).shared(63 * 4);
    case.output::<f32>(64);
    finds(FILE, &case, FaultKind::OutOfBounds, 0, 63);
}

#[test]
fn local_past_end() {
    let mut case = case("local_past_end");
    let places: Vec<i32> = (0..32)
        .map(|lane| if lane == 9 { 8 } else { lane % 8 })
        .collect();
    case.input(&places);
    case.output::<i32>(32);
    finds(FILE, &case, FaultKind::OutOfBounds, 0, 9);
}

#[test]
fn read_freed() {
    let mut case = case("read_freed");
    case.freed::<f32>(32);
    case.output::<f32>(32);
    finds_saying(
        FILE,
        &case,
        FaultKind::UseAfterFree,
        0,
        0,
        &["freed", "128 bytes"],
    );
}

#[test]
fn null_pointer() {
    let mut case = case("null_pointer");
    case.value(0_u64);
    case.output::<f32>(32);
    finds(FILE, &case, FaultKind::OutOfBounds, 0, 0);
}

#[test]
fn misaligned_vector() {
    let mut case = case("misaligned_vector");
    case.input(&[1.0_f32; 132]);
    case.output::<f32>(128);
    finds_saying(FILE, &case, FaultKind::Misaligned, 0, 0, &["16"]);
}

#[test]
fn misaligned_shared() {
    let mut case = case("misaligned_shared");
    case.output::<f32>(32);
    finds(FILE, &case, FaultKind::Misaligned, 0, 0);
}

#[test]
fn misaligned_matrix_row() {
    let mut case = case("misaligned_matrix_row");
    case.output::<u32>(32);
    finds(FILE, &case, FaultKind::Misaligned, 0, 0);
}

#[test]
fn copy_from_past_end() {
    let mut case = case("copy_from_past_end");
    case.input(&[1.0_f32; 4 * 20]);
    case.output::<f32>(128);
    finds(FILE, &case, FaultKind::OutOfBounds, 0, 20);
}

#[test]
fn uninitialised_global() {
    let mut case = case("uninitialised_global");
    case.output::<f32>(32);
    case.output::<f32>(32);
    finds(FILE, &case, FaultKind::Uninitialised, 0, 0);
}

#[test]
fn uninitialised_shared() {
    let mut case = case("uninitialised_shared");
    case.input(&[1.0_f32; 32]);
    case.output::<f32>(32);
    finds(FILE, &case, FaultKind::Uninitialised, 0, 0);
}

#[test]
fn uninitialised_local() {
    let mut case = case("uninitialised_local");
    let places: Vec<i32> = (0..32)
        .map(|lane| if lane == 4 { 7 } else { lane % 4 })
        .collect();
    case.input(&places);
    case.output::<i32>(32);
    finds(FILE, &case, FaultKind::Uninitialised, 0, 4);
}

#[test]
fn uninitialised_register() {
    let mut case = case("uninitialised_register");
    case.output::<i32>(32);
    finds(FILE, &case, FaultKind::Uninitialised, 0, 0);
}

#[test]
fn uninitialised_branch() {
    let mut case = case("uninitialised_branch");
    case.output::<i32>(64);
    finds(FILE, &case, FaultKind::Uninitialised, 0, 0);
}

#[test]
fn lanes_disagree() {
    let mut case = case("lanes_disagree");
    case.output::<i32>(16);
    finds_saying(FILE, &case, FaultKind::Race, 0, 0, &["lanes 0 and 1"]);
}
