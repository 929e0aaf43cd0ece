//! Keys and certificates of one sitting, made by the OpenSSL command.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::workspace;

/// A directory with `ca`, `server` and `client-1`, each `.pem` and `.key`, and `token.key`, which signs tokens.
pub(super) struct Pki {
    path: String,
}

const P256: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"];

impl Pki {
    /// Makes everything anew: last week's certificates expire.
    pub(super) fn make(directory: &Path) -> anyhow::Result<Self> {
        let _ = fs::remove_dir_all(directory);
        fs::create_dir_all(directory)?;
        let path = directory
            .to_str()
            .context("the path of the repository is not UTF-8")?
            .to_owned();
        let pki = Self { path };
        pki.certificate(
            "ca",
            &[
                "basicConstraints=critical,CA:TRUE",
                "keyUsage=critical,keyCertSign,cRLSign",
            ],
            false,
        )?;
        pki.certificate(
            "server",
            &[
                "subjectAltName=DNS:localhost,IP:127.0.0.1",
                "extendedKeyUsage=serverAuth",
            ],
            true,
        )?;
        pki.certificate(
            "client-1",
            &["subjectAltName=DNS:client-1.example", "extendedKeyUsage=clientAuth"],
            true,
        )?;
        let mut token_key = Command::new("openssl");
        token_key.args([
            "genpkey",
            "-algorithm",
            "EC",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-out",
        ]);
        workspace::output_of(token_key.arg(pki.file("token.key")))?;
        Ok(pki)
    }

    fn certificate(&self, name: &str, extensions: &[&str], is_issued: bool) -> anyhow::Result<()> {
        let mut command = Command::new("openssl");
        command
            .args([
                "req",
                "-x509",
                "-sha256",
                "-days",
                "30",
                "-subj",
                &format!("/O=Bench/CN={name}"),
            ])
            .args(P256);
        command
            .arg("-keyout")
            .arg(self.file(&format!("{name}.key")))
            .arg("-out")
            .arg(self.file(&format!("{name}.pem")));
        if is_issued {
            command
                .arg("-CA")
                .arg(self.file("ca.pem"))
                .arg("-CAkey")
                .arg(self.file("ca.key"));
            command.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
            command.args(["-addext", "keyUsage=critical,digitalSignature"]);
        }
        for extension in extensions {
            command.args(["-addext", extension]);
        }
        workspace::output_of(&mut command).map(drop)
    }

    /// The directory.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// One file of it.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        Path::new(&self.path).join(name)
    }
}
