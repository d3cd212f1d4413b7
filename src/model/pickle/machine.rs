//! The pickle machine: a stack, a memo, and only the operations that a state dict needs.

#![forbid(unsafe_code)]

use std::collections::HashMap;

use super::Fault;
use super::torch;
use super::value::{DictId, Heap, Value};

/// Longest text taken: names of tensors and modules have tens of bytes. The limit keeps a hostile
/// file from making one long name expensive by using it over and over.
const MAX_TEXT_BYTES: usize = 4096;

/// The operations, by their names in Python's `pickletools`.
mod op {
    pub(super) const PROTO: u8 = 0x80;
    pub(super) const FRAME: u8 = 0x95;
    pub(super) const STOP: u8 = b'.';
    pub(super) const MARK: u8 = b'(';

    pub(super) const NONE: u8 = b'N';
    pub(super) const NEWTRUE: u8 = 0x88;
    pub(super) const NEWFALSE: u8 = 0x89;
    pub(super) const BININT: u8 = b'J';
    pub(super) const BININT1: u8 = b'K';
    pub(super) const BININT2: u8 = b'M';
    pub(super) const LONG1: u8 = 0x8a;
    pub(super) const BINFLOAT: u8 = b'G';
    pub(super) const BINUNICODE: u8 = b'X';
    pub(super) const SHORT_BINUNICODE: u8 = 0x8c;

    pub(super) const EMPTY_TUPLE: u8 = b')';
    pub(super) const TUPLE1: u8 = 0x85;
    pub(super) const TUPLE2: u8 = 0x86;
    pub(super) const TUPLE3: u8 = 0x87;
    pub(super) const TUPLE: u8 = b't';
    pub(super) const EMPTY_LIST: u8 = b']';
    pub(super) const APPEND: u8 = b'a';
    pub(super) const APPENDS: u8 = b'e';
    pub(super) const EMPTY_DICT: u8 = b'}';
    pub(super) const SETITEM: u8 = b's';
    pub(super) const SETITEMS: u8 = b'u';

    pub(super) const BINPUT: u8 = b'q';
    pub(super) const LONG_BINPUT: u8 = b'r';
    pub(super) const MEMOIZE: u8 = 0x94;
    pub(super) const BINGET: u8 = b'h';
    pub(super) const LONG_BINGET: u8 = b'j';

    pub(super) const GLOBAL: u8 = b'c';
    pub(super) const STACK_GLOBAL: u8 = 0x93;
    pub(super) const REDUCE: u8 = b'R';
    pub(super) const BUILD: u8 = b'b';
    pub(super) const BINPERSID: u8 = b'Q';
}

/// Runs `pickle` to its end: the value it leaves, and the heap that holds the parts of it.
///
/// Every operation takes at least one byte and adds a value or two at most, so time and memory grow
/// with the length of the pickle, whatever it says.
pub(super) fn run(pickle: &[u8]) -> Result<(Value<'_>, Heap<'_>), Fault> {
    let mut machine = Machine {
        rest: pickle,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        heap: Heap::default(),
    };
    loop {
        match machine.byte()? {
            op::STOP => return Ok((machine.pop()?, machine.heap)),
            operation => machine.step(operation)?,
        }
    }
}

struct Machine<'p> {
    /// What is left of the pickle.
    rest: &'p [u8],
    stack: Vec<Value<'p>>,
    /// The heights of the stack at which a tuple, or the items of a dict, begin.
    marks: Vec<usize>,
    memo: HashMap<u32, Value<'p>>,
    heap: Heap<'p>,
}

impl<'p> Machine<'p> {
    fn step(&mut self, operation: u8) -> Result<(), Fault> {
        match operation {
            // Which operations occur says more than the number of the protocol.
            op::PROTO => self.take(1).map(drop),
            op::FRAME => self.take(8).map(drop),
            op::MARK => {
                self.marks.push(self.stack.len());
                Ok(())
            }

            op::NONE | op::NEWTRUE | op::NEWFALSE | op::EMPTY_LIST => self.push(Value::Opaque),
            op::BINFLOAT => {
                self.take(8)?;
                self.push(Value::Opaque)
            }
            op::BININT => self.push_int(4),
            op::BININT1 => {
                let int = self.byte()?;
                self.push(Value::Int(int.into()))
            }
            op::BININT2 => {
                let int = u16::from_le_bytes(self.array()?);
                self.push(Value::Int(int.into()))
            }
            op::LONG1 => {
                let len = self.byte()?;
                self.push_int(len.into())
            }
            op::BINUNICODE => {
                let len = u32::from_le_bytes(self.array()?);
                self.push_text(len as usize)
            }
            op::SHORT_BINUNICODE => {
                let len = self.byte()?;
                self.push_text(len.into())
            }

            op::EMPTY_TUPLE => self.push_tuple(self.stack.len()),
            op::TUPLE1 => self.push_tuple(self.below_top(1)?),
            op::TUPLE2 => self.push_tuple(self.below_top(2)?),
            op::TUPLE3 => self.push_tuple(self.below_top(3)?),
            op::TUPLE => {
                let start = self.pop_mark()?;
                self.push_tuple(start)
            }
            // Nothing in a state dict depends on the contents of a list.
            op::APPEND => self.pop().map(drop),
            op::APPENDS => {
                let start = self.pop_mark()?;
                self.stack.truncate(start);
                Ok(())
            }
            op::EMPTY_DICT => {
                let dict = self.heap.new_dict();
                self.push(Value::Dict(dict))
            }
            op::SETITEM => self.set_items(self.below_top(2)?),
            op::SETITEMS => {
                let start = self.pop_mark()?;
                self.set_items(start)
            }

            op::BINPUT => {
                let key = self.byte()?;
                self.put(key.into())
            }
            op::LONG_BINPUT => {
                let key = u32::from_le_bytes(self.array()?);
                self.put(key)
            }
            // The archive limits the pickle's length, and with it the memo's.
            op::MEMOIZE => self.put(self.memo.len() as u32),
            op::BINGET => {
                let key = self.byte()?;
                self.get(key.into())
            }
            op::LONG_BINGET => {
                let key = u32::from_le_bytes(self.array()?);
                self.get(key)
            }

            op::GLOBAL => {
                let module = self.line()?;
                let name = self.line()?;
                self.push(Value::Global(torch::global(module, name)?))
            }
            op::STACK_GLOBAL => match (self.pop()?, self.pop()?) {
                (Value::Str(name), Value::Str(module)) => {
                    self.push(Value::Global(torch::global(module, name)?))
                }
                _ => Err(Fault::damaged("its pickle names a global by no name")),
            },
            op::REDUCE => match (self.pop()?, self.pop()?) {
                (Value::Tuple(args), Value::Global(function)) => {
                    let value = torch::call(function, args, &mut self.heap)?;
                    self.push(value)
                }
                _ => Err(Fault::damaged("its pickle calls what is no function")),
            },
            // Attributes of a dict, such as the `_metadata` of a state dict: of no use here.
            op::BUILD => {
                self.pop()?;
                self.top_dict().map(drop)
            }
            op::BINPERSID => {
                let id = self.pop()?;
                let storage = torch::storage(id, &mut self.heap)?;
                self.push(storage)
            }
            _ => Err(Fault::resave(format!(
                "its pickle has operation {operation:#04x}, which no state dict needs"
            ))),
        }
    }

    fn push(&mut self, value: Value<'p>) -> Result<(), Fault> {
        self.stack.push(value);
        Ok(())
    }

    fn push_int(&mut self, len: usize) -> Result<(), Fault> {
        let int = little_endian(self.take(len)?)?;
        self.push(Value::Int(int))
    }

    fn push_text(&mut self, len: usize) -> Result<(), Fault> {
        let text = text(self.take(len)?)?;
        self.push(Value::Str(text))
    }

    /// Makes a tuple of everything from `start` up.
    fn push_tuple(&mut self, start: usize) -> Result<(), Fault> {
        let tuple = self.heap.new_tuple(self.stack.drain(start..));
        self.push(Value::Tuple(tuple))
    }

    /// Moves the keys and values from `start` up into the dict below them.
    fn set_items(&mut self, start: usize) -> Result<(), Fault> {
        let items = self.stack.split_off(start);
        let dict = self.top_dict()?;
        let (pairs, odd) = items.as_chunks::<2>();
        if !odd.is_empty() {
            return Err(Fault::damaged("its pickle has a key without a value"));
        }
        for &[key, value] in pairs {
            self.heap.insert(dict, key, value);
        }
        Ok(())
    }

    fn top_dict(&self) -> Result<DictId, Fault> {
        match self.stack[self.below_top(1)?] {
            Value::Dict(dict) => Ok(dict),
            _ => Err(Fault::damaged("its pickle fills what is no dict")),
        }
    }

    fn put(&mut self, key: u32) -> Result<(), Fault> {
        let value = self.stack[self.below_top(1)?];
        self.memo.insert(key, value);
        Ok(())
    }

    fn get(&mut self, key: u32) -> Result<(), Fault> {
        match self.memo.get(&key) {
            Some(&value) => self.push(value),
            None => Err(Fault::damaged(format!(
                "its pickle refers to value {key}, which it never made"
            ))),
        }
    }

    fn pop(&mut self) -> Result<Value<'p>, Fault> {
        self.below_top(1)?;
        self.stack.pop().ok_or_else(underflow)
    }

    fn pop_mark(&mut self) -> Result<usize, Fault> {
        self.marks.pop().ok_or_else(underflow)
    }

    /// Where the topmost `count` values start; they must all lie above the last mark.
    fn below_top(&self, count: usize) -> Result<usize, Fault> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let start = self.stack.len().checked_sub(count);
        start.filter(|&start| start >= floor).ok_or_else(underflow)
    }

    fn byte(&mut self) -> Result<u8, Fault> {
        self.array().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (array, rest) = self.rest.split_first_chunk().ok_or_else(cut_off)?;
        self.rest = rest;
        Ok(*array)
    }

    fn take(&mut self, len: usize) -> Result<&'p [u8], Fault> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or_else(cut_off)?;
        self.rest = rest;
        Ok(taken)
    }

    fn line(&mut self) -> Result<&'p str, Fault> {
        let end = self.rest.iter().position(|&byte| byte == b'\n');
        let line = self.take(end.ok_or_else(cut_off)?)?;
        self.take(1)?;
        text(line)
    }
}

/// A signed number of up to eight bytes; none at all are zero.
fn little_endian(bytes: &[u8]) -> Result<i64, Fault> {
    let sign = match bytes.last() {
        Some(high) if *high >= 0x80 => 0xff,
        _ => 0,
    };
    let mut wide = [sign; 8];
    wide.get_mut(..bytes.len())
        .ok_or_else(|| Fault::damaged("its pickle has a number of more than 64 bits"))?
        .copy_from_slice(bytes);
    Ok(i64::from_le_bytes(wide))
}

fn text(bytes: &[u8]) -> Result<&str, Fault> {
    if bytes.len() > MAX_TEXT_BYTES {
        return Err(Fault::resave(format!(
            "its pickle has a text of {} bytes, which no state dict needs",
            bytes.len()
        )));
    }
    str::from_utf8(bytes).map_err(|_| Fault::damaged("its pickle has a text that is not UTF-8"))
}

fn cut_off() -> Fault {
    Fault::damaged("its pickle ends too early")
}

fn underflow() -> Fault {
    Fault::damaged("its pickle takes a value that is not there")
}
