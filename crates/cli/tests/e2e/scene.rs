//! A quickstart directory that a test completes before it is served: authorities, clients, key sets, further daemons.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use keybound_tls::Clock;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::installation::{Answer, Installation, curl, free_port_offset, keybound, run_in};
use crate::openssl::{OpenSsl, P256, RSA};

/// What a test adds to, before anything is served.
pub(crate) struct Scene {
    directory: TempDir,
    pub(crate) offset: u16,
    pub(crate) openssl: OpenSsl,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let (directory, offset) = (tempfile::tempdir().unwrap(), free_port_offset());
        let arguments = ["quickstart", "--exit", "--port-offset", &offset.to_string()];
        run_in(directory.path(), &arguments).expect_code(0);
        let openssl = OpenSsl::new(&directory.path().join("openssl"));
        Self {
            directory,
            offset,
            openssl,
        }
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    pub(crate) fn issuer(&self) -> String {
        format!("https://localhost:{}", 8443 + self.offset)
    }

    pub(crate) fn resource(&self) -> String {
        format!("https://localhost:{}", 9443 + self.offset)
    }

    /// Adds to the end of a configuration file.
    pub(crate) fn append(&self, file: &str, text: &str) {
        let file = self.path(file);
        let before = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, format!("{before}\n{text}\n")).unwrap();
    }

    /// Changes a line of a configuration file.
    pub(crate) fn replace(&self, file: &str, from: &str, to: &str) {
        let file = self.path(file);
        let before = std::fs::read_to_string(&file).unwrap();
        assert!(before.contains(from), "{from:?} is not in {}", file.display());
        std::fs::write(&file, before.replace(from, to)).unwrap();
    }

    /// Makes an authority of OpenSSL's a trust anchor of the same name. `more` are further keys of its table.
    pub(crate) fn trusts(&self, authority: &str, more: &str) {
        let table = format!("[[trust_anchors]]\nname = \"{authority}\"\nfile = \"openssl/{authority}.pem\"\n{more}");
        self.append("keybound.toml", &table);
    }

    /// A client from a file: client credentials, bound tokens, unless `metadata` says otherwise.
    pub(crate) fn client(&self, client_id: &str, metadata: &Value) {
        let mut client = json!({
            "client_id": client_id, "grant_types": ["client_credentials"], "tls_client_certificate_bound_access_tokens": true,
        });
        for (name, value) in metadata.as_object().unwrap() {
            client[name] = value.clone();
        }
        std::fs::write(self.path(&format!("clients.d/{client_id}.json")), client.to_string()).unwrap();
    }

    /// Serves it.
    pub(crate) fn start(self) -> (Installation, OpenSsl) {
        (Installation::start_in(self.directory, self.offset), self.openssl)
    }
}

/// A child process that ends with the test, however that ends.
pub(crate) struct Daemon(Child);

impl Daemon {
    /// `keybound gateway` with this configuration, which says that it listens on `port`.
    pub(crate) fn gateway(configuration: &Path, port: u16) -> Self {
        Self::listening(keybound().args(["gateway", "--config"]).arg(configuration), port)
    }

    /// Anything else that listens on `port`.
    pub(crate) fn listening(command: &mut Command, port: u16) -> Self {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let daemon = Self(child.unwrap());
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "nothing listens on {port}");
            std::thread::sleep(Duration::from_millis(10));
        }
        daemon
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that is free now.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Serves the files of `directory` over https with the server certificate of the quickstart in `pki`.
pub(crate) fn serve_files(directory: &Path, pki: &Path, port: u16) -> Daemon {
    std::fs::create_dir_all(directory).unwrap();
    let mut command = Command::new("openssl");
    command
        .current_dir(directory)
        .args(["s_server", "-quiet", "-WWW", "-accept"])
        .arg(format!("127.0.0.1:{port}"))
        .arg("-cert")
        .arg(pki.join("server.pem"))
        .arg("-key")
        .arg(pki.join("server.key"));
    Daemon::listening(&mut command, port)
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    Clock::system().now().unix_secs().cast_unsigned()
}

/// Something that nobody used before in this process.
pub(crate) fn unique() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

impl OpenSsl {
    /// An authority below another: `{name}.pem`, `{name}.key`.
    pub(crate) fn intermediate(&self, name: &str, subject: &str, authority: &str) {
        self.key(name, P256);
        let file = |ending: &str| format!("{name}.{ending}");
        let (key, request, extensions, certificate) = (file("key"), file("csr"), file("ext"), file("pem"));
        let text = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n";
        std::fs::write(self.path(&extensions), text).unwrap();
        self.run(&["req", "-new", "-key", &key, "-out", &request, "-subj", subject]);
        let (authority, authority_key) = (format!("{authority}.pem"), format!("{authority}.key"));
        let signed = ["x509", "-req", "-days", "30", "-in", &request, "-out", &certificate];
        let by = ["-CA", &authority, "-CAkey", &authority_key, "-extfile", &extensions];
        self.run(&[&signed[..], &by].concat());
    }

    /// The certificates of `names` in one file, in this order: `{file}.pem`, with the key of the first beside it.
    pub(crate) fn bundle(&self, file: &str, names: &[&str]) {
        let read = |name: &&str| std::fs::read_to_string(self.path(&format!("{name}.pem"))).unwrap();
        let text: String = names.iter().map(read).collect();
        std::fs::write(self.path(&format!("{file}.pem")), text).unwrap();
        std::fs::copy(
            self.path(&format!("{}.key", names[0])),
            self.path(&format!("{file}.key")),
        )
        .unwrap();
    }

    /// A revocation list of `authority`, `{authority}.crl`, with the certificate `revoked`; `dates` are OpenSSL's arguments for them.
    pub(crate) fn revocation_list(&self, authority: &str, revoked: Option<&str>, dates: &[&str]) {
        std::fs::write(self.path(&format!("{authority}.index")), "").unwrap();
        std::fs::write(self.path(&format!("{authority}.number")), "01\n").unwrap();
        let configuration_file = format!("{authority}.crl.cnf");
        let configuration = format!(
            "[ca]\ndefault_ca=d\n[d]\ndatabase={authority}.index\ndefault_md=sha256\ndefault_crl_days=7\nunique_subject=no\n\
             crlnumber={authority}.number\ncrl_extensions=e\n[e]\nauthorityKeyIdentifier=keyid:always\n"
        );
        std::fs::write(self.path(&configuration_file), configuration).unwrap();
        let (certificate, key) = (format!("{authority}.pem"), format!("{authority}.key"));
        let by = [
            "ca",
            "-batch",
            "-config",
            &configuration_file,
            "-cert",
            &certificate,
            "-keyfile",
            &key,
        ];
        if let Some(revoked) = revoked {
            self.run(&[&by[..], &["-revoke", &format!("{revoked}.pem")]].concat());
        }
        let list = format!("{authority}.crl");
        self.run(&[&by[..], &["-gencrl", "-out", &list], dates].concat());
    }

    /// `x5t#S256`.
    pub(crate) fn thumbprint(&self, name: &str) -> String {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &self.der(name));
        URL_SAFE_NO_PAD.encode(digest)
    }

    /// The value of `Client-Cert` (RFC 9440) for a certificate.
    pub(crate) fn client_cert(&self, name: &str) -> String {
        format!(":{}:", STANDARD.encode(self.der(name)))
    }

    /// An RSA key for JWS: `{name}.key`, and its JWK.
    pub(crate) fn signing_key(&self, name: &str) -> Value {
        self.key(name, RSA);
        let output = Command::new("openssl")
            .args(["rsa", "-noout", "-modulus", "-in"])
            .arg(self.path(&format!("{name}.key")))
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let modulus = text.trim().strip_prefix("Modulus=").unwrap().as_bytes();
        let octet = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap();
        let modulus: Vec<u8> = modulus.chunks(2).map(octet).collect();
        json!({ "kty": "RSA", "kid": name, "alg": "PS256", "use": "sig", "n": URL_SAFE_NO_PAD.encode(modulus), "e": "AQAB" })
    }

    /// A JWS of `claims`, signed by OpenSSL with the key `name` (PS256).
    pub(crate) fn jws(&self, name: &str, typ: &str, kid: &str, claims: &Value) -> String {
        let header = json!({ "alg": "PS256", "typ": typ, "kid": kid });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(claims));
        let (input, output, key) = (format!("{name}.tbs"), format!("{name}.sig"), format!("{name}.key"));
        std::fs::write(self.path(&input), &signed).unwrap();
        let digest = [
            "dgst",
            "-sha256",
            "-sigopt",
            "rsa_padding_mode:pss",
            "-sigopt",
            "rsa_pss_saltlen:32",
        ];
        self.run(&[&digest[..], &["-sign", &key, "-out", &output, &input]].concat());
        let signature = std::fs::read(self.path(&output)).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// A client assertion (RFC 7523) that lives a minute.
    pub(crate) fn assertion(&self, key: &str, client_id: &str, audience: &str) -> String {
        self.jws(key, "JWT", key, &assertion_claims(client_id, audience))
    }

    /// The JWK that registers a self-signed certificate, as `keybound certificate inspect` says it.
    pub(crate) fn certificate_jwk(&self, name: &str) -> Value {
        let (certificate, _) = self.identity(name);
        let arguments = ["--output", "json", "certificate", "inspect"];
        let said = run_in(
            certificate.parent().unwrap(),
            &[&arguments[..], &[certificate.to_str().unwrap()]].concat(),
        );
        let said = said.expect_code(0).json();
        let mut registrations = said["registrations"].as_array().unwrap().iter();
        registrations.find_map(|it| it.pointer("/jwks/keys/0")).unwrap().clone()
    }

    /// Certificate and key for curl.
    pub(crate) fn identity(&self, name: &str) -> (PathBuf, PathBuf) {
        (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")))
    }
}

/// The claims of a good client assertion.
pub(crate) fn assertion_claims(client_id: &str, audience: &str) -> Value {
    let now = now();
    json!({ "iss": client_id, "sub": client_id, "aud": audience, "iat": now, "exp": now + 60, "jti": unique() })
}

/// The parameters that carry an assertion.
pub(crate) fn with_assertion(assertion: &str) -> String {
    format!(
        "&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion={assertion}"
    )
}

/// curl with a certificate of OpenSSL's.
pub(crate) fn ask(installation: &Installation, openssl: &OpenSsl, name: Option<&str>, arguments: &[&str]) -> Answer {
    let identity = name.map(|name| openssl.identity(name));
    let identity = identity.as_ref().map(|(certificate, key)| (&**certificate, &**key));
    curl(&installation.path("pki/ca.pem"), identity, arguments)
}

/// A token request at the mutual-TLS listener.
pub(crate) fn token(
    installation: &Installation,
    openssl: &OpenSsl,
    name: Option<&str>,
    client_id: &str,
    more: &str,
) -> Answer {
    let form = format!("grant_type=client_credentials&client_id={client_id}{more}");
    ask(
        installation,
        openssl,
        name,
        &["-d", &form, &installation.mutual_tls("/token")],
    )
}

/// The access token of a request that must succeed.
pub(crate) fn access_token(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

/// The claims of a JWT, unverified.
pub(crate) fn claims(token: &str) -> Value {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice(&payload).unwrap()
}
