//! Tokens and key sets.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use keybound_protocol::base64url;
use keybound_protocol::confirmation::CertificateThumbprint;

use super::certificates::{P256, self_signed};

fn key() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("32 octets")
}

fn signed(header: &str, payload: &str) -> String {
    let input = format!(
        "{}.{}",
        base64url::encode(header.as_bytes()),
        base64url::encode(payload.as_bytes())
    );
    let signature = key().sign(input.as_bytes());
    format!("{input}.{}", base64url::encode(signature.as_ref()))
}

pub(crate) fn tokens() -> Vec<Vec<u8>> {
    const HEADER: &str = r#"{"alg":"EdDSA","typ":"at+jwt"}"#;
    const CLAIMS: &str = r#"{"iss":"https://as.example","sub":"demo","aud":"https://rs.example","client_id":"demo","scope":"read write","iat":1767225600,"exp":1767225900,"jti":"1","cnf":{"x5t#S256":"A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0"}}"#;
    let headers = [
        HEADER,
        r#"{"alg":"EdDSA","typ":"AT+JWT"}"#,
        r#"{"alg":"EdDSA","typ":"application/at+jwt"}"#,
        r#"{"alg":"EdDSA","typ":"JWT"}"#,
        r#"{"alg":"EdDSA"}"#,
        r#"{"alg":"EdDSA","typ":null}"#,
        r#"{"alg":"none","typ":"at+jwt"}"#,
        r#"{"alg":"None"}"#,
        r#"{"alg":"HS256","typ":"at+jwt"}"#,
        r#"{"alg":"ES256","typ":"at+jwt"}"#,
        r#"{"alg":"RS256","typ":"at+jwt"}"#,
        r#"{"alg":"PS256","typ":"at+jwt"}"#,
        r#"{"alg":"Ed25519","typ":"at+jwt"}"#,
        r#"{"alg":"EdDSA","alg":"none","typ":"at+jwt"}"#,
        r#"{"typ":"at+jwt"}"#,
        r#"{"alg":7,"typ":"at+jwt"}"#,
        r#"{"alg":"EdDSA","typ":"at+jwt","crit":["exp"],"exp":1}"#,
        r#"{"alg":"EdDSA","typ":"at+jwt","crit":[]}"#,
        r#"{"alg":"EdDSA","typ":"at+jwt","b64":false}"#,
        r#"{"alg":"EdDSA","typ":"at+jwt","kid":"unknown"}"#,
        r#"{"alg":"EdDSA","typ":"at+jwt","kid":7}"#,
        r#"{"alg":"EdDSA","typ":"at+jwt","jwk":{"kty":"OKP","crv":"Ed25519","x":"AA"}}"#,
        r#"{"alg":"EdDSA","typ":"at+jwt","jku":"https://evil.example/jwks"}"#,
        r#"{"alg":"EdDSA","typ":"dpop+jwt"}"#,
        r#"{"alg":"\u0045dDSA","typ":"at+jwt"}"#,
        r#"[]"#,
        r#"{"#,
        r#""#,
        " {\"alg\":\"EdDSA\"}\n",
    ];
    let payloads = [
        r#"{"iss":"https://other.example","aud":"https://rs.example","exp":1767225900}"#,
        r#"{"iss":"https://as.example","aud":["x","https://rs.example"],"exp":1767225900}"#,
        r#"{"iss":"https://as.example","aud":[],"exp":1767225900}"#,
        r#"{"iss":"https://as.example","aud":["https://rs.example",7],"exp":1767225900}"#,
        r#"{"iss":"https://as.example","aud":"https://rs.example","exp":1767225570}"#,
        r#"{"iss":"https://as.example","aud":"https://rs.example","exp":1767225571}"#,
        r#"{"iss":"https://as.example","aud":"https://rs.example","exp":1767225900,"nbf":1767225631}"#,
        r#"{"iss":"https://as.example","aud":"https://rs.example","exp":1767225900,"iat":1767225630}"#,
        r#"{"iss":"https://as.example","aud":"https://rs.example","exp":1.7672259e9}"#,
        r#"{"iss":"https://as.example","aud":"https://rs.example","exp":9223372036854775807}"#,
        r#"{"iss":"https://as.example","aud":"https://rs.example","exp":18446744073709551615}"#,
        r#"{"iss":"https://as.example","aud":"https://rs.example","exp":1e400}"#,
        r#"{"iss":"https://as.example","aud":"https://rs.example","exp":"1767225900"}"#,
        r#"{"iss":"https://as.example","aud":"https://rs.example","exp":-1,"iat":-9223372036854775808}"#,
        r#"{"iss":"https://as.example","aud":"https://rs.example"}"#,
        r#"{"iss":"https://as.example","exp":1767225900}"#,
        r#"{"iss":"https://as.example","iss":"https://as.example","aud":"https://rs.example","exp":1767225900}"#,
        r#"{"iss":"https://as.example","aud":"https://rs.example","exp":1767225900,"cnf":null}"#,
        r#"{"iss":"https://as.example","aud":"https://rs.example","exp":1767225900,"cnf":{}}"#,
        r#"{"iss":"https://as.example","aud":"https://rs.example","exp":1767225900,"cnf":{"jkt":"x"}}"#,
        r#"{"iss":"https://as.example","aud":"https://rs.example","exp":1767225900,"cnf":{"x5t#S256":"x"}}"#,
        r#"{"iss":"https://as.example","aud":"https://rs.example","exp":1767225900,"cnf":{"x5t#S256":"A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0","jkt":"x"}}"#,
        r#"{"iss":"https://as.example","aud":"https://rs.example","exp":1767225900,"scp":["read","write"],"azp":"demo"}"#,
        r#"{"iss":"https://as.example","aud":"https://rs.example","exp":1767225900,"scope":"a  b"}"#,
        r#"{"iss":"https://as.example","aud":"https://rs.example","exp":1767225900,"scope":["a"]}"#,
        r#"{"iss":"https://as.example","aud":"https://rs.example","exp":1767225900,"at_hash":"x"}"#,
        r#"{"iss":"https://as.example","aud":"demo","client_id":"demo","exp":1767225900}"#,
        r#"{"iss":"demo","sub":"demo","aud":"https://as.example","exp":1767225900,"jti":"1"}"#,
        r#"{"events":{},"typ":"Logout"}"#,
        "{}",
        "null",
        "",
        "\u{0}",
    ];
    let mut tokens: Vec<String> = headers.iter().map(|header| signed(header, CLAIMS)).collect();
    tokens.extend(payloads.iter().map(|payload| signed(HEADER, payload)));
    tokens.extend(payloads[..8].iter().map(|payload| signed(headers[3], payload)));
    tokens.push(signed(HEADER, &format!("{}{}", "[".repeat(33), "]".repeat(33))));
    tokens.push(signed(
        HEADER,
        &format!(r#"{{"a":{}{}}}"#, "[".repeat(31), "]".repeat(31)),
    ));
    let good = signed(HEADER, CLAIMS);
    let (input, signature) = good.rsplit_once('.').expect("three parts");
    tokens.extend([
        format!("{input}."),
        format!("{input}.{signature}="),
        format!("{input}.{signature}A"),
        format!("{input}.{}", &signature[..signature.len() - 1]),
        format!("{input}.{}", base64url::encode(&[0; 64])),
        format!("{input}.{signature}.{signature}"),
        format!("{input}.a.b.c"),
        input.to_owned(),
        format!(" {good}"),
        format!("{good}\n"),
        good.replace('.', ".."),
        "..".to_owned(),
        ".".to_owned(),
        String::new(),
        "a".repeat(300),
    ]);
    let mut inputs: Vec<Vec<u8>> = tokens.into_iter().map(String::into_bytes).collect();
    inputs.push(b"\xff.\xff.\xff".to_vec());
    // Anything can be a payload.
    inputs.extend([&b"{\"a\":1}"[..], b"\0\0\0", b"plain text"].map(<[u8]>::to_vec));
    inputs
}

pub(crate) fn proofs() -> Vec<Vec<u8>> {
    let x = base64url::encode(key().public_key().as_ref());
    let jwk = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}"#);
    let header = format!(r#"{{"alg":"EdDSA","jwk":{jwk},"typ":"dpop+jwt"}}"#);
    const CLAIMS: &str = r#"{"jti":"1","htm":"GET","htu":"https://rs.example/a","iat":1767225600}"#;
    let ec = format!(
        r#"{{"kty":"EC","crv":"P-256","x":"{}","y":"{}"}}"#,
        base64url::encode(&P256[1..33]),
        base64url::encode(&P256[33..])
    );
    let headers = [
        header.clone(),
        header.replace("dpop+jwt", "DPOP+JWT"),
        header.replace("dpop+jwt", "application/dpop+jwt"),
        header.replace("dpop+jwt", "at+jwt"),
        r#"{"alg":"EdDSA","typ":"dpop+jwt"}"#.to_owned(),
        format!(r#"{{"alg":"EdDSA","jwk":{jwk}}}"#),
        format!(r#"{{"alg":"none","jwk":{jwk},"typ":"dpop+jwt"}}"#),
        format!(r#"{{"alg":"HS256","jwk":{{"kty":"oct","k":"AAAA"}},"typ":"dpop+jwt"}}"#),
        format!(r#"{{"alg":"ES256","jwk":{ec},"typ":"dpop+jwt"}}"#),
        format!(r#"{{"alg":"EdDSA","jwk":{ec},"typ":"dpop+jwt"}}"#),
        header.replace(r#""x":"#, r#""d":"AAAA","x":"#),
        header.replace(r#""x":"#, r#""kid":"1","x":"#),
        header.replace(r#""alg""#, r#""crit":["exp"],"alg""#),
        header.replace(&jwk, "[]"),
        header.replace(&jwk, "null"),
        header.replace(&jwk, &format!("{jwk},\"jwk\":{jwk}")),
    ];
    let claims = [
        r#"{"jti":"1","htm":"POST","htu":"https://rs.example/a","iat":1767225600}"#,
        r#"{"jti":"1","htm":"get","htu":"https://rs.example/a","iat":1767225600}"#,
        r#"{"jti":"1","htm":"GET","htu":"HTTPS://RS.example:443/a?q#f","iat":1767225600}"#,
        r#"{"jti":"1","htm":"GET","htu":"https://rs.example/%61","iat":1767225600}"#,
        r#"{"jti":"1","htm":"GET","htu":"https://rs.example/b/../a","iat":1767225600}"#,
        r#"{"jti":"1","htm":"GET","htu":"https://user@rs.example/a","iat":1767225600}"#,
        r#"{"jti":"1","htm":"GET","htu":"/a","iat":1767225600}"#,
        r#"{"jti":"1","htm":"GET","htu":"","iat":1767225600}"#,
        r#"{"jti":"1","htm":"GET","htu":"https://rs.example/a","iat":1767225509}"#,
        r#"{"jti":"1","htm":"GET","htu":"https://rs.example/a","iat":1767225510}"#,
        r#"{"jti":"1","htm":"GET","htu":"https://rs.example/a","iat":1767225630}"#,
        r#"{"jti":"1","htm":"GET","htu":"https://rs.example/a","iat":1767225631}"#,
        r#"{"jti":"1","htm":"GET","htu":"https://rs.example/a","iat":9223372036854775807}"#,
        r#"{"jti":"1","htm":"GET","htu":"https://rs.example/a","iat":-9223372036854775808}"#,
        r#"{"jti":"1","htm":"GET","htu":"https://rs.example/a","iat":"1767225600"}"#,
        r#"{"jti":"1","htm":"GET","htu":"https://rs.example/a","iat":1767225600.5}"#,
        r#"{"jti":"","htm":"GET","htu":"https://rs.example/a","iat":1767225600}"#,
        r#"{"jti":7,"htm":"GET","htu":"https://rs.example/a","iat":1767225600}"#,
        r#"{"htm":"GET","htu":"https://rs.example/a","iat":1767225600}"#,
        r#"{"jti":"1","jti":"2","htm":"GET","htu":"https://rs.example/a","iat":1767225600}"#,
        r#"{"jti":"1","htm":"GET","htu":"https://rs.example/a","iat":1767225600,"ath":"x","nonce":"y"}"#,
        r#"{"jti":"1","htm":"GET","htu":"https://rs.example/a","iat":1767225600,"nonce":null}"#,
        "[]",
        "",
    ];
    let mut proofs: Vec<String> = headers.iter().map(|header| signed(header, CLAIMS)).collect();
    proofs.extend(claims.iter().map(|claims| signed(&header, claims)));
    let good = signed(&header, CLAIMS);
    let (input, signature) = good.rsplit_once('.').expect("three parts");
    proofs.extend([
        format!("{good}, {good}"),
        format!(" {good}"),
        format!("{input}."),
        format!("{input}.{signature}="),
        input.to_owned(),
        String::new(),
    ]);
    // What the target makes proofs of: method, path, `jti`.
    proofs.extend(
        [
            "GET / 1",
            "POST /b?c=d#e x",
            "PATCH /%41%zz/../. y",
            "GET //b \u{7f}",
            "G\u{e4}T /\u{e4} \u{1f600}",
            "  ",
        ]
        .map(str::to_owned),
    );
    let mut inputs: Vec<Vec<u8>> = proofs.into_iter().map(String::into_bytes).collect();
    inputs.push(b"\xff.\xff.\xff".to_vec());
    inputs
}

pub(crate) fn key_sets() -> Vec<Vec<u8>> {
    let certificate = self_signed();
    let x5c = base64url::encode_standard(&certificate);
    let thumbprint = CertificateThumbprint::of_certificate(&certificate);
    let (x, y) = (base64url::encode(&P256[1..33]), base64url::encode(&P256[33..]));
    let okp_x = base64url::encode(key().public_key().as_ref());
    let n = base64url::encode(&[0xc1; 256]);
    let ec = format!(r#""kty":"EC","crv":"P-256","x":"{x}","y":"{y}""#);
    let okp = format!(r#""kty":"OKP","crv":"Ed25519","x":"{okp_x}""#);
    let rsa = format!(r#""kty":"RSA","n":"{n}","e":"AQAB""#);
    let keys = [
        format!("{{{ec}}}"),
        format!(r#"{{{ec},"kid":"1","alg":"ES256","use":"sig"}}"#),
        format!(r#"{{{ec},"kid":"1","alg":"ES384"}}"#),
        format!(r#"{{{ec},"alg":"ECDH-ES","use":"enc"}}"#),
        format!(r#"{{{ec},"key_ops":["verify"]}}"#),
        format!(r#"{{{ec},"key_ops":["sign"]}}"#),
        format!(r#"{{{ec},"key_ops":"verify"}}"#),
        format!(r#"{{{ec},"d":"AA"}}"#),
        format!(r#"{{{ec},"unknown":{{"a":[1,2.5,null,true]}}}}"#),
        format!(r#"{{"kty":"EC","crv":"P-256","x":"{y}","y":"{x}"}}"#),
        format!(r#"{{"kty":"EC","crv":"P-384","x":"{x}","y":"{y}"}}"#),
        format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}=","y":"{y}"}}"#),
        format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}"}}"#),
        format!(r#"{{"kty":"EC","crv":"secp256k1","x":"{x}","y":"{y}"}}"#),
        format!("{{{okp}}}"),
        format!(r#"{{{okp},"kid":"2","alg":"EdDSA"}}"#),
        format!(r#"{{{okp},"x5c":["{x5c}"],"x5t#S256":"{thumbprint}"}}"#),
        format!(r#"{{{okp},"x5c":["{x5c}","{x5c}"],"kid":""}}"#),
        format!(r#"{{{okp},"x5c":["AAAA"]}}"#),
        format!(r#"{{{okp},"x5c":[]}}"#),
        format!(r#"{{{okp},"x5c":"{x5c}"}}"#),
        format!(r#"{{{okp},"x5t#S256":"{thumbprint}"}}"#),
        format!(r#"{{{okp},"x5t#S256":"A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0","x5c":["{x5c}"]}}"#),
        format!(r#"{{{ec},"x5c":["{x5c}"]}}"#),
        r#"{"kty":"OKP","crv":"Ed25519","x":"AAAA"}"#.to_owned(),
        r#"{"kty":"OKP","crv":"X25519","x":"AAAA"}"#.to_owned(),
        format!("{{{rsa}}}"),
        format!(r#"{{{rsa},"alg":"PS256","kid":"3"}}"#),
        format!(r#"{{{rsa},"alg":"RS256","kid":"3"}}"#),
        r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#.to_owned(),
        format!(r#"{{"kty":"RSA","n":"AA{n}","e":"AQAB"}}"#),
        format!(r#"{{"kty":"RSA","n":"{n}","e":"Ag"}}"#),
        r#"{"kty":"oct","k":"AAAA"}"#.to_owned(),
        r#"{"kty":"oct"}"#.to_owned(),
        r#"{"kty":"AKP","kid":"later"}"#.to_owned(),
        r#"{"kty":"AKP","kid":7}"#.to_owned(),
        r#"{"kty":7}"#.to_owned(),
        "{}".to_owned(),
        "null".to_owned(),
    ];
    let mut texts: Vec<String> = keys.iter().map(|key| format!(r#"{{"keys":[{key}]}}"#)).collect();
    texts.extend(keys.iter().filter(|key| key.len() < 500).cloned());
    for (one, two) in [
        (0, 14),
        (1, 1),
        (1, 15),
        (1, 2),
        (27, 28),
        (27, 27),
        (16, 17),
        (0, 34),
        (15, 38),
    ] {
        texts.push(format!(r#"{{"keys":[{},{}]}}"#, keys[one], keys[two]));
    }
    texts.push(format!(r#"{{"keys":[{}]}}"#, vec!["{\"kty\":\"a\"}"; 101].join(",")));
    texts.extend(
        [
            r#"{"keys":[]}"#,
            r#"{"keys":{}}"#,
            r#"{"keys":null}"#,
            r#"{"keys":[],"keys":[]}"#,
            r#"{"keys":[]} "#,
            r#"{"keys":[]}x"#,
            r#"{"a":{"b":1,"b":2},"keys":[]}"#,
            r#"{"a":{"b":1,"\u0062":2},"keys":[]}"#,
            r#"{"a":-0,"b":18446744073709551615,"c":-9223372036854775808,"d":1e308}"#,
            r#"{"a":123456789012345678901234567890}"#,
            r#"{"a":01}"#,
            r#"{"a":1e999}"#,
            r#"{"a":"\ud83d\ude00","b":"\ud83d"}"#,
            r#"{"a":"\u0000"}"#,
            r#"[1,"a",null,[true,false],{}]"#,
            r#""text""#,
            "\u{feff}{}",
            "{\"a\":NaN}",
            "{\"a\":1,}",
            "// comment\n{}",
            "",
        ]
        .map(str::to_owned),
    );
    texts.push(format!("{}{}", "[".repeat(32), "]".repeat(32)));
    texts.push(format!("{}{}", "[".repeat(33), "]".repeat(33)));
    texts.into_iter().map(String::into_bytes).collect()
}
