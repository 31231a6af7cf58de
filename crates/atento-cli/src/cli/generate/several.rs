//! Several adapters of one model, of which each prompt names its own.

use atento::generate::SpeculativeReport;
use atento::pipelines::continue_text::ContinueOptions;

use super::{BATCH, Prepared, Verb};
use crate::cli::model;
use crate::ui::failure::Failure;
use crate::ui::lines::Line;
use crate::ui::output::Output;
use crate::ui::unknown::Unknowns;

/// The model with each of its adapters, by the names that prompts have for them.
pub(super) struct Verbs<'a> {
    pub(super) names: Vec<Option<&'a str>>,
    pub(super) verbs: Vec<Verb<'a>>,
    pub(super) hows: Vec<ContinueOptions<'a>>,
}

impl Verbs<'_> {
    fn pick<'l>(&self, line: &'l str) -> anyhow::Result<(usize, &'l str)> {
        model::named(self.names.iter().copied(), line)
    }

    pub(super) fn prepare(&self, line: &str) -> anyhow::Result<Prepared> {
        let (of, prompt) = self.pick(line)?;
        Ok(Prepared { of, ..self.verbs[of].prepare(prompt, &self.hows[of])? })
    }

    /// Notes what of the prompts the vocabulary lacks.
    pub(super) fn look(&self, lines: &[Line<Prepared>], unknown: &mut Unknowns) -> Result<(), Failure> {
        for line in lines.iter().filter(|line| line.ready.is_ok()) {
            let (of, prompt) = self.pick(line.text.as_deref().unwrap_or_default())?;
            self.verbs[of].look(prompt, &line.place, unknown)?;
        }
        Ok(())
    }

    /// Goes on with lines, a batch at a time, and prints each batch when it is done.
    pub(super) fn go_on(
        &self,
        out: &mut Output,
        lines: &[Line<Prepared>],
        is_only: bool,
        drafted: &mut SpeculativeReport,
    ) -> Result<(), Failure> {
        let most = if self.verbs[0].draft.is_some() { 1 } else { BATCH };
        // A bad line stands by itself, so that the lines of a batch follow one another.
        let go_together = |a: &Line<Prepared>, b: &Line<Prepared>| match (&a.ready, &b.ready) {
            (Ok(a), Ok(b)) => a.of == b.of,
            _ => false,
        };
        for lines in lines.chunk_by(go_together).flat_map(|run| run.chunks(most)) {
            let of = match &lines[0].ready {
                Ok(prepared) => prepared.of,
                Err(fault) => {
                    out.of_adapter(None);
                    self.verbs[0].print_fault(out, lines[0].text.as_deref(), fault)?;
                    continue;
                }
            };
            let texts = lines.iter().map(|line| line.text.as_deref().unwrap_or_default());
            let prompts: Vec<&str> = texts.map(|text| Ok(self.pick(text)?.1)).collect::<Result<_, Failure>>()?;
            out.of_adapter(self.names[of]);
            let report = self.verbs[of].batch(out, (lines, &prompts), is_only, &self.hows[of])?;
            drafted.proposed += report.proposed;
            drafted.accepted += report.accepted;
            out.flush()?;
            if self.verbs[0].stop.is_stopped() {
                break;
            }
        }
        out.flush()
    }
}
