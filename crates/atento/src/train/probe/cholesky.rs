//! The Cholesky factor of a symmetric positive definite matrix, in f64.

/// Partial sums of a dot product: enough for the widest registers.
const LANES: usize = 8;

/// The lower triangle `L` of `A = L Lᵀ`, row by row.
pub(super) struct Cholesky {
    size: usize,
    lower: Vec<f64>,
}

impl Cholesky {
    /// Factors `[size, size]`, whose lower triangle is read; `None` where the matrix is not positive definite.
    pub fn of(mut matrix: Vec<f64>, size: usize) -> Option<Self> {
        for row in 0..size {
            let (above, below) = matrix.split_at_mut(row * size);
            let current = &mut below[..size];
            for column in 0..row {
                let other = &above[column * size..][..=column];
                current[column] = (current[column] - dot(&current[..column], &other[..column])) / other[column];
            }
            let square = current[row] - dot(&current[..row], &current[..row]);
            if !(square > 0.0 && square.is_finite()) {
                return None;
            }
            current[row] = square.sqrt();
        }
        Some(Self { size, lower: matrix })
    }

    /// `A⁻¹ b`, in place.
    pub fn solve(&self, b: &mut [f64]) {
        for row in 0..self.size {
            let lower = &self.lower[row * self.size..][..=row];
            b[row] = (b[row] - dot(&lower[..row], &b[..row])) / lower[row];
        }
        for row in (0..self.size).rev() {
            let lower = &self.lower[row * self.size..][..=row];
            b[row] /= lower[row];
            let (above, below) = b.split_at_mut(row);
            above.iter_mut().zip(lower).for_each(|(b, lower)| *b -= lower * below[0]);
        }
    }

    /// `bᵀ A b`.
    pub fn square(&self, b: &[f64]) -> f64 {
        let mut product = vec![0.0; self.size];
        for (row, b) in b.iter().enumerate() {
            let lower = &self.lower[row * self.size..][..=row];
            product.iter_mut().zip(lower).for_each(|(sum, lower)| *sum += lower * b);
        }
        dot(&product, &product)
    }
}

/// The dot product of two vectors of one length.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let ((a, a_tail), (b, b_tail)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut lanes = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    lanes.iter().sum::<f64>() + a_tail.iter().zip(b_tail).map(|(a, b)| a * b).sum::<f64>()
}
