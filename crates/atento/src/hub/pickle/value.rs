//! What a pickle is made of once it has been run: values without behaviour.

use super::global::Global;

/// A value. Compound ones point into the [`Pickled`] they belong to, so a value that stands in many places, or in
/// itself, is stored once, and copying or dropping one takes no time however deep it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    Float,
    Str(&'a str),
    Global(Global),
    Tuple(Items),
    /// The list of that number.
    List(usize),
    /// The dictionary of that number.
    Dict(usize),
    /// `("storage", type, key, location, number of elements)`, before PyTorch 1.6 with what it is a view of behind that.
    Storage(Items),
    /// The arguments of `_rebuild_tensor_v2`, or of `_rebuild_tensor` before it.
    Tensor(Items),
}

/// The items of a tuple, which are neighbours.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Items {
    pub begin: usize,
    pub count: usize,
}

/// All values of a pickle.
#[derive(Debug)]
pub(super) struct Pickled<'a> {
    /// The one that was pickled.
    pub root: Value<'a>,
    /// Items of all tuples.
    pub items: Vec<Value<'a>>,
    /// Keys and values of all dictionaries, in the order of writing.
    pub dicts: Vec<Vec<(Value<'a>, Value<'a>)>>,
    /// Items of all lists.
    pub lists: Vec<Vec<Value<'a>>>,
    /// Descriptions of all storages.
    pub storages: Vec<Items>,
}

impl<'a> Pickled<'a> {
    pub fn items(&self, items: Items) -> &[Value<'a>] {
        &self.items[items.begin..items.begin + items.count]
    }
}

impl Value<'_> {
    /// The value in words, for a message.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::None => "None",
            Value::Bool(_) => "a truth value",
            Value::Int(_) => "a whole number",
            Value::Float => "a number",
            Value::Str(_) => "a string",
            Value::Global(_) => "a name of Python",
            Value::Tuple(_) => "a tuple",
            Value::List(_) => "a list",
            Value::Dict(_) => "a dictionary",
            Value::Storage(_) => "a storage",
            Value::Tensor(_) => "a tensor",
        }
    }
}
