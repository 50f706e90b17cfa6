//! DER (X.690), as far as certificates and key files need it: bytes go in, elements come out one after the other.

/// What a value is.
pub(super) mod tag {
    pub(in super::super) const INTEGER: u8 = 0x02;
    pub(in super::super) const OCTET_STRING: u8 = 0x04;
    pub(in super::super) const OBJECT_ID: u8 = 0x06;
    pub(in super::super) const SEQUENCE: u8 = 0x30;
    /// `[0]`, with the value it stands for inside.
    pub(in super::super) const EXPLICIT_0: u8 = 0xA0;
    /// `[0]`, in place of the tag of a plain value.
    pub(in super::super) const IMPLICIT_0: u8 = 0x80;
}

/// Reads elements in their order.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// A reader of these elements.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Tag and content of the next element.
    pub(super) fn any(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7F => (usize::from(first), rest),
            0x81..=0x84 => {
                let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7F))?;
                let length = digits
                    .iter()
                    .fold(0_usize, |length, digit| length << 8 | usize::from(*digit));
                (length, rest)
            }
            _ => return None,
        };
        let (content, after) = rest.split_at_checked(length)?;
        self.0 = after;
        Some((tag, content))
    }

    /// The content of the next element if it has this tag; otherwise nothing is read.
    pub(super) fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let (found, content) = ahead.any()?;
        (found == tag).then(|| {
            *self = ahead;
            content
        })
    }

    /// The elements inside the next one, which must have this tag.
    pub(super) fn inside(&mut self, tag: u8) -> Option<Reader<'a>> {
        self.take(tag).map(Reader)
    }

    /// A number that is not negative and fits.
    pub(super) fn number(&mut self) -> Option<u32> {
        let digits = self.take(tag::INTEGER)?;
        let digits = digits.strip_prefix(&[0]).unwrap_or(digits);
        (digits.len() <= 4).then(|| digits.iter().fold(0, |number, digit| number << 8 | u32::from(*digit)))
    }

    /// An algorithm: its object id, and its parameters to be read.
    pub(super) fn algorithm(&mut self) -> Option<(&'a [u8], Reader<'a>)> {
        let mut inside = self.inside(tag::SEQUENCE)?;
        Some((inside.take(tag::OBJECT_ID)?, inside))
    }
}
