//! The command that uses a model which was just trained, on a line of its own data where there is one.

use std::path::Path;

use atento::families::Head;
use atento::hub::templates;
use atento::tasks::Task;

/// The command line, as a shell reads it.
pub fn command(task: &dyn Task, run: &Path, example: Option<&str>) -> String {
    let model = quoted(&run.display().to_string());
    let on = |verb: &str, usual: &str| on_line(verb, &model, example.unwrap_or(usual));
    match task.head() {
        Head::Translation => on("translate", "A sentence."),
        Head::Language => format!("atento generate {model} {}", prompt(task, run, example)),
        Head::Labels => on("classify", "A text."),
        Head::Tags => on("tag", "A sentence."),
        Head::Span => on("answer", "A question?\tThe text that answers it."),
        Head::Choice => on("choose", "A beginning\tone end\tanother end"),
        Head::Words | Head::Pretraining => match example {
            Some(_) => on("fill-mask", ""),
            // How the hidden word is written depends on the tokenizer.
            None => format!("atento fill-mask {model}"),
        },
        Head::States => on("embed", "A text."),
    }
}

/// A verb on a line. Tabs, which nobody types into a command, come from `printf`.
fn on_line(verb: &str, model: &str, line: &str) -> String {
    if !line.contains('\t') {
        // What begins with a dash would be an option.
        let end = if line.starts_with('-') { "-- " } else { "" };
        return format!("atento {verb} {model} {end}{}", in_quotes(line));
    }
    let parts: Vec<String> = line.split('\t').map(in_quotes).collect();
    let form = vec!["%s"; parts.len()].join(r"\t");
    format!("printf '{form}\\n' {} | atento {verb} {model}", parts.join(" "))
}

/// The options of `generate` that give the model a prompt as it was taught with.
fn prompt(task: &dyn Task, run: &Path, example: Option<&str>) -> String {
    if !task.has_templates() {
        return format!("--prompt {}", in_quotes(example.unwrap_or("The")));
    }
    match templates::read(run) {
        Ok(Some(templates)) => match templates.prompt.fields() {
            [] | [_] => "--prompt 'A prompt.'".to_owned(),
            fields => {
                let object: serde_json::Map<_, _> = fields.iter().map(|field| (field.clone(), "…".into())).collect();
                format!("--prompt {}", in_quotes(&serde_json::Value::Object(object).to_string()))
            }
        },
        // What was learned are conversations.
        _ => "--chat --prompt 'A question?'".to_owned(),
    }
}

/// A path as a shell reads it back.
pub fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+=:@".contains(c);
    if text.chars().all(is_plain) { text.to_owned() } else { in_quotes(text) }
}

/// A text in quotes, as a shell reads it back.
fn in_quotes(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use atento::tasks;

    use super::*;

    fn of(task: &str, example: Option<&str>) -> String {
        command(tasks::named(task).unwrap(), Path::new("runs/my run"), example)
    }

    #[test]
    fn every_task_has_a_command_that_a_shell_reads_as_it_was_meant() {
        for (task, example, expected) in [
            ("translation", Some("It's late."), r"atento translate 'runs/my run' 'It'\''s late.'"),
            ("translation", None, "atento translate 'runs/my run' 'A sentence.'"),
            ("translation", Some("- It"), "atento translate 'runs/my run' -- '- It'"),
            ("causal-lm", Some("ROMEO:"), "atento generate 'runs/my run' --prompt 'ROMEO:'"),
            ("instruct", None, "atento generate 'runs/my run' --chat --prompt 'A question?'"),
            ("classify", Some("100 %\tb"), r"printf '%s\t%s\n' '100 %' 'b' | atento classify 'runs/my run'"),
            ("tag", Some("EU rejects"), "atento tag 'runs/my run' 'EU rejects'"),
            ("qa", None, r"printf '%s\t%s\n' 'A question?' 'The text that answers it.' | atento answer 'runs/my run'"),
            ("multiple-choice", Some("a\tb\tc"), r"printf '%s\t%s\t%s\n' 'a' 'b' 'c' | atento choose 'runs/my run'"),
            ("masked-lm", Some("the [MASK] cat"), "atento fill-mask 'runs/my run' 'the [MASK] cat'"),
            ("masked-lm", None, "atento fill-mask 'runs/my run'"),
        ] {
            assert_eq!(of(task, example), expected, "{task}");
        }
    }

    #[test]
    fn a_path_is_quoted_where_a_shell_would_cut_it() {
        assert_eq!(quoted("runs/über-1.2"), "runs/über-1.2");
        assert_eq!(quoted("it's mine"), r"'it'\''s mine'");
    }
}
