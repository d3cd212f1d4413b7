//! All that the driver knows.

use super::capture::Capture;
use super::context::Context;
use super::device::Device;
use super::environment::Settings;
use super::error::{Code, Failure, misuse};
use super::event::Event;
use super::function::Function;
use super::graph::Graph;
use super::host_memory::HostMemory;
use super::journal::Journal;
use super::memory::ADDRESSES_PER_DEVICE;
use super::module::Module;
use super::pool::Pool;
use super::queue::Queue;
use super::replay::Executable;
use super::stream::Stream;
use super::table::Table;
use crate::memory::{AddressError, Allocation, Hint};

/// The driver of this process.
#[derive(Debug, Default)]
pub struct Driver {
    /// `cuInit` was called and had nothing to complain about.
    pub initialised: bool,
    /// What the environment, or a test, chose.
    pub settings: Settings,
    /// The devices.
    pub devices: Vec<Device>,
    /// `CUcontext`.
    pub contexts: Table<Context>,
    /// `CUstream`.
    pub streams: Table<Stream>,
    /// `CUevent`.
    pub events: Table<Event>,
    /// `CUmodule`.
    pub modules: Table<Module>,
    /// `CUfunction`.
    pub functions: Table<Function>,
    /// `CUmemoryPool`.
    pub pools: Table<Pool>,
    /// `CUgraph`.
    pub graphs: Table<Graph>,
    /// `CUgraphExec`.
    pub executables: Table<Executable>,
    /// Captures under way.
    pub captures: Table<Capture>,
    /// Page-locked memory.
    pub host_memory: HostMemory,
    /// Work that was asked for and not done yet.
    pub queue: Queue,
    /// What happened.
    pub journal: Journal,
}

impl Driver {
    /// The device with this number.
    pub fn device(&self, number: i32) -> Result<usize, Failure> {
        usize::try_from(number)
            .ok()
            .filter(|&index| index < self.devices.len())
            .ok_or_else(|| {
                misuse(
                    Code::InvalidDevice,
                    format!("device {number} of {}", self.devices.len()),
                )
            })
    }

    /// The device to which an address belongs, whether or not anything is allocated there.
    pub fn device_of(&self, address: u64) -> Option<usize> {
        let index = usize::try_from(address / ADDRESSES_PER_DEVICE)
            .ok()?
            .checked_sub(super::memory::FIRST_DEVICE as usize)?;
        (index < self.devices.len()).then_some(index)
    }

    /// The allocation that holds the `bytes` bytes at `address`, and the offset in it.
    pub fn locate(&self, address: u64, bytes: u64) -> Result<(&Allocation, u64), AddressError> {
        let device = self.device_of(address).ok_or(AddressError::Unmapped)?;
        let view = self.devices[device].memory.view();
        let place = view.find(address, bytes, &mut Hint::default())?;
        Ok((view.allocation(place.allocation), place.offset))
    }
}
