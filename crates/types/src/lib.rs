//! Domain types, parsing, validation and limits. Pure.
