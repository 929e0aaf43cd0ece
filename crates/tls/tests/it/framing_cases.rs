//! HTTP that two readers could understand differently, and its nearest relatives that nobody could.

/// What is sent, and the status of its only answer.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) octets: Vec<u8>,
    pub(crate) status: &'static str,
}

/// Every case that must be refused. What follows each of them on the connection must never be read as a request.
pub(crate) fn refused() -> Vec<Case> {
    let mut cases = Vec::new();
    request_lines(&mut cases);
    targets(&mut cases);
    hosts(&mut cases);
    fields(&mut cases);
    lengths(&mut cases);
    transfer_codings(&mut cases);
    chunks(&mut cases);
    trailers(&mut cases);
    cases
}

fn push(cases: &mut Vec<Case>, status: &'static str, name: &'static str, octets: &[u8]) {
    cases.push(Case {
        name,
        octets: octets.to_vec(),
        status,
    });
}

fn request_lines(cases: &mut Vec<Case>) {
    for (status, name, line) in [
        ("400", "empty line before the request", "\r\nGET / HTTP/1.1"),
        ("400", "two empty lines before the request", "\r\n\r\nGET / HTTP/1.1"),
        ("400", "HTTP/0.9", "GET /"),
        ("400", "no target", "GET HTTP/1.1"),
        ("400", "empty target", "GET  HTTP/1.1"),
        ("400", "two spaces after the method", "GET  / HTTP/1.1"),
        ("400", "two spaces before the version", "GET /  HTTP/1.1"),
        ("400", "space before the method", " GET / HTTP/1.1"),
        ("400", "space after the version", "GET / HTTP/1.1 "),
        ("400", "tab instead of space", "GET\t/\tHTTP/1.1"),
        ("400", "vertical tab instead of space", "GET\x0B/ HTTP/1.1"),
        ("400", "form feed in the request line", "GET /\x0C HTTP/1.1"),
        ("400", "NUL in the request line", "GET /\0 HTTP/1.1"),
        ("400", "DEL in the request line", "GET /\x7F HTTP/1.1"),
        ("400", "bare CR in the request line", "GET /\rx HTTP/1.1"),
        ("400", "a fourth word", "GET / HTTP/1.1 x"),
        ("400", "lower-case version", "GET / http/1.1"),
        ("400", "another protocol", "GET / HTTPS/1.1"),
        ("400", "version without minor", "GET / HTTP/1"),
        ("400", "version with two digits", "GET / HTTP/1.10"),
        ("400", "version with a leading zero", "GET / HTTP/01.1"),
        ("400", "version with a comma", "GET / HTTP/1,1"),
        ("505", "HTTP/1.2", "GET / HTTP/1.2"),
        ("505", "HTTP/2.0", "GET / HTTP/2.0"),
        ("505", "HTTP/0.9 by name", "GET / HTTP/0.9"),
        ("505", "HTTP/9.9", "GET / HTTP/9.9"),
        ("400", "method with a colon", "GE:T / HTTP/1.1"),
        ("400", "method in quotes", "\"GET\" / HTTP/1.1"),
        ("400", "method with a letter beyond ASCII", "GÉT / HTTP/1.1"),
        ("400", "method of braces", "{} / HTTP/1.1"),
        ("400", "the method of the screen itself", "REFUSED-BY-SCREEN / HTTP/1.1"),
        ("501", "CONNECT", "CONNECT localhost:443 HTTP/1.1"),
    ] {
        push(
            cases,
            status,
            name,
            format!("{line}\r\nHost: localhost\r\n\r\n").as_bytes(),
        );
    }
    push(
        cases,
        "505",
        "the preface of HTTP/2",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    );
    push(
        cases,
        "400",
        "LF ends the request line",
        b"GET / HTTP/1.1\nHost: localhost\r\n\r\n",
    );
    push(
        cases,
        "400",
        "CR CR LF ends the request line",
        b"GET / HTTP/1.1\r\r\nHost: localhost\r\n\r\n",
    );
    push(
        cases,
        "400",
        "a long method",
        &[&[b'A'; 65][..], b" / HTTP/1.1\r\nHost: localhost\r\n\r\n"].concat(),
    );
}

fn targets(cases: &mut Vec<Case>) {
    for (name, target) in [
        ("target without slash", "x"),
        ("target that is a host", "localhost"),
        ("asterisk for GET", "*"),
        ("fragment", "/a#b"),
        ("backslash", "/a\\b"),
        ("quote", "/\"a\""),
        ("braces", "/{a}"),
        ("angle brackets", "/<a>"),
        ("caret", "/a^b"),
        ("backtick", "/a`b"),
        ("bar", "/a|b"),
        ("brackets in a path", "/[a]"),
        ("octet beyond ASCII", "/ä"),
        ("percent alone", "/a%"),
        ("percent with one digit", "/a%2"),
        ("percent with no digits", "/a%zz"),
        ("unknown scheme", "ftp://localhost/"),
        ("scheme without slashes", "http:localhost"),
        ("authority empty", "http:///a"),
        ("authority with user", "http://user@localhost/"),
        ("authority with a bad port", "http://localhost:0x50/"),
        ("authority with a backslash", "http://localhost\\@evil/"),
        ("absolute form with a fragment", "http://localhost/#a"),
        ("authority other than Host", "http://other/"),
        ("authority with another port than Host", "http://localhost:81/"),
    ] {
        push(
            cases,
            "400",
            name,
            format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes(),
        );
    }
}

fn hosts(cases: &mut Vec<Case>) {
    push(cases, "400", "no Host", b"GET / HTTP/1.1\r\nAccept: */*\r\n\r\n");
    push(cases, "400", "no field at all", b"GET / HTTP/1.1\r\n\r\n");
    push(
        cases,
        "400",
        "two Hosts",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: other\r\n\r\n",
    );
    push(
        cases,
        "400",
        "the same Host twice",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
    );
    push(
        cases,
        "400",
        "two Hosts in two cases",
        b"GET / HTTP/1.1\r\nhost: localhost\r\nHOST: other\r\n\r\n",
    );
    push(
        cases,
        "400",
        "two Hosts in HTTP/1.0",
        b"GET / HTTP/1.0\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
    );
    for (name, host) in [
        ("Host empty", ""),
        ("Host of blanks", "   "),
        ("Host with a space", "local host"),
        ("Host with a comma", "localhost, other"),
        ("Host with a slash", "localhost/x"),
        ("Host with a query", "localhost?x"),
        ("Host with user", "user@localhost"),
        ("Host with a bad port", "localhost:http"),
        ("Host with an empty port", "localhost:"),
        ("Host with a port too large", "localhost:65536"),
        ("Host with two ports", "localhost:80:81"),
        ("Host that is only a port", ":80"),
        ("Host with an open bracket", "[::1"),
        ("Host with percent-encoding", "local%68ost"),
        ("Host beyond ASCII", "löcalhost"),
        ("Host with a tab inside", "local\thost"),
    ] {
        push(
            cases,
            "400",
            name,
            format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes(),
        );
    }
}

fn fields(cases: &mut Vec<Case>) {
    for (name, field) in [
        ("folded field", "A: b\r\n c"),
        ("field folded with a tab", "A: b\r\n\tc"),
        ("first field folded", " A: b"),
        ("folding of blanks alone", "A: b\r\n "),
        ("space before the colon", "A : b"),
        ("tab before the colon", "A\t: b"),
        ("no colon", "A"),
        ("no name", ": b"),
        ("space in the name", "A B: c"),
        ("name in parentheses", "A(B): c"),
        ("name with a slash", "A/B: c"),
        ("name with NUL", "A\0B: c"),
        ("name beyond ASCII", "Ä: c"),
        ("value with NUL", "A: b\0c"),
        ("value with a bell", "A: \x07"),
        ("value with escape", "A: \x1B[2J"),
        ("value with DEL", "A: \x7F"),
        ("value with a bare CR", "A: b\rTransfer-Encoding: chunked"),
        ("value that ends in CR", "A: b\r"),
        ("LF ends the field", "A: b\nB: c"),
        ("LF ends a field before a framing one", "A: b\nContent-Length: 5"),
        ("Connection names Host", "Connection: host"),
        ("Connection names Content-Length", "Connection: close, Content-Length"),
        ("Connection names Transfer-Encoding", "Connection: transfer-encoding"),
        ("Connection names Trailer", "Connection: trailer"),
    ] {
        push(
            cases,
            "400",
            name,
            format!("GET / HTTP/1.1\r\nHost: localhost\r\n{field}\r\n\r\n").as_bytes(),
        );
    }
    push(
        cases,
        "400",
        "LF ends the head",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\n",
    );
    push(
        cases,
        "400",
        "LF LF ends the head",
        b"GET / HTTP/1.1\nHost: localhost\n\n",
    );
    push(
        cases,
        "400",
        "CR CR LF ends the head",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\r\n",
    );
    push(
        cases,
        "417",
        "unknown expectation",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nExpect: 200-maybe\r\n\r\n",
    );
    push(
        cases,
        "417",
        "two expectations in one",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue, x\r\n\r\n",
    );
}

fn lengths(cases: &mut Vec<Case>) {
    for (name, fields) in [
        ("two Content-Lengths", "Content-Length: 5\r\nContent-Length: 6"),
        (
            "the same Content-Length twice",
            "Content-Length: 5\r\nContent-Length: 5",
        ),
        ("Content-Length as a list", "Content-Length: 5, 5"),
        ("Content-Length with a plus", "Content-Length: +5"),
        ("Content-Length negative", "Content-Length: -5"),
        ("Content-Length empty", "Content-Length:"),
        ("Content-Length in hexadecimal", "Content-Length: 0x5"),
        ("Content-Length with a fraction", "Content-Length: 5.0"),
        ("Content-Length with an exponent", "Content-Length: 5e0"),
        ("Content-Length with a leading zero", "Content-Length: 05"),
        ("Content-Length with a space inside", "Content-Length: 1 5"),
        ("Content-Length with an underscore", "Content-Length: 1_5"),
        ("Content-Length in quotes", "Content-Length: \"5\""),
        ("Content-Length with a vertical tab", "Content-Length: \x0B5"),
        ("Content-Length in other digits", "Content-Length: ٥"),
        ("Content-Length of 64 bits", "Content-Length: 18446744073709551615"),
        ("Content-Length of 65 bits", "Content-Length: 18446744073709551621"),
        (
            "Content-Length of 30 digits",
            "Content-Length: 100000000000000000000000000005",
        ),
        ("Content-Length with a semicolon", "Content-Length: 5;"),
        ("space before the colon of Content-Length", "Content-Length : 5"),
        ("Content_Length", "Content_Length: 5"),
        (
            "Content-Length and Content_Length",
            "Content-Length: 5\r\nContent_Length: 6",
        ),
        ("folded Content-Length", "Content-Length:\r\n 5"),
    ] {
        push(
            cases,
            "400",
            name,
            format!("POST / HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\nhello").as_bytes(),
        );
    }
}

fn transfer_codings(cases: &mut Vec<Case>) {
    for (status, name, fields) in [
        ("400", "TE before CL", "Transfer-Encoding: chunked\r\nContent-Length: 5"),
        ("400", "CL before TE", "Content-Length: 5\r\nTransfer-Encoding: chunked"),
        (
            "400",
            "CL 0 before TE",
            "Content-Length: 0\r\nTransfer-Encoding: chunked",
        ),
        (
            "400",
            "CL beside an unknown TE",
            "Content-Length: 5\r\nTransfer-Encoding: x",
        ),
        (
            "400",
            "TE twice",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        ),
        (
            "501",
            "identity after chunked in another field",
            "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        ),
        (
            "400",
            "chunked and identity in two fields",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        ),
        ("501", "TE identity", "Transfer-Encoding: identity"),
        ("501", "TE gzip", "Transfer-Encoding: gzip"),
        ("501", "gzip, then chunked", "Transfer-Encoding: gzip, chunked"),
        ("501", "chunked, then gzip", "Transfer-Encoding: chunked, gzip"),
        (
            "501",
            "chunked twice in one field",
            "Transfer-Encoding: chunked, chunked",
        ),
        ("501", "chunked misspelt", "Transfer-Encoding: xchunked"),
        ("501", "chunked cut off", "Transfer-Encoding: chunke"),
        ("400", "TE empty", "Transfer-Encoding:"),
        ("400", "TE with an empty member", "Transfer-Encoding: , chunked"),
        ("400", "TE with a trailing comma", "Transfer-Encoding: chunked,"),
        ("400", "TE with a parameter", "Transfer-Encoding: chunked;q=1"),
        ("400", "TE in quotes", "Transfer-Encoding: \"chunked\""),
        ("400", "TE with a vertical tab", "Transfer-Encoding: \x0Bchunked"),
        ("400", "TE with NUL", "Transfer-Encoding: chunked\0"),
        ("400", "folded TE", "Transfer-Encoding:\r\n chunked"),
        ("400", "space before the colon of TE", "Transfer-Encoding : chunked"),
        ("400", "TE after a bare CR", "A: b\rTransfer-Encoding: chunked"),
        ("400", "TE after a bare LF", "A: b\nTransfer-Encoding: chunked"),
        ("400", "Transfer_Encoding", "Transfer_Encoding: chunked"),
        (
            "400",
            "TE and Transfer_Encoding",
            "Transfer-Encoding: chunked\r\nTransfer_Encoding: identity",
        ),
        ("400", "TE chunked beyond ASCII", "Transfer-Encoding: chun\u{212A}ed"),
    ] {
        push(
            cases,
            status,
            name,
            format!("POST / HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n5\r\nhello\r\n0\r\n\r\n").as_bytes(),
        );
    }
    push(
        cases,
        "400",
        "TE in HTTP/1.0",
        b"POST / HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    );
    push(
        cases,
        "400",
        "TE in HTTP/1.0 with keep-alive",
        b"POST / HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    );
}

fn chunked(body: &[u8]) -> Vec<u8> {
    [
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
        body,
    ]
    .concat()
}

fn chunks(cases: &mut Vec<Case>) {
    for (name, body) in [
        ("chunk size empty", "\r\nhello\r\n0\r\n\r\n"),
        ("chunk size with 0x", "0x5\r\nhello\r\n0\r\n\r\n"),
        ("chunk size with a plus", "+5\r\nhello\r\n0\r\n\r\n"),
        ("chunk size negative", "-5\r\nhello\r\n0\r\n\r\n"),
        ("chunk size that is no number", "g\r\nhello\r\n0\r\n\r\n"),
        ("chunk size after a space", " 5\r\nhello\r\n0\r\n\r\n"),
        ("chunk size before a space", "5 \r\nhello\r\n0\r\n\r\n"),
        ("chunk size with an underscore", "0_5\r\nhello\r\n0\r\n\r\n"),
        ("chunk size of 16 digits", "0000000000000005\r\nhello\r\n0\r\n\r\n"),
        ("chunk size of 17 digits", "10000000000000005\r\nhello\r\n0\r\n\r\n"),
        ("chunk size that overflows", "FFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n"),
        ("chunk size ended by LF", "5\nhello\r\n0\r\n\r\n"),
        ("chunk size ended by CR", "5\rhello\r\n0\r\n\r\n"),
        ("chunk size with NUL", "5\0\r\nhello\r\n0\r\n\r\n"),
        ("chunk extension with a bare LF", "5;a\nhello\r\n0\r\n\r\n"),
        ("chunk extension with a bare CR", "5;a\rb\r\nhello\r\n0\r\n\r\n"),
        ("chunk extension with NUL", "5;a\0\r\nhello\r\n0\r\n\r\n"),
        ("chunk extension beyond ASCII", "5;ä\r\nhello\r\n0\r\n\r\n"),
        ("chunk longer than its size", "5\r\nhelloX\r\n0\r\n\r\n"),
        ("chunk shorter than its size", "5\r\nhell\r\n0\r\n\r\n"),
        ("chunk ended by LF", "5\r\nhello\n0\r\n\r\n"),
        ("chunk ended by CR", "5\r\nhello\r0\r\n\r\n"),
        ("chunk without an end", "5\r\nhello0\r\n\r\n"),
        ("last chunk ended by LF", "5\r\nhello\r\n0\n\r\n"),
        ("body ended by LF", "5\r\nhello\r\n0\r\n\n"),
        ("body ended by CR CR LF", "5\r\nhello\r\n0\r\n\r\r\n"),
    ] {
        push(cases, "400", name, &chunked(body.as_bytes()));
    }
    let long = format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(257));
    push(cases, "400", "chunk extension too long", &chunked(long.as_bytes()));
}

fn trailers(cases: &mut Vec<Case>) {
    for (name, trailer) in [
        ("Content-Length as a trailer", "Content-Length: 5"),
        ("Transfer-Encoding as a trailer", "Transfer-Encoding: chunked"),
        ("Transfer_Encoding as a trailer", "Transfer_Encoding: chunked"),
        ("Host as a trailer", "Host: localhost"),
        ("Authorization as a trailer", "Authorization: Bearer x"),
        ("Connection as a trailer", "Connection: close"),
        ("folded trailer", "A: b\r\n c"),
        ("trailer with a space before the colon", "A : b"),
        ("trailer without colon", "GET /smuggled HTTP/1.1"),
        ("trailer with NUL", "A: \0"),
        ("trailer ended by LF", "A: b\nB: c"),
    ] {
        push(
            cases,
            "400",
            name,
            &chunked(format!("5\r\nhello\r\n0\r\n{trailer}\r\n\r\n").as_bytes()),
        );
    }
    let long = format!("5\r\nhello\r\n0\r\nA: {}\r\n\r\n", "a".repeat(9000));
    push(cases, "400", "trailers too long", &chunked(long.as_bytes()));
}

/// Requests that leave nothing open, and must pass: without them the refusals would prove nothing.
pub(crate) fn accepted() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, octets) in [
        ("plain", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        (
            "any case, blanks around values",
            "GET / HTTP/1.1\r\nhOsT: \t localhost \t\r\nACCEPT:*/*\r\n\r\n",
        ),
        ("Host with a port", "GET / HTTP/1.1\r\nHost: localhost:8443\r\n\r\n"),
        ("Host that is an address", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n"),
        (
            "every character of a target",
            "GET /a-._~!$&'()*+,;=:@%20/?x=/?%41 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        ),
        ("two slashes", "GET //a//b HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ("asterisk for OPTIONS", "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        (
            "absolute form",
            "GET http://localhost/a?b HTTP/1.1\r\nHost: localhost\r\n\r\n",
        ),
        (
            "absolute form with the default port",
            "GET http://LOCALHOST:80/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        ),
        (
            "absolute form without path",
            "GET http://localhost HTTP/1.1\r\nHost: localhost\r\n\r\n",
        ),
        ("empty value", "GET / HTTP/1.1\r\nHost: localhost\r\nA:\r\n\r\n"),
        ("tab in a value", "GET / HTTP/1.1\r\nHost: localhost\r\nA: b\tc\r\n\r\n"),
        (
            "value beyond ASCII",
            "GET / HTTP/1.1\r\nHost: localhost\r\nA: ä\r\n\r\n",
        ),
        (
            "a method nobody knows",
            "PROPFIND! / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        ),
        ("HTTP/1.0 without Host", "GET / HTTP/1.0\r\n\r\n"),
        (
            "HTTP/1.0 with keep-alive",
            "GET / HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n",
        ),
        (
            "HTTP/1.0 with an expectation",
            "GET / HTTP/1.0\r\nHost: localhost\r\nExpect: x\r\n\r\n",
        ),
        (
            "Content-Length 0",
            "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "Content-Length",
            "POST / HTTP/1.1\r\nHost: localhost\r\ncontent-length:  5 \r\n\r\nhello",
        ),
        (
            "GET with a body",
            "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello",
        ),
        (
            "Connection with options",
            "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: TE, close\r\nTE: trailers\r\n\r\n",
        ),
        (
            "chunked",
            "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: CHUNKED\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ),
        (
            "chunks of every spelling",
            "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n\
             0005;a=b\r\nhello\r\nA\r\n0123456789\r\nb;x=\"y\"\r\n0123456789a\r\n000\r\n\r\n",
        ),
        (
            "trailers",
            "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nTrailer: A\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\nC:\r\n\r\n",
        ),
        (
            "framing look-alike in a value",
            "GET / HTTP/1.1\r\nHost: localhost\r\nA: Content-Length: 5\r\n\r\n",
        ),
    ] {
        push(&mut cases, "200", name, octets.as_bytes());
    }
    cases
}
