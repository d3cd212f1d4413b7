//! Comparisons that say where two results differ.

use std::fmt::Debug;

/// The first element that differs, as an error.
pub fn equal<T: PartialEq + Debug>(got: &[T], expected: &[T]) -> Result<(), String> {
    if got.len() != expected.len() {
        return Err(format!(
            "{} elements, expected {}",
            got.len(),
            expected.len()
        ));
    }
    match got
        .iter()
        .zip(expected)
        .position(|(got, expected)| got != expected)
    {
        Some(i) => Err(format!(
            "element {i}: {:?}, expected {:?}",
            got[i], expected[i]
        )),
        None => Ok(()),
    }
}

/// The first element that is NaN or further off than `tolerance` times the largest magnitude expected, as an error.
pub fn close(got: &[f32], expected: &[f64], tolerance: f64) -> Result<(), String> {
    if got.len() != expected.len() {
        return Err(format!(
            "{} elements, expected {}",
            got.len(),
            expected.len()
        ));
    }
    let largest = expected
        .iter()
        .fold(1e-30_f64, |largest, value| largest.max(value.abs()));
    for (i, (&got, &expected)) in got.iter().zip(expected).enumerate() {
        let error = (f64::from(got) - expected).abs() / largest;
        // False for NaN.
        let within = error <= tolerance;
        if !within {
            return Err(format!(
                "element {i}: {got}, expected {expected}: off by {error:e} of the largest"
            ));
        }
    }
    Ok(())
}
