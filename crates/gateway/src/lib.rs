//! The gateway: clients speak to it, it speaks to the regions.
//!
//! Responsible for finding the leader of the region that a request names in field 1, passing the bytes on and the answer
//! back, and repeating what failed on the way. It knows no message type, keeps no state but the member lists it can ask
//! for again, opens no payload, and decides nothing about identity: credentials pass through to the node.
//!
//! Reading order: `service.rs` (the door), `forward.rs` (retries), `region.rs` (whom to ask), `node.rs` (connections),
//! `body.rs` (what the client gets), `refusal.rs` (own errors), `server.rs` (sockets).
//!
//! **Invariant:** the forwarding path decodes field 1 and nothing else; a new RPC in a public package needs no change.
//! **Invariant:** regions share no connection, queue, limit or task: a dead one costs another nothing.
//!
//! Absent on purpose: caches, authorization, load balancing of reads over followers, and TLS until the security work.

mod body;
pub mod config;
mod forward;
mod frame;
mod node;
mod refusal;
mod region;
mod server;
mod service;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use pi_runtime::shutdown::Shutdown;
use pi_runtime::tasks::Supervisor;
use prost::Message;
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use config::{Config, Reflection};
use region::Region;
use service::Gateway;

/// The services whose health is told beside that of the whole process (the empty name).
const SERVICES: [&str; 3] = ["pi.secrets.v1.Secrets", "pi.regions.v1.Regions", "pi.admin.v1.Admin"];
/// Packages that reflection shows.
const REFLECTED: [&str; 5] = ["pi.secrets.v1", "pi.pods.v1", "pi.nodes.v1", "pi.regions.v1", "pi.admin.v1"];
/// Between health turning to not-serving and the first refusal, so that those who look can stay away.
const HEALTH_LEAD: Duration = Duration::from_millis(100);
/// On top of the drain time, for the tasks themselves to end.
const DRAIN_MARGIN: Duration = Duration::from_secs(1);

/// A gateway that has its address but does not serve yet.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    config: Arc<Config>,
}

impl Server {
    /// Checks the configuration and takes the address.
    ///
    /// # Errors
    /// A setting out of bounds, or an address that is taken.
    pub async fn bind(config: Config) -> anyhow::Result<Self> {
        config.check()?;
        let listener = TcpListener::bind(config.listen)
            .await
            .with_context(|| format!("key `listen`: cannot listen on {}", config.listen))?;
        let address = listener.local_addr().context("the listener has no address")?;
        Ok(Self { listener, address, config: Arc::new(config) })
    }

    /// Where clients reach it; tells the port when port 0 was configured.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown`: then health says not-serving, no new request is taken, open ones end within the drain
    /// time, and this returns.
    ///
    /// # Errors
    /// A task failed.
    pub async fn run(self, shutdown: Shutdown) -> anyhow::Result<()> {
        let Self { listener, address, config } = self;
        // Follows `shutdown` after health has told.
        let draining = Shutdown::new();
        let (reporter, local) = local_services(&config).await?;
        let regions: Vec<_> =
            config.regions.iter().map(|region| Arc::new(Region::new(region, &config))).collect();
        let gateway = Arc::new(Gateway::new(regions.iter().cloned(), &config, local, draining.clone()));

        let mut supervisor = Supervisor::new(shutdown.clone());
        for region in regions {
            supervisor.spawn("region", region.follow(Arc::clone(&config), draining.clone()));
        }
        supervisor.spawn("server", server::serve(listener, gateway, config.limits.clone(), draining.clone()));
        supervisor.spawn("health", async move {
            shutdown.requested().await;
            report(&reporter, ServingStatus::NotServing).await;
            tokio::time::sleep(HEALTH_LEAD).await;
            end_watches(reporter).await;
            draining.trigger();
            anyhow::Ok(())
        });
        tracing::info!(%address, regions = config.regions.len(), "serving");
        let drain = Duration::from_millis(config.limits.drain_ms) + HEALTH_LEAD + DRAIN_MARGIN;
        supervisor.run(drain).await.context("the gateway stopped")
    }
}

/// Health, and reflection where configured.
async fn local_services(config: &Config) -> anyhow::Result<(HealthReporter, Routes)> {
    let (reporter, health) = tonic_health::server::health_reporter();
    report(&reporter, ServingStatus::Serving).await;
    let mut routes = Routes::new(health);
    if config.reflection == Reflection::On {
        let public = public_descriptors()?;
        let builder = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(&public)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        routes = routes
            .add_service(builder().build_v1().context("building reflection v1")?)
            .add_service(builder().build_v1alpha().context("building reflection v1alpha")?);
    }
    Ok((reporter, routes))
}

async fn report(reporter: &HealthReporter, status: ServingStatus) {
    reporter.set_service_status("", status).await;
    for service in SERVICES {
        reporter.set_service_status(service, status).await;
    }
}

/// Ends the streams of those who watch our health. They know by now, and would hold the drain up to its last moment.
async fn end_watches(mut reporter: HealthReporter) {
    for service in SERVICES.iter().chain([&""]) {
        reporter.clear_service_status(service).await;
    }
}

/// The public part of `/proto`: what nodes say to each other is nobody's business.
fn public_descriptors() -> anyhow::Result<Vec<u8>> {
    let mut set = prost_types::FileDescriptorSet::decode(pi_proto::FILE_DESCRIPTOR_SET)
        .context("the compiled-in descriptors do not decode")?;
    set.file.retain(|file| {
        let package = file.package();
        REFLECTED.contains(&package) || package.starts_with("google.")
    });
    Ok(set.encode_to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reflection_shows_public_packages_only() {
        let set = prost_types::FileDescriptorSet::decode(&public_descriptors().unwrap()[..]).unwrap();
        let packages: Vec<_> = set.file.iter().map(|file| file.package()).collect();
        assert!(packages.contains(&"pi.secrets.v1"), "{packages:?}");
        assert!(!packages.contains(&"pi.raft.v1"), "{packages:?}");
    }
}
