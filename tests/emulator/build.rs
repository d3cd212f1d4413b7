//! Names the shared library as the CUDA driver is named, so that a program's `dlopen("libcuda.so")` finds it once it is loaded.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libcuda.so");
}
