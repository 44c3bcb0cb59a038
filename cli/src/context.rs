//! Contexts: names for clusters, kept as files in the user's configuration folder. A running demo
//! writes `demo`. A context may hold the session of one device, which only its owner can read.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
};

use client::Credentials;
use serde::{Deserialize, Serialize};

use crate::{
    args::{Cluster, Transport},
    exit::{Exit, Failure},
};

/// A context file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Context {
    /// Client addresses of nodes.
    pub(crate) nodes: Vec<SocketAddr>,
    /// Operations ports, where they are on this machine.
    #[serde(default)]
    pub(crate) operations: Vec<SocketAddr>,
    /// Certificate of the authority.
    pub(crate) ca: PathBuf,
    /// The demo that wrote this context, by its process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) demo: Option<u32>,
}

/// A session as it is kept in a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Session {
    schema: String,
    user: String,
    device: String,
    access: String,
    refresh: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at_ms: Option<u64>,
}

const SESSION_SCHEMA: &str = "synod/session/v1";

/// Where a client finds the cluster, and as whom it comes.
pub(crate) struct Target {
    pub(crate) config: client::Config,
    /// The context's file; `None` when the command line named everything.
    context: Option<String>,
    token_file: Option<PathBuf>,
}

impl Target {
    /// What the command line means.
    pub(crate) fn of(cluster: &Cluster) -> Result<Target, Failure> {
        let (nodes, ca, context) = match &cluster.ca {
            Some(ca) => (cluster.addr.clone(), ca.clone(), None),
            None => {
                let context = load(&cluster.ctx)?;
                (context.nodes, context.ca, Some(cluster.ctx.clone()))
            }
        };
        let ca_pem = fs::read(&ca)
            .map_err(|e| Failure::new(Exit::NotFound, format!("{}: {e}", ca.display())))?;
        let mut config = client::Config::new(nodes, ca_pem);
        config.transport = match cluster.transport {
            Transport::Quic => client::Transport::Quic,
            Transport::Ws => client::Transport::WebSocket,
        };
        Ok(Target { config, context, token_file: cluster.token_file.clone() })
    }

    /// Where the session is kept.
    fn session_file(&self) -> Result<PathBuf, Failure> {
        match (&self.token_file, &self.context) {
            (Some(file), _) => Ok(file.clone()),
            (None, Some(context)) => session_file(context),
            (None, None) => Err(Failure::usage("--addr needs --token-file: who are you?")),
        }
    }

    /// The session that was kept.
    pub(crate) fn session(&self) -> Result<Credentials, Failure> {
        let file = self.session_file()?;
        let bytes = fs::read(&file).map_err(|error| {
            let advice = "log in first: synod login";
            Failure::new(Exit::NotAllowed, format!("{}: {error}; {advice}", file.display()))
        })?;
        read_session(&bytes).map_err(|why| Failure::usage(format!("{}: {why}", file.display())))
    }

    /// Keeps a session for the next commands.
    pub(crate) fn keep(&self, session: &Credentials) -> Result<PathBuf, Failure> {
        let file = self.session_file()?;
        keep_session(&file, session).map_err(|e| not_written(&file, &e))?;
        Ok(file)
    }
}

/// The folder of all contexts.
fn folder() -> Result<PathBuf, Failure> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_CONFIG_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".config")))
        .map(|folder| folder.join("synod").join("contexts"))
        .ok_or_else(|| Failure::new(Exit::NotFound, "neither XDG_CONFIG_HOME nor HOME is set"))
}

fn file(name: &str) -> Result<PathBuf, Failure> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || !name.chars().all(plain) {
        return Err(Failure::usage(format!("`{name}` is no name for a context")));
    }
    Ok(folder()?.join(format!("{name}.toml")))
}

fn session_file(name: &str) -> Result<PathBuf, Failure> {
    Ok(file(name)?.with_extension("session.json"))
}

/// Where an operator's token is kept.
pub(crate) fn operator_file(name: &str) -> Result<PathBuf, Failure> {
    Ok(file(name)?.with_extension("operator"))
}

/// Writes what only its owner may read.
pub(crate) fn write_secret(path: &Path, secret: &str) -> Result<(), Failure> {
    write_private(path, secret.as_bytes()).map_err(|e| not_written(path, &e))
}

fn not_written(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::NotAllowed, format!("{}: {error}", path.display()))
}

/// Reads a context.
pub(crate) fn load(name: &str) -> Result<Context, Failure> {
    let path = file(name)?;
    let text = fs::read_to_string(&path).map_err(|_| {
        let advice = "is a demo running? Or say --addr, --ca and --token-file";
        Failure::new(Exit::NotFound, format!("there is no context `{name}`: {advice}"))
    })?;
    toml::from_str(&text).map_err(|e| Failure::usage(format!("{}: {e}", path.display())))
}

/// Writes a context, and its session if there is one.
pub(crate) fn save(
    name: &str,
    context: &Context,
    session: Option<&Credentials>,
) -> Result<(), Failure> {
    let path = file(name)?;
    let text = toml::to_string_pretty(context).expect("plain values");
    write_private(&path, text.as_bytes()).map_err(|e| not_written(&path, &e))?;
    if let Some(session) = session {
        let path = session_file(name)?;
        keep_session(&path, session).map_err(|e| not_written(&path, &e))?;
    }
    Ok(())
}

/// Removes a context that this process wrote. Another demo may have replaced it: then it stays.
pub(crate) fn forget(name: &str) {
    let Ok(path) = file(name) else { return };
    if load(name).is_ok_and(|context| context.demo == Some(std::process::id())) {
        // What cannot be removed is overwritten by the next demo.
        let _ = fs::remove_file(path);
        let _ = session_file(name).map(fs::remove_file);
    }
}

fn keep_session(path: &Path, session: &Credentials) -> io::Result<()> {
    let session = Session {
        schema: SESSION_SCHEMA.to_owned(),
        user: session.user.to_string(),
        device: session.device.to_string(),
        access: session.access.clone(),
        refresh: session.refresh.clone(),
        expires_at_ms: session.expires_at.map(|at| at.0),
    };
    write_private(path, &serde_json::to_vec_pretty(&session).expect("plain values"))
}

fn read_session(bytes: &[u8]) -> Result<Credentials, String> {
    let session: Session = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    if session.schema != SESSION_SCHEMA {
        return Err(format!("schema is not {SESSION_SCHEMA}"));
    }
    Ok(Credentials {
        user: chat::UserId::parse(&session.user).map_err(|e| e.to_string())?,
        device: session.device.parse().map_err(|_| "device is not 16 hex digits".to_owned())?,
        access: session.access,
        refresh: session.refresh,
        expires_at: session.expires_at_ms.map(chat::Timestamp),
    })
}

/// Writes a file that only its owner reads, whole or not at all.
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(bytes)?;
    drop(file);
    fs::rename(&draft, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_read_as_it_was_kept_and_nobody_else_can() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deep/alice.json");
        let session = Credentials {
            user: chat::UserId::parse("alice").expect("legal"),
            device: chat::DeviceId(0xab),
            access: "a".into(),
            refresh: "r".into(),
            expires_at: Some(chat::Timestamp(77)),
        };
        keep_session(&path, &session).expect("kept");
        let read = read_session(&fs::read(&path).expect("there")).expect("readable");
        assert!(read == session);
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(read_session(b"{}").is_err());
    }

    #[test]
    fn a_name_cannot_leave_the_folder_of_contexts() {
        for name in ["", "../x", "a/b", "x.toml"] {
            assert!(file(name).is_err(), "{name}");
        }
    }
}
