//! Keys and signatures made by the real `gpg`.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use tempfile::TempDir;

/// A home of `gpg` with secret keys.
pub(crate) struct Signers {
    home: TempDir,
}

impl Signers {
    pub(crate) fn new() -> Self {
        // The socket of the agent lives here: the path must be short.
        Self {
            home: tempfile::Builder::new().prefix("gpg").tempdir().unwrap(),
        }
    }

    /// Runs `gpg` at a time (`20260101T000000`), with `input`. Gives what it printed.
    pub(crate) fn gpg_at(&self, time: &str, input: &[u8], arguments: &[&str]) -> Vec<u8> {
        let home = self.home.path();
        fs::write(home.join("input"), input).unwrap();
        let output = Command::new("gpg")
            .arg("--homedir")
            .arg(home)
            .args([
                "--batch",
                "--quiet",
                "--yes",
                "--no-tty",
                "--passphrase",
                "",
            ])
            .args([
                "--pinentry-mode",
                "loopback",
                "--faked-system-time",
                &format!("{time}!"),
            ])
            .args(["--allow-weak-digest-algos", "--allow-weak-key-signatures"])
            .args(arguments)
            .stdin(fs::File::open(home.join("input")).unwrap())
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "gpg {arguments:?}: {stderr}");
        output.stdout
    }

    /// Makes a key for `name` at the start of 2026; gives its fingerprint.
    pub(crate) fn key(&self, name: &str, algorithm: &str, usage: &str, expires: &str) -> String {
        self.gpg_at(
            "20260101T000000",
            b"",
            &["--quick-generate-key", name, algorithm, usage, expires],
        );
        self.fingerprint(name)
    }

    pub(crate) fn fingerprint(&self, name: &str) -> String {
        let listing = self.gpg_at(
            "20260101T000001",
            b"",
            &["--with-colons", "--list-keys", name],
        );
        let listing = String::from_utf8(listing).unwrap();
        let line = listing
            .lines()
            .find(|line| line.starts_with("fpr:"))
            .unwrap();
        line.split(':').nth(9).unwrap().to_owned()
    }

    /// The public keys, binary.
    pub(crate) fn export(&self, names: &[&str]) -> Vec<u8> {
        self.gpg_at("20260102T000000", b"", &[&["--export"], names].concat())
    }

    /// The public keys, armored.
    pub(crate) fn export_armored(&self, names: &[&str]) -> Vec<u8> {
        self.gpg_at(
            "20260102T000000",
            b"",
            &[&["--armor", "--export"], names].concat(),
        )
    }

    /// Clear-signs `text` with each of the keys.
    pub(crate) fn sign(&self, time: &str, text: &str, keys: &[&str]) -> Vec<u8> {
        self.sign_with(time, text, keys, &[])
    }

    pub(crate) fn sign_with(
        &self,
        time: &str,
        text: &str,
        keys: &[&str],
        more: &[&str],
    ) -> Vec<u8> {
        let users = keys.iter().flat_map(|key| ["--local-user", key]);
        let arguments: Vec<&str> = more
            .iter()
            .copied()
            .chain(users)
            .chain(["--clear-sign"])
            .collect();
        self.gpg_at(time, text.as_bytes(), &arguments)
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// What `gpgv` thinks of a message.
    pub(crate) fn gpgv(&self, message: &[u8], keyring: &[u8]) -> bool {
        let (file, keys) = (self.home().join("message"), self.home().join("keys.gpg"));
        fs::write(&file, message).unwrap();
        fs::write(&keys, keyring).unwrap();
        Command::new("gpgv")
            .arg("--keyring")
            .args([&keys, &file])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap()
            .success()
    }
}

impl Drop for Signers {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf")
            .arg("--homedir")
            .arg(self.home.path())
            .args(["--kill", "all"])
            .status();
    }
}
