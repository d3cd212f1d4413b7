//! A whole kernel under the scheduler, and what is found when one of its lines is missing.

use std::collections::HashMap;

use crate::exec::{Dimensions, Limits, Options, Report, launch};
use crate::fault::FaultKind::{self, *};
use crate::isa::decode;
use crate::memory::GlobalMemory;
use crate::ptx::Module;

/// One warpgroup writes ones to A (64 x 16) and B (16 x 8), multiplies twice and stores D, which begins undefined.
const KERNEL: &str = "
.version 8.7
.target sm_90a
.address_size 64
.visible .entry kernel(.param .u64 out) {
.reg .pred %p<4>;
.reg .b32 %r<20>;
.reg .b64 %rd<8>;
.shared .align 128 .b8 a[2048];
.shared .align 128 .b8 b[256];
mov.u32 %r1, %tid.x;
shl.b32 %r2, %r1, 4;
mov.u32 %r3, a;
add.s32 %r4, %r3, %r2;
mov.u32 %r5, 0x3c003c00;
st.shared.v4.b32 [%r4], {%r5, %r5, %r5, %r5};
setp.lt.u32 %p1, %r1, 16;
@%p1 st.shared.v4.b32 [%r4+2048], {%r5, %r5, %r5, %r5};
fence.proxy.async;
bar.sync 0;
shr.u32 %r6, %r3, 4;
cvt.u64.u32 %rd1, %r6;
or.b64 %rd2, %rd1, 68720001024;
add.s64 %rd3, %rd2, 128;
setp.ne.u32 %p2, %r1, %r1;
wgmma.fence.sync.aligned;
wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%r10, %r11, %r12, %r13}, %rd2, %rd3, %p2, 1, 1, 0, 0;
wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%r10, %r11, %r12, %r13}, %rd2, %rd3, 1, 1, 1, 0, 0;
wgmma.commit_group.sync.aligned;
wgmma.wait_group.sync.aligned 0;
ld.param.u64 %rd4, [out];
mul.wide.u32 %rd5, %r1, 16;
add.s64 %rd6, %rd4, %rd5;
st.global.v4.b32 [%rd6], {%r10, %r11, %r12, %r13};
ret;
}
";

/// Runs a kernel; gives D and the report.
fn run(text: &str, seed: u64) -> (Vec<f32>, Report) {
    let module = Module::parse(text).unwrap();
    let kernel = decode(&module, &module.entries[0], &HashMap::new()).unwrap();
    let mut memory = GlobalMemory::new(0x10_0000, 1 << 20);
    let out = memory.allocate(2048).unwrap();
    let dimensions = Dimensions {
        grid: [1; 3],
        block: [128, 1, 1],
        cluster: None,
        dynamic_shared: 0,
    };
    let options = Options {
        seed,
        ..Options::default()
    };
    let report = launch(
        &kernel,
        memory.view(),
        dimensions,
        &out.to_le_bytes(),
        Limits { shared: 48 << 10 },
        options,
    );
    let mut bytes = [0; 2048];
    memory.view().allocation(0).read(0, &mut bytes);
    (
        bytes
            .chunks_exact(4)
            .map(|word| f32::from_le_bytes(word.try_into().unwrap()))
            .collect(),
        report,
    )
}

#[test]
fn the_kernel_runs_under_every_schedule() {
    for seed in 0..8 {
        let (d, report) = run(KERNEL, seed);
        assert_eq!(report.faults, []);
        assert_eq!(d, [32.0; 512]);
        assert_eq!(
            (report.counters.wgmma, report.counters.tensor_multiply_adds),
            (2, 2 * 64 * 8 * 16)
        );
    }
}

#[test]
fn every_missing_line_is_found() {
    let cases: [(&str, &str, FaultKind); 6] = [
        ("fence.proxy.async;", "", Asynchronous),
        ("bar.sync 0;", "", Race),
        ("wgmma.fence.sync.aligned;", "", Asynchronous),
        ("wgmma.commit_group.sync.aligned;", "", Asynchronous),
        ("wgmma.wait_group.sync.aligned 0;", "", Asynchronous),
        // scale-d of the first product: D would be added to.
        ("setp.ne.u32 %p2", "setp.eq.u32 %p2", Uninitialised),
    ];
    for (line, replacement, kind) in cases {
        assert!(KERNEL.contains(line));
        let mutant = KERNEL.replacen(line, replacement, 1);
        for seed in [0, 3] {
            let (_, report) = run(&mutant, seed);
            assert!(
                report.faults.iter().any(|fault| fault.kind == kind),
                "without {line}: {:?}",
                report.faults
            );
        }
    }
}
