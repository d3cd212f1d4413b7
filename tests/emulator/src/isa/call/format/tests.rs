use std::collections::VecDeque;

use super::*;

/// Arguments as numbers; texts by address.
struct Given(VecDeque<u64>);

impl Arguments for Given {
    type Error = ();

    fn number(&mut self, bytes: usize) -> Result<u64, ()> {
        let value = self.0.pop_front().ok_or(())?;
        Ok(if bytes == 4 {
            value & 0xffff_ffff
        } else {
            value
        })
    }

    fn text(&mut self, address: u64) -> Result<String, ()> {
        Ok(format!("text{address}"))
    }
}

fn of(template: &str, arguments: &[u64]) -> String {
    let mut given = Given(arguments.iter().copied().collect());
    let text = format(template, &mut given).expect("there are enough arguments");
    assert!(given.0.is_empty(), "{template} leaves arguments");
    text
}

#[test]
fn integers() {
    let minus = -5_i32 as u32 as u64;
    assert_eq!(of("%d %i|%u", &[minus, 7, minus]), "-5 7|4294967291");
    assert_eq!(
        of("%ld %lld", &[-5_i64 as u64, 1 << 40]),
        "-5 1099511627776"
    );
    assert_eq!(
        of("%lu %llu %zu", &[1 << 40, u64::MAX, 3]),
        "1099511627776 18446744073709551615 3"
    );
    assert_eq!(of("%hhd %hu", &[0x1ff, 0x1_0002]), "-1 2");
    assert_eq!(
        of("%x %X %#x %#o %#x", &[255, 255, 255, 8, 0]),
        "ff FF 0xff 010 0"
    );
    assert_eq!(
        of("[%5d][%-5d][%05d][%+d][% d]", &[42, 42, minus, 42, 42]),
        "[   42][42   ][-0005][+42][ 42]"
    );
    assert_eq!(
        of("[%.3d][%6.3d][%06.3d][%.0d]", &[7, 7, 7, 0]),
        "[007][   007][   007][]"
    );
    assert_eq!(
        of("[%*d][%*d]", &[4, 1, -4_i32 as u32 as u64, 1]),
        "[   1][1   ]"
    );
}

#[test]
fn floats() {
    let of = |template: &str, value: f64| of(template, &[value.to_bits()]);
    assert_eq!(of("%f", 1.5), "1.500000");
    assert_eq!(of("%08.2f", -3.456), "-0003.46");
    assert_eq!(of("%.0f", 2.5), "2");
    assert_eq!(of("%e", 12345.678), "1.234568e+04");
    assert_eq!(of("%.2E", 0.000_012_3), "1.23E-05");
    assert_eq!(of("%e", 0.0), "0.000000e+00");
    assert_eq!(of("%g", 100_000.0), "100000");
    assert_eq!(of("%g", 1_000_000.0), "1e+06");
    assert_eq!(of("%g", 0.000_123_456_789), "0.000123457");
    assert_eq!(of("%g", 0.000_012_5), "1.25e-05");
    assert_eq!(of("%g", 0.0), "0");
    assert_eq!(of("%.3g", 9999.0), "1e+04");
    assert_eq!(of("%#g", 1.0), "1.00000");
    assert_eq!(of("%5.1f|", f64::NAN), "  nan|");
    assert_eq!(of("%05f", f64::NEG_INFINITY), " -inf");
    assert_eq!(of("%F", f64::INFINITY), "INF");
}

#[test]
fn letters_texts_and_pointers() {
    assert_eq!(of("%c%c", &[72, 105]), "Hi");
    assert_eq!(
        of("[%s][%7s][%-7s][%.2s]", &[1, 2, 3, 4]),
        "[text1][  text2][text3  ][te]"
    );
    assert_eq!(of("%s", &[0]), "(null)");
    assert_eq!(of("%p %p", &[0x7f00, 0]), "0x7f00 (nil)");
}

#[test]
fn what_is_no_conversion_stays() {
    assert_eq!(of("100%% %k %", &[]), "100% %k %");
    assert_eq!(of("", &[]), "");
}

#[test]
fn a_missing_argument_is_an_error() {
    assert!(format("%d", &mut Given(VecDeque::new())).is_err());
}

#[test]
fn hostile_widths_are_cut() {
    assert_eq!(of("%99999999999d", &[1]).len(), MOST_WIDTH);
    assert_eq!(of("%.999999999f", &[0]).len(), MOST_WIDTH + 2);
}
