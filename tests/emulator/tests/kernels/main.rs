//! The stand-in's own tests: kernels compiled by nvcc, run on the interpreter.

mod bugs;
mod counters;
mod fixtures;
mod harness;
mod micro;
mod mutation;
mod representative;
mod schedules;
mod workloads;
