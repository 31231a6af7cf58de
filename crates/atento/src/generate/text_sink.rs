//! Text from tokens as they are generated, and stop strings.

use super::{Error, FinishReason, Flow, Sink, StopStrings, TokenEvent};
use crate::text::{self, TextStream, Tokenizer};

/// Text that has become certain.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TextEvent<'a> {
    /// Index of the prompt.
    pub prompt: usize,
    /// Which of the prompt's samples, from 0.
    pub sample: usize,
    /// What the sample's text goes on with: whole characters, often none, nothing that may begin a stop string.
    pub text: &'a str,
    /// The token that brought it; none for text held back that an interruption let go, and for a step of beam search.
    pub token: Option<&'a TokenEvent<'a>>,
    /// Why the sample ends here, if it does.
    pub finish: Option<FinishReason>,
}

/// A [`Sink`] that turns tokens into text, ends a sample at its first stop string, and passes the text on.
///
/// All text passed on for a sample is the tokenizer's `decode` of its tokens, without special tokens, up to the stop
/// string. `Sample::ids` keeps the tokens of the stop string.
pub struct TextSink<'t, F> {
    stops: StopStrings,
    n: usize,
    rows: Vec<TextRow<'t>>,
    on_text: F,
    failure: Option<text::Error>,
}

struct TextRow<'t> {
    stream: TextStream<'t>,
    held: String,
    text: String,
    is_done: bool,
}

impl<'t, F: FnMut(&TextEvent<'_>) -> Flow> TextSink<'t, F> {
    /// For `n` samples of each of `n_prompts` prompts. `on_text` is called once per token, and may end or interrupt.
    pub fn new(tokenizer: &'t Tokenizer, n_prompts: usize, n: usize, stops: StopStrings, on_text: F) -> Self {
        let row = |_| TextRow {
            stream: TextStream::new(tokenizer, true),
            held: String::new(),
            text: String::new(),
            is_done: false,
        };
        TextSink { stops, n, rows: (0..n_prompts * n).map(row).collect(), on_text, failure: None }
    }

    /// The text of every sample of every prompt. Text that an interruption left held back is passed on first.
    ///
    /// # Errors
    /// [`Error::Detokenize`] if the tokenizer failed, for which generation was interrupted.
    pub fn finish(mut self) -> Result<Vec<Vec<String>>, Error> {
        let failed = |error: text::Error| Error::Detokenize { detail: error.to_string() };
        if let Some(error) = self.failure {
            return Err(failed(error));
        }
        for (i, row) in self.rows.iter_mut().enumerate().filter(|(_, row)| !row.is_done) {
            let (start, finish) = (row.text.len(), Some(FinishReason::Interrupted));
            row.take(None, finish, &self.stops).map_err(failed)?;
            let (prompt, sample) = (i / self.n, i % self.n);
            (self.on_text)(&TextEvent { prompt, sample, text: &row.text[start..], token: None, finish });
        }
        let mut texts = self.rows.into_iter().map(|row| row.text);
        let n_prompts = texts.len() / self.n.max(1);
        Ok((0..n_prompts).map(|_| texts.by_ref().take(self.n).collect()).collect())
    }
}

impl TextRow<'_> {
    /// Adds a token, or only lets go what was held back. Returns whether a stop string ends the text here.
    fn take(
        &mut self,
        token: Option<u32>,
        finish: Option<FinishReason>,
        stops: &StopStrings,
    ) -> Result<bool, text::Error> {
        if let Some(token) = token {
            self.stream.push(token, &mut self.held)?;
        }
        if finish.is_some() {
            self.stream.finish(&mut self.held)?;
        }
        let stopped = stops.release(&mut self.held, &mut self.text);
        if finish.is_some() {
            self.text.push_str(&self.held);
            self.held.clear();
        }
        self.is_done = stopped || finish.is_some();
        Ok(stopped)
    }
}

impl<F: FnMut(&TextEvent<'_>) -> Flow> Sink for TextSink<'_, F> {
    fn token(&mut self, event: &TokenEvent<'_>) -> Flow {
        let row = &mut self.rows[event.prompt * self.n + event.sample];
        let start = row.text.len();
        let stopped = match row.take(Some(event.token), event.finish, &self.stops) {
            Ok(stopped) => stopped,
            Err(error) => {
                self.failure = Some(error);
                return Flow::Interrupt;
            }
        };
        let finish = if stopped { Some(FinishReason::Stop) } else { event.finish };
        let (prompt, sample, text) = (event.prompt, event.sample, &row.text[start..]);
        let flow = (self.on_text)(&TextEvent { prompt, sample, text, token: Some(event), finish });
        row.is_done |= flow == Flow::EndRow;
        if stopped && flow == Flow::Continue { Flow::EndRow } else { flow }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{SampleOptions, SamplePrompt, StepDecoder, WarperOptions, sample};
    use super::*;
    use crate::text::{Kind, TrainOptions};

    fn tokenizer() -> Tokenizer {
        let options = TrainOptions { kind: Kind::ByteLevelBpe, vocab_size: 300, ..TrainOptions::default() };
        let lines = ["the end of the story", "Question: Answer:", "über straße"];
        Tokenizer::train::<text::Error>(lines.iter().map(|line| Ok((*line).to_owned())), &options).unwrap()
    }

    /// Continues row i with the tokens of `texts[i]`, whatever it is fed.
    struct Reciter {
        vocab_size: usize,
        texts: Vec<Vec<u32>>,
        position: usize,
    }

    impl StepDecoder for Reciter {
        fn vocab_size(&self) -> usize {
            self.vocab_size
        }

        fn step(&mut self, _: &[u32], logits: &mut [f32]) {
            logits.fill(0.0);
            for (text, logits) in self.texts.iter().zip(logits.chunks_mut(self.vocab_size)) {
                logits[text[self.position] as usize] = 9.0;
            }
            self.position += 1;
        }

        fn reorder(&mut self, parents: &[usize]) {
            self.texts = parents.iter().map(|&parent| self.texts[parent].clone()).collect();
        }
    }

    type Told = Vec<(usize, String, Option<FinishReason>)>;

    /// Recites texts and returns what was told, the texts and the samples' reasons.
    fn recite(texts: &[&str], stops: &[&str], interrupt_at: usize) -> (Told, Vec<String>, Vec<FinishReason>) {
        let tokenizer = tokenizer();
        let texts: Vec<Vec<u32>> = texts.iter().map(|text| tokenizer.encode_ids(text, false).unwrap()).collect();
        let limit = |text: &Vec<u32>| SamplePrompt { prefix: vec![0], max_new_tokens: text.len(), sequence: 0 };
        let prompts: Vec<SamplePrompt> = texts.iter().map(limit).collect();
        let mut decoder = Reciter { vocab_size: tokenizer.vocab_size(), texts, position: 0 };
        let options = SampleOptions {
            warpers: WarperOptions { temperature: 0.0, ..Default::default() },
            ..SampleOptions::default()
        };
        let mut told: Told = Vec::new();
        let stops = StopStrings::new(stops.iter().copied()).unwrap();
        let mut sink = TextSink::new(&tokenizer, prompts.len(), 1, stops, |event: &TextEvent<'_>| {
            told.push((event.prompt, event.text.to_owned(), event.finish));
            if told.len() == interrupt_at { Flow::Interrupt } else { Flow::Continue }
        });
        let samples = sample(&mut decoder, &prompts, &options, &mut sink).unwrap().concat();
        let texts = sink.finish().unwrap().concat();
        (told, texts, samples.into_iter().map(|sample| sample.finish_reason).collect())
    }

    fn told_of(told: &Told, prompt: usize) -> String {
        told.iter().filter(|event| event.0 == prompt).map(|event| event.1.as_str()).collect()
    }

    #[test]
    fn a_stop_string_that_straddles_tokens_ends_its_sample_and_no_other() {
        let texts = ["the € story\n\nQuestion: the end", "über \n\nQu the"];
        let (told, found, reasons) = recite(&texts, &["\n\nQuestion", "zzz"], usize::MAX);
        assert_eq!(found, ["the € story", texts[1]]);
        assert_eq!(reasons, [FinishReason::Stop, FinishReason::Length]);
        assert_eq!([told_of(&told, 0), told_of(&told, 1)].as_slice(), found);
        let ends: Vec<_> = told.iter().filter_map(|event| event.2.map(|reason| (event.0, reason))).collect();
        assert_eq!(ends.len(), 2, "{told:?}");
        assert!(ends.contains(&(0, FinishReason::Stop)) && ends.contains(&(1, FinishReason::Length)));
    }

    #[test]
    fn what_was_held_back_is_let_go_at_the_end() {
        let (told, found, reasons) = recite(&["the en"], &["end"], usize::MAX);
        assert_eq!((found[0].as_str(), reasons[0]), ("the en", FinishReason::Length));
        assert_eq!(told_of(&told, 0), "the en");
    }

    #[test]
    fn what_an_interruption_left_held_back_is_told_once() {
        // The newline may begin the stop string, and the interruption comes with it.
        let n_tokens = tokenizer().encode_ids("the\n", false).unwrap().len();
        let (told, found, reasons) = recite(&["the\nend"], &["\n\n"], n_tokens);
        assert_eq!((found[0].as_str(), reasons[0]), ("the\n", FinishReason::Interrupted));
        assert_eq!(told_of(&told, 0), "the\n");
        assert_eq!(told.last().unwrap(), &(0, "\n".into(), Some(FinishReason::Interrupted)));
    }

    #[test]
    fn a_character_cut_off_by_the_end_is_told_as_decode_has_it() {
        let tokenizer = tokenizer();
        let ids = tokenizer.encode_ids("a€", false).unwrap();
        let mut sink = TextSink::new(&tokenizer, 1, 1, StopStrings::default(), |_: &TextEvent<'_>| Flow::Continue);
        let cut = &ids[..ids.len() - 1];
        for (i, &token) in cut.iter().enumerate() {
            let finish = (i + 1 == cut.len()).then_some(FinishReason::Length);
            let event = TokenEvent { prompt: 0, sample: 0, token, logprob: 0.0, top: &[], finish };
            assert_eq!(sink.token(&event), Flow::Continue);
        }
        assert_eq!(sink.finish().unwrap().concat()[0], tokenizer.decode(cut, true).unwrap());
    }
}
