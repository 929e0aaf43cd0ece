//! `--name value` pairs and `--flag`s: all that programs started by another program need.

use std::str::FromStr;

use anyhow::{Context, bail};

/// The arguments of this process.
pub struct Arguments {
    words: Vec<String>,
}

impl Arguments {
    /// Takes the arguments of this process.
    pub fn of_process() -> Self {
        Self {
            words: std::env::args().skip(1).collect(),
        }
    }

    /// Takes `--name` out; whether it was there.
    pub fn flag(&mut self, name: &str) -> bool {
        let place = self.words.iter().position(|word| word == name);
        if let Some(place) = place {
            self.words.remove(place);
        }
        place.is_some()
    }

    /// Takes `--name value` out.
    pub fn optional<T: FromStr>(&mut self, name: &str) -> anyhow::Result<Option<T>>
    where
        T::Err: std::error::Error + Send + Sync + 'static,
    {
        let Some(place) = self.words.iter().position(|word| word == name) else {
            return Ok(None);
        };
        if place + 1 >= self.words.len() {
            bail!("{name} needs a value");
        }
        let value = self.words.remove(place + 1);
        self.words.remove(place);
        Ok(Some(value.parse().with_context(|| format!("{name} {value}"))?))
    }

    /// Takes `--name value` out, which must be there.
    pub fn required<T: FromStr>(&mut self, name: &str) -> anyhow::Result<T>
    where
        T::Err: std::error::Error + Send + Sync + 'static,
    {
        self.optional(name)?.with_context(|| format!("{name} is missing"))
    }

    /// Fails if anything is left.
    pub fn finish(self) -> anyhow::Result<()> {
        match self.words.first() {
            Some(unknown) => bail!("unknown argument {unknown}"),
            None => Ok(()),
        }
    }
}
