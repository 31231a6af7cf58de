//! A configuration as checkpoints keep it: the family's name and the object of config.json.

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::Config;
use crate::hub::Error;

/// All that determines a model but its weights; equal where config.json says the same.
#[derive(Debug, Clone)]
pub struct ModelConfig(Arc<dyn Config>);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    family: String,
    config: Map<String, Value>,
}

impl ModelConfig {
    /// The configuration itself.
    #[must_use]
    pub fn shared(&self) -> &Arc<dyn Config> {
        &self.0
    }

    fn written(&self) -> Result<Written, Error> {
        Ok(Written { family: self.0.family().name().to_owned(), config: self.0.to_json()? })
    }
}

impl From<Arc<dyn Config>> for ModelConfig {
    fn from(config: Arc<dyn Config>) -> Self {
        Self(config)
    }
}

impl Deref for ModelConfig {
    type Target = dyn Config;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl PartialEq for ModelConfig {
    fn eq(&self, other: &Self) -> bool {
        match (self.written(), other.written()) {
            (Ok(one), Ok(other)) => one.family == other.family && one.config == other.config,
            _ => false,
        }
    }
}

impl Serialize for ModelConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.written().map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ModelConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Written { config, .. } = Written::deserialize(deserializer)?;
        let config = super::read(Path::new("config"), &config, None).map_err(serde::de::Error::custom)?;
        Ok(Self(config))
    }
}
