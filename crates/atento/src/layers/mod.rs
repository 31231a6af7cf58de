//! The building blocks of the models.

pub mod mechanisms;
