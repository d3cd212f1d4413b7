//! What the tests share.

use std::process::Command;
use std::sync::Arc;

use cudarc::driver::sys::{self, CUresult};
use cudarc::driver::{CudaContext, CudaFunction, CudaModule, CudaStream, DriverError};
use cudarc::nvrtc::Ptx;
use standin::client::{Finding, Standin};

/// The stand-in, in place of any driver.
pub fn standin() -> &'static Standin {
    Standin::load_regardless().expect("the stand-in is built with its tests")
}

/// A context of its own for each test: what fails in it leaves the others alone. Without the events that cudarc adds to
/// every argument, so that a test sees the order that it asked for itself.
pub fn context() -> Arc<CudaContext> {
    standin();
    let context = CudaContext::new_non_primary(0, 0).expect("device 0 exists");
    // SAFETY: nothing has been allocated yet, and the tests order their streams themselves.
    unsafe { context.disable_event_tracking() };
    context
}

/// A module from PTX text.
pub fn module(context: &Arc<CudaContext>, ptx: &str) -> Arc<CudaModule> {
    context
        .load_module(Ptx::from_src(ptx))
        .expect("the module loads")
}

/// One kernel of [`crate::ptx::KERNELS`].
pub fn kernel(context: &Arc<CudaContext>, name: &str) -> CudaFunction {
    module(context, crate::ptx::KERNELS)
        .load_function(name)
        .expect("the kernel exists")
}

/// A stream that the legacy default stream does not wait for.
pub fn stream(context: &Arc<CudaContext>) -> Arc<CudaStream> {
    context.new_stream().expect("a stream")
}

/// The code that a call failed with.
pub fn code<T>(result: Result<T, DriverError>) -> CUresult {
    result.err().map_or(CUresult::CUDA_SUCCESS, |error| error.0)
}

/// Panics unless a raw call succeeded.
#[track_caller]
pub fn ok(result: CUresult) {
    assert_eq!(result, CUresult::CUDA_SUCCESS);
}

/// The last finding that the calling thread caused.
#[track_caller]
pub fn last_finding() -> Finding {
    standin()
        .faults_of_this_thread()
        .pop()
        .expect("something was found")
}

/// A pointer to a value, as kernels take their parameters.
pub fn parameter<T>(value: &T) -> *mut std::ffi::c_void {
    std::ptr::from_ref(value).cast_mut().cast()
}

/// The attribute of a launch that makes clusters.
pub fn cluster_attribute(x: u32, y: u32, z: u32) -> sys::CUlaunchAttribute {
    let mut attribute = attribute(sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION);
    attribute.value.clusterDim = sys::CUlaunchAttributeValue_union__bindgen_ty_1 { x, y, z };
    attribute
}

/// An attribute of a launch, with value 0.
pub fn attribute(id: sys::CUlaunchAttributeID) -> sys::CUlaunchAttribute {
    sys::CUlaunchAttribute {
        id,
        pad: [0; 4],
        value: sys::CUlaunchAttributeValue { pad: [0; 64] },
    }
}

/// Runs an ignored test of [`crate::children`] in a process of its own, with these variables; gives what it printed.
pub fn child(test: &str, variables: &[(&str, &str)]) -> String {
    let mut command = Command::new(std::env::current_exe().expect("this test has a path"));
    command.args([
        "--exact",
        &format!("children::{test}"),
        "--ignored",
        "--nocapture",
    ]);
    let output = command
        .envs(variables.iter().copied())
        .output()
        .expect("the test runs again");
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{test} with {variables:?}:\n{text}"
    );
    text
}
