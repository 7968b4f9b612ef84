//! The container: keys with values, and tensors by name in one block of data.

use std::collections::BTreeMap;

use super::blocks::Kind;
use super::{GgufError, damaged};
use crate::model::hugging_face::{CheckpointError, Stored};

/// How a file begins.
pub(super) const MAGIC: &[u8] = b"GGUF";
/// The most dimensions of a tensor.
const MOST_DIMENSIONS: u32 = 4;
/// What is read of a file at first.
const FIRST: usize = 1 << 22;

/// A file taken apart; tensors stay where they are until they are asked for.
#[derive(Debug)]
pub(crate) struct Gguf<'a> {
    keys: BTreeMap<String, Value>,
    tensors: BTreeMap<String, Place>,
    /// The file.
    stored: Stored<'a>,
    /// Where its tensors begin.
    start: usize,
}

/// The value of a key.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Whole(i128),
    Real(f64),
    Truth(bool),
    Text(String),
    List(Vec<Value>),
    /// A list of numbers that nothing here asks for.
    Unread,
}

/// Where a tensor lies and how.
#[derive(Debug)]
struct Place {
    /// The slowest dimension first, as everywhere else here.
    shape: Vec<usize>,
    kind: u32,
    offset: u64,
}

/// A tensor in f32.
#[derive(Debug, Clone, PartialEq)]
pub struct Numbers {
    /// Sizes, the slowest dimension first.
    pub shape: Vec<usize>,
    /// The numbers, row after row.
    pub values: Vec<f32>,
}

impl<'a> Gguf<'a> {
    /// Whether it is such a file.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn is_one(stored: Stored<'a>) -> Result<bool, CheckpointError> {
        Ok(stored.piece(0, MAGIC.len().min(stored.size()))?.as_ref() == MAGIC)
    }

    /// Takes a file apart. What stands before the tensors may be long, so ever more is fetched until it is all there.
    ///
    /// # Errors
    /// If it is damaged or of another version, or cannot be read.
    pub(crate) fn open(stored: Stored<'a>) -> Result<Self, CheckpointError> {
        let mut length = FIRST.min(stored.size());
        loop {
            match Self::read(&stored.piece(0, length)?, stored) {
                Err(GgufError::Damaged(_)) if length < stored.size() => {
                    length = (4 * length).min(stored.size());
                }
                read => return Ok(read?),
            }
        }
    }

    /// Takes the head of a file apart.
    fn read(head: &[u8], stored: Stored<'a>) -> Result<Self, GgufError> {
        let mut cursor = Cursor { bytes: head, at: 0 };
        if cursor.take(4)? != MAGIC {
            return Err(damaged("it does not begin as one"));
        }
        let version = cursor.u32()?;
        if !(2..=3).contains(&version) {
            return Err(GgufError::Version(version));
        }
        let (n_tensors, n_keys) = (cursor.u64()?, cursor.u64()?);
        let mut keys = BTreeMap::new();
        for _ in 0..n_keys {
            let name = cursor.text()?;
            let kind = cursor.u32()?;
            keys.insert(name, cursor.value(kind)?);
        }
        let mut tensors = BTreeMap::new();
        for _ in 0..n_tensors {
            let (name, stored) = cursor.tensor()?;
            if tensors.insert(name.clone(), stored).is_some() {
                return Err(damaged(format!("`{name}` is there twice")));
            }
        }
        let alignment = match keys.get("general.alignment") {
            Some(Value::Whole(number)) => usize::try_from(*number).ok().filter(|n| *n > 0),
            Some(_) => None,
            None => Some(32),
        };
        let alignment = alignment.ok_or_else(|| damaged("general.alignment"))?;
        let start = cursor.at.checked_next_multiple_of(alignment);
        let start = start.filter(|start| *start <= stored.size());
        let start = start.ok_or_else(|| damaged("it ends before its tensors"))?;
        Ok(Self { keys, tensors, stored, start })
    }

    /// The value of a key.
    pub(super) fn value(&self, key: &str) -> Option<&Value> {
        self.keys.get(key)
    }

    /// Names of all tensors.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// A tensor by its name in the file; none if it is not there.
    ///
    /// # Errors
    /// If it is damaged or of a kind that is not known.
    pub(super) fn tensor(&self, name: &str) -> Result<Option<Numbers>, CheckpointError> {
        let Some(Place { shape, kind, offset }) = self.tensors.get(name) else { return Ok(None) };
        let known = Kind::of(*kind);
        let kind = known.ok_or_else(|| GgufError::Kind { name: name.to_owned(), kind: *kind })?;
        let ends_early = || damaged(format!("`{name}` ends early"));
        let size = kind.size(shape).ok_or_else(|| damaged(format!("the sizes of `{name}`")))?;
        let at = usize::try_from(*offset).ok().and_then(|at| at.checked_add(self.start));
        let at = at.ok_or_else(ends_early)?;
        let end = at.checked_add(size).filter(|end| *end <= self.stored.size());
        end.ok_or_else(ends_early)?;
        let bytes = self.stored.piece(at, size)?;
        Ok(Some(Numbers { shape: shape.clone(), values: kind.values(&bytes) }))
    }
}

/// Reads from the beginning on; what a length claims is never taken before it is there.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], GgufError> {
        let end = self.at.checked_add(count);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken =
            taken.ok_or_else(|| damaged(format!("it ends at byte {}", self.bytes.len())))?;
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], GgufError> {
        Ok(self.take(N)?.try_into().expect("as many were taken"))
    }

    fn u32(&mut self) -> Result<u32, GgufError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, GgufError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn text(&mut self) -> Result<String, GgufError> {
        let length = usize::try_from(self.u64()?).map_err(|_| damaged("the length of a text"))?;
        let bytes = self.take(length)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| damaged("a text that is not UTF-8"))
    }

    /// A value of a kind by its number in the format.
    fn value(&mut self, kind: u32) -> Result<Value, GgufError> {
        if kind != 9 {
            return self.single(kind);
        }
        let (kind, count) = (self.u32()?, self.u64()?);
        if let Some(width) = unread(kind) {
            let size = usize::try_from(count).ok().and_then(|count| count.checked_mul(width));
            self.take(size.ok_or_else(|| damaged("the length of a list"))?)?;
            return Ok(Value::Unread);
        }
        let mut list = Vec::new();
        for _ in 0..count {
            list.push(self.single(kind)?);
        }
        Ok(Value::List(list))
    }

    fn single(&mut self, kind: u32) -> Result<Value, GgufError> {
        Ok(match kind {
            0 => Value::Whole(i128::from(u8::from_le_bytes(self.array()?))),
            1 => Value::Whole(i128::from(i8::from_le_bytes(self.array()?))),
            2 => Value::Whole(i128::from(u16::from_le_bytes(self.array()?))),
            3 => Value::Whole(i128::from(i16::from_le_bytes(self.array()?))),
            4 => Value::Whole(i128::from(self.u32()?)),
            5 => Value::Whole(i128::from(i32::from_le_bytes(self.array()?))),
            6 => Value::Real(f64::from(f32::from_le_bytes(self.array()?))),
            7 => Value::Truth(self.array::<1>()? != [0]),
            8 => Value::Text(self.text()?),
            10 => Value::Whole(i128::from(self.u64()?)),
            11 => Value::Whole(i128::from(i64::from_le_bytes(self.array()?))),
            12 => Value::Real(f64::from_le_bytes(self.array()?)),
            other => return Err(damaged(format!("a value of type {other}"))),
        })
    }

    fn tensor(&mut self) -> Result<(String, Place), GgufError> {
        let name = self.text()?;
        let dimensions = self.u32()?;
        if dimensions == 0 || dimensions > MOST_DIMENSIONS {
            return Err(damaged(format!("`{name}` has {dimensions} dimensions")));
        }
        let mut shape = Vec::new();
        for _ in 0..dimensions {
            let size = usize::try_from(self.u64()?).ok().filter(|size| *size > 0);
            shape.push(size.ok_or_else(|| damaged(format!("the sizes of `{name}`")))?);
        }
        shape.reverse();
        Ok((name, Place { shape, kind: self.u32()?, offset: self.u64()? }))
    }
}

/// Bytes of a number of a kind whose lists nothing here asks for: as values they would take up to 32 times their size.
fn unread(kind: u32) -> Option<usize> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

impl Value {
    /// A number that is not negative.
    pub(super) fn size(&self) -> Option<usize> {
        match self {
            Self::Whole(number) => usize::try_from(*number).ok(),
            Self::Real(_) | Self::Truth(_) | Self::Text(_) | Self::List(_) | Self::Unread => None,
        }
    }

    pub(super) fn real(&self) -> Option<f64> {
        match self {
            Self::Real(number) => Some(*number),
            Self::Whole(_) | Self::Truth(_) | Self::Text(_) | Self::List(_) | Self::Unread => None,
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Whole(_) | Self::Real(_) | Self::Truth(_) | Self::List(_) | Self::Unread => None,
        }
    }

    pub(super) fn list(&self) -> Option<&[Value]> {
        match self {
            Self::List(list) => Some(list),
            Self::Whole(_) | Self::Real(_) | Self::Truth(_) | Self::Text(_) | Self::Unread => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a list of two numbers of a kind is read as, with bytes behind it.
    fn list(kind: u32, numbers: &[u8]) -> Value {
        let head = [&kind.to_le_bytes()[..], &2u64.to_le_bytes()].concat();
        let bytes = [&head[..], numbers, &[7]].concat();
        let mut cursor = Cursor { bytes: &bytes, at: 0 };
        let value = cursor.value(9).unwrap();
        assert_eq!(cursor.at + 1, bytes.len(), "kind {kind}");
        value
    }

    #[test]
    fn a_list_of_numbers_that_nothing_asks_for_is_passed_over() {
        for (kind, width) in [(0, 1), (1, 1), (2, 2), (3, 2), (6, 4), (7, 1), (10, 8), (12, 8)] {
            assert_eq!(list(kind, &vec![1; 2 * width]), Value::Unread);
        }
        let kinds = Value::List(vec![Value::Whole(1), Value::Whole(3)]);
        assert_eq!(list(5, &[1, 0, 0, 0, 3, 0, 0, 0]), kinds);
    }
}
