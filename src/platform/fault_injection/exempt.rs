//! Routes into which the gremlin injects no faults, so that faults can always be ended.

/// The exempt routes of every service: those of the gremlin, the metrics and the probes.
const PLATFORM: &[&str] = &["/gremlin/*", "/metrics", "/livez", "/readyz"];

/// The exempt routes of every service and those that one service registers.
#[derive(Debug, Clone, Copy)]
pub struct ExemptRoutes {
    of_service: &'static [&'static str],
}

impl ExemptRoutes {
    /// `of_service` are paths. A path that ends with `/*` stands for all paths below it.
    #[must_use]
    pub const fn new(of_service: &'static [&'static str]) -> Self {
        Self { of_service }
    }

    #[must_use]
    pub fn contains(&self, path: &str) -> bool {
        let mut all = PLATFORM.iter().chain(self.of_service);
        all.any(|exempt| match exempt.strip_suffix('*') {
            Some(prefix) => path.starts_with(prefix),
            None => path == *exempt,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_of_the_platform_and_registered_routes_are_exempt() {
        let exempt = ExemptRoutes::new(&["/", "/static/*"]);
        for path in ["/", "/static/app.js", "/metrics", "/gremlin/rules/3"] {
            assert!(exempt.contains(path), "{path}");
        }
        for path in ["/orders", "/static", "/metrics/", "/health", "/inventory"] {
            assert!(!exempt.contains(path), "{path}");
        }
    }
}
