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

/// Asserts that the largest error is at most twice that of a plain implementation of the same precision, and the mean
/// error, which rounding once more would raise, close to its own.
pub fn assert_as_exact_as_plain(got: &[f64], plain: &[f64], exact: &[f64], what: &str) {
    assert_eq!(got.len(), exact.len(), "{what}");
    assert_eq!(plain.len(), exact.len(), "{what}");
    let errors = |values: &[f64]| -> Vec<f64> {
        let pairs = values.iter().zip(exact);
        pairs.map(|(value, exact)| (value - exact).abs()).collect()
    };
    let mean = |errors: &[f64]| errors.iter().sum::<f64>() / errors.len() as f64;
    let (errors, plain_errors) = (errors(got), errors(plain));
    // Where the plain one is exact by chance: an ulp of f32.
    let scale = exact
        .iter()
        .fold(0.0, |most: f64, value| most.max(value.abs()));
    let ulp = scale * f64::from(f32::EPSILON);
    let allowed = 2.0 * plain_errors.iter().copied().fold(0.0, f64::max) + ulp;
    let mut worst = 0.0;
    for (at, &error) in errors.iter().enumerate() {
        assert!(
            error <= allowed,
            "{what}: element {at} is {}, exactly {}: off by {error:e}, allowed {allowed:e}",
            got[at],
            exact[at]
        );
        worst = error.max(worst);
    }
    let (mean, plain_mean) = (mean(&errors), mean(&plain_errors));
    assert!(
        mean <= 1.1 * plain_mean + ulp,
        "{what}: off by {mean:e} on average, the plain one by {plain_mean:e}"
    );
    println!("{what}: {:.0} % of the tolerance", 100.0 * worst / allowed);
}

/// Products summed in f32, one after the other.
pub fn plain_dot<T: Half>(a: &[T], b: &[T]) -> f32 {
    let products = a.iter().zip(b).map(|(a, b)| (a.value() * b.value()) as f32);
    products.fold(0.0, |sum, product| sum + product)
}
