//! The driver surface as programs use it: through cudarc, with the stand-in loaded in place of a GPU's driver.

mod capture;
mod children;
mod events;
mod faults;
mod graphs;
mod host_calls;
mod launches;
mod memory;
mod misuse;
mod modules;
mod properties;
mod ptx;
mod records;
mod streams;
mod support;
mod tensor_maps;
