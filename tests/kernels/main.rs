//! The product's kernels, each against the f64 reference: on a GPU where one answers, else on the stand-in driver, which
//! also finds races, wrong accesses and needless memory traffic.

#![cfg_attr(not(lexpeak_cuda), allow(dead_code, unused_imports))]

#[path = "../oracle/mod.rs"]
mod oracle;
#[path = "../support/mod.rs"]
mod support;

#[cfg(lexpeak_cuda)]
mod attention;
#[cfg(lexpeak_cuda)]
mod command;
#[cfg(lexpeak_cuda)]
mod embed_ln;
#[cfg(lexpeak_cuda)]
mod engine;
#[cfg(lexpeak_cuda)]
mod gemm;
#[cfg(lexpeak_cuda)]
mod images;
#[cfg(lexpeak_cuda)]
mod l2_normalize;
#[cfg(lexpeak_cuda)]
mod layer_norm;
#[cfg(lexpeak_cuda)]
mod map;
#[cfg(lexpeak_cuda)]
mod precision;
#[cfg(lexpeak_cuda)]
mod resources;
#[cfg(lexpeak_cuda)]
mod rig;
#[cfg(lexpeak_cuda)]
mod sparsify;
#[cfg(lexpeak_cuda)]
mod splade_head;
#[cfg(lexpeak_cuda)]
mod token_head;
#[cfg(lexpeak_cuda)]
mod token_models;
#[cfg(lexpeak_cuda)]
mod topk;
#[cfg(lexpeak_cuda)]
mod values;

/// `make test` fetches an nvcc where there is none: kernels are never left out in silence.
#[cfg(not(lexpeak_cuda))]
#[test]
fn this_build_has_kernels_to_test() {
    panic!(
        "lexpeak was built without nvcc, so there are no kernels to test: run `make toolchain` once"
    );
}
