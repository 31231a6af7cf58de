//! The stack machine that a pickle is a program for, with nothing in it that could act.
//!
//! It pushes numbers, strings and names from a list ([`Global`]), gathers them into tuples and dictionaries, and marks
//! tuples as storages or tensors. Each instruction takes constant time beside the bytes it consumes, makes at most one
//! value, and leaves at most one in the memo; the number of instructions is limited, and with it the memory.

use super::fault::TorchFault;
use super::global::Global;
use super::opcode as op;
use super::value::{Items, Pickled, Value};
use crate::hub::nearest::quoted;
use std::collections::HashMap;

/// Some 40 instructions describe a tensor, so this is enough for 50,000 of them.
const MOST_INSTRUCTIONS: usize = 1 << 21;

/// Runs the pickle in `input`, protocol 2 to 5.
pub(super) fn run(input: &[u8]) -> Result<Pickled<'_>, TorchFault> {
    run_at(input, 0).map(|(pickled, _)| pickled)
}

/// Runs the pickle that begins at byte `begin` of `input`; also gives where it ends.
pub(super) fn run_at(input: &[u8], begin: usize) -> Result<(Pickled<'_>, usize), TorchFault> {
    let made =
        Pickled { root: Value::None, items: Vec::new(), dicts: Vec::new(), lists: Vec::new(), storages: Vec::new() };
    let mut machine = Machine { input, at: begin, stack: Vec::new(), marks: Vec::new(), memo: HashMap::new(), made };
    for _ in 0..MOST_INSTRUCTIONS {
        let begin = machine.at;
        match machine.step() {
            Ok(Some(root)) => return Ok((Pickled { root, ..machine.made }, machine.at)),
            Ok(None) => {}
            Err(Refusal::Detail(detail)) => return Err(TorchFault::Pickle { detail, at: begin }),
            Err(Refusal::Global(name)) => return Err(TorchFault::Global { name }),
        }
    }
    Err(TorchFault::TooMany { what: "instructions in its pickle", most: MOST_INSTRUCTIONS })
}

struct Machine<'a> {
    input: &'a [u8],
    /// The next byte to read.
    at: usize,
    stack: Vec<Value<'a>>,
    /// Heights of the stack, not falling: nothing below the last is touched before it is taken away.
    marks: Vec<usize>,
    memo: HashMap<u32, Value<'a>>,
    made: Pickled<'a>,
}

/// Why an instruction is not carried out.
enum Refusal {
    Detail(String),
    Global(String),
}

impl From<&str> for Refusal {
    fn from(detail: &str) -> Self {
        Refusal::Detail(detail.into())
    }
}

impl<'a> Machine<'a> {
    /// Carries out one instruction; gives the pickled value at the last.
    fn step(&mut self) -> Result<Option<Value<'a>>, Refusal> {
        let [code] = self.array()?;
        match code {
            op::PROTO => self.check_protocol()?,
            // How much a reader of streams may read ahead.
            op::FRAME => {
                self.array::<8>()?;
            }
            op::STOP => return self.stop().map(Some),
            op::MARK => self.marks.push(self.stack.len()),

            op::NONE => self.stack.push(Value::None),
            op::NEWTRUE | op::NEWFALSE => self.stack.push(Value::Bool(code == op::NEWTRUE)),
            op::BINFLOAT => {
                self.array::<8>()?;
                self.stack.push(Value::Float);
            }
            op::BININT | op::BININT1 | op::BININT2 | op::LONG1 => {
                let number = self.number(code)?;
                self.stack.push(Value::Int(number));
            }
            op::SHORT_BINUNICODE | op::BINUNICODE | op::BINUNICODE8 | op::SHORT_BINSTRING | op::BINSTRING => {
                let text = self.text(code)?;
                self.stack.push(Value::Str(text));
            }

            op::EMPTY_TUPLE => self.tuple_from(self.stack.len()),
            op::TUPLE1 => self.tuple_of(1)?,
            op::TUPLE2 => self.tuple_of(2)?,
            op::TUPLE3 => self.tuple_of(3)?,
            op::TUPLE => {
                let begin = self.take_mark()?;
                self.tuple_from(begin);
            }
            op::EMPTY_LIST => {
                self.stack.push(Value::List(self.made.lists.len()));
                self.made.lists.push(Vec::new());
            }
            op::APPEND => {
                let begin = self.below(1)?;
                self.append(begin)?;
            }
            op::APPENDS => {
                let begin = self.take_mark()?;
                self.append(begin)?;
            }
            op::EMPTY_DICT => self.push_dict(),
            op::SETITEM => {
                let begin = self.below(2)?;
                self.set_items(begin)?;
            }
            op::SETITEMS => {
                let begin = self.take_mark()?;
                self.set_items(begin)?;
            }

            op::BINPUT | op::LONG_BINPUT | op::MEMOIZE => {
                let slot = self.slot(code)?;
                let top = self.top()?;
                self.memo.insert(slot, top);
            }
            op::BINGET | op::LONG_BINGET => {
                let slot = self.slot(code)?;
                let value = *self.memo.get(&slot).ok_or("it uses a value that it has not stored")?;
                self.stack.push(value);
            }

            op::GLOBAL => {
                let (module, name) = (self.line()?, self.line()?);
                self.push_global(module, name)?;
            }
            op::STACK_GLOBAL => {
                let (Value::Str(name), Value::Str(module)) = (self.pop()?, self.pop()?) else {
                    return Err("it names a Python object by something else than strings".into());
                };
                self.push_global(module, name)?;
            }
            op::REDUCE => self.reduce()?,
            op::BUILD => self.build()?,
            op::BINPERSID => self.storage()?,
            _ => return Err(Refusal::Detail(format!("instruction {code:#04x} is not one that tensors need"))),
        }
        Ok(None)
    }

    fn check_protocol(&mut self) -> Result<(), Refusal> {
        match self.array()? {
            [2..=5] => Ok(()),
            [protocol] => Err(Refusal::Detail(format!("protocol {protocol} is not one of 2 to 5"))),
        }
    }

    fn stop(&mut self) -> Result<Value<'a>, Refusal> {
        match (self.stack.as_slice(), self.marks.is_empty()) {
            (&[root], true) => Ok(root),
            _ => Err("it ends with another number of values than one".into()),
        }
    }

    /// `name(arguments…)` of an allowed name: the value that Python would get, as data.
    fn reduce(&mut self) -> Result<(), Refusal> {
        let (arguments, name) = (self.pop()?, self.pop()?);
        let (Value::Global(global), Value::Tuple(items)) = (name, arguments) else {
            return Err("it calls something that is not a name, or with something that is not a tuple".into());
        };
        let first = self.made.items(items).first().copied();
        match (global, first) {
            (Global::OrderedDict, None) => self.push_dict(),
            (Global::RebuildTensor, Some(_)) => self.stack.push(Value::Tensor(items)),
            (Global::RebuildParameter, Some(tensor @ Value::Tensor(_))) => self.stack.push(tensor),
            (Global::Size, Some(sizes @ Value::Tuple(_))) => self.stack.push(sizes),
            _ => return Err(Refusal::Detail(format!("{global:?} has arguments that it cannot have"))),
        }
        Ok(())
    }

    /// Attributes of an object, such as the `_metadata` of a state dict. They are not part of the dictionary.
    fn build(&mut self) -> Result<(), Refusal> {
        self.pop()?;
        match self.top()? {
            Value::Dict(_) => Ok(()),
            other => Err(Refusal::Detail(format!("it sets attributes of {}", other.kind()))),
        }
    }

    /// An object outside the pickle, which `torch.save` uses for storages.
    fn storage(&mut self) -> Result<(), Refusal> {
        let Value::Tuple(items) = self.pop()? else {
            return Err("it refers to an object outside by something else than a tuple".into());
        };
        self.made.storages.push(items);
        self.stack.push(Value::Storage(items));
        Ok(())
    }

    fn push_global(&mut self, module: &str, name: &str) -> Result<(), Refusal> {
        let global = Global::of(module, name).ok_or_else(|| Refusal::Global(quoted(&format!("{module}.{name}"))))?;
        self.stack.push(Value::Global(global));
        Ok(())
    }

    fn push_dict(&mut self) {
        self.stack.push(Value::Dict(self.made.dicts.len()));
        self.made.dicts.push(Vec::new());
    }

    /// Makes a tuple of the values from height `begin` of the stack on.
    fn tuple_from(&mut self, begin: usize) {
        let items = Items { begin: self.made.items.len(), count: self.stack.len() - begin };
        self.made.items.extend(self.stack.drain(begin..));
        self.stack.push(Value::Tuple(items));
    }

    fn tuple_of(&mut self, count: usize) -> Result<(), Refusal> {
        let begin = self.below(count)?;
        self.tuple_from(begin);
        Ok(())
    }

    /// Moves values from height `begin` of the stack on into the list below them.
    fn append(&mut self, begin: usize) -> Result<(), Refusal> {
        let values = self.stack.split_off(begin);
        match self.top()? {
            Value::List(number) => self.made.lists[number].extend(values),
            other => return Err(Refusal::Detail(format!("it appends to {}", other.kind()))),
        }
        Ok(())
    }

    /// Moves keys and values from height `begin` of the stack on into the dictionary below them.
    fn set_items(&mut self, begin: usize) -> Result<(), Refusal> {
        let pairs = self.stack[begin..].as_chunks::<2>();
        if !pairs.1.is_empty() {
            return Err("it sets a key without a value".into());
        }
        let pairs: Vec<_> = pairs.0.iter().map(|&[key, value]| (key, value)).collect();
        self.stack.truncate(begin);
        match self.top()? {
            Value::Dict(number) => self.made.dicts[number].extend(pairs),
            other => return Err(Refusal::Detail(format!("it sets keys of {}", other.kind()))),
        }
        Ok(())
    }

    /// The height of the stack below its `count` topmost values, none of them from before the last mark.
    fn below(&self, count: usize) -> Result<usize, Refusal> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let begin = self.stack.len().checked_sub(count).filter(|&begin| begin >= floor);
        begin.ok_or("it uses more values than there are".into())
    }

    fn top(&self) -> Result<Value<'a>, Refusal> {
        Ok(self.stack[self.below(1)?])
    }

    fn pop(&mut self) -> Result<Value<'a>, Refusal> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn take_mark(&mut self) -> Result<usize, Refusal> {
        self.marks.pop().ok_or("it uses a mark that it has not set".into())
    }

    /// The place in the memo that an instruction means.
    fn slot(&mut self, code: u8) -> Result<u32, Refusal> {
        match code {
            op::MEMOIZE => Ok(self.memo.len() as u32),
            op::BINPUT | op::BINGET => self.array().map(|[slot]| slot.into()),
            _ => self.array().map(u32::from_le_bytes),
        }
    }

    fn number(&mut self, code: u8) -> Result<i64, Refusal> {
        Ok(match code {
            op::BININT1 => self.array().map(|[byte]| byte.into())?,
            op::BININT2 => self.array().map(u16::from_le_bytes)?.into(),
            op::BININT => self.array().map(i32::from_le_bytes)?.into(),
            _ => {
                let [count] = self.array()?;
                let bytes = self.bytes(count.into())?;
                let sign = if bytes.last().is_some_and(|high| high & 0x80 != 0) { 0xff } else { 0 };
                let mut wide = [sign; 8];
                wide.get_mut(..bytes.len()).ok_or("a whole number takes more than 8 bytes")?.copy_from_slice(bytes);
                i64::from_le_bytes(wide)
            }
        })
    }

    fn text(&mut self, code: u8) -> Result<&'a str, Refusal> {
        let count = match code {
            op::SHORT_BINUNICODE | op::SHORT_BINSTRING => self.array().map(|[count]| count.into())?,
            op::BINUNICODE | op::BINSTRING => self.array().map(u32::from_le_bytes)?.into(),
            _ => self.array().map(u64::from_le_bytes)?,
        };
        utf8(self.bytes(count)?)
    }

    /// The text up to the next line feed, which is consumed too.
    fn line(&mut self) -> Result<&'a str, Refusal> {
        let rest = &self.input[self.at..];
        let count = rest.iter().position(|&byte| byte == b'\n').ok_or("it is cut short")?;
        self.at += count + 1;
        utf8(&rest[..count])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Refusal> {
        let found = *self.input[self.at..].first_chunk().ok_or("it is cut short")?;
        self.at += N;
        Ok(found)
    }

    fn bytes(&mut self, count: u64) -> Result<&'a [u8], Refusal> {
        let rest = &self.input[self.at..];
        let found = usize::try_from(count).ok().and_then(|count| rest.get(..count)).ok_or("it is cut short")?;
        self.at += found.len();
        Ok(found)
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, Refusal> {
    std::str::from_utf8(bytes).map_err(|_| "a string is not UTF-8".into())
}
