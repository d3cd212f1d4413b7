//! The calls that launch a kernel.

use std::ffi::{c_int, c_uint, c_void};

use super::entry::{enter_context, input, inputs};
use super::error::{Code, Failure, misuse};
use super::launch::Shape;

/// Launches a kernel.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLaunchKernel(
    function: *mut c_void,
    grid_x: c_uint,
    grid_y: c_uint,
    grid_z: c_uint,
    block_x: c_uint,
    block_y: c_uint,
    block_z: c_uint,
    shared: c_uint,
    stream: *mut c_void,
    values: *mut *mut c_void,
    extra: *mut *mut c_void,
) -> Code {
    enter_context("cuLaunchKernel", |driver, context| {
        let shape = Shape::new(
            [grid_x, grid_y, grid_z],
            [block_x, block_y, block_z],
            shared,
        );
        // SAFETY: the driver interface demands the same of `values` and `extra`.
        unsafe { driver.launch(function, shape, stream, context, (values, extra)) }
    })
}

/// Launches a kernel whose blocks are all on the device at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLaunchCooperativeKernel(
    function: *mut c_void,
    grid_x: c_uint,
    grid_y: c_uint,
    grid_z: c_uint,
    block_x: c_uint,
    block_y: c_uint,
    block_z: c_uint,
    shared: c_uint,
    stream: *mut c_void,
    values: *mut *mut c_void,
) -> Code {
    enter_context("cuLaunchCooperativeKernel", |driver, context| {
        let mut shape = Shape::new(
            [grid_x, grid_y, grid_z],
            [block_x, block_y, block_z],
            shared,
        );
        shape.cooperative = true;
        // SAFETY: the driver interface demands the same of `values`.
        unsafe {
            driver.launch(
                function,
                shape,
                stream,
                context,
                (values, std::ptr::null_mut()),
            )
        }
    })
}

/// `CUlaunchConfig`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Configuration {
    grid: [c_uint; 3],
    block: [c_uint; 3],
    shared: c_uint,
    stream: *mut c_void,
    attributes: *const Attribute,
    count: c_uint,
}

/// `CUlaunchAttribute`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Attribute {
    id: c_uint,
    padding: c_uint,
    value: [u32; 16],
    /// The union holds pointers.
    align: [u64; 0],
}

/// `CUlaunchAttributeID`.
mod attribute {
    use std::ffi::c_uint;

    pub const IGNORE: c_uint = 0;
    pub const COOPERATIVE: c_uint = 2;
    pub const CLUSTER_DIMENSION: c_uint = 4;
    pub const PROGRAMMATIC_STREAM_SERIALIZATION: c_uint = 6;
    pub const PRIORITY: c_uint = 8;
}

impl Configuration {
    /// The shape that a configuration describes. Programmatic stream serialisation allows a kernel to begin before the one
    /// ahead of it has ended; to run one after the other, as the stand-in does, is always allowed.
    ///
    /// # Safety
    /// `attributes` points to `count` attributes.
    pub unsafe fn shape(&self) -> Result<Shape, Failure> {
        let mut shape = Shape::new(self.grid, self.block, self.shared);
        // SAFETY: as promised by the caller.
        for one in unsafe { inputs(self.attributes, self.count as usize) }? {
            match one.id {
                attribute::IGNORE
                | attribute::PROGRAMMATIC_STREAM_SERIALIZATION
                | attribute::PRIORITY => {}
                attribute::COOPERATIVE => shape.cooperative = one.value[0] != 0,
                attribute::CLUSTER_DIMENSION => {
                    shape.dimensions.cluster = Some([one.value[0], one.value[1], one.value[2]])
                }
                other => {
                    return Err(misuse(
                        Code::NotSupported,
                        format!("launch attribute {other} is not supported"),
                    ));
                }
            }
        }
        Ok(shape)
    }
}

/// Launches a kernel with attributes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLaunchKernelEx(
    configuration: *const Configuration,
    function: *mut c_void,
    values: *mut *mut c_void,
    extra: *mut *mut c_void,
) -> Code {
    enter_context("cuLaunchKernelEx", |driver, context| {
        // SAFETY: the driver interface demands a pointer to the structure.
        let configuration = unsafe { input(configuration) }?;
        // SAFETY: the driver interface demands as many attributes as it says.
        let shape = unsafe { configuration.shape() }?;
        // SAFETY: the driver interface demands the same of `values` and `extra`.
        unsafe {
            driver.launch(
                function,
                shape,
                configuration.stream,
                context,
                (values, extra),
            )
        }
    })
}

/// `CUDA_KERNEL_NODE_PARAMS`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct KernelNodeParameters {
    /// `func`.
    pub function: *mut c_void,
    /// Blocks.
    pub grid: [c_uint; 3],
    /// Threads a block.
    pub block: [c_uint; 3],
    /// Dynamic shared memory.
    pub shared: c_uint,
    /// `kernelParams`.
    pub values: *mut *mut c_void,
    /// `extra`.
    pub extra: *mut *mut c_void,
    kernel: *mut c_void,
    context: *mut c_void,
}

const _: () = {
    assert!(
        size_of::<Configuration>() == 56
            && size_of::<Attribute>() == 72
            && align_of::<Attribute>() == 8
    );
    assert!(size_of::<KernelNodeParameters>() == 72 && size_of::<c_int>() == 4);
};
