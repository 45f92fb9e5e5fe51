//! Where a tunnel is asked for: the paths of a service's methods.

/// A method of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `Tun`: one field of data in a message.
    Tun,
    /// `TunMulti`, which xray alone has: several fields of data in a message.
    TunMulti,
}

/// A service by its name, as v2ray and xray read it: a name becomes one segment of the path, before that of the method;
/// one that begins with a slash is the whole path (`/a/b/tun|multi`: the methods are `tun` and `multi` below `/a/b`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The path of [`Method::Tun`], as it is asked for.
    pub tun: String,
    /// That of [`Method::TunMulti`].
    pub tun_multi: String,
    /// That of [`Method::Tun`] in programs that do not escape the name, where it is another.
    plain: Option<String>,
}

impl Service {
    /// The service of this name, which may be empty.
    pub fn new(name: &str) -> Service {
        if let Some(path) = name.strip_prefix('/') {
            let (folder, methods) = path.rsplit_once('/').map_or(("", path), |(folder, last)| (folder, last));
            let folder: String = folder
                .split('/')
                .filter(|_| !folder.is_empty())
                .map(|part| format!("/{}", escape(part)))
                .collect();
            let (tun, tun_multi) = methods.split_once('|').unwrap_or((methods, methods));
            let path = |method: &str| format!("{folder}/{}", escape(method));
            return Service { tun: path(tun), tun_multi: path(tun_multi), plain: None };
        }
        let (escaped, plain) = (format!("/{}/Tun", escape(name)), format!("/{name}/Tun"));
        Service {
            tun_multi: format!("{escaped}Multi"),
            plain: Some(plain).filter(|plain| *plain != escaped),
            tun: escaped,
        }
    }

    /// The method that is asked for with this path, if it is one of this service.
    pub fn method(&self, path: &str) -> Option<Method> {
        if path == self.tun || self.plain.as_deref() == Some(path) {
            return Some(Method::Tun);
        }
        (path == self.tun_multi).then_some(Method::TunMulti)
    }
}

/// Escapes a segment of a path as Go's `url.PathEscape` does.
fn escape(segment: &str) -> String {
    let mut escaped = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => escaped.push(byte.into()),
            b'$' | b'&' | b'+' | b'=' | b':' | b'@' => escaped.push(byte.into()),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}
