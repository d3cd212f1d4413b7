//! The compiled kernels of this build.

#![forbid(unsafe_code)]

/// A compiled kernel file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KernelImage {
    /// The file's name without `.cu`, which is that of the operation: `layer_norm`.
    pub name: &'static str,
    /// The architectures that it has machine code for: `sm_90a`. Empty in none.
    pub targets: &'static [&'static str],
    /// What its PTX is for: `compute_80`. Newer GPUs than `targets` compile it when they load the image.
    pub ptx: &'static str,
    /// The image to load, an uncompressed fatbin aligned to 16 bytes.
    pub fatbin: &'static [u8],
}

/// What one kernel takes of the hardware, as ptxas counted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KernelResources {
    /// The file's name without `.cu`.
    pub file: &'static str,
    /// The entry point.
    pub kernel: &'static str,
    /// The architecture.
    pub target: &'static str,
    /// Registers a thread.
    pub registers: u32,
    /// Static shared memory a block, in bytes.
    pub static_shared: u32,
    /// Stack a thread, in bytes.
    pub stack: u32,
    /// Spilled registers written, in bytes a thread.
    pub spill_stores: u32,
    /// Spilled registers read back, in bytes a thread.
    pub spill_loads: u32,
    /// Named barriers a block.
    pub barriers: u32,
}

/// The images that this build holds, by name: none if it had no nvcc.
pub fn kernel_images() -> &'static [KernelImage] {
    KERNEL_IMAGES
}

/// The figures of every kernel and architecture that this build holds machine code for, by file and kernel.
pub fn kernel_resources() -> &'static [KernelResources] {
    KERNEL_RESOURCES
}

/// `include_bytes!` promises no alignment, and the driver reads 64-bit words.
#[cfg(lexpeak_cuda)]
#[repr(C, align(16))]
struct Aligned<Bytes: ?Sized>(Bytes);

static KERNEL_IMAGES: &[KernelImage] = include!(concat!(env!("OUT_DIR"), "/kernel_images.rs"));

static KERNEL_RESOURCES: &[KernelResources] =
    include!(concat!(env!("OUT_DIR"), "/kernel_resources.rs"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_aligned_fatbins_with_ptx() {
        for image in kernel_images() {
            let KernelImage { name, fatbin, .. } = image;
            assert!(fatbin.as_ptr().cast::<[u128; 1]>().is_aligned(), "{name}");
            assert_eq!(fatbin[..4], 0xba55_ed50_u32.to_le_bytes(), "{name}");
            let directive = b".address_size 64";
            assert!(
                fatbin
                    .windows(directive.len())
                    .any(|bytes| bytes == directive),
                "{name}: no plain PTX"
            );
        }
    }

    #[test]
    fn every_image_has_figures_for_each_target_and_none_spills() {
        for image in kernel_images() {
            for target in image.targets {
                let of_target =
                    |row: &&KernelResources| row.file == image.name && row.target == *target;
                let mut rows = kernel_resources().iter().filter(of_target).peekable();
                assert!(rows.peek().is_some(), "{} {target}", image.name);
                for row in rows {
                    assert!((1..=255).contains(&row.registers), "{row:?}");
                    assert_eq!(row.spill_stores + row.spill_loads, 0, "{row:?}");
                }
            }
        }
    }
}
