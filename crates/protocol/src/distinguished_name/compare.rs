//! `distinguishedNameMatch` (RFC 4517 §4.2.15), and where two names differ.

use std::fmt;
use std::ops::Range;

use super::{Attribute, DistinguishedName, RelativeDistinguishedName};

/// Where a presented name first differs from the registered one, in the order in which names are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameDifference {
    /// What kind of difference it is.
    pub kind: NameDifferenceKind,
    /// Which RDN, counted from 0 in the written form.
    pub index: usize,
    /// The characters of that RDN in the presented name as displayed; empty, at the end, if it has no such RDN.
    pub presented: Range<usize>,
    /// The characters of that RDN in the registered name as displayed; empty, at the end, if it has no such RDN.
    pub registered: Range<usize>,
}

/// How two names differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameDifferenceKind {
    /// The certificate has no subject at all.
    EmptySubject,
    /// The same RDNs, last first: somebody wrote the name in the other order.
    Reversed,
    /// The same RDNs in another order.
    Reordered,
    /// The certificate has fewer RDNs.
    Missing,
    /// The certificate has more RDNs.
    Additional,
    /// This RDN has another value.
    Value,
    /// This RDN of the certificate has a value that equals nothing (control characters and the like).
    Uncomparable,
}

impl DistinguishedName {
    /// Decides whether two names are the same, by the rules for directory names.
    ///
    /// RFC 4517 §4.2.15: as many RDNs, each equal to the one in its place; inside an RDN the order of attributes means nothing. Values
    /// are compared without regard to case and insignificant blanks (RFC 4518). An empty name equals nothing, itself included, and
    /// neither does a name with a control character. This is not `==`, which does not exist: it would have to be reflexive.
    pub fn matches(&self, other: &DistinguishedName) -> bool {
        !self.rdns.is_empty()
            && self.rdns.len() == other.rdns.len()
            && self.rdns.iter().zip(&other.rdns).all(|(one, two)| one.matches(two))
    }

    /// Where this name, presented, first differs from a registered one; `None` if they match.
    pub fn difference(&self, registered: &DistinguishedName) -> Option<NameDifference> {
        if self.matches(registered) {
            return None;
        }
        let index = self
            .rdns()
            .zip(registered.rdns())
            .position(|(one, two)| !one.matches(two));
        let index = index.unwrap_or_else(|| self.rdns.len().min(registered.rdns.len()));
        let kind = self.difference_kind(registered, index);
        Some(NameDifference {
            kind,
            index,
            presented: self.span(index),
            registered: registered.span(index),
        })
    }

    /// Whether both have an organisation (O) or a domain (all their DCs) in common. A hint about who belongs together, no comparison.
    pub(crate) fn shares_organization_with(&self, other: &DistinguishedName) -> bool {
        let organization = |rdn: &&RelativeDistinguishedName| {
            rdn.attributes
                .iter()
                .any(|attribute| matches!(attribute.attribute_type.name(), Some("O" | "DC")))
        };
        let of = |name: &DistinguishedName| name.rdns.iter().filter(organization).cloned().collect::<Vec<_>>();
        let (ours, theirs) = (of(self), of(other));
        !ours.is_empty() && is_permutation(&ours, &theirs, RelativeDistinguishedName::matches)
    }

    fn difference_kind(&self, registered: &DistinguishedName, index: usize) -> NameDifferenceKind {
        if self.rdns.is_empty() {
            return NameDifferenceKind::EmptySubject;
        }
        if self
            .rdns()
            .nth(index)
            .is_some_and(RelativeDistinguishedName::is_uncomparable)
        {
            return NameDifferenceKind::Uncomparable;
        }
        if self.rdns.len() == registered.rdns.len() {
            if self
                .rdns
                .iter()
                .rev()
                .zip(&registered.rdns)
                .all(|(one, two)| one.matches(two))
            {
                return NameDifferenceKind::Reversed;
            }
            if is_permutation(&self.rdns, &registered.rdns, RelativeDistinguishedName::matches) {
                return NameDifferenceKind::Reordered;
            }
        }
        if index >= self.rdns.len() {
            return NameDifferenceKind::Missing;
        }
        if index >= registered.rdns.len() {
            return NameDifferenceKind::Additional;
        }
        NameDifferenceKind::Value
    }

    /// The characters of RDN `index` in the displayed form.
    fn span(&self, index: usize) -> Range<usize> {
        let mut start = 0;
        for (position, rdn) in self.rdns().enumerate() {
            let length = rdn.to_string().chars().count();
            if position == index {
                return start..start + length;
            }
            start += length + 1;
        }
        let end = start.saturating_sub(1);
        end..end
    }
}

impl RelativeDistinguishedName {
    fn matches(&self, other: &RelativeDistinguishedName) -> bool {
        if self.attributes.len() != other.attributes.len() {
            return false;
        }
        let mut free: Vec<&Attribute> = other.attributes.iter().collect();
        // A text for a type with no name equals that text in every string type, and those do not equal each other. So values meet
        // their like first and such a text takes what is left; else the order of attributes would decide.
        let ours = |any_type| {
            let attributes = self.attributes.iter();
            attributes.filter(move |attribute| attribute.value.is_of_any_type() == any_type)
        };
        ours(false).chain(ours(true)).all(|one| {
            let partner = |any_type| {
                free.iter()
                    .position(|two| two.value.is_of_any_type() == any_type && one.matches(two))
            };
            let partner = partner(false).or_else(|| partner(true));
            partner.map(|position| free.swap_remove(position)).is_some()
        })
    }

    fn is_uncomparable(&self) -> bool {
        self.attributes
            .iter()
            .any(|attribute| attribute.value.uncomparable().is_some())
    }
}

impl Attribute {
    fn matches(&self, other: &Attribute) -> bool {
        self.attribute_type == other.attribute_type && self.value.matches(&other.value)
    }
}

/// Whether each of `ones` has a partner of its own among `twos`, and none is left over.
fn is_permutation<T>(ones: &[T], twos: &[T], equal: impl Fn(&T, &T) -> bool) -> bool {
    if ones.len() != twos.len() {
        return false;
    }
    let mut free: Vec<&T> = twos.iter().collect();
    ones.iter()
        .all(|one| match free.iter().position(|two| equal(one, two)) {
            Some(position) => {
                free.swap_remove(position);
                true
            }
            None => false,
        })
}

impl fmt::Display for NameDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ORDINALS: [&str; 6] = ["first", "second", "third", "fourth", "fifth", "sixth"];
        let ordinal = match ORDINALS.get(self.index) {
            Some(ordinal) => (*ordinal).to_owned(),
            None => format!("{}th", self.index + 1),
        };
        match self.kind {
            NameDifferenceKind::EmptySubject => f.write_str("the certificate has an empty subject"),
            NameDifferenceKind::Reversed => f.write_str("the same RDNs in reverse order: their order is significant"),
            NameDifferenceKind::Reordered => f.write_str("the same RDNs in another order: their order is significant"),
            NameDifferenceKind::Missing => write!(f, "{ordinal} RDN is missing in the certificate"),
            NameDifferenceKind::Additional => write!(f, "{ordinal} RDN is not registered"),
            NameDifferenceKind::Value => write!(f, "{ordinal} RDN differs"),
            NameDifferenceKind::Uncomparable => {
                write!(f, "{ordinal} RDN of the certificate has characters that equal nothing")
            }
        }
    }
}
