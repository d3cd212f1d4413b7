//! The driver's result codes, and why a call was refused.

use std::ffi::{CStr, c_char, c_int};

use super::entry::{enter_uninitialised, out};
use crate::fault::FaultKind;

/// `CUresult`: the codes that the stand-in gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Code {
    Success = 0,
    InvalidValue = 1,
    OutOfMemory = 2,
    NotInitialised = 3,
    InvalidDevice = 101,
    InvalidImage = 200,
    InvalidContext = 201,
    NoBinaryForGpu = 209,
    InvalidPtx = 218,
    FileNotFound = 301,
    InvalidHandle = 400,
    IllegalState = 401,
    NotFound = 500,
    NotReady = 600,
    IllegalAddress = 700,
    LaunchOutOfResources = 701,
    LaunchTimeout = 702,
    PrimaryContextActive = 708,
    ContextIsDestroyed = 709,
    Assert = 710,
    HostMemoryAlreadyRegistered = 712,
    HostMemoryNotRegistered = 713,
    MisalignedAddress = 716,
    LaunchFailed = 719,
    CooperativeLaunchTooLarge = 720,
    NotPermitted = 800,
    NotSupported = 801,
    CaptureUnsupported = 900,
    CaptureInvalidated = 901,
    CaptureMerge = 902,
    CaptureUnmatched = 903,
    CaptureUnjoined = 904,
    CaptureIsolation = 905,
    CaptureImplicit = 906,
    CapturedEvent = 907,
    CaptureWrongThread = 908,
    GraphExecUpdateFailure = 910,
    InvalidClusterSize = 912,
    Unknown = 999,
}

/// Every code with its name and meaning.
const TABLE: &[(Code, &CStr, &CStr)] = &[
    (Code::Success, c"CUDA_SUCCESS", c"no error"),
    (Code::InvalidValue, c"CUDA_ERROR_INVALID_VALUE", c"invalid argument"),
    (Code::OutOfMemory, c"CUDA_ERROR_OUT_OF_MEMORY", c"out of memory"),
    (Code::NotInitialised, c"CUDA_ERROR_NOT_INITIALIZED", c"initialization error"),
    (Code::InvalidDevice, c"CUDA_ERROR_INVALID_DEVICE", c"invalid device ordinal"),
    (Code::InvalidImage, c"CUDA_ERROR_INVALID_IMAGE", c"device kernel image is invalid"),
    (Code::InvalidContext, c"CUDA_ERROR_INVALID_CONTEXT", c"invalid device context"),
    (Code::NoBinaryForGpu, c"CUDA_ERROR_NO_BINARY_FOR_GPU", c"no kernel image is available for execution on the device"),
    (Code::InvalidPtx, c"CUDA_ERROR_INVALID_PTX", c"a PTX JIT compilation failed"),
    (Code::FileNotFound, c"CUDA_ERROR_FILE_NOT_FOUND", c"file not found"),
    (Code::InvalidHandle, c"CUDA_ERROR_INVALID_HANDLE", c"invalid resource handle"),
    (Code::IllegalState, c"CUDA_ERROR_ILLEGAL_STATE", c"the operation cannot be performed in the present state"),
    (Code::NotFound, c"CUDA_ERROR_NOT_FOUND", c"named symbol not found"),
    (Code::NotReady, c"CUDA_ERROR_NOT_READY", c"device not ready"),
    (Code::IllegalAddress, c"CUDA_ERROR_ILLEGAL_ADDRESS", c"an illegal memory access was encountered"),
    (Code::LaunchOutOfResources, c"CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", c"too many resources requested for launch"),
    (Code::LaunchTimeout, c"CUDA_ERROR_LAUNCH_TIMEOUT", c"the launch timed out and was terminated"),
    (Code::PrimaryContextActive, c"CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE", c"the primary context is in use"),
    (Code::ContextIsDestroyed, c"CUDA_ERROR_CONTEXT_IS_DESTROYED", c"context is destroyed"),
    (Code::Assert, c"CUDA_ERROR_ASSERT", c"device-side assert triggered"),
    (
        Code::HostMemoryAlreadyRegistered,
        c"CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED",
        c"part or all of the requested memory range is already mapped",
    ),
    (
        Code::HostMemoryNotRegistered,
        c"CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED",
        c"pointer does not correspond to a registered memory region",
    ),
    (Code::MisalignedAddress, c"CUDA_ERROR_MISALIGNED_ADDRESS", c"misaligned address"),
    (Code::LaunchFailed, c"CUDA_ERROR_LAUNCH_FAILED", c"unspecified launch failure"),
    (
        Code::CooperativeLaunchTooLarge,
        c"CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE",
        c"too many blocks in cooperative launch",
    ),
    (Code::NotPermitted, c"CUDA_ERROR_NOT_PERMITTED", c"operation not permitted"),
    (Code::NotSupported, c"CUDA_ERROR_NOT_SUPPORTED", c"operation not supported"),
    (
        Code::CaptureUnsupported,
        c"CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
        c"operation not permitted when stream is capturing",
    ),
    (
        Code::CaptureInvalidated,
        c"CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
        c"operation failed due to a previous error during capture",
    ),
    (
        Code::CaptureMerge,
        c"CUDA_ERROR_STREAM_CAPTURE_MERGE",
        c"operation would result in a merge of separate capture sequences",
    ),
    (
        Code::CaptureUnmatched,
        c"CUDA_ERROR_STREAM_CAPTURE_UNMATCHED",
        c"capture was not ended in the same stream as it began",
    ),
    (
        Code::CaptureUnjoined,
        c"CUDA_ERROR_STREAM_CAPTURE_UNJOINED",
        c"capturing stream has unjoined work",
    ),
    (
        Code::CaptureIsolation,
        c"CUDA_ERROR_STREAM_CAPTURE_ISOLATION",
        c"dependency created on uncaptured work in another stream",
    ),
    (
        Code::CaptureImplicit,
        c"CUDA_ERROR_STREAM_CAPTURE_IMPLICIT",
        c"operation would make the legacy stream depend on a capturing blocking stream",
    ),
    (
        Code::CapturedEvent,
        c"CUDA_ERROR_CAPTURED_EVENT",
        c"operation not permitted on an event last recorded in a capturing stream",
    ),
    (
        Code::CaptureWrongThread,
        c"CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD",
        c"attempt to terminate a thread-local capture sequence from another thread",
    ),
    (
        Code::GraphExecUpdateFailure,
        c"CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE",
        c"the graph update was not performed because it included changes which violated constraints",
    ),
    (Code::InvalidClusterSize, c"CUDA_ERROR_INVALID_CLUSTER_SIZE", c"cluster misconfiguration"),
    (Code::Unknown, c"CUDA_ERROR_UNKNOWN", c"unknown error"),
];

impl Code {
    /// The code that a launch with this fault leaves behind.
    pub fn of_fault(kind: FaultKind) -> Code {
        let number = kind.cuda_error();
        TABLE
            .iter()
            .find(|entry| entry.0 as i32 == number)
            .map_or(Code::LaunchFailed, |entry| entry.0)
    }

    /// Its name in `cuda.h`.
    pub fn name(self) -> &'static str {
        TABLE
            .iter()
            .find(|entry| entry.0 == self)
            .and_then(|entry| entry.1.to_str().ok())
            .unwrap_or("CUDA_ERROR_UNKNOWN")
    }
}

/// Why a call does not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What the caller gets.
    pub code: Code,
    /// What was wrong, for the report; `None` where the code is an answer rather than a complaint (not ready, not found,
    /// an error that was reported when it happened).
    pub message: Option<String>,
}

impl From<Code> for Failure {
    fn from(code: Code) -> Self {
        Failure {
            code,
            message: None,
        }
    }
}

/// The program used the driver wrongly.
pub fn misuse(code: Code, message: impl Into<String>) -> Failure {
    Failure {
        code,
        message: Some(message.into()),
    }
}

fn find(error: c_int) -> Option<&'static (Code, &'static CStr, &'static CStr)> {
    TABLE.iter().find(|entry| entry.0 as c_int == error)
}

/// Leaves the text that `part` gives for a code; null for a code that the stand-in never returns.
///
/// # Safety
/// `text` is null or points to a pointer that may be written.
unsafe fn describe(
    error: c_int,
    text: *mut *const c_char,
    part: fn(&(Code, &'static CStr, &'static CStr)) -> &'static CStr,
) -> Code {
    enter_uninitialised("cuGetErrorName", |_| {
        // SAFETY: as promised by the caller.
        let text = unsafe { out(text) }?;
        let found = find(error);
        text.write(found.map_or(std::ptr::null(), |entry| part(entry).as_ptr()));
        if found.is_some() {
            Ok(())
        } else {
            Err(Code::InvalidValue.into())
        }
    })
}

/// The name of a result code.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorName(error: c_int, name: *mut *const c_char) -> Code {
    // SAFETY: the driver interface demands a pointer that may be written.
    unsafe { describe(error, name, |entry| entry.1) }
}

/// The meaning of a result code.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorString(error: c_int, text: *mut *const c_char) -> Code {
    // SAFETY: the driver interface demands a pointer that may be written.
    unsafe { describe(error, text, |entry| entry.2) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_the_code_a_gpu_gives() {
        assert_eq!(Code::of_fault(FaultKind::OutOfBounds), Code::IllegalAddress);
        assert_eq!(
            Code::of_fault(FaultKind::UseAfterFree),
            Code::IllegalAddress
        );
        assert_eq!(
            Code::of_fault(FaultKind::Misaligned),
            Code::MisalignedAddress
        );
        assert_eq!(Code::of_fault(FaultKind::Hang), Code::LaunchTimeout);
        assert_eq!(Code::of_fault(FaultKind::Assert), Code::Assert);
        assert_eq!(Code::of_fault(FaultKind::Race), Code::LaunchFailed);
        assert_eq!(
            Code::CaptureIsolation.name(),
            "CUDA_ERROR_STREAM_CAPTURE_ISOLATION"
        );
    }

    #[test]
    fn codes_are_listed_once() {
        for (at, entry) in TABLE.iter().enumerate() {
            assert!(
                TABLE[at + 1..].iter().all(|other| other.0 != entry.0),
                "{:?} twice",
                entry.0
            );
        }
    }
}
