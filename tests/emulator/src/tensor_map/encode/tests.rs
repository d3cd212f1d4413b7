use super::*;

/// A legal map of a 3-D tensor of f16: 100 x 20 x 3 elements in rows of 256 bytes.
const LEGAL: Tiled<'_> = Tiled {
    data_type: 6,
    address: 0x1_0000,
    dimensions: &[100, 20, 3],
    strides: &[256, 256 * 20],
    box_sizes: &[64, 8, 2],
    element_strides: &[1, 1, 1],
    interleave: 0,
    swizzle: 3,
    promotion: 3,
    fill: 1,
};

#[test]
fn a_legal_map_keeps_its_arguments() {
    let map = TensorMap::encode(&LEGAL).unwrap();
    assert_eq!(
        (map.element, map.rank, map.address),
        (Element::F16, 3, 0x1_0000)
    );
    assert_eq!(map.dimensions, [100, 20, 3, 1, 1]);
    assert_eq!(map.strides, [2, 256, 5120, 0, 0]);
    assert_eq!(map.box_sizes, [64, 8, 2, 1, 1]);
    assert_eq!((map.swizzle, map.fill), (Swizzle::Bytes128, Fill::Nan));
    assert_eq!((map.row_bytes(), map.box_bytes()), (128, 2048));
}

#[test]
fn element_strides_thin_the_box_but_not_along_dimension_0() {
    let map = TensorMap::encode(&Tiled {
        element_strides: &[8, 3, 2],
        ..LEGAL
    })
    .unwrap();
    assert_eq!(map.counts(), [64, 3, 1, 1, 1]);
    assert_eq!(map.box_bytes(), 128 * 3);
}

#[test]
fn limits_themselves_are_legal() {
    let widest = Tiled {
        dimensions: &[1 << 32, 20, 1],
        strides: &[(1 << 40) - 16, 0],
        box_sizes: &[64, 256, 1],
        element_strides: &[1, 8, 1],
        ..LEGAL
    };
    assert!(TensorMap::encode(&widest).is_ok());
    let line = Tiled {
        dimensions: &[100],
        strides: &[],
        box_sizes: &[256],
        element_strides: &[1],
        swizzle: 0,
        ..LEGAL
    };
    assert!(TensorMap::encode(&line).is_ok());
}

#[test]
fn every_rule_is_checked() {
    use TensorMapError as Error;
    let cases: [(Tiled<'_>, TensorMapError); 22] = [
        (
            Tiled {
                dimensions: &[],
                ..LEGAL
            },
            Error::Rank(0),
        ),
        (
            Tiled {
                dimensions: &[1; 6],
                ..LEGAL
            },
            Error::Rank(6),
        ),
        (
            Tiled {
                strides: &[256],
                ..LEGAL
            },
            Error::Length {
                name: "globalStrides",
                found: 1,
                wanted: 2,
            },
        ),
        (
            Tiled {
                box_sizes: &[8, 8],
                ..LEGAL
            },
            Error::Length {
                name: "boxDim",
                found: 2,
                wanted: 3,
            },
        ),
        (
            Tiled {
                element_strides: &[1; 4],
                ..LEGAL
            },
            Error::Length {
                name: "elementStrides",
                found: 4,
                wanted: 3,
            },
        ),
        (
            Tiled {
                data_type: 14,
                ..LEGAL
            },
            Error::Unsupported("packed 4- and 6-bit elements, which begin with sm_100"),
        ),
        (
            Tiled {
                data_type: 16,
                ..LEGAL
            },
            Error::Unknown {
                name: "tensorDataType",
                number: 16,
            },
        ),
        (
            Tiled {
                address: 0x1_0008,
                ..LEGAL
            },
            Error::Address(0x1_0008),
        ),
        (
            Tiled {
                dimensions: &[100, 0, 3],
                ..LEGAL
            },
            Error::Dimension { axis: 1, size: 0 },
        ),
        (
            Tiled {
                dimensions: &[100, 1, (1 << 32) + 1],
                ..LEGAL
            },
            Error::Dimension {
                axis: 2,
                size: (1 << 32) + 1,
            },
        ),
        (
            Tiled {
                strides: &[200, 5120],
                ..LEGAL
            },
            Error::Stride {
                index: 0,
                stride: 200,
            },
        ),
        (
            Tiled {
                strides: &[256, 1 << 40],
                ..LEGAL
            },
            Error::Stride {
                index: 1,
                stride: 1 << 40,
            },
        ),
        (
            Tiled {
                box_sizes: &[64, 0, 2],
                ..LEGAL
            },
            Error::Box { axis: 1, size: 0 },
        ),
        (
            Tiled {
                box_sizes: &[64, 8, 257],
                ..LEGAL
            },
            Error::Box { axis: 2, size: 257 },
        ),
        (
            Tiled {
                box_sizes: &[60, 8, 2],
                ..LEGAL
            },
            Error::Row { bytes: 120 },
        ),
        (
            Tiled {
                box_sizes: &[72, 8, 2],
                ..LEGAL
            },
            Error::SwizzledRow {
                bytes: 144,
                most: 128,
            },
        ),
        (
            Tiled {
                element_strides: &[1, 0, 1],
                ..LEGAL
            },
            Error::ElementStride { axis: 1, stride: 0 },
        ),
        (
            Tiled {
                element_strides: &[1, 1, 9],
                ..LEGAL
            },
            Error::ElementStride { axis: 2, stride: 9 },
        ),
        (
            Tiled {
                data_type: 1,
                ..LEGAL
            },
            Error::NanFill(Element::U16),
        ),
        (
            Tiled {
                interleave: 1,
                ..LEGAL
            },
            Error::Unsupported("interleaved layouts"),
        ),
        (
            Tiled {
                swizzle: 7,
                ..LEGAL
            },
            Error::Unknown {
                name: "swizzle",
                number: 7,
            },
        ),
        (
            Tiled { fill: 2, ..LEGAL },
            Error::Unknown {
                name: "oobFill",
                number: 2,
            },
        ),
    ];
    for (tiled, error) in cases {
        assert_eq!(TensorMap::encode(&tiled), Err(error), "{tiled:?}");
    }
    for (swizzle, most) in [(1, 16), (2, 32)] {
        let fits = Tiled {
            swizzle,
            box_sizes: &[most, 8, 2],
            ..LEGAL
        };
        assert!(TensorMap::encode(&fits).is_ok());
        let longer = Tiled {
            swizzle,
            box_sizes: &[most + 8, 8, 2],
            ..LEGAL
        };
        let error = Error::SwizzledRow {
            bytes: 2 * (most as usize + 8),
            most: 2 * most,
        };
        assert_eq!(TensorMap::encode(&longer), Err(error));
    }
    let error = Error::Unsupported("swizzles of 32- and 64-byte atoms, which begin with sm_100");
    assert_eq!(
        TensorMap::encode(&Tiled {
            swizzle: 4,
            ..LEGAL
        }),
        Err(error)
    );
    let error = Error::Unknown {
        name: "interleave",
        number: 3,
    };
    assert_eq!(
        TensorMap::encode(&Tiled {
            interleave: 3,
            ..LEGAL
        }),
        Err(error)
    );
    let error = Error::Unknown {
        name: "l2Promotion",
        number: 4,
    };
    assert_eq!(
        TensorMap::encode(&Tiled {
            promotion: 4,
            ..LEGAL
        }),
        Err(error)
    );
}

#[test]
fn maps_survive_their_bytes_and_nothing_else_passes_for_one() {
    let map = TensorMap::encode(&LEGAL).unwrap();
    let bytes = map.to_bytes();
    assert_eq!(TensorMap::from_bytes(&bytes), Ok(map));
    for at in 0..bytes.len() {
        let mut damaged = bytes;
        damaged[at] ^= 1;
        assert!(TensorMap::from_bytes(&damaged).is_err(), "byte {at}");
    }
    assert!(TensorMap::from_bytes(&[0; 128]).is_err());
}
