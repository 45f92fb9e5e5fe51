use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn fields(items: &[Item]) -> Vec<String> {
    items
        .iter()
        .map(|item| match item {
            Item::Field { name, value, .. } => format!("{}: {}", name.escape_ascii(), value.escape_ascii()),
            Item::TableSize(size) => format!("size {size}"),
        })
        .collect()
}

/// RFC 7541 appendix C.6: three answers with a table of 256 bytes, compressed, of which entries are evicted.
#[test]
fn the_answers_of_the_specification_are_read() {
    let mut decoder = Decoder::new(10_000);
    decoder.decode(&bytes("3f e1 01")).unwrap();
    let first = "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 \
                 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3";
    let first = decoder.decode(&bytes(first)).unwrap();
    assert_eq!(
        fields(&first),
        [
            ":status: 302",
            "cache-control: private",
            "date: Mon, 21 Oct 2013 20:13:21 GMT",
            "location: https://www.example.com",
        ]
    );
    let second = decoder.decode(&bytes("4883 640e ffc1 c0bf")).unwrap();
    assert_eq!(fields(&second)[0], ":status: 307");
    assert_eq!(fields(&second)[1..], fields(&first)[1..]);
    let third = "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab \
                 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f \
                 9587 3160 65c0 03ed 4ee5 b106 3d50 07";
    let third = decoder.decode(&bytes(third)).unwrap();
    assert_eq!(
        fields(&third),
        [
            ":status: 200",
            "cache-control: private",
            "date: Mon, 21 Oct 2013 20:13:22 GMT",
            "location: https://www.example.com",
            "content-encoding: gzip",
            "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
        ]
    );
    assert_eq!(decoder.table.len(), 3);
    assert_eq!(decoder.size, 215);
    let forms: Vec<_> = first
        .iter()
        .chain(&third)
        .filter_map(|item| match item {
            Item::Field { form, .. } => Some(form.to_string()),
            Item::TableSize(_) => None,
        })
        .collect();
    assert_eq!(forms[0], "kept, name of entry 8, compressed value");
    assert_eq!(forms[4], "entry 8");
    assert_eq!(forms[5], "entry 65");
}

/// Appendices C.2.1 to C.2.3.
#[test]
fn each_form_of_a_literal_is_told() {
    let form = |hex: &str| match &Decoder::new(1000).decode(&bytes(hex)).unwrap()[..] {
        [Item::Field { form, .. }] => form.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        form("400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572"),
        "kept, plain name, plain value"
    );
    assert_eq!(form("040c 2f73 616d 706c 652f 7061 7468"), "not kept, name of entry 4, plain value");
    assert_eq!(form("1008 7061 7373 776f 7264 0673 6563 7265 74"), "never kept, plain name, plain value");
    assert_eq!(form("00 82 94e7 83 8cdc ff"), "not kept, compressed name, compressed value");
}

#[test]
fn what_is_written_is_read() {
    let mut block = Vec::new();
    let long = vec![b'x'; 40_000];
    for (name, value) in [(&b":path"[..], &b"//Tun"[..]), (b"x", b""), (b"y", &long), (b"z", &long[..127])] {
        write(name, value, &mut block);
    }
    let read = Decoder::new(100_000).decode(&block).unwrap();
    let values: Vec<_> = read
        .iter()
        .map(|item| match item {
            Item::Field { value, .. } => value.len(),
            Item::TableSize(_) => panic!(),
        })
        .collect();
    assert_eq!(values, [5, 0, 40_000, 127]);
}

#[test]
fn what_is_malformed_is_no_field() {
    for hex in [
        "80",                      // entry 0
        "be",                      // an entry that is not there
        "ff ff ff ff ff 7f",       // a number without an end
        "3f",                      // half a number
        "3f e2 1f",                // a table of more than was allowed
        "00",                      // no name
        "00 01 61",                // no value
        "00 05 61 62",             // half a name
        "00 01 61 81 00",          // a code that is filled up with zeros
        "00 01 61 82 ff ff",       // more than a byte of filling
        "00 01 61 84 ff ff ff ff", // the end of a string in it
    ] {
        assert_eq!(Decoder::new(1000).decode(&bytes(hex)), Err(Malformed), "{hex}");
    }
}

/// One byte stands for an entry of 4 KiB, and a block has many.
#[test]
fn what_is_read_is_bounded() {
    let mut block = vec![0x40];
    for text in [&[b'n'; 10][..], &[b'v'; 4000]] {
        integer(text.len(), &mut block);
        block.extend_from_slice(text);
    }
    block.extend([0xbe; 50]);
    assert!(Decoder::new(51 * 4042).decode(&block).is_ok());
    assert_eq!(Decoder::new(50 * 4042).decode(&block), Err(Malformed));
    let mut decoder = Decoder::new(1 << 22);
    for _ in 0..10 {
        decoder.decode(&block).unwrap();
        assert!(decoder.size <= TABLE && decoder.table.len() == 1);
    }
}
