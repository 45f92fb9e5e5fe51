//! What asks for a part of the program that this build has left out is refused, with that reason.

use super::disguise::Disguise;
use super::error::ConfigError;
use super::features::Feature;
use super::options::{OPTIONS, Options};
use super::role::{Role, RoleReason};
use super::values::truth;

/// What an option needs on this half, with this value.
fn needed(name: &str, value: &str, role: Role) -> Option<Feature> {
    let own_website = || matches!(value.split_once(':'), Some(("redirect" | "dir" | "status", _)));
    match name {
        "tls" if truth(Some(value)) != Some(false) => Some(Feature::Tls),
        "mode" => Disguise::named(value, |row| row.mode)?.row().feature,
        "obfs" => Disguise::named(value, |row| row.obfs)?.row().feature,
        "serviceName" if role == Role::Server => Some(Feature::Grpc),
        "quic" if role == Role::Server && truth(Some(value)) != Some(false) => Some(Feature::Quic),
        "metrics" => Some(Feature::Metrics),
        "failover" if role == Role::Server && own_website() => Some(Feature::Site),
        _ => None,
    }
}

/// Sees to it that the half is there, and what its options need.
pub(super) fn check(options: &Options, role: Role, why: &RoleReason) -> Result<(), ConfigError> {
    let half = match role {
        Role::Client => Feature::Client,
        Role::Server => Feature::Server,
    };
    require(half, || format!("{role} ({why})"))?;
    for spec in OPTIONS {
        if let Some(option) = options.get(spec.name)
            && let Some(feature) = needed(spec.name, option.value.as_deref().unwrap_or_default(), role)
        {
            require(feature, || format!("option `{option}`"))?;
        }
    }
    Ok(())
}

/// Sees to it that a part is there for what asks for it.
fn require(feature: Feature, asked: impl FnOnce() -> String) -> Result<(), ConfigError> {
    if feature.is_built() { Ok(()) } else { Err(ConfigError::LeftOut { asked: asked(), feature }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_a_part_of_the_program() {
        use Feature::{Grpc, Metrics, Quic, Site, Tls};
        for (name, value, role, wanted) in [
            ("tls", "", Role::Client, Some(Tls)),
            ("tls", "only", Role::Server, Some(Tls)),
            ("tls", "false", Role::Server, None),
            ("mode", "QUIC", Role::Client, Some(Quic)),
            ("mode", "grpc", Role::Server, Some(Grpc)),
            ("serviceName", "a", Role::Server, Some(Grpc)),
            ("serviceName", "a", Role::Client, None),
            ("mode", "websocket", Role::Client, None),
            ("quic", "", Role::Server, Some(Quic)),
            ("quic", "false", Role::Server, None),
            ("quic", "", Role::Client, None),
            ("metrics", "127.0.0.1:9180", Role::Client, Some(Metrics)),
            ("failover", "dir:/var/www", Role::Server, Some(Site)),
            ("failover", "status:404", Role::Client, None),
            ("failover", "127.0.0.1:8080", Role::Server, None),
            ("failover", "[::1]:8080", Role::Server, None),
        ] {
            assert_eq!(needed(name, value, role), wanted, "{name}={value}");
        }
    }

    #[test]
    fn what_is_left_out_is_told_with_its_feature() {
        use Feature::{Client, Grpc, Metrics, Probe, Quic, Server, Share, Site, Tls};
        for feature in [Server, Client, Tls, Quic, Grpc, Probe, Site, Metrics, Share] {
            let asked = "option `x`".to_owned();
            let wanted = ConfigError::LeftOut { asked: asked.clone(), feature };
            assert_eq!(require(feature, || asked).err(), (!feature.is_built()).then_some(wanted));
        }
        let error = ConfigError::LeftOut { asked: "option `tls`".into(), feature: Feature::Tls };
        assert_eq!(error.to_string(), "option `tls`: this build has no TLS (cargo feature `tls`)");
    }
}
