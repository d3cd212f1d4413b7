//! What a comparison asks for.

/// The outcomes of comparing two values for which a comparison holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Relation {
    less: bool,
    equal: bool,
    greater: bool,
    /// One of the two is no number.
    unordered: bool,
}

impl Relation {
    /// The relation of a PTX comparison operator.
    pub fn named(name: &str) -> Option<Relation> {
        let (less, equal, greater, unordered) = match name {
            "eq" => (false, true, false, false),
            "ne" => (true, false, true, false),
            "lt" | "lo" => (true, false, false, false),
            "le" | "ls" => (true, true, false, false),
            "gt" | "hi" => (false, false, true, false),
            "ge" | "hs" => (false, true, true, false),
            "num" => (true, true, true, false),
            "nan" => (false, false, false, true),
            "equ" => (false, true, false, true),
            "neu" => (true, false, true, true),
            "ltu" => (true, false, false, true),
            "leu" => (true, true, false, true),
            "gtu" => (false, false, true, true),
            "geu" => (false, true, true, true),
            _ => return None,
        };
        Some(Relation {
            less,
            equal,
            greater,
            unordered,
        })
    }

    /// Whether it holds. No branches: loops over lanes become vector code.
    #[inline(always)]
    pub fn holds<K: PartialOrd>(self, a: &K, b: &K) -> bool {
        let (less, equal, greater) = (a < b, a == b, a > b);
        self.less & less
            | self.equal & equal
            | self.greater & greater
            | self.unordered & !(less | equal | greater)
    }
}
