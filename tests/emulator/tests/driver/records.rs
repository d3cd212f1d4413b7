//! Launches as data.

use cudarc::driver::{LaunchConfig, PushKernelArg};

use crate::support::{context, kernel, standin, stream};

#[test]
fn a_launch_is_recorded_with_its_counters() {
    let context = context();
    let stream = stream(&context);
    let fill = kernel(&context, "fill");
    let mut device = stream.alloc_zeros::<u32>(256).unwrap();
    let shape = LaunchConfig {
        grid_dim: (2, 1, 1),
        block_dim: (128, 1, 1),
        shared_mem_bytes: 16,
    };
    // SAFETY: 256 threads write 256 numbers.
    unsafe {
        stream
            .launch_builder(&fill)
            .arg(&mut device)
            .arg(&1_u32)
            .arg(&256_u32)
            .launch(shape)
    }
    .unwrap();
    assert!(
        standin().launches_of_this_thread().is_empty(),
        "it has not run yet"
    );
    stream.synchronize().unwrap();
    let launches = standin().launches_of_this_thread();
    assert_eq!(launches.len(), 1);
    let (record, counters) = (&launches[0].record, &launches[0].record.counters);
    assert_eq!(launches[0].kernel, "fill");
    assert_eq!(
        (
            record.grid,
            record.block,
            record.cluster,
            record.dynamic_shared
        ),
        ([2, 1, 1], [128, 1, 1], [1, 1, 1], 16)
    );
    assert_eq!(
        (record.context, record.stream),
        (context.cu_ctx() as u64, stream.cu_stream() as u64)
    );
    assert_eq!(
        (record.faults, record.device, record.thread),
        (0, 0, standin().thread())
    );
    assert!(record.nanoseconds > 0);
    // 8 warps store 32 numbers each: 4 sectors a request.
    assert_eq!(
        (
            counters.global_store_requests,
            counters.global_store_sectors,
            counters.global_store_bytes
        ),
        (8, 32, 1024)
    );
    assert_eq!(
        (
            counters.blocks,
            counters.global_load_requests,
            counters.divergent_instructions
        ),
        (2, 0, 0)
    );
}
