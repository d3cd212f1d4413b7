//! The conversions of `printf`.

/// Wider fields and more digits are cut: a hostile format must not take all memory.
const MOST_WIDTH: usize = 1024;

/// Where the values come from.
pub(super) trait Arguments {
    /// Why there is none.
    type Error;

    /// The next argument, of 4 or 8 bytes.
    fn number(&mut self, bytes: usize) -> Result<u64, Self::Error>;

    /// The text at an address.
    fn text(&mut self, address: u64) -> Result<String, Self::Error>;
}

/// What stands between `%` and the letter.
#[derive(Debug, Default)]
struct Spec {
    left: bool,
    plus: bool,
    space: bool,
    alternate: bool,
    zeros: bool,
    width: usize,
    precision: Option<usize>,
    /// Bytes of an integer.
    bytes: usize,
}

/// The template with its conversions replaced. Those that are unknown stay as they are.
pub(super) fn format<A: Arguments>(template: &str, arguments: &mut A) -> Result<String, A::Error> {
    let mut out = String::new();
    let mut rest = template;
    while let Some((plain, conversion)) = rest.split_once('%') {
        out += plain;
        let mut behind = conversion;
        let spec = Spec::read(&mut behind, arguments)?;
        let mut letters = behind.chars();
        rest = match letters.next() {
            Some('%') => {
                out.push('%');
                letters.as_str()
            }
            Some(letter) if "diuxXocspfFeEgG".contains(letter) => {
                out += &spec.convert(letter, arguments)?;
                letters.as_str()
            }
            _ => {
                out.push('%');
                conversion
            }
        };
    }
    Ok(out + rest)
}

impl Spec {
    fn read<A: Arguments>(rest: &mut &str, arguments: &mut A) -> Result<Self, A::Error> {
        let mut spec = Spec {
            bytes: 4,
            ..Spec::default()
        };
        let flags = rest.len() - rest.trim_start_matches(['-', '+', ' ', '#', '0']).len();
        for flag in rest[..flags].chars() {
            match flag {
                '-' => spec.left = true,
                '+' => spec.plus = true,
                ' ' => spec.space = true,
                '#' => spec.alternate = true,
                _ => spec.zeros = true,
            }
        }
        *rest = &rest[flags..];
        if let Some(width) = count(rest, arguments)? {
            spec.left |= width < 0;
            spec.width = (width.unsigned_abs() as usize).min(MOST_WIDTH);
        }
        if let Some(behind) = rest.strip_prefix('.') {
            *rest = behind;
            let digits = count(rest, arguments)?.unwrap_or(0);
            spec.precision = usize::try_from(digits).ok().map(|one| one.min(MOST_WIDTH));
        }
        let length = rest.len()
            - rest
                .trim_start_matches(['h', 'l', 'L', 'j', 'z', 't'])
                .len();
        spec.bytes = match &rest[..length] {
            "" => 4,
            "h" => 2,
            "hh" => 1,
            _ => 8,
        };
        *rest = &rest[length..];
        Ok(spec)
    }

    fn convert<A: Arguments>(&self, letter: char, arguments: &mut A) -> Result<String, A::Error> {
        // Arguments shorter than an int are passed as one.
        let passed = self.bytes.max(4);
        let unused = 64 - 8 * self.bytes as u32;
        Ok(match letter {
            'd' | 'i' => {
                let value = (arguments.number(passed)? << unused) as i64 >> unused;
                self.integer(self.sign(value < 0), value.unsigned_abs().to_string())
            }
            'u' | 'x' | 'X' | 'o' => {
                let value = arguments.number(passed)? << unused >> unused;
                let marked = self.alternate && value != 0;
                match letter {
                    'x' => self.integer(if marked { "0x" } else { "" }, format!("{value:x}")),
                    'X' => self.integer(if marked { "0X" } else { "" }, format!("{value:X}")),
                    'o' => self.integer(if marked { "0" } else { "" }, format!("{value:o}")),
                    _ => self.integer("", value.to_string()),
                }
            }
            'c' => self.pad("", char::from(arguments.number(4)? as u8).into(), false),
            's' => {
                let address = arguments.number(8)?;
                let text = match address {
                    0 => "(null)".to_owned(),
                    _ => arguments.text(address)?,
                };
                let most = self.precision.unwrap_or(usize::MAX);
                self.pad("", text.chars().take(most).collect(), false)
            }
            'p' => match arguments.number(8)? {
                0 => self.pad("", "(nil)".to_owned(), false),
                address => self.pad("0x", format!("{address:x}"), false),
            },
            _ => self.float(letter, f64::from_bits(arguments.number(8)?)),
        })
    }

    fn sign(&self, negative: bool) -> &'static str {
        match (negative, self.plus, self.space) {
            (true, ..) => "-",
            (_, true, _) => "+",
            (.., true) => " ",
            _ => "",
        }
    }

    fn integer(&self, prefix: &str, digits: String) -> String {
        let digits = match self.precision {
            Some(0) if digits == "0" => String::new(),
            Some(least) => format!("{digits:0>least$}"),
            None => digits,
        };
        self.pad(prefix, digits, self.precision.is_none())
    }

    fn float(&self, letter: char, value: f64) -> String {
        let size = value.abs();
        let precision = self.precision.unwrap_or(6);
        let digits = match letter.to_ascii_lowercase() {
            _ if size.is_nan() => "nan".to_owned(),
            _ if size.is_infinite() => "inf".to_owned(),
            'f' => format!("{size:.precision$}"),
            'e' => scientific(size, precision),
            _ => self.shortest(size, precision.max(1)),
        };
        let digits = if letter.is_ascii_uppercase() {
            digits.to_uppercase()
        } else {
            digits
        };
        self.pad(
            self.sign(value.is_sign_negative()),
            digits,
            value.is_finite(),
        )
    }

    /// `%g`: so many digits, as `%e` where the exponent is out of their range, without zeros at the end.
    fn shortest(&self, size: f64, digits: usize) -> String {
        let long = scientific(size, digits - 1);
        let (mantissa, exponent) = long.split_once('e').unwrap_or((&long, "0"));
        let trim = |number: &str| match number.contains('.') && !self.alternate {
            true => number
                .trim_end_matches('0')
                .trim_end_matches('.')
                .to_owned(),
            false => number.to_owned(),
        };
        match exponent.parse::<i64>().unwrap_or(0) {
            small @ -4.. if small < digits as i64 => {
                let decimals = (digits as i64 - 1 - small) as usize;
                trim(&format!("{size:.decimals$}"))
            }
            _ => format!("{}e{exponent}", trim(mantissa)),
        }
    }

    /// Fills up to the width: zeros go between prefix and digits.
    fn pad(&self, prefix: &str, body: String, may_be_zeros: bool) -> String {
        let missing = self
            .width
            .saturating_sub(prefix.len() + body.chars().count());
        match (self.left, self.zeros && may_be_zeros) {
            (true, _) => format!("{prefix}{body}{}", " ".repeat(missing)),
            (false, true) => format!("{prefix}{}{body}", "0".repeat(missing)),
            (false, false) => format!("{}{prefix}{body}", " ".repeat(missing)),
        }
    }
}

/// `*` or digits.
fn count<A: Arguments>(rest: &mut &str, arguments: &mut A) -> Result<Option<i32>, A::Error> {
    if let Some(behind) = rest.strip_prefix('*') {
        *rest = behind;
        return Ok(Some(arguments.number(4)? as u32 as i32));
    }
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, behind) = rest.split_at(digits);
    *rest = behind;
    Ok((digits > 0).then(|| number.parse().unwrap_or(i32::MAX)))
}

/// `%e`: the exponent has a sign and two digits at least.
fn scientific(size: f64, decimals: usize) -> String {
    let text = format!("{size:.decimals$e}");
    match text.split_once('e') {
        Some((mantissa, exponent)) => {
            let exponent: i32 = exponent.parse().unwrap_or(0);
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{mantissa}e{sign}{:02}", exponent.abs())
        }
        None => text,
    }
}

#[cfg(test)]
mod tests;
