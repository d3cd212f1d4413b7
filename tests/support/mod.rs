//! What several test executables need.

#![allow(dead_code, reason = "each test executable uses its own part")]

pub mod agreement;
pub mod demo_model;
pub mod golden_rows;
pub mod passages;
pub mod peak_memory;
pub mod random_model;
pub mod random_tensors;
pub mod sandbox;
pub mod tokenizers;
pub mod weight_files;
