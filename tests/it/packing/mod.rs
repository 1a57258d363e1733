//! Packing and verifying, over sockets and as people with SQL see it.

mod immutable;
