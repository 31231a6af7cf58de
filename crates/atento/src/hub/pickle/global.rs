//! The names of Python that a pickle of tensors mentions. Each is a shape of data to the machine, none is a function.

use safetensors::Dtype;

/// What an allowed name stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Global {
    /// A dictionary.
    OrderedDict,
    /// A tensor, from a storage, an offset, sizes and strides.
    RebuildTensor,
    /// A tensor that is trained; the tensor itself here.
    RebuildParameter,
    /// Sizes, as a tuple.
    Size,
    /// A storage of elements of that type.
    Storage(Dtype),
}

impl Global {
    /// What the name stands for, if it is one of the few allowed.
    pub fn of(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("collections", "OrderedDict") => Global::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor") => Global::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Global::RebuildParameter,
            ("torch", "Size") => Global::Size,
            ("torch", storage) => Global::Storage(element_type(storage)?),
            _ => return None,
        })
    }
}

fn element_type(storage: &str) -> Option<Dtype> {
    Some(match storage {
        "DoubleStorage" => Dtype::F64,
        "FloatStorage" => Dtype::F32,
        "HalfStorage" => Dtype::F16,
        "BFloat16Storage" => Dtype::BF16,
        "LongStorage" => Dtype::I64,
        "IntStorage" => Dtype::I32,
        "ShortStorage" => Dtype::I16,
        "CharStorage" => Dtype::I8,
        "ByteStorage" => Dtype::U8,
        "BoolStorage" => Dtype::BOOL,
        _ => return None,
    })
}
