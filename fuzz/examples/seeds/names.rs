//! Names as operators write them, and as certificates carry them.

use crate::der::{implicit, sequence};

pub(crate) fn general_names(names: &[(u8, &[u8])]) -> Vec<u8> {
    let names: Vec<Vec<u8>> = names.iter().map(|(number, octets)| implicit(*number, octets)).collect();
    sequence(&names)
}

pub(crate) fn distinguished_names() -> Vec<Vec<u8>> {
    let written = [
        "CN=demo",
        "CN=demo\ncn=DEMO",
        "CN=demo,O=Org,C=GB\nC=GB,O=Org,CN=demo",
        "CN=demo , O = Org\n2.5.4.3=demo,2.5.4.10=Org",
        "CN=demo,OU=a+OU=b\nCN=demo,OU=b+OU=a",
        "OU=a+OU=a\nOU=a",
        "CN=a\\,O\\=b\nCN=a\\2cO\\3db",
        "CN=\\#a\nCN=\\23a",
        "CN=\\ a\\ \nCN=a",
        "CN=M\\c3\\bcller\nCN=Mu\u{308}ller",
        "CN=\u{fb01}x\nCN=fix",
        "CN=STRASSE\nCN=stra\u{df}e",
        "CN=\u{130}\nCN=i\u{307}",
        "CN=a  b\nCN=a b",
        "CN=a\u{a0}b\nCN=a b",
        "CN=a\u{ad}b\nCN=ab",
        "CN=#0c0464656d6f\nCN=demo",
        "CN=#0c810464656d6f\nCN=#130464656d6f",
        "1.2.3.4.5=#0c0454657874\n1.2.3.4.5=Text",
        "1.2.3.4.5=#0c0454657874\n1.2.3.4.5=#130454657874",
        "1.2.3.4.5=Text+1.2.3.4.5=#0c0454657874\n1.2.3.4.5=#0c0454657874+1.2.3.4.5=#130454657874",
        "1.2.3.4.5=#3003020105\n1.2.3.4.5=#020105",
        "2.999.3=#0500",
        "OID.2.5.4.3=x",
        "emailAddress=a@example.com\nE=A@EXAMPLE.COM",
        "DC=com,DC=example",
        "UID=jdoe+CN=J. Doe,DC=example",
        "serialNumber=1,organizationIdentifier=PSDGB-FCA-1,jurisdictionC=GB,businessCategory=Private Organization",
        "CN=",
        "CN= ",
        "CN=\\ ",
        "=a",
        "CN",
        "CN=a,",
        "CN=a,,O=b",
        "CN=a+",
        "+",
        ",",
        "#",
        "CN=#",
        "CN=#0c",
        "CN=#0g",
        "CN=#0c0561",
        "CN=#3080",
        "CN=#1f8101",
        "CN=\"a,b\"",
        "CN=a\\",
        "CN=a\\g",
        "CN=a\\c3",
        "CN=a\\ff",
        "CN=a;O=b",
        "CN=a<b>",
        "CN=a\\00b",
        "CN=a\u{202e}b",
        "CN=a\u{e0041}",
        "CN=\u{378}",
        "CN=\u{fffd}",
        "CN=\\E2\\80\\AE",
        "nobody=a",
        "1=a",
        "1.=a",
        "3.1=a",
        "1.40=a",
        "2.5.4.03=a",
        "2.5.4.340282366920938463463374607431768211455=a",
        "2.5.4.340282366920938463463374607431768211456=a",
        "CN=a=b",
        "CN=\u{1f600},O=\u{4e2d}\u{6587}",
        "",
        " ",
        "\n",
        "CN=a\r\nCN=a",
    ];
    let mut inputs: Vec<Vec<u8>> = written.iter().map(|text| text.as_bytes().to_vec()).collect();
    inputs.push(vec!["OU=a"; 60].join("+").into_bytes());
    inputs.push(vec!["OU=a"; 257].join(",").into_bytes());
    inputs.push(format!("CN={}", "\u{e000}".repeat(100)).into_bytes());
    inputs.push(b"CN=\xff".to_vec());
    inputs
}

pub(crate) fn subject_alternative_names() -> Vec<Vec<u8>> {
    let address = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1];
    let pairs: [(&str, (u8, &[u8])); 51] = [
        ("client.example.com", (2, b"client.example.com")),
        ("Client.Example.COM", (2, b"cLIENT.example.com")),
        ("client.example.com", (2, b"*.example.com")),
        ("*.example.com", (2, b"*.example.com")),
        ("client.example.com", (2, b"client.example.com.")),
        ("client.example.com", (2, b"client.example.com\0.evil")),
        ("client.example.com", (6, b"client.example.com")),
        ("b\u{fc}cher.example", (2, b"xn--bcher-kva.example")),
        ("b\u{fc}cher.example", (2, "b\u{fc}cher.example".as_bytes())),
        ("_dmarc.example", (2, b"_DMARC.example")),
        ("xn--a.example", (2, b"xn--a.example")),
        ("faß.example", (2, b"fass.example")),
        ("a。b", (2, b"a.b")),
        ("1.2.3", (2, b"1.2.3")),
        ("0x7f.1", (2, b"0x7f.1")),
        ("192.0.2.1", (7, &[192, 0, 2, 1])),
        ("192.0.2.1", (7, &mapped)),
        ("::ffff:192.0.2.1", (7, &mapped)),
        ("::ffff:192.0.2.1", (7, &[192, 0, 2, 1])),
        ("2001:db8::1", (7, &address)),
        ("2001:0DB8:0:0:0:0:0:1", (7, &address)),
        ("192.0.2.1", (2, b"192.0.2.1")),
        ("192.0.2.001", (7, &[192, 0, 2, 1])),
        ("192.0.2.1", (7, &[192, 0, 2, 1, 255, 255, 255, 255])),
        ("192.0.2.1", (7, &[])),
        ("fe80::1%eth0", (7, &address)),
        ("spiffe://example.org/a", (6, b"spiffe://example.org/a")),
        ("SPIFFE://Example.ORG/a", (6, b"spiffe://example.org/a")),
        ("https://a/b%7Ec%2fd", (6, b"HTTPS://A:443/x/../b~c%2Fd")),
        ("https://a", (6, b"https://a/")),
        ("https://a/b", (6, b"https://a/b/")),
        ("https://u:p@a:8443/?q=%7e#f", (6, b"https://u:p@A:8443/?q=~#f")),
        ("https://[2001:DB8::1]:443/", (6, b"https://[2001:db8::1]/")),
        ("https://[::ffff:192.0.2.1]/", (6, b"https://[::ffff:c000:201]/")),
        ("urn:example:a/../b", (6, b"URN:example:a/../b")),
        ("urn:uuid:1", (6, b"urn:UUID:1")),
        ("https://a%2eb/", (6, b"https://a.b/")),
        ("https://%41/", (6, b"https://a/")),
        ("x:/..//a", (6, b"x://a")),
        ("x:/.//a", (6, b"x:/.//a")),
        ("mailto:a@b", (6, b"mailto:a@b")),
        ("https://a:0443/", (6, b"https://a:443/")),
        ("http://a:80", (6, b"http://a/")),
        ("https:///a", (6, b"https:///a")),
        ("https://a/\\b", (6, b"https://a/b")),
        ("demo@example.com", (1, b"demo@EXAMPLE.com")),
        ("Demo@example.com", (1, b"demo@example.com")),
        ("\"a@b\"@example.com", (1, b"\"a@b\"@example.com")),
        ("demo@b\u{fc}cher.example", (1, b"demo@xn--bcher-kva.example")),
        ("demo@example.com", (1, "d\u{e9}mo@example.com".as_bytes())),
        ("demo@[192.0.2.1]", (1, b"demo@[192.0.2.1]")),
    ];
    let input = |registered: &str, extension: &[u8]| [registered.as_bytes(), b"\n", extension].concat();
    let mut inputs: Vec<Vec<u8>> = pairs
        .iter()
        .map(|(registered, presented)| input(registered, &general_names(&[*presented])))
        .collect();
    let several: [(u8, &[u8]); 9] = [
        (0, b"other"),
        (1, b"a@example.com"),
        (2, b"a.example"),
        (3, b""),
        (4, b"\x30\x00"),
        (5, b""),
        (6, b"https://a.example/"),
        (7, &[192, 0, 2, 1]),
        (8, &[0x2a, 3]),
    ];
    for registered in [
        "a.example",
        "a@example.com",
        "https://a.example/",
        "192.0.2.1",
        "b.example",
    ] {
        inputs.push(input(registered, &general_names(&several)));
    }
    inputs.push(input("a", &general_names(&[])));
    inputs.push(input("a", &general_names(&[(9, b"")])));
    inputs.push(input("a", &general_names(&[(2, &b"a"[..]); 257])));
    inputs.push(input("a", &[0x30, 3, 0xa2, 1, b'a']));
    inputs.push(input("a", &[0x30, 4, 0x82, 1, b'a', 0]));
    inputs.push(input("a", &[0x30, 0x81, 3, 0x82, 1, b'a']));
    inputs.push(input("a", &[0x31, 3, 0x82, 1, b'a']));
    inputs.push(input("a", &[0x30, 3, 0x16, 1, b'a']));
    inputs.push(input(
        &"a.".repeat(126),
        &general_names(&[(2, "a.".repeat(126).as_bytes())]),
    ));
    inputs.push(input(
        &"a".repeat(63),
        &general_names(&[(2, "A".repeat(63).as_bytes())]),
    ));
    inputs
}
