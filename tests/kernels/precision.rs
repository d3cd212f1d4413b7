//! Is a kernel as exact as its storage type allows?

use crate::values::Half;

/// Asserts that `got` is at most twice as far from `exact` as the best that the storage type can do, which is rounding once.
pub fn assert_rounded_once<T: Half>(got: &[T], exact: &[f64], what: &str) {
    assert_eq!(got.len(), exact.len(), "{what}");
    let mut worst = (0.0, 0);
    for (at, (&got, &exact)) in got.iter().zip(exact).enumerate() {
        // The spacing of the type around the value, and f32's own error over a row.
        let allowed =
            2.0 * (T::round(exact).value() - exact).abs() + spacing::<T>(exact) / 2.0 + 2e-6;
        let error = (got.value() - exact).abs();
        let share = error / allowed;
        assert!(
            share <= 1.0,
            "{what}: element {at} is {got:?}, exactly {exact}: off by {error:e}, allowed {allowed:e}"
        );
        if share > worst.0 {
            worst = (share, at);
        }
    }
    println!(
        "{what}: {:.0} % of the tolerance, at element {}",
        100.0 * worst.0,
        worst.1
    );
}

/// Distance of neighbouring values of the type around `value`.
fn spacing<T: Half>(value: f64) -> f64 {
    let rounded = T::round(value.abs());
    let up = T::round(rounded.value() * (1.0 + 1.0 / 128.0));
    (up.value() - rounded.value()).abs() / f64::from(up.bits() - rounded.bits()).max(1.0)
}
