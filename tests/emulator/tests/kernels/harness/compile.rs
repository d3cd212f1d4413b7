//! From `kernels/NAME.cu` to decoded kernels, by the same nvcc and flags as the kernels of the library.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use kernel_build::{KernelBuild, Search, Source};
use standin::isa::{Kernel, decode};
use standin::memory::GlobalMemory;
use standin::ptx::Module;

/// Where device memory begins.
const MEMORY_BASE: u64 = 0x7f00_0000_0000;

/// Of an H100.
const CAPABILITY: (u32, u32) = (9, 0);

/// A file's module and, by name, its kernels.
#[derive(Debug)]
pub struct Loaded {
    /// The syntax.
    pub module: Module,
    /// Addresses of its variables, see [`Loaded::fresh_memory`].
    pub globals: HashMap<String, u64>,
    kernels: Mutex<HashMap<String, Arc<Kernel>>>,
}

impl Loaded {
    /// The decoded kernel of this name.
    pub fn kernel(&self, name: &str) -> Arc<Kernel> {
        let known = self
            .kernels
            .lock()
            .expect("no holder panics")
            .get(name)
            .cloned();
        known.unwrap_or_else(|| {
            let entry = self.module.entries.iter().find(|entry| entry.name == name);
            let entry = entry.unwrap_or_else(|| panic!("there is no kernel {name}"));
            let kernel = decode(&self.module, entry, &self.globals)
                .unwrap_or_else(|error| panic!("{error}"));
            let kernel = Arc::new(kernel);
            self.kernels
                .lock()
                .expect("no holder panics")
                .insert(name.to_owned(), kernel.clone());
            kernel
        })
    }

    /// Device memory that holds nothing but the module's variables, always at the same addresses.
    pub fn fresh_memory(&self) -> GlobalMemory {
        memory_with(&self.module).0
    }
}

fn memory_with(module: &Module) -> (GlobalMemory, HashMap<String, u64>) {
    let mut memory = GlobalMemory::new(MEMORY_BASE, 1 << 34);
    let mut globals = HashMap::new();
    for variable in &module.globals {
        let address = memory
            .allocate(variable.size.max(1))
            .expect("there is room");
        globals.insert(variable.name.clone(), address);
    }
    for variable in &module.globals {
        let mut bytes = variable.initial.clone();
        bytes.resize(variable.size as usize, 0);
        for (offset, name, addend) in &variable.pointers {
            let target = globals[name].wrapping_add_signed(*addend);
            bytes[*offset as usize..][..size_of::<u64>()].copy_from_slice(&target.to_le_bytes());
        }
        let place = memory.view().find(
            globals[&variable.name],
            variable.size,
            &mut Default::default(),
        );
        let place = place.expect("it was just allocated");
        memory.view().allocation(place.allocation).write(0, &bytes);
    }
    (memory, globals)
}

/// The module of `kernels/NAME.cu` with its kernels, compiled if need be and kept for all tests.
pub fn loaded(name: &'static str) -> Arc<Loaded> {
    type File = Arc<OnceLock<Arc<Loaded>>>;
    static FILES: Mutex<Option<HashMap<&str, File>>> = Mutex::new(None);
    let file = {
        let mut files = FILES.lock().expect("no holder panics");
        files
            .get_or_insert_default()
            .entry(name)
            .or_default()
            .clone()
    };
    // Other files are compiled meanwhile.
    file.get_or_init(|| {
        let image = fatbin_of(name);
        let module = standin::image::module(&image, CAPABILITY)
            .unwrap_or_else(|error| panic!("{name}.cu: {error}"));
        let globals = memory_with(&module).1;
        Arc::new(Loaded {
            module,
            globals,
            kernels: Mutex::default(),
        })
    })
    .clone()
}

/// The fatbin of `kernels/NAME.cu`.
pub fn fatbin_of(name: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let out_dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kernels");
    let source = Source::read(&source_path(name)).unwrap_or_else(|error| panic!("{error}"));
    let build = KernelBuild::new(&Search::from_env(root), out_dir).map(KernelBuild::ptx_only);
    let images = build
        .and_then(|build| build.run(&[source]))
        .unwrap_or_else(|error| panic!("{error}"));
    std::fs::read(&images[0].fatbin).expect("the fatbin was just written")
}

fn source_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("kernels")
        .join(format!("{name}.cu"))
}

/// The place `NAME.cu:LINE` of the line that ends in the comment `// here: MARK`.
pub fn line_of(name: &str, mark: &str) -> String {
    let text = std::fs::read_to_string(source_path(name)).expect("the file was compiled");
    let ending = format!("// here: {mark}");
    let line = text.lines().position(|line| line.ends_with(&ending));
    let line = line.unwrap_or_else(|| panic!("{name}.cu has no line that ends in {ending:?}"));
    format!("{name}.cu:{}", line + 1)
}
