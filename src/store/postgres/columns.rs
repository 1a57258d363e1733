//! Array columns as Postgres sends them, taken apart without copying their elements.
//!
//! The binary form is: dimensions, flags, type of the elements (4 bytes each), then for the one
//! dimension its length and lower bound, then each element as its length (-1: null) and its bytes.
//! Everything is checked against the end of the buffer; what does not fit is [`StoreError::Corrupt`].

use bytes::{Buf, Bytes};
use bytestring::ByteString;
use serde::de::DeserializeOwned;
use sqlx::{
    Row, Value, ValueRef,
    postgres::{PgRow, PgValue, PgValueFormat},
};

use super::errors::{corrupt, store_error};
use crate::{domain::Timestamp, store::StoreError};

/// Microseconds from 1970, where our time begins, to 2000, where that of Postgres does.
const POSTGRES_EPOCH: i64 = 946_684_800_000_000;

/// A column of so many bytes stays in the driver's buffer; a smaller one could keep one alive that is much larger.
const SHARED: usize = 64 << 10;

/// A column in the buffer of its row.
struct Shared(PgValue);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        Value::as_ref(&self.0).as_bytes().unwrap_or_default()
    }
}

/// The elements of one array, taken from the front; they share the column's one buffer.
#[derive(Debug)]
pub(super) struct Elements {
    column: &'static str,
    rest: Bytes,
    left: usize,
}

impl Elements {
    /// The elements of a row's array column; `None` if it is null. Copies the column, unless it is large.
    pub(super) fn of(row: &PgRow, column: &'static str) -> Result<Option<Self>, StoreError> {
        let value = row.try_get_raw(column).map_err(store_error)?;
        if value.is_null() {
            return Ok(None);
        }
        if value.format() != PgValueFormat::Binary {
            return Err(corrupt(format!("the column {column} did not come in binary form")));
        }
        let bytes = value.as_bytes().map_err(|error| corrupt(format!("the column {column}: {error}")))?;
        let bytes = match bytes.len() {
            SHARED.. => Bytes::from_owner(Shared(ValueRef::to_owned(&value))),
            _ => Bytes::copy_from_slice(bytes),
        };
        Self::parse(column, bytes).map(Some)
    }

    /// The elements of an array column that is never null.
    pub(super) fn required(row: &PgRow, column: &'static str) -> Result<Self, StoreError> {
        Self::of(row, column)?.ok_or_else(|| corrupt(format!("the column {column} is null")))
    }

    /// The elements of an array in binary form.
    fn parse(column: &'static str, mut bytes: Bytes) -> Result<Self, StoreError> {
        let short = |_| corrupt(format!("the array in {column} ends in its head"));
        let dimensions = bytes.try_get_i32().map_err(short)?;
        let _flags = bytes.try_get_i32().map_err(short)?;
        let _type = bytes.try_get_u32().map_err(short)?;
        if dimensions == 0 {
            return Ok(Self { column, rest: bytes, left: 0 });
        }
        if dimensions != 1 {
            return Err(corrupt(format!("the array in {column} has {dimensions} dimensions")));
        }
        let length = bytes.try_get_i32().map_err(short)?;
        let _lower_bound = bytes.try_get_i32().map_err(short)?;
        // Each element has at least its length, so that a wrong number cannot make anyone reserve memory.
        match usize::try_from(length) {
            Ok(left) if left <= bytes.len() / 4 => Ok(Self { column, rest: bytes, left }),
            Ok(_) | Err(_) => {
                Err(corrupt(format!("the array in {column} has {length} elements in {} bytes", bytes.len())))
            }
        }
    }

    /// How many elements are left.
    pub(super) fn len(&self) -> usize {
        self.left
    }

    /// The next element; `None` if it is null.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        let column = self.column;
        self.left = self.left.checked_sub(1).ok_or_else(|| corrupt(format!("the array in {column} is too short")))?;
        let length = self.rest.try_get_i32().map_err(|_| corrupt(format!("the array in {column} is cut off")))?;
        match usize::try_from(length) {
            Ok(length) if length <= self.rest.len() => Ok(Some(self.rest.split_to(length))),
            Err(_) if length == -1 => Ok(None),
            Ok(_) | Err(_) => Err(corrupt(format!("the array in {column} has an element of {length} bytes"))),
        }
    }

    /// The next element, which is never null.
    pub(super) fn bytes(&mut self) -> Result<Bytes, StoreError> {
        self.next()?.ok_or_else(|| corrupt(format!("the array in {} has a null element", self.column)))
    }

    /// The next element, a text that is never null.
    pub(super) fn text(&mut self) -> Result<ByteString, StoreError> {
        let bytes = self.bytes()?;
        text(self.column, bytes)
    }

    /// The next element, a point in time.
    pub(super) fn time(&mut self) -> Result<Option<Timestamp>, StoreError> {
        let Some(mut bytes) = self.next()? else { return Ok(None) };
        let time = match bytes.len() {
            8 => bytes.get_i64().checked_add(POSTGRES_EPOCH).and_then(Timestamp::from_micros),
            _ => None,
        };
        time.map(Some).ok_or_else(|| corrupt(format!("the array in {} holds an impossible time", self.column)))
    }

    /// The next element, a JSON value: its text after a version byte.
    pub(super) fn json<T: DeserializeOwned>(&mut self) -> Result<Option<T>, StoreError> {
        let Some(bytes) = self.next()? else { return Ok(None) };
        let Some((1, json)) = bytes.split_first() else {
            return Err(corrupt(format!("the array in {} holds no jsonb of version 1", self.column)));
        };
        let value = serde_json::from_slice(json);
        value.map(Some).map_err(|error| corrupt(format!("the array in {}: {error}", self.column)))
    }
}

/// Bytes of a column that must be text.
pub(super) fn text(column: &str, bytes: Bytes) -> Result<ByteString, StoreError> {
    ByteString::try_from(bytes).map_err(|error| corrupt(format!("the column {column} is not UTF-8: {error}")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::{BufMut, Bytes, BytesMut};

    use super::{Elements, POSTGRES_EPOCH};
    use crate::domain::Timestamp;

    /// An array as Postgres would send it.
    fn array(elements: &[Option<&[u8]>]) -> Bytes {
        let mut buffer = BytesMut::new();
        buffer.put_i32(if elements.is_empty() { 0 } else { 1 });
        buffer.put_i32(0);
        buffer.put_u32(25);
        if !elements.is_empty() {
            buffer.put_i32(elements.len() as i32);
            buffer.put_i32(1);
        }
        for element in elements {
            match element {
                Some(bytes) => {
                    buffer.put_i32(bytes.len() as i32);
                    buffer.put_slice(bytes);
                }
                None => buffer.put_i32(-1),
            }
        }
        buffer.freeze()
    }

    const NASTY: [&[u8]; 7] =
        [b"", b"\0", b"{\"a\\b,NULL\"}", b"\xff\xff\xff\xff", &[0; 300], "ä€😀".as_bytes(), b"NULL"];

    #[test]
    fn elements_come_back_byte_for_byte() {
        let mut nasty: Vec<Option<&[u8]>> = NASTY.iter().map(|&bytes| Some(bytes)).collect();
        nasty.insert(3, None);
        let mut elements = Elements::parse("c", array(&nasty)).unwrap();
        assert_eq!(elements.len(), nasty.len());
        for expected in nasty {
            assert_eq!(elements.next().unwrap().as_deref(), expected);
        }
        assert!(elements.next().is_err(), "an element after the last one");
        assert_eq!(Elements::parse("c", array(&[])).unwrap().len(), 0);
    }

    #[test]
    fn elements_share_the_buffer_of_their_column() {
        let buffer = array(&[Some(b"one"), Some(b"two")]);
        let mut elements = Elements::parse("c", buffer.clone()).unwrap();
        let (one, two) = (elements.text().unwrap(), elements.text().unwrap());
        for text in [one, two] {
            assert!(buffer.as_ptr_range().contains(&text.as_bytes().as_ptr()), "{text} was copied");
        }
    }

    #[test]
    fn a_buffer_cut_anywhere_is_refused_without_panic() {
        let whole = array(&[Some(b"one"), None, Some(b"three"), Some(b"")]);
        for end in 0..whole.len() {
            let read = Elements::parse("c", whole.slice(..end)).and_then(|mut elements| {
                (0..elements.len()).try_for_each(|_| elements.next().map(drop))?;
                Ok(elements)
            });
            assert!(read.is_err(), "{end} of {} bytes were enough", whole.len());
        }
    }

    #[test]
    fn any_byte_may_be_wrong_without_panic() {
        let whole = array(&[Some(b"one"), None, Some(b"three")]);
        for place in 0..whole.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bytes = whole.to_vec();
                bytes[place] = value;
                if let Ok(mut elements) = Elements::parse("c", bytes.into()) {
                    for _ in 0..elements.len() {
                        let _ = elements.next();
                    }
                }
            }
        }
    }

    #[test]
    fn text_that_is_not_utf8_is_refused() {
        let mut elements = Elements::parse("c", array(&[Some(b"\xff"), None])).unwrap();
        assert!(elements.text().is_err());
        assert!(elements.text().is_err(), "null is no text");
    }

    #[test]
    fn times_count_from_2000_and_impossible_ones_are_refused() {
        let micros = |micros: i64| micros.to_be_bytes();
        let (epoch, infinity, short) = (micros(-POSTGRES_EPOCH), micros(i64::MAX), [0; 4]);
        let times = array(&[Some(&epoch), None, Some(&infinity), Some(&short)]);
        let mut elements = Elements::parse("c", times).unwrap();
        assert_eq!(elements.time().unwrap(), Timestamp::from_micros(0));
        assert_eq!(elements.time().unwrap(), None);
        assert!(elements.time().is_err());
        assert!(elements.time().is_err());
    }

    #[test]
    fn json_needs_its_version() {
        let values = array(&[Some(b"\x01{\"a\":\"b\"}"), None, Some(b"\x02{}"), Some(b""), Some(b"\x01{")]);
        let mut elements = Elements::parse("c", values).unwrap();
        let mut next = || elements.json::<BTreeMap<String, String>>();
        assert_eq!(next().unwrap().unwrap()["a"], "b");
        assert_eq!(next().unwrap(), None);
        assert!(next().is_err() && next().is_err() && next().is_err());
    }
}
