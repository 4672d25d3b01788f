//! The plugins that are built in. Whatever can be left out or added is a row here.

use ruwsgi_core::gateway::Router;

/// The routers.
pub const ROUTERS: &[Router] = &[ruwsgi_http::ROUTER, ruwsgi_fastrouter::ROUTER, ruwsgi_rawrouter::ROUTER];
