//! `kiln run`: an image of the store, started without an engine.
//!
//! A server in an image, such as an IDE, listens where `kiln run` tells it to: the image's own
//! command reads the variables [`IP`], [`PORT`] and [`TOKEN`], and the label [`PATH_LABEL`] says
//! what to open. docs/commands.md describes this to authors of images.

use std::{
    fs::File,
    io::{ErrorKind, Read},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use kiln_sandbox::{Interactive, Sandbox};
use serde_json::json;

use crate::{
    args::{Global, Run},
    commands::program::{self, Settings},
    error::Failure,
    exit, interrupt,
    output::Output,
    project, sandbox,
};

/// The address on which the image's command is to listen.
const IP: &str = "KILN_IDE_IP";
/// The port on which it is to listen.
const PORT: &str = "KILN_IDE_PORT";
/// The secret that it is to ask for.
const TOKEN: &str = "KILN_IDE_TOKEN";
/// The label that says what to open: `/lab?token={token}`.
const PATH_LABEL: &str = "dev.kiln.ide.path";

/// Gives the exit status of the program.
pub(crate) fn run(args: &Run, global: &Global, output: &Output) -> Result<u8, Failure> {
    let store = project::store(global)?;
    let (name, image) = program::find(&store, global, &args.image, &args.program)?;
    let settings = Settings::of(&image)?;
    let own = args.command.is_empty();
    let command = if own {
        [settings.entrypoint.as_slice(), settings.cmd.as_slice()].concat()
    } else {
        args.command.clone()
    };
    if command.is_empty() {
        let message = format!("`{name}` starts nothing by itself");
        return Err(Failure::new(exit::USAGE, message).hint(format!(
            "say what to run: `kiln run {0} -- python`; or `kiln shell {0}`",
            args.image
        )));
    }
    let mut program = program::interactive(&store, &image, &settings, &args.program, command)?;
    let sandbox = sandbox::open(&store.rootfs_dir())?;
    match settings.port().filter(|_| own) {
        Some(port) => {
            let port = choose_port(port, args.port, output)?;
            let url = direct(&mut program, port, &settings)?;
            serve(&sandbox, &program, port, &url, output)
        }
        None if args.port.is_some() => {
            let message = format!("`{name}` serves nothing");
            Err(Failure::new(exit::USAGE, message).hint("leave out `--port`"))
        }
        None => program::start(&sandbox, &program, &interrupt::of_program(), output),
    }
}

/// Tells a server where to listen and what to ask for; gives the address to open.
fn direct(program: &mut Interactive, port: u16, settings: &Settings) -> Result<String, Failure> {
    let env = &mut program.command.env;
    let given = env.iter().find(|(name, _)| name == TOKEN);
    let token = match given {
        Some((_, token)) => token.clone(),
        None => new_token()?,
    };
    env.retain(|(name, _)| ![IP, PORT, TOKEN].contains(&name.as_str()));
    for (name, value) in [
        (IP, Ipv4Addr::LOCALHOST.to_string()),
        (PORT, port.to_string()),
        (TOKEN, token.clone()),
    ] {
        env.push((name.to_owned(), value));
    }
    let path = settings.labels.get(PATH_LABEL);
    let path = path.map_or("/", String::as_str).replace("{token}", &token);
    let path = path.trim_start_matches('/');
    Ok(format!("http://{}:{port}/{path}", Ipv4Addr::LOCALHOST))
}

/// Starts a server and says where it is as soon as it answers.
fn serve(
    sandbox: &Sandbox,
    program: &Interactive,
    port: u16,
    url: &str,
    output: &Output,
) -> Result<u8, Failure> {
    // With the terminal as its input a server may ask whether Ctrl-C is meant, instead of ending.
    File::open("/dev/null")
        .and_then(|null| Ok(rustix::stdio::dup2_stdin(null)?))
        .map_err(|error| Failure::io("closing the input", &error))?;
    let cancelled = interrupt::flag();
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            if listening(port, &ended) {
                if output.is_json() {
                    output.json(&json!({"event": "listening", "url": url}));
                } else {
                    output.line(url);
                    output.note("Ctrl-C stops it");
                }
            }
        });
        let status = program::start(sandbox, program, &cancelled, output);
        ended.store(true, Ordering::Relaxed);
        status
    })
}

/// Waits until somebody listens on the port; false if the program ends before.
fn listening(port: u16, ended: &AtomicBool) -> bool {
    const PAUSE: Duration = Duration::from_millis(100);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    while !ended.load(Ordering::Relaxed) {
        if TcpStream::connect_timeout(&address, PAUSE).is_ok() {
            return true;
        }
        std::thread::sleep(PAUSE);
    }
    false
}

/// The port that was asked for, which must be free; else the image's own, or the next one that is
/// free.
fn choose_port(own: u16, asked: Option<u16>, output: &Output) -> Result<u16, Failure> {
    const TRIED: u16 = 100;
    let taken = |port: u16, error: &std::io::Error| Failure {
        causes: vec![error.to_string()],
        ..Failure::new(
            exit::USAGE,
            format!("port {port} of {} cannot be used", Ipv4Addr::LOCALHOST),
        )
    };
    if let Some(port) = asked {
        return match bind(port) {
            Ok(()) => Ok(port),
            Err(error) => Err(taken(port, &error).hint("choose another, or leave out `--port`")),
        };
    }
    for port in own..=own.saturating_add(TRIED) {
        match bind(port) {
            Ok(()) if port == own => return Ok(port),
            Ok(()) => {
                output.note(format!("port {own} is taken: using {port}"));
                return Ok(port);
            }
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            Err(error) => return Err(taken(port, &error).hint("choose one with `--port`")),
        }
    }
    let message = format!(
        "port {own} of {} and the next {TRIED} are taken",
        Ipv4Addr::LOCALHOST
    );
    Err(Failure::new(exit::USAGE, message).hint("choose one with `--port`"))
}

/// Whether a port is free: takes it and gives it back.
fn bind(port: u16) -> std::io::Result<()> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map(drop)
}

/// A secret nobody can guess: 192 bits in hex, as `JupyterLab` makes its own.
fn new_token() -> Result<String, Failure> {
    use std::fmt::Write as _;
    let mut bytes = [0; 24];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut bytes))
        .map_err(|error| Failure::io("making a token", &error))?;
    Ok(bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

#[cfg(test)]
mod tests {
    use kiln_sandbox::{Command, NetworkMode};

    use super::*;

    fn quiet() -> Output {
        use clap::Parser as _;
        let args = crate::args::Args::try_parse_from(["kiln", "-q", "images"]).unwrap();
        Output::new(&args.global)
    }

    fn program(env: &[(&str, &str)]) -> Interactive {
        let pair = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        Interactive {
            layers: vec![],
            state: None,
            command: Command {
                argv: vec!["/server".to_owned()],
                env: env.iter().map(pair).collect(),
                cwd: "/".to_owned(),
                uid: 0,
                gid: 0,
                umask: 0o022,
            },
            volumes: vec![],
            network: NetworkMode::Host,
            hostname: "host".to_owned(),
            read_only: false,
        }
    }

    #[test]
    fn a_server_is_told_where_to_listen_and_what_to_ask_for() {
        let mut settings = Settings::default();
        let path = "/lab?token={token}".to_owned();
        settings.labels.insert(PATH_LABEL.to_owned(), path);
        let mut program = program(&[("A", "b"), (PORT, "1")]);
        let url = direct(&mut program, 8889, &settings).unwrap();
        let value = |name| {
            let env = &program.command.env;
            let found: Vec<_> = env.iter().filter(|(known, _)| known == name).collect();
            assert_eq!(found.len(), 1, "{name}");
            found[0].1.clone()
        };
        assert_eq!(value(IP), "127.0.0.1");
        assert_eq!(value(PORT), "8889");
        assert_eq!(value("A"), "b");
        let token = value(TOKEN);
        assert_eq!(token.len(), 48);
        assert_eq!(url, format!("http://127.0.0.1:8889/lab?token={token}"));
    }

    #[test]
    fn tokens_are_new_each_time_unless_the_user_gives_one() {
        assert_ne!(new_token().unwrap(), new_token().unwrap());
        let mut program = program(&[(TOKEN, "mine")]);
        let url = direct(&mut program, 80, &Settings::default()).unwrap();
        assert_eq!(url, "http://127.0.0.1:80/");
        let tokens = program.command.env.iter();
        let tokens: Vec<_> = tokens.filter(|(name, _)| name == TOKEN).collect();
        assert_eq!(tokens, [&(TOKEN.to_owned(), "mine".to_owned())]);
    }

    #[test]
    fn a_taken_port_is_refused_when_asked_for_and_passed_over_else() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let refused = choose_port(8888, Some(port), &quiet()).unwrap_err();
        assert_eq!(refused.code, exit::USAGE);
        assert!(refused.message.contains(&port.to_string()));
        if let Ok(other) = choose_port(port, None, &quiet()) {
            assert!(other > port);
        } else {
            assert!(port > u16::MAX - 100, "some port above {port} is free");
        }
    }

    #[test]
    fn waiting_ends_when_the_port_answers_or_the_program_has_ended() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = server.local_addr().unwrap().port();
        assert!(listening(port, &AtomicBool::new(false)));
        assert!(!listening(port, &AtomicBool::new(true)));
    }
}
