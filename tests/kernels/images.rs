//! Every kernel of the build loads: on the stand-in that means it knows every instruction.

use cudarc::nvrtc::Ptx;
use lexpeak::cuda::{kernel_images, kernel_resources};

use crate::rig::Rig;

#[test]
fn every_entry_point_of_every_image_is_there() {
    let rig = Rig::new();
    assert!(!kernel_images().is_empty());
    for image in kernel_images() {
        let ptx = Ptx::from_binary(image.fatbin.to_vec());
        let module = rig.gpu.stream().context().load_module(ptx);
        let module = module.unwrap_or_else(|error| panic!("{}: {error}", image.name));
        for row in kernel_resources() {
            if row.file == image.name {
                module
                    .load_function(row.kernel)
                    .unwrap_or_else(|error| panic!("{}: {error}", row.kernel));
            }
        }
    }
}
