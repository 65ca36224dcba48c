//! From an image of the store and options to a program that the sandbox starts.

use std::{io::IsTerminal, sync::atomic::AtomicBool};

use kiln_oci::Image;
use kiln_sandbox::{Command, Interactive, LayerBlob, NetworkMode, Sandbox, SandboxError, Volume};
use kiln_store::Store;
use serde::Deserialize;

use crate::{
    args::{Global, ProgramOptions, UserOption, Variable},
    error::Failure,
    exit,
    output::Output,
    progress::Unpacking,
    project, stored,
};

/// What an image says about the programs in it (image-spec, config.md). What is left out is empty.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Settings {
    pub(crate) env: Vec<String>,
    pub(crate) user: String,
    pub(crate) working_dir: String,
    pub(crate) entrypoint: Vec<String>,
    pub(crate) cmd: Vec<String>,
    pub(crate) exposed_ports: serde_json::Map<String, serde_json::Value>,
    pub(crate) labels: std::collections::BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    config: Settings,
}

impl Settings {
    pub(crate) fn of(image: &Image) -> Result<Self, Failure> {
        let config: Config =
            serde_json::from_slice(&image.config_bytes).map_err(|error| Failure {
                causes: vec![error.to_string()],
                ..Failure::new(exit::INTEGRITY, "the image's configuration cannot be read")
            })?;
        Ok(config.config)
    }

    /// The TCP port on which the image's command serves.
    pub(crate) fn port(&self) -> Option<u16> {
        self.exposed_ports
            .keys()
            .find_map(|port| port.trim_end_matches("/tcp").parse().ok())
    }
}

/// Finds the image that was asked for, which must be for this machine.
pub(crate) fn find(
    store: &Store,
    global: &Global,
    selector: &str,
    options: &ProgramOptions,
) -> Result<(String, Image), Failure> {
    let name = stored::one(store, global, selector)?;
    let image = stored::image(store, &name, options.platform)?;
    let platform = image.platform.to_string();
    if platform != project::host_platform() {
        let message = format!("this machine cannot run programs for {platform}");
        return Err(Failure::new(exit::SANDBOX, message));
    }
    Ok((name, image))
}

/// The program `argv` in an image, as the image and the options want it.
pub(crate) fn interactive(
    store: &Store,
    image: &Image,
    settings: &Settings,
    options: &ProgramOptions,
    argv: Vec<String>,
) -> Result<Interactive, Failure> {
    let layers = image.layers.iter().map(|layer| LayerBlob {
        diff_id: layer.diff_id,
        path: store.blob_path(&layer.digest),
    });
    let user = match options.user {
        Some(user) => user,
        None => image_user(&settings.user)?,
    };
    let working_dir = match &settings.working_dir {
        none if none.is_empty() => "/",
        directory => directory,
    };
    Ok(Interactive {
        layers: layers.collect(),
        state: None,
        command: Command {
            argv,
            env: environment(&settings.env, &options.env),
            cwd: options.workdir.as_deref().unwrap_or(working_dir).to_owned(),
            uid: user.uid,
            gid: user.gid,
            umask: 0o022,
        },
        volumes: volumes(&options.volume)?,
        network: NetworkMode::Host,
        hostname: host_name(),
        read_only: options.read_only,
    })
}

/// Starts a program and gives its exit status. The first start of an image unpacks it, which is
/// shown.
pub(crate) fn start(
    sandbox: &Sandbox,
    program: &Interactive,
    cancelled: &AtomicBool,
    output: &Output,
) -> Result<u8, Failure> {
    let mut shown = Unpacking::new(output);
    let status = sandbox.start(program, cancelled, &mut |done, all| shown.told(done, all));
    status.map_err(|error| {
        let code = match &error {
            SandboxError::CommandNotStarted { .. } => exit::NOT_STARTED,
            _ => return error.into(),
        };
        Failure {
            code,
            ..error.into()
        }
    })
}

/// The shell of people: bash where there is one.
pub(crate) fn shell() -> Vec<String> {
    let script = "if [ -x /bin/bash ]; then exec /bin/bash; else exec /bin/sh; fi";
    ["/bin/sh", "-c", script].map(str::to_owned).into()
}

/// kiln's own images name users by number; others may use names, which only they can resolve.
fn image_user(user: &str) -> Result<UserOption, Failure> {
    let user = if user.is_empty() { "0:0" } else { user };
    user.parse().map_err(|_| {
        Failure::new(
            exit::USAGE,
            format!("the image's user, `{user}`, is no number"),
        )
        .hint("choose one by number, with `--user UID:GID`")
    })
}

/// The image's variables, then what the terminal is, then what the user says; of several values
/// of a variable the last counts.
fn environment(image: &[String], options: &[Variable]) -> Vec<(String, String)> {
    let mut env: Vec<(String, String)> = Vec::new();
    let mut set = |name: &str, value: String| match env.iter_mut().find(|(known, _)| known == name)
    {
        Some((_, old)) => *old = value,
        None => env.push((name.to_owned(), value)),
    };
    set("PATH", DEFAULT_PATH.to_owned());
    for (name, value) in image.iter().filter_map(|text| text.split_once('=')) {
        set(name, value.to_owned());
    }
    if let Some(terminal) = terminal() {
        set("TERM", terminal);
    }
    for Variable { name, value } in options {
        if let Some(value) = value.clone().or_else(|| std::env::var(name).ok()) {
            set(name, value);
        }
    }
    env
}

/// What kind of terminal a program gets, if it gets one.
pub(crate) fn terminal() -> Option<String> {
    std::env::var("TERM")
        .ok()
        .filter(|_| std::io::stdin().is_terminal())
}

/// Where engines look for programs when an image does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The volumes with the real paths of their sources.
fn volumes(volumes: &[Volume]) -> Result<Vec<Volume>, Failure> {
    let resolve = |volume: &Volume| {
        let source = volume.source.canonicalize().map_err(|error| Failure {
            causes: vec![error.to_string()],
            ..Failure::new(
                exit::USAGE,
                format!("`{}` cannot be a volume", volume.source.display()),
            )
        })?;
        Ok(Volume {
            source,
            ..volume.clone()
        })
    };
    volumes.iter().map(resolve).collect()
}

/// The name of this machine: with its network goes its name, which programs look up.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "kiln".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn the_user_has_the_last_word_about_variables() {
        let given = |name: &str, value: &str| Variable {
            name: name.to_owned(),
            value: Some(value.to_owned()),
        };
        let env = environment(
            &texts(&["PATH=/opt/bin", "A=image=1", "B=2"]),
            &[given("A", "mine"), given("C", "")],
        );
        let env: Vec<_> = env.iter().filter(|(name, _)| name != "TERM").collect();
        let expected = [("PATH", "/opt/bin"), ("A", "mine"), ("B", "2"), ("C", "")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(env, expected.iter().collect::<Vec<_>>());
    }

    #[test]
    fn an_unset_variable_of_the_host_stays_unset() {
        let option = Variable {
            name: "KILN_TEST_UNSET".to_owned(),
            value: None,
        };
        let env = environment(&[], &[option]);
        assert!(env.iter().all(|(name, _)| name != "KILN_TEST_UNSET"));
        assert_eq!(env[0], ("PATH".to_owned(), DEFAULT_PATH.to_owned()));
    }

    #[test]
    fn an_image_says_on_which_port_it_serves() {
        let settings = |text| serde_json::from_str::<Config>(text).unwrap().config;
        let served = settings(r#"{"config":{"ExposedPorts":{"8888/tcp":{}}}}"#);
        assert_eq!(served.port(), Some(8888));
        assert_eq!(settings(r#"{"config":{}}"#).port(), None);
        assert_eq!(settings("{}").port(), None);
    }

    #[test]
    fn a_named_user_of_an_image_is_refused() {
        assert_eq!(image_user("1001:0").unwrap().uid, 1001);
        assert_eq!(image_user("").unwrap().uid, 0);
        assert_eq!(image_user("jovyan").unwrap_err().code, exit::USAGE);
    }
}
