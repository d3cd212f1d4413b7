//! Functions that nvcc does not inline.

use crate::harness::{Case, Inputs, equal};

const FILE: &str = "micro_calls";

fn case(kernel: &'static str) -> Case {
    Case::new(FILE, kernel)
}

fn of_threads<T>(value: impl Fn(i32) -> T) -> Vec<T> {
    (0..32).map(value).collect()
}

#[test]
fn structures() {
    let mut case = case("structures");
    let (y, z) = (case.output::<f32>(32), case.output::<i32>(32));
    let run = case.check();
    let weighed = of_threads(|t| (1.0 + 2.0 * 0.5 + 3.0 * 0.25 + t as f32) * 2.0);
    equal(&run.get(y), &weighed).unwrap();
    let summed = of_threads(|t| -t + t - 2 * t + t - 100 + 1000 * (t + 1));
    equal(&run.get(z), &summed).unwrap();
    assert_eq!(
        run.report.counters.local_bytes, 0,
        "arguments are no spills"
    );
}

#[test]
fn tables() {
    let mut case = case("tables");
    let y = case.output::<i32>(32);
    case.value(7);
    equal(&case.check().get(y), &of_threads(|t| (7 + t) % 20 * t)).unwrap();
}

#[test]
fn pointers() {
    let mut case = case("pointers");
    let y = case.input(&of_threads(|t| 5000 + t).repeat(3));
    let expected = [
        of_threads(|t| t + 100),
        of_threads(|t| 1000 + t),
        of_threads(|t| t),
    ];
    equal(&case.check().get(y), &expected.concat()).unwrap();
}

#[test]
fn early_returns() {
    let n = 6;
    let x: Vec<i32> = Inputs::new(1)
        .below(32 * n, 40)
        .into_iter()
        .map(|value| value as i32 - 4)
        .collect();
    let sums: Vec<i32> = x
        .chunks(n)
        .map(|row| match row.iter().position(|&value| value < 0) {
            Some(end) => row[..end].iter().sum(),
            None => -row.iter().sum::<i32>(),
        })
        .collect();
    let votes = (0..32).fold(0, |votes, t| votes | i32::from(sums[t] < 0) << t);
    assert!(votes != 0 && votes != -1, "some lanes return early");
    let mut case = case("early_returns");
    case.input(&x);
    let y = case.output::<i32>(64);
    case.value(n as i32);
    equal(&case.check().get(y), &[sums, vec![votes; 32]].concat()).unwrap();
}

#[test]
fn nested_in_loop() {
    let mut case = case("nested_in_loop");
    let y = case.output::<i32>(32);
    case.value(5);
    let twice = |a: i32| (a + 1) * 1000 + if a % 2 == 0 { a } else { a + 2 };
    let expected = of_threads(|t| (0..5).fold(t, |value, _| twice(value) % 997));
    equal(&case.check().get(y), &expected).unwrap();
}

#[test]
fn members() {
    let mut case = case("members");
    let y = case.output::<i32>(32);
    equal(&case.check().get(y), &of_threads(|t| 3 * t + 2)).unwrap();
}

#[test]
fn shared_in_function() {
    let mut case = case("shared_in_function");
    let y = case.output::<i32>(32);
    equal(&case.check().get(y), &of_threads(|t| 2 * t)).unwrap();
}

#[test]
fn sines() {
    let x = of_threads(|t| f64::from(t) * 1e15 + 0.25);
    let mut case = case("sines");
    case.input(&x);
    let y = case.output::<f64>(32);
    let got = case.check().get(y);
    for (x, got) in x.iter().zip(got) {
        assert!(
            (x.sin() - got).abs() <= 1e-15,
            "sin({x}) is {} and not {got}",
            x.sin()
        );
    }
}
