//! Where the Hub and its cache are, as the environment says it to all of Hugging Face's libraries.

use std::env;
use std::fmt;
use std::fs;
use std::path::PathBuf;

use super::Error;

const ENDPOINT: &str = "https://huggingface.co";

/// The Hub, its cache on this machine and who asks.
#[derive(Clone)]
pub struct Hub {
    /// The address, without a slash at the end.
    pub endpoint: String,
    /// The folder of the cache.
    pub cache: PathBuf,
    /// Who asks, where somebody has said it.
    pub token: Option<String>,
    /// Whether nothing is asked and the cache is all there is.
    pub is_offline: bool,
}

/// A token is nobody's to read.
impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoint, cache, is_offline, token: _ } = self;
        f.debug_struct("Hub")
            .field("endpoint", endpoint)
            .field("cache", cache)
            .field("is_offline", is_offline)
            .finish_non_exhaustive()
    }
}

impl Hub {
    /// What the environment says: `HF_ENDPOINT`, `HF_HUB_CACHE` or `HF_HOME`, `HF_TOKEN` or the token that `hf auth login` has
    /// left, `HF_HUB_OFFLINE`.
    ///
    /// # Errors
    /// Neither the variables nor a home directory say where the cache is.
    pub fn from_env() -> Result<Self, Error> {
        Self::from_variables(|name| env::var(name).ok())
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let said = |name: &str| variable(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let path = |name: &str| said(name).map(|text| expand(&text));
        let usual =
            || Some(path("XDG_CACHE_HOME").or_else(|| Some(env::home_dir()?.join(".cache")))?.join("huggingface"));
        let home = path("HF_HOME").or_else(usual);
        let cache = path("HF_HUB_CACHE").or_else(|| path("HUGGINGFACE_HUB_CACHE"));
        let cache = cache.or_else(|| Some(home.as_ref()?.join("hub"))).ok_or(Error::NoCache)?;
        let token_file = path("HF_TOKEN_PATH").or_else(|| Some(home?.join("token")));
        let of_file =
            || Some(fs::read_to_string(token_file?).ok()?.trim().to_owned()).filter(|token| !token.is_empty());
        let token = said("HF_TOKEN").or_else(|| said("HUGGING_FACE_HUB_TOKEN")).or_else(of_file);
        let is_offline =
            ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"].into_iter().filter_map(said).any(|text| is_yes(&text));
        let endpoint = said("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_owned());
        Ok(Self { endpoint: endpoint.trim_end_matches('/').to_owned(), cache, token, is_offline })
    }
}

/// What `huggingface_hub` takes for yes.
fn is_yes(text: &str) -> bool {
    ["1", "ON", "YES", "TRUE"].iter().any(|yes| text.eq_ignore_ascii_case(yes))
}

/// A path with the home directory in the place of its `~`.
fn expand(text: &str) -> PathBuf {
    match (text.strip_prefix("~/"), env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(text),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn hub(variables: &[(&str, &str)]) -> Hub {
        let value =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Hub::from_variables(value).unwrap()
    }

    #[test]
    fn the_variables_are_those_of_hugging_faces_libraries() {
        let found = hub(&[
            ("HF_HOME", "/h"),
            ("HF_TOKEN", " t "),
            ("HF_ENDPOINT", "http://mirror/"),
            ("HF_HUB_OFFLINE", "true"),
        ]);
        assert_eq!((found.cache.as_path(), found.endpoint.as_str()), (Path::new("/h/hub"), "http://mirror"));
        assert_eq!((found.token.as_deref(), found.is_offline), (Some("t"), true));
        assert!(!format!("{found:?}").contains("\"t\""));
        let found = hub(&[("HF_HOME", "/h"), ("HF_HUB_CACHE", "/c"), ("HF_HUB_OFFLINE", "0"), ("HF_ENDPOINT", "")]);
        assert_eq!(
            (found.cache.as_path(), found.endpoint.as_str(), found.is_offline),
            (Path::new("/c"), ENDPOINT, false)
        );
        assert_eq!(hub(&[("XDG_CACHE_HOME", "/x")]).cache, Path::new("/x/huggingface/hub"));
    }

    #[test]
    fn a_token_that_was_left_in_a_file_is_used() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("token"), "left\n").unwrap();
        let path = home.path().to_str().unwrap();
        assert_eq!(hub(&[("HF_HOME", path)]).token.as_deref(), Some("left"));
        assert_eq!(hub(&[("HF_HOME", path), ("HF_TOKEN", "said")]).token.as_deref(), Some("said"));
        assert_eq!(hub(&[("HF_HOME", path), ("HF_TOKEN_PATH", "/nowhere")]).token, None);
    }
}
