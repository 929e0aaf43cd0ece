//! 20,000 tokens that are not quite genuine: none is accepted, and the genuine ones between them all are.

use std::collections::BTreeMap;

use keybound_protocol::access_token::{AccessTokenError, verify};
use keybound_protocol::base64url;
use keybound_protocol::jwk_set::JwkSet;
use keybound_protocol::signer::{LocalSigner, SignatureAlgorithm, Signer};
use serde_json::{Value, json};

use crate::access_tokens::policy;
use crate::jwt::{NOW, claims, header, key_set, sign, signer, stranger, with};

const MUTATIONS: usize = 20_000;
const SEED: u64 = 0x6b65_7962_6f75_6e64;

/// A small generator (xorshift64*): the same mutations in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(drawn).unwrap() % bound
    }

    fn of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }
}

/// What the attacker has: genuine tokens of every algorithm, the public keys, keys of its own.
struct Attacker {
    genuine: Vec<(SignatureAlgorithm, String)>,
    own_keys: Vec<LocalSigner>,
}

fn rejoin(header: &str, claims: &str, signature: &[u8]) -> String {
    let encode = |part: &[u8]| base64url::encode(part);
    format!(
        "{}.{}.{}",
        encode(header.as_bytes()),
        encode(claims.as_bytes()),
        encode(signature)
    )
}

/// HMAC-SHA-256 keyed with public bytes: the RS256 to HS256 confusion.
fn hmac(key: &[u8], header: &str, claims: &str) -> String {
    let input = format!(
        "{}.{}",
        base64url::encode(header.as_bytes()),
        base64url::encode(claims.as_bytes())
    );
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key);
    format!(
        "{input}.{}",
        base64url::encode(aws_lc_rs::hmac::sign(&key, input.as_bytes()).as_ref())
    )
}

impl Attacker {
    /// One token that must not pass, and the kind of attack it is.
    fn forge(&self, random: &mut Random) -> (&'static str, String) {
        let (algorithm, genuine) = random.of(&self.genuine);
        let signer = signer(*algorithm).as_ref();
        let parts: Vec<&str> = genuine.split('.').collect();
        let signature = base64url::decode(parts[2]).unwrap();
        let good_header = header(signer);
        let bigger = with(claims(), "scope", json!("read write admin"));
        match random.below(14) {
            0 => ("a character changed", changed_character(genuine, random)),
            1 => ("an octet changed under the encoding", changed_octet(&parts, random)),
            2 => ("a piece cut out or doubled", cut_or_doubled(genuine, random)),
            3 => {
                let name = random.of(&["none", "None", "NONE", "nOnE", ""]);
                let forged = with(good_header, "alg", json!(name)).to_string();
                let kept = if random.below(2) == 0 { Vec::new() } else { signature };
                ("alg none", rejoin(&forged, &bigger.to_string(), &kept))
            }
            4 => {
                let jwk = signer.public_jwk().to_json();
                let secrets = [
                    jwk.to_string(),
                    jwk["n"].as_str().unwrap_or_default().to_owned(),
                    jwk["x"].to_string(),
                    String::new(),
                ];
                let name = random.of(&["HS256", "HS384", "HS512", "RS256", "ES256"]);
                let forged = with(good_header, "alg", json!(name)).to_string();
                (
                    "a public key as a secret",
                    hmac(random.of(&secrets).as_bytes(), &forged, &bigger.to_string()),
                )
            }
            5 => {
                let own = random.of(&self.own_keys);
                let member = *random.of(&["jwk", "jku", "x5u", "x5c", "kid"]);
                let value = match member {
                    "jwk" => own.public_jwk().to_json(),
                    "x5c" => json!(["MIIB"]),
                    "kid" => random
                        .of(&[
                            json!("../../dev/null"),
                            json!("' OR 1=1"),
                            json!(own.key_id()),
                            json!(""),
                        ])
                        .clone(),
                    _ => json!("https://evil.example/keys"),
                };
                let forged = with(with(header(own), "kid", good_header["kid"].clone()), member, value);
                (
                    "a key injected by the header",
                    sign(own, &forged.to_string(), &bigger.to_string()),
                )
            }
            6 => {
                let own = random.of(&self.own_keys);
                let forged = with(header(own), "kid", good_header["kid"].clone());
                let forged = if random.below(2) == 0 {
                    forged
                } else {
                    with(forged, "kid", Value::Null)
                };
                (
                    "the attacker's own key",
                    sign(own, &forged.to_string(), &bigger.to_string()),
                )
            }
            7 => {
                let typ = random.of(&[
                    "JWT",
                    "dpop+jwt",
                    "at+jws",
                    "secevent+jwt",
                    "logout+jwt",
                    "",
                    "at+jwt;x",
                    " at+jwt",
                ]);
                let value = if random.below(9) == 0 { Value::Null } else { json!(typ) };
                (
                    "another type, genuinely signed",
                    sign(
                        signer,
                        &with(good_header, "typ", value).to_string(),
                        &bigger.to_string(),
                    ),
                )
            }
            8 => {
                let crit = random
                    .of(&[json!(["exp"]), json!([]), json!(["b64"]), json!("exp"), json!(null)])
                    .clone();
                let forged = format!("{{\"crit\":{crit},{}", &good_header.to_string()[1..]);
                ("crit, genuinely signed", sign(signer, &forged, &bigger.to_string()))
            }
            9 => {
                let member = *random.of(&["iss", "aud", "exp", "sub", "cnf", "scope", "jti"]);
                let (first, second) = (claims()[member].to_string(), bigger[member].to_string());
                let rest = with(bigger, member, Value::Null).to_string();
                let doubled = format!("{{\"{member}\":{first},\"{member}\":{second},{}", &rest[1..]);
                (
                    "a duplicate claim, genuinely signed",
                    sign(signer, &good_header.to_string(), &doubled),
                )
            }
            10 => {
                let member = *random.of(&["alg", "kid", "typ"]);
                let doubled = format!(
                    "{{\"{member}\":{},{}",
                    good_header[member],
                    &good_header.to_string()[1..]
                );
                (
                    "a duplicate header member, genuinely signed",
                    sign(signer, &doubled, &bigger.to_string()),
                )
            }
            11 => {
                let (_, other) = random.of(&self.genuine);
                let other: Vec<&str> = other.split('.').collect();
                let payload = base64url::encode(bigger.to_string().as_bytes());
                let header = if random.below(2) == 0 { parts[0] } else { other[0] };
                ("parts of two tokens", format!("{header}.{payload}.{}", other[2]))
            }
            12 => {
                let name = random.of(&["RS256", "PS256", "ES256", "ES384", "EdDSA", "ES512", "RS512", "PS384"]);
                let forged = with(good_header, "alg", json!(name)).to_string();
                if *name == algorithm.name() {
                    return (
                        "claims under an old signature",
                        rejoin(&forged, &bigger.to_string(), &signature),
                    );
                }
                (
                    "the right key by another algorithm",
                    sign(signer, &forged, &bigger.to_string()),
                )
            }
            _ => {
                // CVE-2022-21449: an ECDSA signature of zeros, or of the group order; and signatures of wrong length.
                let forged: Vec<u8> = match random.below(4) {
                    0 => vec![0; signature.len()],
                    1 => vec![0xff; signature.len()],
                    2 => signature[..signature.len() - 1 - random.below(8)].to_vec(),
                    _ => [signature, vec![0; 1 + random.below(8)]].concat(),
                };
                (
                    "a degenerate signature",
                    rejoin(&good_header.to_string(), &claims().to_string(), &forged),
                )
            }
        }
    }
}

fn changed_character(token: &str, random: &mut Random) -> String {
    let mut octets = token.as_bytes().to_vec();
    let position = random.below(octets.len());
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ \n\0";
    loop {
        let character = *random.of(alphabet);
        if octets[position] != character {
            octets[position] = character;
            return String::from_utf8(octets).unwrap();
        }
    }
}

fn changed_octet(parts: &[&str], random: &mut Random) -> String {
    let mut decoded: Vec<Vec<u8>> = parts.iter().map(|part| base64url::decode(part).unwrap()).collect();
    let part = random.below(3);
    let position = random.below(decoded[part].len());
    decoded[part][position] ^= 1 << random.below(8);
    decoded
        .iter()
        .map(|part| base64url::encode(part))
        .collect::<Vec<_>>()
        .join(".")
}

fn cut_or_doubled(token: &str, random: &mut Random) -> String {
    let from = random.below(token.len());
    let to = (from + 1 + random.below(12)).min(token.len());
    if random.below(2) == 0 {
        format!("{}{}", &token[..from], &token[to..])
    } else {
        format!("{}{}", &token[..to], &token[from..])
    }
}

fn judge(token: &str, keys: &JwkSet) -> Result<(), AccessTokenError> {
    verify(token, &policy(), keys, NOW).map(|_| ())
}

// covers R8725-1, R9068-5, R7662-3
#[test]
fn none_of_20_000_mutated_tokens_is_accepted() {
    let keys = key_set(&SignatureAlgorithm::ALL.map(signer));
    let genuine = SignatureAlgorithm::ALL
        .map(|algorithm| {
            let signer = signer(algorithm).as_ref();
            (
                algorithm,
                sign(signer, &header(signer).to_string(), &claims().to_string()),
            )
        })
        .to_vec();
    let own_keys = SignatureAlgorithm::ALL.map(stranger).into();
    let attacker = Attacker { genuine, own_keys };
    let mut random = Random(SEED);
    let mut accepted = Vec::new();
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    let mut rules: BTreeMap<&str, usize> = BTreeMap::new();
    let mut genuine_accepted = 0;
    for number in 0..MUTATIONS {
        let (kind, token) = attacker.forge(&mut random);
        *kinds.entry(kind).or_default() += 1;
        match judge(&token, &keys) {
            // Cutting and doubling can give back the token itself; nothing was forged then.
            Ok(()) if attacker.genuine.iter().any(|(_, genuine)| *genuine == token) => {}
            Ok(()) => accepted.push((number, kind, token)),
            Err(error) => *rules.entry(error.rule()).or_default() += 1,
        }
        // The control: a verifier that refuses everything would also pass the rest of this test.
        if number % 100 == 0 {
            let (_, token) = &attacker.genuine[number / 100 % attacker.genuine.len()];
            judge(token, &keys).unwrap();
            genuine_accepted += 1;
        }
    }
    assert!(accepted.is_empty(), "accepted: {accepted:?}");
    assert_eq!(genuine_accepted, MUTATIONS / 100);
    assert!(
        kinds.len() >= 14 && kinds.values().all(|count| *count > 100),
        "{kinds:?}"
    );
    for rule in [
        "a signed JWT",
        "signature algorithm permitted",
        "token type permitted",
        "signing key known",
        "signature",
    ] {
        assert!(rules.get(rule).is_some_and(|count| *count > 500), "{rules:?}");
    }
}

// covers R8725-1
#[test]
fn every_single_character_of_a_token_counts() {
    let keys = key_set(&[signer(SignatureAlgorithm::Es256)]);
    let signer = signer(SignatureAlgorithm::Es256).as_ref();
    let token = sign(signer, &header(signer).to_string(), &claims().to_string());
    judge(&token, &keys).unwrap();
    for position in 0..token.len() {
        for bit in 0..7 {
            let mut octets = token.as_bytes().to_vec();
            octets[position] ^= 1 << bit;
            let altered = String::from_utf8(octets).unwrap();
            assert!(judge(&altered, &keys).is_err(), "bit {bit} of character {position}");
        }
    }
}
