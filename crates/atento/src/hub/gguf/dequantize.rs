//! Elements of tensors as real numbers.

use half::{bf16, f16};
use rayon::prelude::*;

use super::element_type::ElementType;

/// Elements of one task, whole blocks of every kind.
const TASK: usize = 1 << 16;

/// Reads the elements in `bytes` into `values`.
///
/// # Shapes
/// - `bytes`: the blocks of `values`, whole ones
pub(super) fn dequantize(kind: ElementType, bytes: &[u8], values: &mut [f32]) {
    let (elements, size) = kind.block();
    let tasks = values.par_chunks_mut(TASK).zip(bytes.par_chunks(TASK / elements * size));
    tasks.for_each(|(values, bytes)| match kind {
        ElementType::F32 => each(bytes, values, f32::from_le_bytes),
        ElementType::F16 => each(bytes, values, |block| f16::from_le_bytes(block).to_f32()),
        ElementType::Bf16 => each(bytes, values, |block| bf16::from_le_bytes(block).to_f32()),
        ElementType::Blocks(kind) => kind.widen(bytes, values),
    });
}

/// Reads number after number.
fn each<const B: usize>(bytes: &[u8], values: &mut [f32], read: impl Fn([u8; B]) -> f32) {
    values.iter_mut().zip(bytes.as_chunks::<B>().0).for_each(|(value, block)| *value = read(*block));
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use atento_kernels::compact::BlockKind;

    use super::*;
    use crate::hub::safetensors::SafeTensors;

    #[test]
    fn every_type_gives_the_numbers_of_llama_cpps_own_package() {
        use BlockKind::{Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0};
        use ElementType::{Bf16, F16, F32};
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gguf/types.safetensors");
        let tensors = SafeTensors::open(&path).unwrap();
        let blocks = [Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4K, Q5K, Q6K].map(ElementType::Blocks);
        for kind in [F32, F16, Bf16].into_iter().chain(blocks) {
            let bytes = tensors.get(&format!("{}.bytes", kind.name())).unwrap().bytes;
            let name = format!("{}.values", kind.name());
            let shape = tensors.get(&name).unwrap().shape;
            let (elements, size) = kind.block();
            assert_eq!(shape[0] * size, bytes.len() * elements, "{}", kind.name());
            let mut values = vec![f32::NAN; shape[0]];
            dequantize(kind, bytes, &mut values);
            assert_eq!(values, tensors.read_f32(&name, shape).unwrap(), "{}", kind.name());
        }
    }
}
