//! The node's file read again while it runs: all of it or nothing. What can change under a running node does at once, and of
//! everything else is said that it needs a restart. A file with a mistake changes nothing.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use parking_lot::Mutex;
use thiserror::Error;

use crate::config::{self, Config, ConfigError, Limits};

/// The key whose value whoever writes the logs takes.
const LOGS: &str = "log.filter";
/// What every key of a limit begins with.
const LIMITS: &str = "limits.";

/// Takes another filter for logs, or says why it is none and keeps the one it has.
pub type SetLogs = Box<dyn Fn(&str) -> Result<(), String> + Send + Sync>;
type SetLimits = Box<dyn Fn(&Limits) + Send + Sync>;

/// What a reload came to. Keys alone: a value may be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloaded {
    /// They hold from now on.
    pub applied: Vec<String>,
    /// The file says something else about them than what holds, until the next start.
    pub needs_restart: Vec<String>,
}

/// Why nothing was changed.
#[derive(Debug, Error)]
pub enum ReloadError {
    /// The file cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The filter is none.
    #[error("{}: log.filter: {problem}", path.display())]
    Logs {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

/// The file of a running node, and what it can be told.
pub struct Reload {
    file: PathBuf,
    logs: SetLogs,
    limits: OnceLock<SetLimits>,
    /// What holds now. Locked while the file is read, so that two who ask at once do not mix.
    holds: Mutex<Config>,
}

impl Reload {
    /// A node that was started with `file`, which says `config`, and logs through `logs`.
    #[must_use]
    pub fn new(file: &Path, config: &Config, logs: SetLogs) -> Self {
        let holds = Mutex::new(config.clone());
        Self { file: file.to_owned(), logs, limits: OnceLock::new(), holds }
    }

    /// Limits are told here from now on.
    pub(crate) fn limits_to(&self, set: impl Fn(&Limits) + Send + Sync + 'static) {
        assert!(self.limits.set(Box::new(set)).is_ok(), "a node begins to serve once");
    }

    /// Reads the file again. Blocks on it.
    ///
    /// # Errors
    /// [`ReloadError`]; then everything is as before.
    pub fn reload(&self) -> Result<Reloaded, ReloadError> {
        let mut holds = self.holds.lock();
        let wished = Config::load(&self.file)?;
        let changed = config::changed(&holds, &wished);
        // The only one that may still be refused comes first.
        if changed.iter().any(|key| key == LOGS) {
            (self.logs)(&wished.log.filter)
                .map_err(|problem| ReloadError::Logs { path: self.file.clone(), problem })?;
            holds.log.filter.clone_from(&wished.log.filter);
        }
        let limits = self.limits.get();
        if let Some(set) = limits
            && changed.iter().any(|key| key.starts_with(LIMITS))
        {
            set(&wished.limits);
            holds.limits = wished.limits;
        }
        let is_live = |key: &String| key == LOGS || limits.is_some() && key.starts_with(LIMITS);
        let (applied, needs_restart) = changed.into_iter().partition(is_live);
        Ok(Reloaded { applied, needs_restart })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// A node's file, and everything that its node was told.
    struct World {
        folder: tempfile::TempDir,
        told: Arc<Mutex<Vec<String>>>,
    }

    impl World {
        fn new() -> (Self, Reload) {
            let (folder, told) = (tempfile::tempdir().expect("a folder"), Arc::default());
            let world = Self { folder, told };
            world.write("");
            let config = Config::load(&world.file()).expect("an empty file is valid");
            let logs = Arc::clone(&world.told);
            let set = move |filter: &str| match filter {
                "nonsense" => Err("no filter".to_owned()),
                _ => {
                    logs.lock().push(format!("logs {filter}"));
                    Ok(())
                }
            };
            let reload = Reload::new(&world.file(), &config, Box::new(set));
            let limits = Arc::clone(&world.told);
            reload.limits_to(move |new| limits.lock().push(format!("sends {}", new.sends.burst)));
            (world, reload)
        }

        fn file(&self) -> PathBuf {
            self.folder.path().join("node.toml")
        }

        fn write(&self, text: &str) {
            std::fs::write(self.file(), text).expect("writable");
        }

        fn told(&self) -> Vec<String> {
            std::mem::take(&mut self.told.lock())
        }
    }

    fn keys(keys: &[&str]) -> Vec<String> {
        keys.iter().map(|key| (*key).to_owned()).collect()
    }

    #[test]
    fn what_can_change_does_and_the_rest_is_said_to_need_a_restart() {
        let (world, reload) = World::new();
        world.write(
            "data = \"elsewhere\"\n[log]\nfilter = \"warn\"\njson = true\n\
             [limits]\nsends = { per_second = 5, burst = 7 }\n",
        );
        let reloaded = reload.reload().expect("a good file");
        let applied = ["limits.sends.burst", "limits.sends.per_second", "log.filter"];
        assert_eq!(reloaded.applied, keys(&applied));
        // The certificates lie in the data folder.
        for key in ["data", "log.json"] {
            assert!(reloaded.needs_restart.contains(&key.to_owned()), "{reloaded:?}");
        }
        assert_eq!(world.told(), ["logs warn", "sends 7"]);
        let again = reload.reload().expect("a good file");
        assert_eq!(again.applied, keys(&[]), "they hold already");
        assert_eq!(again.needs_restart, reloaded.needs_restart, "they still wait");
        assert_eq!(world.told(), keys(&[]));
    }

    #[test]
    fn a_file_with_a_mistake_changes_nothing() {
        let (world, reload) = World::new();
        let good = "[limits]\nsends = { per_second = 5, burst = 7 }\n";
        for bad in ["[log]\nfilter = \"nonsense\"\n", "[lgo]\n", "[assets]\nbytes_max = 0\n", "["] {
            world.write(&format!("{good}{bad}"));
            reload.reload().expect_err("a mistake");
            assert_eq!(world.told(), keys(&[]), "{bad}");
        }
        std::fs::remove_file(world.file()).expect("it is there");
        assert!(matches!(reload.reload(), Err(ReloadError::Config(_))));
        world.write(good);
        assert_eq!(reload.reload().expect("a good file").applied.len(), 2);
    }
}
