//! Certificates that nobody here made: Debian's OpenSSL, by its command line.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A directory with authorities and certificates.
pub(crate) struct OpenSsl {
    directory: PathBuf,
}

/// A certificate to be made.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) name: &'a str,
    /// OpenSSL's form, `/C=BR/O=Example/CN=a`.
    pub(crate) subject: &'a str,
    /// OpenSSL's form, `DNS:a,IP:10.0.0.1`.
    pub(crate) alternative_names: Option<&'a str>,
    /// Arguments of `openssl genpkey`.
    pub(crate) key: &'a [&'a str],
    pub(crate) expired: bool,
    /// First and last second, OpenSSL's form, instead of what `expired` says.
    pub(crate) dates: Option<(&'a str, &'a str)>,
    pub(crate) key_usage: &'a str,
    pub(crate) extended_key_usage: &'a str,
}

pub(crate) const P256: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
pub(crate) const P384: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"];
pub(crate) const ED25519: &[&str] = &["-algorithm", "ED25519"];
pub(crate) const RSA: &[&str] = &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];

impl<'a> Wanted<'a> {
    pub(crate) fn new(name: &'a str, subject: &'a str) -> Self {
        Self {
            name,
            subject,
            alternative_names: None,
            key: P256,
            expired: false,
            dates: None,
            key_usage: "digitalSignature",
            extended_key_usage: "clientAuth",
        }
    }
}

impl OpenSsl {
    pub(crate) fn new(directory: &Path) -> Self {
        std::fs::create_dir_all(directory).unwrap();
        Self {
            directory: directory.to_path_buf(),
        }
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.directory.join(file)
    }

    pub(crate) fn run(&self, arguments: &[&str]) {
        let output = Command::new("openssl")
            .current_dir(&self.directory)
            .args(arguments)
            .output()
            .expect("openssl is installed");
        assert!(
            output.status.success(),
            "openssl {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    pub(crate) fn key(&self, name: &str, kind: &[&str]) {
        let file = format!("{name}.key");
        if !self.path(&file).exists() {
            self.run(&[&["genpkey", "-quiet", "-out", &file], kind].concat());
        }
    }

    /// A self-signed authority: `{name}.pem`, `{name}.key`.
    pub(crate) fn authority(&self, name: &str, subject: &str) {
        self.key(name, P256);
        let (key, certificate) = (format!("{name}.key"), format!("{name}.pem"));
        self.run(&[
            "req",
            "-x509",
            "-new",
            "-utf8",
            "-key",
            &key,
            "-out",
            &certificate,
            "-subj",
            subject,
            "-days",
            "30",
            "-addext",
            "basicConstraints=critical,CA:TRUE",
            "-addext",
            "keyUsage=critical,keyCertSign,cRLSign",
        ]);
    }

    /// A certificate signed by `authority`, or by itself: `{name}.pem`, `{name}.key`. An existing key is used again.
    pub(crate) fn certificate(&self, wanted: Wanted<'_>, authority: Option<&str>) {
        let name = wanted.name;
        self.key(name, wanted.key);
        let (key, request, certificate) = (format!("{name}.key"), format!("{name}.csr"), format!("{name}.pem"));
        self.run(&[
            "req",
            "-new",
            "-utf8",
            "-multivalue-rdn",
            "-key",
            &key,
            "-out",
            &request,
            "-subj",
            wanted.subject,
        ]);
        let alternative_names = wanted
            .alternative_names
            .map(|names| format!("subjectAltName={names}\n"))
            .unwrap_or_default();
        let extensions = format!(
            "[x]\nbasicConstraints=critical,CA:FALSE\nkeyUsage=critical,{}\nextendedKeyUsage={}\n{alternative_names}",
            wanted.key_usage, wanted.extended_key_usage
        );
        let extension_file = format!("{name}.ext");
        std::fs::write(self.path(&extension_file), &extensions).unwrap();
        let expired = wanted.expired.then_some(("20200101000000Z", "20210101000000Z"));
        if let Some(dates) = wanted.dates.or(expired) {
            return self.dated_certificate(name, dates, &extension_file, authority);
        }
        let mut arguments = vec![
            "x509",
            "-req",
            "-in",
            &request,
            "-out",
            &certificate,
            "-days",
            "3650",
            "-extfile",
            &extension_file,
            "-extensions",
            "x",
        ];
        let signer = authority.map(|it| (format!("{it}.pem"), format!("{it}.key")));
        match &signer {
            Some((certificate, key)) => arguments.extend(["-CA", certificate, "-CAkey", key, "-CAcreateserial"]),
            None => arguments.extend(["-signkey", &key]),
        }
        self.run(&arguments);
    }

    /// `openssl ca` is the one command of this version that sets both dates; it takes multi-valued RDNs apart.
    fn dated_certificate(&self, name: &str, (start, end): (&str, &str), extension_file: &str, authority: Option<&str>) {
        let state = format!("{name}.db");
        std::fs::write(self.path(&state), "").unwrap();
        let fields = ["C", "ST", "L", "O", "OU", "CN", "emailAddress"]
            .map(|field| format!("{field}=optional\n"))
            .concat();
        let configuration = format!(
            "[ca]\ndefault_ca=d\n[d]\ndatabase={state}\nnew_certs_dir=.\nrand_serial=yes\ndefault_md=sha256\npolicy=p\n\
             unique_subject=no\npreserve=yes\nemail_in_dn=yes\nstring_mask=utf8only\n[p]\n{fields}"
        );
        let configuration_file = format!("{name}.cnf");
        std::fs::write(self.path(&configuration_file), configuration).unwrap();
        let (request, certificate, key) = (format!("{name}.csr"), format!("{name}.pem"), format!("{name}.key"));
        let mut arguments = vec![
            "ca",
            "-batch",
            "-notext",
            "-utf8",
            "-config",
            &configuration_file,
            "-in",
            &request,
            "-out",
            &certificate,
            "-startdate",
            start,
            "-enddate",
            end,
            "-extfile",
            extension_file,
            "-extensions",
            "x",
        ];
        let signer = authority.map(|it| (format!("{it}.pem"), format!("{it}.key")));
        match &signer {
            Some((certificate, key)) => arguments.extend(["-cert", certificate, "-keyfile", key]),
            None => arguments.extend(["-selfsign", "-keyfile", &key]),
        }
        self.run(&arguments);
    }

    /// The certificate's DER.
    pub(crate) fn der(&self, name: &str) -> Vec<u8> {
        let (certificate, der) = (format!("{name}.pem"), format!("{name}.der"));
        self.run(&["x509", "-in", &certificate, "-outform", "DER", "-out", &der]);
        std::fs::read(self.path(&der)).unwrap()
    }
}
