//! A compiled manifest, as `aapt dump xmltree` shows it: a line for each element and attribute, two spaces further in for
//! each level.

use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub struct Element {
    pub name: String,
    pub attributes: BTreeMap<String, String>,
    pub children: Vec<Element>,
}

impl Element {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }

    pub fn all(&self, name: &str) -> impl Iterator<Item = &Element> {
        self.children.iter().filter(move |child| child.name == name)
    }

    #[track_caller]
    pub fn only(&self, name: &str) -> &Element {
        let all: Vec<_> = self.all(name).collect();
        let [only] = &*all else { panic!("one {name}, not {all:?}") };
        only
    }

    /// The value of a `meta-data` of this element.
    #[track_caller]
    pub fn meta_data(&self, name: &str) -> Option<&str> {
        let all: Vec<_> =
            self.all("meta-data").filter(|data| data.get("android:name") == Some(name)).collect();
        assert!(all.len() < 2, "{all:?}");
        all.first().and_then(|data| data.get("android:value"))
    }
}

/// Reads what `aapt` shows.
#[track_caller]
pub fn read(text: &str) -> Element {
    // Those that are not over yet, each with how far in it stands.
    let mut open = vec![(0, Element::default())];
    for line in text.lines() {
        let content = line.trim_start();
        let indent = line.len() - content.len();
        if let Some(element) = content.strip_prefix("E: ") {
            close(&mut open, indent);
            let name = element.split(' ').next().unwrap_or_default().to_owned();
            open.push((indent, Element { name, ..Element::default() }));
        } else if let Some(attribute) = content.strip_prefix("A: ") {
            let (name, shown) = attribute.split_once('=').expect("an attribute's value");
            let name = name.split('(').next().unwrap_or_default().to_owned();
            let (_, element) = open.last_mut().expect("an element");
            assert_eq!(element.attributes.insert(name, value(shown)), None, "{line}");
        }
    }
    close(&mut open, 0);
    let (_, mut document) = open.pop().expect("the document");
    let manifest = document.children.pop().expect("an element");
    assert!(document.children.is_empty() && manifest.name == "manifest", "{text}");
    manifest
}

/// Ends the elements that stand as far in as this, or further.
fn close(open: &mut Vec<(usize, Element)>, indent: usize) {
    while open.len() > 1 && open.last().is_some_and(|(at, _)| *at >= indent) {
        let (_, element) = open.pop().expect("there are two");
        open.last_mut().expect("there was another").1.children.push(element);
    }
}

/// A text, a number, or yes and no; other values as they are shown.
fn value(shown: &str) -> String {
    if let Some(text) = shown.strip_prefix('"') {
        return text.split("\" (Raw: ").next().unwrap_or_default().to_owned();
    }
    let number = |prefix| shown.strip_prefix(prefix).map(|text| text.split(' ').next().unwrap_or_default());
    match (number("(type 0x12)0x"), number("(type 0x10)0x")) {
        (Some(yes), _) => (yes != "0").to_string(),
        (_, Some(hex)) => u32::from_str_radix(hex, 16).expect("a number").to_string(),
        _ => shown.to_owned(),
    }
}
