//! What HTTP carries: forms, forwarded certificates, requests and what is no request.

use keybound_protocol::client_cert_header::client_cert_value;

use super::certificates::{authority, self_signed};

pub(crate) fn forms() -> Vec<Vec<u8>> {
    let written: [&[u8]; 62] = [
        b"grant_type=client_credentials",
        b"grant_type=client_credentials&client_id=demo",
        b"grant_type=client_credentials&client_id=demo&scope=read+write",
        b"grant_type=client_credentials&scope=read%20write%20keybound:admin",
        b"grant_type=client_credentials&scope=read++write",
        b"grant_type=client_credentials&scope=+read",
        b"grant_type=client_credentials&scope=read+read",
        b"grant_type=client_credentials&scope=%22",
        b"grant_type=client_credentials&scope=%5C",
        b"grant_type=client_credentials&scope=",
        b"grant_type=client_credentials&resource=https://rs.example",
        b"grant_type=client_credentials&resource=https%3A%2F%2Frs.example&resource=https%3A%2F%2Frs.example%2Fa",
        b"grant_type=client_credentials&resource=https://rs.example&resource=https://rs.example",
        b"grant_type=client_credentials&resource=https://rs.example%23f",
        b"grant_type=client_credentials&resource=rs.example",
        b"grant_type=client_credentials&resource=urn:example:rs",
        b"grant_type=client_credentials&resource=HTTPS://RS.example:443/../a",
        b"grant_type=client_credentials&resource=https://rs.example/%00",
        b"grant_type=client_credentials&resource=",
        b"grant_type=client_credentials&grant_type=client_credentials",
        b"grant_type=client_credentials&scope=a&scope=b",
        b"grant_type=client_credentials&%73cope=a&scope=b",
        b"grant_type=client_credentials&unknown=1&unknown=1",
        b"grant_type=client_credentials&unknown=1",
        b"grant_type=",
        b"grant_type",
        b"grant_type=Client_Credentials",
        b"grant_type=client_credentials%20",
        b"grant_type=password&username=a&password=b",
        b"grant_type=refresh_token&refresh_token=x",
        b"grant_type=authorization_code&code=x&redirect_uri=https://c.example/cb",
        b"grant_type=urn:ietf:params:oauth:grant-type:token-exchange",
        b"grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code&device_code=x",
        b"token=abc&token_type_hint=access_token",
        b"client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion=a.b.c",
        b"client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer",
        b"client_assertion=e30.e30.AA&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer&client_id=x",
        b"client_assertion=eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJkZW1vIn0.AA&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        b"client_assertion=x&client_assertion_type=other",
        b"client_assertion=x",
        b"client_id=demo&client_secret=hush-hush-hush-hush-hush",
        b"a=+%25%26%2B%C2%A3%E2%82%AC",
        b"a=b&c",
        b"a=b=c",
        b"=b",
        b"=",
        b"&",
        b"&&a=b&&",
        b"&=&=",
        b"a=b;c=d",
        b"a=%",
        b"a=%4",
        b"a=%4g",
        b"%zz=1",
        b"a=%ff",
        b"a=%c3%28",
        b"a=%ED%A0%80",
        b"a=%EF%BF%BD",
        b"a=\xc3\xa9",
        b"a=%00",
        b"a=b\r\n",
        b"",
    ];
    let mut inputs: Vec<Vec<u8>> = written.iter().map(|octets| octets.to_vec()).collect();
    let many = |count: usize| {
        (0..count)
            .map(|number| format!("p{number}=1"))
            .collect::<Vec<_>>()
            .join("&")
    };
    inputs.push(many(100).into_bytes());
    inputs.push(many(101).into_bytes());
    inputs.push(
        (0..11)
            .map(|number| format!("resource=https://rs{number}.example"))
            .collect::<Vec<_>>()
            .join("&")
            .into_bytes(),
    );
    inputs.push(format!("grant_type=client_credentials&{}", ["resource=urn:a:b"; 11].join("&")).into_bytes());
    inputs
}

pub(crate) fn client_certs() -> Vec<Vec<u8>> {
    let value = |der: &[u8]| client_cert_value(der).as_bytes().to_vec();
    let (leaf, issuer) = (value(&self_signed()), value(&authority()));
    let mut inputs = vec![
        leaf.clone(),
        [&leaf[..], b"\n", &issuer].concat(),
        [&leaf[..], b"\n", &issuer, b", ", &issuer].concat(),
        [&leaf[..], b"\n", &issuer, b"\n", &issuer].concat(),
        [&leaf[..], b"\n", &leaf].concat(),
        [&leaf[..], b"\n"].concat(),
        [&leaf[..], b"\n", &[&issuer[..]; 8].join(&b", "[..])].concat(),
        [b" ", &leaf[..], b"\t"].concat(),
        [&leaf[..], b";a"].concat(),
        [&leaf[..], b", ", &leaf].concat(),
        [b"\n", &leaf[..]].concat(),
        leaf[1..].to_vec(),
        leaf[..leaf.len() - 1].to_vec(),
    ];
    let written: [&str; 46] = [
        ":YQ==:",
        ":YWI=:",
        ":YWJj:",
        ":YQ=:",
        ":YQ:",
        ":YR==:",
        ":YQ==YQ==:",
        ":Y Q==:",
        ":YQ==: ",
        " :YQ==:",
        "\t:YQ==:",
        "::",
        ":",
        ":=:",
        ":====:",
        ":YQ==",
        "YQ==:",
        "YQ==",
        "\"YQ==\"",
        ":YQ==:;a=1",
        ":YQ==:;a",
        ":YQ==: ;a",
        ":YQ==:,",
        ":YQ==:, :YQ==:",
        "(:YQ==:)",
        ":Y-_=:",
        ":Y+/=:",
        "1",
        "?1",
        "token",
        "@1",
        "%\"a\"",
        "",
        " ",
        ":YQ==:\n:YWI=:, :YWJj:",
        ":YQ==:\n:YWI=:,:YWJj:",
        ":YQ==:\n:YWI=: , :YWJj:",
        ":YQ==:\n:YWI=:,",
        ":YQ==:\n,:YWI=:",
        ":YQ==:\n(:YWI=: :YWJj:)",
        ":YQ==:\n:YWI=:;a=1",
        ":YQ==:\n:YWI=:;a=\",\", :YWJj:",
        ":YQ==:\n\"a,b\", :YWI=:",
        ":YQ==:\n:YQ==:",
        ":YQ==:\n\n:YWI=:",
        "\n:YWI=:",
    ];
    inputs.extend(written.iter().map(|text| text.as_bytes().to_vec()));
    inputs.push(b":\xff:".to_vec());
    inputs
}

pub(crate) fn requests() -> Vec<Vec<u8>> {
    const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let fields = [
        "Content-Length: 5\r\n\r\nhello",
        "Content-Length: 5\r\n\r\nhel",
        "Content-Length: 0\r\n\r\n",
        "Content-Length: 00\r\n\r\n",
        "Content-Length: +5\r\n\r\nhello",
        "Content-Length: 5, 5\r\n\r\nhello",
        "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "Content-Length: 18446744073709551616\r\n\r\n",
        "Content-Length:\r\n\r\n",
        "Content-Length: 0x5\r\n\r\nhello",
        "Content_Length: 5\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n000\r\nTrailer: x\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n 5\r\nhello\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n0\r\nA : b\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n0\r\n\n",
        "Transfer-Encoding: chunked\r\n\r\n\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: identity\r\n\r\n",
        "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        " Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "A: b\r\n Transfer-Encoding: chunked\r\n\r\n",
        "A: b\r\n\tc\r\n\r\n",
        "A: b\nTransfer-Encoding: chunked\r\n\r\n",
        "A: b\rC: d\r\n\r\n",
        "A: b\0c\r\n\r\n",
        "A b: c\r\n\r\n",
        "A: \u{fc}\r\n\r\n",
        ": a\r\n\r\n",
        "a\r\n\r\n",
        "Host: b\r\n\r\n",
        "Connection: close\r\n\r\n",
        "Connection: content-length\r\nContent-Length: 1\r\n\r\na",
        "Connection: upgrade\r\nUpgrade: websocket\r\n\r\nframes",
        "Connection: keep-alive, Host\r\n\r\n",
        "Expect: 100-continue\r\nContent-Length: 1\r\n\r\na",
        "Expect: 200-ok\r\n\r\n",
        "\r\n",
    ];
    let lines = [
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a,b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a:443\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: [::1]:443\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
        "GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET https://a:443/ HTTP/1.1\r\nHost: A\r\n\r\n",
        "GET https://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://a?q HTTP/1.1\r\nHost: a\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a%2fb?c=%7e HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /#f HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\tHTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.10\r\nHost: a\r\n\r\n",
        "GET / http/1.1\r\nHost: a\r\n\r\n",
        "GET /\r\nHost: a\r\n\r\n",
        "G@T / HTTP/1.1\r\nHost: a\r\n\r\n",
        "REFUSED-BY-SCREEN / HTTP/1.1\r\nHost: a\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "\x16\x03\x01\x02\0\x01\0",
        "",
    ];
    let mut texts: Vec<String> = fields
        .iter()
        .map(|fields| format!("POST /t HTTP/1.1\r\nHost: a\r\n{fields}"))
        .collect();
    texts.extend(lines.map(str::to_owned));
    for text in texts.clone().iter().take(60).step_by(4) {
        texts.push(format!("{GET}{text}{GET}"));
    }
    texts.push(format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(100)));
    texts.push(format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(99)));
    texts.push(format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(2000)));
    texts.into_iter().map(String::into_bytes).collect()
}
