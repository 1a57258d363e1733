//! Publishing and subscribing, over sockets.

mod filters;
mod frames;
mod live;
mod starts;
