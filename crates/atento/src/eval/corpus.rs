//! What BLEU and chrF have in common: integer statistics per segment, summed, then turned into a score.
//!
//! The sums make corpus scores independent of segment order and thread count, and resampling cheap:
//! see [`Bootstrap`](super::Bootstrap).

use std::fmt;

use rayon::prelude::*;

use super::Error;

/// A line of a reference stream, which may be missing (`None`) where other streams have one.
pub trait Reference {
    /// The line, or `None` where the stream has no reference. The empty string is a reference.
    fn text(&self) -> Option<&str>;
}

impl Reference for &str {
    fn text(&self) -> Option<&str> {
        Some(self)
    }
}

impl Reference for String {
    fn text(&self) -> Option<&str> {
        Some(self)
    }
}

impl<R: Reference> Reference for Option<R> {
    fn text(&self) -> Option<&str> {
        self.as_ref().and_then(R::text)
    }
}

/// The number of references per line, `nrefs` in a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReferenceCount {
    /// Every line has this many.
    Fixed(usize),
    /// Lines differ; printed `var`.
    Varying,
}

impl fmt::Display for ReferenceCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReferenceCount::Fixed(count) => write!(f, "{count}"),
            ReferenceCount::Varying => f.write_str("var"),
        }
    }
}

/// A metric whose corpus score is a function of sums over segments.
pub trait CorpusMetric: Sync {
    /// The name that sacreBLEU prints, such as `BLEU` or `chrF2`.
    fn name(&self) -> String;

    /// sacreBLEU's signature: all that must be known to compare two scores.
    fn signature(&self, references: ReferenceCount) -> String;

    /// The integers that segment contributes to the corpus; their number is the same for all segments.
    ///
    /// `references` is never empty.
    fn segment_statistics(&self, hypothesis: &str, references: &[&str]) -> Vec<u64>;

    /// The score, 0 to 100, of summed statistics.
    fn score_of(&self, sums: &[u64]) -> f64;

    /// The statistics of every segment; `references` are streams as long as `hypotheses`.
    ///
    /// # Errors
    /// No hypotheses, no reference streams, a stream of another length, or a line without any reference.
    fn statistics<H, S, R>(&self, hypotheses: &[H], references: &[S]) -> Result<Statistics, Error>
    where
        H: AsRef<str>,
        S: AsRef<[R]>,
        R: Reference,
    {
        let segments = align(hypotheses, references)?;
        let rows: Vec<_> = segments
            .par_iter()
            .map(|(hypothesis, references)| self.segment_statistics(hypothesis, references))
            .collect();
        Ok(Statistics { width: rows[0].len(), values: rows.concat(), references: reference_count(&segments) })
    }
}

/// The statistics of each segment of a corpus under one metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statistics {
    /// Integers per segment.
    width: usize,
    /// The segments' integers, one segment after the other.
    values: Vec<u64>,
    references: ReferenceCount,
}

impl Statistics {
    /// The number of segments, at least 1.
    pub fn segments(&self) -> usize {
        self.values.len() / self.width
    }

    /// How many references the segments have.
    pub fn references(&self) -> ReferenceCount {
        self.references
    }

    /// The sums over all segments.
    pub fn sums(&self) -> Vec<u64> {
        self.sums_of(0..self.segments())
    }

    /// The sums over the segments numbered, each as often as it is.
    pub(crate) fn sums_of(&self, segments: impl IntoIterator<Item = usize>) -> Vec<u64> {
        let mut sums = vec![0; self.width];
        for segment in segments {
            let row = &self.values[segment * self.width..][..self.width];
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += value;
            }
        }
        sums
    }
}

/// A hypothesis and the references it has.
type Segment<'a> = (&'a str, Vec<&'a str>);

fn align<'a, H, S, R>(hypotheses: &'a [H], references: &'a [S]) -> Result<Vec<Segment<'a>>, Error>
where
    H: AsRef<str>,
    S: AsRef<[R]>,
    R: Reference + 'a,
{
    if hypotheses.is_empty() {
        return Err(Error::NoHypotheses);
    }
    if references.is_empty() {
        return Err(Error::NoReferences);
    }
    for (index, stream) in references.iter().enumerate() {
        if stream.as_ref().len() != hypotheses.len() {
            return Err(Error::LineCount {
                stream: index + 1,
                references: stream.as_ref().len(),
                hypotheses: hypotheses.len(),
            });
        }
    }
    let lines = hypotheses.iter().enumerate().map(|(line, hypothesis)| {
        let present: Vec<_> = references.iter().filter_map(|stream| stream.as_ref()[line].text()).collect();
        if present.is_empty() {
            return Err(Error::LineWithoutReference { line: line + 1 });
        }
        Ok((hypothesis.as_ref(), present))
    });
    lines.collect()
}

fn reference_count(segments: &[Segment<'_>]) -> ReferenceCount {
    let first = segments[0].1.len();
    if segments.iter().all(|(_, present)| present.len() == first) {
        ReferenceCount::Fixed(first)
    } else {
        ReferenceCount::Varying
    }
}

#[cfg(test)]
mod tests {
    use crate::eval::{Bleu, Error};

    #[test]
    fn unequal_line_counts_are_refused_with_both_named() {
        let error = Bleu::default().corpus(&["a", "b"], &[vec!["a", "b"], vec!["a"]]).unwrap_err();
        let message = error.to_string();
        assert!(message.starts_with("reference 2 has 1 lines but there are 2 hypotheses"), "{message}");
    }

    #[test]
    fn empty_input_is_refused() {
        let none: [&str; 0] = [];
        let bleu = Bleu::default();
        assert_eq!(bleu.corpus(&none, &[none]), Err(Error::NoHypotheses));
        let streams: [Vec<&str>; 0] = [];
        assert_eq!(bleu.corpus(&["a"], &streams), Err(Error::NoReferences));
    }

    #[test]
    fn a_line_with_no_reference_at_all_is_refused() {
        let error = Bleu::default().corpus(&["a", "b"], &[[Some("a"), None]]).unwrap_err();
        assert_eq!(error, Error::LineWithoutReference { line: 2 });
    }
}
