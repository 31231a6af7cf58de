//! Values of the metadata.

use super::cursor::Cursor;

/// Lists in lists in lists: no writer needs more.
const DEEPEST: usize = 4;

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    Text,
    List,
    U64,
    I64,
    F64,
}

/// Types by their numbers.
const KINDS: [Kind; 13] = {
    use Kind::{Bool, F32, F64, I8, I16, I32, I64, List, Text, U8, U16, U32, U64};
    [U8, I8, U16, I16, U32, I32, F32, Bool, Text, List, U64, I64, F64]
};

impl Kind {
    /// Reads the number of a type.
    pub(super) fn read(cursor: &mut Cursor<'_>, what: &str) -> Result<Self, String> {
        let code = cursor.u32(what)?;
        let kind = KINDS.get(code as usize).copied();
        kind.ok_or_else(|| format!("{what} is of type {code}, expected a type from 0 to {}", KINDS.len() - 1))
    }

    /// The fewest bytes that a value takes.
    fn least(self) -> usize {
        match self {
            Kind::U8 | Kind::I8 | Kind::Bool => 1,
            Kind::U16 | Kind::I16 => 2,
            Kind::U32 | Kind::I32 | Kind::F32 => 4,
            Kind::U64 | Kind::I64 | Kind::F64 | Kind::Text => 8,
            Kind::List => 12,
        }
    }
}

/// A value of the metadata.
#[derive(Debug, Clone, Copy)]
pub enum Value<'f> {
    /// A whole number, 0 or more.
    Unsigned(u64),
    /// A whole number of a type with a sign.
    Signed(i64),
    /// A real number.
    Real(f64),
    /// True or false.
    Flag(bool),
    /// A text.
    Text(&'f str),
    /// Values of one type.
    List(List<'f>),
}

impl<'f> Value<'f> {
    /// Reads the value of a key, which `what` names.
    pub(super) fn read(kind: Kind, cursor: &mut Cursor<'f>, what: &str) -> Result<Self, String> {
        Self::read_at(0, kind, cursor, what)
    }

    fn read_at(depth: usize, kind: Kind, cursor: &mut Cursor<'f>, what: &str) -> Result<Self, String> {
        Ok(match kind {
            Kind::U8 => Value::Unsigned(u8::from_le_bytes(cursor.array(what)?).into()),
            Kind::U16 => Value::Unsigned(u16::from_le_bytes(cursor.array(what)?).into()),
            Kind::U32 => Value::Unsigned(cursor.u32(what)?.into()),
            Kind::U64 => Value::Unsigned(cursor.u64(what)?),
            Kind::I8 => Value::Signed(i8::from_le_bytes(cursor.array(what)?).into()),
            Kind::I16 => Value::Signed(i16::from_le_bytes(cursor.array(what)?).into()),
            Kind::I32 => Value::Signed(i32::from_le_bytes(cursor.array(what)?).into()),
            Kind::I64 => Value::Signed(i64::from_le_bytes(cursor.array(what)?)),
            Kind::F32 => Value::Real(f32::from_le_bytes(cursor.array(what)?).into()),
            Kind::F64 => Value::Real(f64::from_le_bytes(cursor.array(what)?)),
            Kind::Bool => Value::Flag(cursor.array(what)? != [0]),
            Kind::Text => Value::Text(cursor.text(what)?),
            Kind::List if depth == DEEPEST => return Err(format!("{what} has lists in each other, {depth} deep")),
            Kind::List => Value::List(List::read(depth + 1, cursor, what)?),
        })
    }

    /// The whole number, if it is one of 0 or more.
    #[must_use]
    pub fn unsigned(self) -> Option<u64> {
        match self {
            Value::Unsigned(number) => Some(number),
            Value::Signed(number) => u64::try_from(number).ok(),
            _ => None,
        }
    }

    /// The number, if it is one.
    #[must_use]
    pub fn real(self) -> Option<f64> {
        match self {
            Value::Unsigned(number) => Some(number as f64),
            Value::Signed(number) => Some(number as f64),
            Value::Real(number) => Some(number),
            _ => None,
        }
    }

    /// The text, if it is one.
    #[must_use]
    pub fn text(self) -> Option<&'f str> {
        if let Value::Text(text) = self { Some(text) } else { None }
    }

    /// How a message shows it.
    pub(super) fn shown(self) -> String {
        match self {
            Value::Unsigned(number) => number.to_string(),
            Value::Signed(number) => number.to_string(),
            Value::Real(number) => number.to_string(),
            Value::Flag(flag) => flag.to_string(),
            Value::Text(text) => crate::messages::text(text),
            Value::List(list) => format!("a list of {}", list.len),
        }
    }
}

/// Values of one type, read where they lie in the file.
#[derive(Debug, Clone, Copy)]
pub struct List<'f> {
    depth: usize,
    kind: Kind,
    len: usize,
    bytes: &'f [u8],
}

impl<'f> List<'f> {
    /// Reads the type and the number of the values, and checks that all of them are there.
    fn read(depth: usize, cursor: &mut Cursor<'f>, what: &str) -> Result<Self, String> {
        let kind = Kind::read(cursor, what)?;
        let len = cursor.u64(what)?;
        cursor.check_count(len, kind.least(), what)?;
        let mut end = cursor.clone();
        if matches!(kind, Kind::Text | Kind::List) {
            for _ in 0..len {
                Value::read_at(depth, kind, &mut end, what)?;
            }
        } else {
            end.take(len * kind.least() as u64, what)?;
        }
        let bytes = cursor.take((end.at() - cursor.at()) as u64, what)?;
        Ok(Self { depth, kind, len: len as usize, bytes })
    }

    /// The number of values.
    pub fn len(self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    /// The values, in order.
    pub fn values(self) -> impl Iterator<Item = Value<'f>> {
        let mut cursor = Cursor::new(self.bytes, 0);
        // They were read once, so they can be read again.
        (0..self.len).map_while(move |_| Value::read_at(self.depth, self.kind, &mut cursor, "a list").ok())
    }
}
