//! Tests that need more than one file: crashes, corruption, both implementations side by side.
