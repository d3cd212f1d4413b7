//! Handles: numbers that name the driver's objects. They are never given twice, so a stale one is always found out.

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::marker::PhantomData;

use super::error::{Code, Failure, misuse};

/// Room between two handles of one table: graph nodes are numbered in it.
pub const STRIDE: u64 = 1 << 20;

/// A kind of object with handles.
pub trait Object {
    /// What messages call it.
    const NAME: &'static str;
    /// Tells handles of different kinds apart: they lie in different ranges.
    const RANGE: u64;
    /// The error for a handle that names none.
    const INVALID: Code = Code::InvalidHandle;
}

/// Names an object of type `T`.
pub struct Handle<T>(u64, PhantomData<fn() -> T>);

impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Handle<T> {}

impl<T> PartialEq for Handle<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T> Eq for Handle<T> {}

impl<T> PartialOrd for Handle<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Handle<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

impl<T> std::fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl<T> Handle<T> {
    /// What the program passed.
    pub fn from_raw(raw: *mut c_void) -> Self {
        Handle(raw.addr() as u64, PhantomData)
    }

    /// What the program gets.
    pub fn raw(self) -> *mut c_void {
        std::ptr::without_provenance_mut(self.0 as usize)
    }

    /// As a number.
    pub fn number(self) -> u64 {
        self.0
    }

    /// The handle with this number.
    pub fn from_number(number: u64) -> Self {
        Handle(number, PhantomData)
    }
}

/// The objects of one kind.
#[derive(Debug)]
pub struct Table<T> {
    made: u64,
    entries: BTreeMap<u64, T>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table {
            made: 0,
            entries: BTreeMap::new(),
        }
    }
}

impl<T: Object> Table<T> {
    /// Keeps an object.
    pub fn insert(&mut self, object: T) -> Handle<T> {
        self.made += 1;
        let number = (T::RANGE << 40) + self.made * STRIDE;
        self.entries.insert(number, object);
        Handle::from_number(number)
    }

    /// The object of a handle.
    pub fn get(&self, handle: Handle<T>) -> Result<&T, Failure> {
        self.entries
            .get(&handle.0)
            .ok_or_else(|| unknown::<T>(handle))
    }

    /// The object of a handle.
    pub fn get_mut(&mut self, handle: Handle<T>) -> Result<&mut T, Failure> {
        self.entries
            .get_mut(&handle.0)
            .ok_or_else(|| unknown::<T>(handle))
    }

    /// Takes an object out: its handle is stale from now on.
    pub fn remove(&mut self, handle: Handle<T>) -> Result<T, Failure> {
        self.entries
            .remove(&handle.0)
            .ok_or_else(|| unknown::<T>(handle))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (Handle<T>, &T)> {
        self.entries
            .iter()
            .map(|(&number, object)| (Handle::from_number(number), object))
    }

    /// All of them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Handle<T>, &mut T)> {
        self.entries
            .iter_mut()
            .map(|(&number, object)| (Handle::from_number(number), object))
    }

    /// Drops those that `keep` does not want.
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.entries.retain(|_, object| keep(object));
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cold]
fn unknown<T: Object>(handle: Handle<T>) -> Failure {
    let why = if handle.0 == 0 {
        "null".to_owned()
    } else if handle.0 >> 40 == T::RANGE {
        "already destroyed".to_owned()
    } else {
        "none that the stand-in gave".to_owned()
    };
    misuse(
        T::INVALID,
        format!("the {} handle {handle:?} is {why}", T::NAME),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Thing;

    impl Object for Thing {
        const NAME: &'static str = "thing";
        const RANGE: u64 = 0x70;
    }

    #[test]
    fn stale_and_foreign_handles_are_told_apart() {
        let mut table = Table::default();
        let first = table.insert(Thing);
        let second = table.insert(Thing);
        assert_ne!(first, second);
        table.remove(first).unwrap();
        let failure = table.get(Handle::from_raw(first.raw())).unwrap_err();
        assert_eq!(failure.code, Code::InvalidHandle);
        assert!(failure.message.unwrap().ends_with("is already destroyed"));
        assert!(
            table
                .get(Handle::from_number(0))
                .unwrap_err()
                .message
                .unwrap()
                .ends_with("is null")
        );
        assert!(
            table
                .get(Handle::from_number(77))
                .unwrap_err()
                .message
                .unwrap()
                .contains("none that")
        );
        assert!(table.get(second).is_ok());
    }
}
