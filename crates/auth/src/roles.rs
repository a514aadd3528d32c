//! What a tenant's credential may do, as a set.
//!
//! Responsible for the set and its two stable forms, bits and text. What each role allows, [`crate::authorize`] says.

use std::fmt;
use std::str::FromStr;

/// One permission of a tenant's credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Everything that any role may, and the tenant's own credentials, listed. Text: `admin`.
    Admin,
    /// Creates, updates and deletes. Text: `write`.
    Writer,
    /// Sees metadata: get, list, watch. Text: `read`.
    MetadataReader,
    /// Reads payloads. Text: `access`.
    Accessor,
}

impl Role {
    /// All roles, in the order in which they are written.
    pub const ALL: [Self; 4] = [Self::Admin, Self::Writer, Self::MetadataReader, Self::Accessor];

    /// The text form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Writer => "write",
            Self::MetadataReader => "read",
            Self::Accessor => "access",
        }
    }

    /// Stored: never renumber, never reuse.
    const fn bit(self) -> u8 {
        match self {
            Self::Admin => 1,
            Self::Writer => 2,
            Self::MetadataReader => 4,
            Self::Accessor => 8,
        }
    }
}

/// A set of roles. The empty set is valid and allows nothing; its text, `none`, is written but not read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Roles(u8);

/// The text is no set of roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("roles are one or more of admin, write, read and access, separated by commas, each once")]
pub struct InvalidRoles;

impl Roles {
    /// No role.
    pub const NONE: Self = Self(0);
    /// Every role.
    pub const ALL: Self = Self(0b1111);

    /// Whether the set has this very role; that an admin may what others may is the table's business.
    #[must_use]
    pub const fn contains(self, role: Role) -> bool {
        self.0 & role.bit() != 0
    }

    /// The set with one role more.
    #[must_use]
    pub const fn with(self, role: Role) -> Self {
        Self(self.0 | role.bit())
    }

    /// True for [`Self::NONE`].
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The form to store: one bit a role, stable for ever.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Reads [`Self::bits`]. `None` when a bit is set that names no role: a set written by a newer version must not
    /// shrink silently.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits & !Self::ALL.0 == 0 { Some(Self(bits)) } else { None }
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Self {
        roles.into_iter().fold(Self::NONE, Self::with)
    }
}

impl FromStr for Roles {
    type Err = InvalidRoles;

    fn from_str(text: &str) -> Result<Self, InvalidRoles> {
        let mut roles = Self::NONE;
        for word in text.split(',') {
            let role = Role::ALL.into_iter().find(|role| role.as_str() == word).ok_or(InvalidRoles)?;
            if roles.contains(role) {
                return Err(InvalidRoles);
            }
            roles = roles.with(role);
        }
        Ok(roles)
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        let mut separator = "";
        for role in Role::ALL.into_iter().filter(|role| self.contains(*role)) {
            write!(f, "{separator}{}", role.as_str())?;
            separator = ",";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_but_the_empty_one_survives_text_and_every_set_survives_bits() {
        for bits in 0..=0b1111 {
            let roles = Roles::from_bits(bits).unwrap();
            assert_eq!(Roles::from_bits(roles.bits()), Some(roles));
            let read = roles.to_string().parse::<Roles>();
            assert_eq!(read, if bits == 0 { Err(InvalidRoles) } else { Ok(roles) }, "{roles}");
        }
        assert_eq!(Role::ALL.into_iter().collect::<Roles>(), Roles::ALL);
    }

    #[test]
    fn the_stored_bits_are_these_for_ever() {
        let bits = Role::ALL.map(|role| (role.as_str(), Roles::NONE.with(role).bits()));
        assert_eq!(bits, [("admin", 1), ("write", 2), ("read", 4), ("access", 8)]);
    }

    #[test]
    fn what_is_no_set_of_roles_is_refused() {
        for text in ["", "none", "Admin", "admin,", ",admin", "admin,admin", "admin, write", "owner"] {
            assert_eq!(text.parse::<Roles>(), Err(InvalidRoles), "{text}");
        }
        for bits in 16..=255 {
            assert_eq!(Roles::from_bits(bits), None);
        }
    }
}
