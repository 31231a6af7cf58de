//! The files of a model that was trained.

use std::path::Path;

use crate::hub::atomic::atomic_write;
use crate::hub::{chat, templates};
use crate::peft::{self, NewAdapter};
use crate::pipelines::{Loaded, Net};
use crate::train::Error;

/// Writes a model as a directory that can be loaded; of an adapter that was trained on it, the adapter. `adapter` has with it
/// what tells the contents of its base.
pub(in crate::train) fn save_model<M: Net>(
    model: &Loaded<M>,
    adapter: Option<(&NewAdapter, &str)>,
    dir: &Path,
) -> Result<(), Error> {
    let Some((adapter, base)) = adapter else { return Ok(model.save(dir)?) };
    if let Some(found) = &model.templates {
        templates::write(dir, found)?;
    }
    let config = model.model.config();
    let json = model.kept.config_for(config.to_json()?);
    peft::save(dir, &adapter.config, (&*config, &json), model.model.params(), base)?;
    if let Some(template) = model.kept.file(chat::FILE) {
        atomic_write(&dir.join(chat::FILE), template)?;
    }
    Ok(())
}
