//! For tests: loads the stand-in in place of a missing GPU driver, and reads what it found.
//!
//! ```no_run
//! let standin = standin::client::Standin::load().expect("the stand-in is built with the tests");
//! // ... run kernels through cudarc ...
//! if let Some(standin) = standin {
//!     assert!(standin.faults().is_empty());
//!     let launch = standin.launches().pop().unwrap();
//!     assert_eq!(launch.record.counters.shared_waves, launch.record.counters.shared_ideal_waves);
//! }
//! ```

use std::ffi::{CStr, c_char, c_int, c_uint};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use libloading::Library;

pub use crate::driver::record::{FaultRecord, FaultText, INTERFACE, LaunchRecord};
use crate::fault::FaultKind;

/// The name under which a GPU's driver is always found.
const DRIVER: &str = "libcuda.so.1";

/// The name that cargo gives the stand-in.
const STANDIN: &str = "libstandin.so";

/// Why the stand-in cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// It is not where cargo puts it.
    #[error(
        "{STANDIN} is in none of {0:?}: name the crate `standin` under [dev-dependencies], or build it with cargo build -p standin"
    )]
    Missing(Vec<PathBuf>),
    /// The dynamic linker refuses it.
    #[error("{0}: {1}")]
    Refused(PathBuf, String),
    /// It was built from other sources than this program.
    #[error(
        "the stand-in has interface version {found}, this program was built for {INTERFACE}: build both again"
    )]
    Version {
        /// Its version.
        found: u32,
    },
}

/// A launch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Kernel name as in PTX.
    pub kernel: String,
    /// Its numbers.
    pub record: LaunchRecord,
}

/// A fault of a kernel, or a wrong use of the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which check; `None` for wrong use of the driver by the host program.
    pub kind: Option<FaultKind>,
    /// Its numbers.
    pub record: FaultRecord,
    /// What exactly.
    pub message: String,
    /// Kernel name as in PTX, or the driver function that was called.
    pub kernel: String,
    /// CUDA source line.
    pub source: String,
    /// The PTX instruction.
    pub instruction: String,
    /// The whole report.
    pub report: String,
}

/// The stand-in, loaded.
#[derive(Debug)]
pub struct Standin {
    path: PathBuf,
    library: Library,
    functions: Functions,
}

type GiveText<A> = unsafe extern "C" fn(A, *mut c_char, usize) -> usize;

#[derive(Clone, Copy, Debug)]
struct Functions {
    thread: unsafe extern "C" fn() -> u64,
    launch_count: unsafe extern "C" fn() -> u64,
    fault_count: unsafe extern "C" fn() -> u64,
    launch: unsafe extern "C" fn(u64, *mut LaunchRecord) -> c_int,
    fault: unsafe extern "C" fn(u64, *mut FaultRecord) -> c_int,
    launch_name: GiveText<u64>,
    fault_text: unsafe extern "C" fn(u64, u32, *mut c_char, usize) -> usize,
    reset: unsafe extern "C" fn(),
    set_seed: unsafe extern "C" fn(u64),
    set_devices: unsafe extern "C" fn(u32, u32, u32) -> c_int,
    capability: unsafe extern "C" fn() -> c_int,
}

impl Functions {
    /// # Safety
    /// The library is the stand-in, of this interface version.
    unsafe fn of(library: &Library) -> Result<Self, libloading::Error> {
        // SAFETY: the functions of this interface version have these types.
        unsafe {
            Ok(Functions {
                thread: *library.get(b"standin_thread")?,
                launch_count: *library.get(b"standin_launch_count")?,
                fault_count: *library.get(b"standin_fault_count")?,
                launch: *library.get(b"standin_launch")?,
                fault: *library.get(b"standin_fault")?,
                launch_name: *library.get(b"standin_launch_name")?,
                fault_text: *library.get(b"standin_fault_text")?,
                reset: *library.get(b"standin_reset")?,
                set_seed: *library.get(b"standin_set_seed")?,
                set_devices: *library.get(b"standin_set_devices")?,
                capability: *library.get(b"standin_capability")?,
            })
        }
    }
}

impl Standin {
    /// Loads the stand-in unless a real GPU answers, in which case there is none. Call it before anything else uses CUDA:
    /// from then on, whoever asks for `libcuda.so` gets the stand-in. The first call prints which of the two it is.
    ///
    /// # Errors
    /// Neither is there.
    pub fn load() -> Result<Option<&'static Standin>, LoadError> {
        static LOADED: OnceLock<Result<Option<Standin>, LoadError>> = OnceLock::new();
        LOADED
            .get_or_init(load)
            .as_ref()
            .map(Option::as_ref)
            .map_err(LoadError::clone)
    }

    /// Loads the stand-in even where a real GPU answers: for tests of the stand-in itself. It must come before anything
    /// else that uses CUDA, [`Standin::load`] included.
    ///
    /// # Errors
    /// It is not there.
    pub fn load_regardless() -> Result<&'static Standin, LoadError> {
        static LOADED: OnceLock<Result<Standin, LoadError>> = OnceLock::new();
        LOADED
            .get_or_init(from_build)
            .as_ref()
            .map_err(LoadError::clone)
    }

    /// The launches executed since the last reset, the last 65,536 of them.
    pub fn launches(&self) -> Vec<Launch> {
        let launch = |number| {
            let mut record = LaunchRecord::default();
            // SAFETY: the record has the layout of this interface version.
            let found = unsafe { (self.functions.launch)(number, &mut record) } == 0;
            let kernel = || {
                // SAFETY: `buffer` and `room` belong together.
                text(|buffer, room| unsafe { (self.functions.launch_name)(number, buffer, room) })
            };
            found.then(|| Launch {
                kernel: kernel(),
                record,
            })
        };
        // SAFETY: it has no arguments.
        let count = unsafe { (self.functions.launch_count)() };
        (0..count).filter_map(launch).collect()
    }

    /// Those of them that the calling thread asked for: other tests of the process run beside this one.
    pub fn launches_of_this_thread(&self) -> Vec<Launch> {
        let thread = self.thread();
        self.launches()
            .into_iter()
            .filter(|launch| launch.record.thread == thread)
            .collect()
    }

    /// The faults found and calls refused since the last reset, the last 65,536 of them.
    pub fn faults(&self) -> Vec<Finding> {
        // SAFETY: it has no arguments.
        let count = unsafe { (self.functions.fault_count)() };
        (0..count).filter_map(|number| self.fault(number)).collect()
    }

    /// Those of them that follow from calls of the calling thread.
    pub fn faults_of_this_thread(&self) -> Vec<Finding> {
        let thread = self.thread();
        self.faults()
            .into_iter()
            .filter(|fault| fault.record.host_thread == thread)
            .collect()
    }

    fn fault(&self, number: u64) -> Option<Finding> {
        let mut record = FaultRecord::default();
        // SAFETY: the record has the layout of this interface version.
        if unsafe { (self.functions.fault)(number, &mut record) } != 0 {
            return None;
        }
        let part = |which: FaultText| {
            // SAFETY: `buffer` and `room` belong together.
            text(|buffer, room| unsafe {
                (self.functions.fault_text)(number, which as u32, buffer, room)
            })
        };
        Some(Finding {
            kind: KINDS.into_iter().find(|&kind| kind as u32 == record.kind),
            record,
            message: part(FaultText::Message),
            kernel: part(FaultText::Kernel),
            source: part(FaultText::Source),
            instruction: part(FaultText::Instruction),
            report: part(FaultText::Report),
        })
    }

    /// Forgets launches and faults, and heals contexts that had failed.
    pub fn reset(&self) {
        // SAFETY: it has no arguments.
        unsafe { (self.functions.reset)() }
    }

    /// Chooses the schedule from now on; 0 is the default order.
    pub fn set_seed(&self, seed: u64) {
        // SAFETY: any number will do.
        unsafe { (self.functions.set_seed)(seed) }
    }

    /// Changes compute capability and number of the devices: possible after `cuInit`, while no context exists.
    ///
    /// # Errors
    /// The driver's result code where that is not so, or the stand-in cannot be such devices.
    pub fn set_devices(&self, (major, minor): (u32, u32), count: u32) -> Result<(), i32> {
        // SAFETY: any numbers will do.
        match unsafe { (self.functions.set_devices)(major, minor, count) } {
            0 => Ok(()),
            code => Err(code),
        }
    }

    /// The compute capability of the devices.
    pub fn capability(&self) -> (u32, u32) {
        // SAFETY: it has no arguments.
        let number = unsafe { (self.functions.capability)() } as u32;
        (number / 10, number % 10)
    }

    /// The number that records have for the calling thread.
    pub fn thread(&self) -> u64 {
        // SAFETY: it has no arguments.
        unsafe { (self.functions.thread)() }
    }

    /// Makes a program that is yet to be started run on the stand-in, too. Its devices are those of the environment.
    pub fn preload<'a>(&self, program: &'a mut Command) -> &'a mut Command {
        program.env("LD_PRELOAD", &self.path)
    }

    /// The library itself.
    pub fn library(&self) -> &Library {
        &self.library
    }
}

const KINDS: [FaultKind; 12] = [
    FaultKind::OutOfBounds,
    FaultKind::UseAfterFree,
    FaultKind::Misaligned,
    FaultKind::Uninitialised,
    FaultKind::Race,
    FaultKind::Divergence,
    FaultKind::Barrier,
    FaultKind::Asynchronous,
    FaultKind::InvalidOperand,
    FaultKind::Hang,
    FaultKind::Trap,
    FaultKind::Assert,
];

/// A text that a function copies as far as there is room for it.
fn text(copy: impl Fn(*mut c_char, usize) -> usize) -> String {
    let mut bytes = vec![0_u8; copy(std::ptr::null_mut(), 0)];
    let len = copy(bytes.as_mut_ptr().cast(), bytes.len());
    bytes.truncate(len);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Past the test harness, which keeps what passing tests print.
fn announce(what: &str) {
    let _ = writeln!(std::io::stderr(), "running on {what}");
}

fn load() -> Result<Option<Standin>, LoadError> {
    // SAFETY: this is what the program is about to do in any case.
    if let Ok(library) = unsafe { Library::new(DRIVER) } {
        if interface(&library).is_some() {
            return Standin::of(&PathBuf::from(DRIVER), library).map(Some);
        }
        if let Some(name) = first_gpu(&library) {
            announce(&name);
            // The driver stays loaded.
            std::mem::forget(library);
            return Ok(None);
        }
    }
    from_build().map(Some)
}

/// The stand-in that cargo built.
fn from_build() -> Result<Standin, LoadError> {
    let places = places();
    let path = places
        .iter()
        .find(|path| path.exists())
        .ok_or_else(|| LoadError::Missing(places.clone()))?;
    // SAFETY: the stand-in does nothing when it is loaded.
    let library = unsafe { Library::new(path) }
        .map_err(|error| LoadError::Refused(path.clone(), error.to_string()))?;
    Standin::of(path, library)
}

/// The interface version of the stand-in; `None` for another library.
fn interface(library: &Library) -> Option<u32> {
    // SAFETY: nobody else has a function of this name; it has this type in every version.
    let interface: libloading::Symbol<'_, unsafe extern "C" fn() -> u32> =
        unsafe { library.get(b"standin_interface") }.ok()?;
    // SAFETY: it has no arguments.
    Some(unsafe { interface() })
}

impl Standin {
    fn of(path: &Path, library: Library) -> Result<Standin, LoadError> {
        let refused = |why: String| LoadError::Refused(path.into(), why);
        let found = interface(&library).ok_or_else(|| refused("it is not the stand-in".into()))?;
        if found != INTERFACE {
            return Err(LoadError::Version { found });
        }
        // SAFETY: it is the stand-in, and its interface version is this one.
        let functions =
            unsafe { Functions::of(&library) }.map_err(|error| refused(error.to_string()))?;
        let standin = Standin {
            path: path.to_owned(),
            library,
            functions,
        };
        let (major, minor) = standin.capability_to_be();
        announce(&format!(
            "the stand-in (compute capability {major}.{minor})"
        ));
        Ok(standin)
    }

    /// The compute capability, which the environment decides when the driver is initialised.
    fn capability_to_be(&self) -> (u32, u32) {
        // SAFETY: `cuInit` has this type in every driver. Where it fails, the program is told so when it calls it itself.
        if let Ok(init) = unsafe {
            self.library
                .get::<unsafe extern "C" fn(c_uint) -> c_int>(b"cuInit")
        } {
            // SAFETY: it may be called any number of times, with 0.
            unsafe { init(0) };
        }
        self.capability()
    }
}

/// Where cargo puts the stand-in, seen from a test, a benchmark, an example or a program.
fn places() -> Vec<PathBuf> {
    let program = std::env::current_exe().unwrap_or_default();
    let folder = program.parent().unwrap_or(program.as_path());
    ["", "deps", "../deps", ".."]
        .iter()
        .map(|way| folder.join(way).join(STANDIN))
        .collect()
}

/// The name of the first GPU of a driver, if it has any.
fn first_gpu(library: &Library) -> Option<String> {
    type Init = unsafe extern "C" fn(c_uint) -> c_int;
    type GetCount = unsafe extern "C" fn(*mut c_int) -> c_int;
    type GetName = unsafe extern "C" fn(*mut c_char, c_int, c_int) -> c_int;
    let mut count = 0;
    let mut name = [0; 256];
    // SAFETY: these functions have had these types in every CUDA driver; device numbers are devices.
    unsafe {
        let init: libloading::Symbol<'_, Init> = library.get(b"cuInit").ok()?;
        let get_count: libloading::Symbol<'_, GetCount> = library.get(b"cuDeviceGetCount").ok()?;
        let get_name: libloading::Symbol<'_, GetName> = library.get(b"cuDeviceGetName").ok()?;
        let found = init(0) == 0
            && get_count(&mut count) == 0
            && count > 0
            && get_name(name.as_mut_ptr().cast(), 255, 0) == 0;
        found.then(|| {
            CStr::from_bytes_until_nul(&name)
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default()
        })
    }
}
