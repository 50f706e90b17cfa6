//! Unicode's blocks of the scripts that are met most, for `\p{InGreek}`. Names are compared without blanks, dashes and
//! underscores, and without regard to case.

/// Name, first and last character (Unicode 16.0, Blocks).
const BLOCKS: &[(&str, u32, u32)] = &[
    ("basiclatin", 0x0000, 0x007f),
    ("latin1supplement", 0x0080, 0x00ff),
    ("latinextendeda", 0x0100, 0x017f),
    ("latinextendedb", 0x0180, 0x024f),
    ("ipaextensions", 0x0250, 0x02af),
    ("spacingmodifierletters", 0x02b0, 0x02ff),
    ("combiningdiacriticalmarks", 0x0300, 0x036f),
    ("greek", 0x0370, 0x03ff),
    ("greekandcoptic", 0x0370, 0x03ff),
    ("cyrillic", 0x0400, 0x04ff),
    ("cyrillicsupplementary", 0x0500, 0x052f),
    ("armenian", 0x0530, 0x058f),
    ("hebrew", 0x0590, 0x05ff),
    ("arabic", 0x0600, 0x06ff),
    ("devanagari", 0x0900, 0x097f),
    ("bengali", 0x0980, 0x09ff),
    ("tamil", 0x0b80, 0x0bff),
    ("thai", 0x0e00, 0x0e7f),
    ("georgian", 0x10a0, 0x10ff),
    ("hanguljamo", 0x1100, 0x11ff),
    ("latinextendedadditional", 0x1e00, 0x1eff),
    ("greekextended", 0x1f00, 0x1fff),
    ("generalpunctuation", 0x2000, 0x206f),
    ("superscriptsandsubscripts", 0x2070, 0x209f),
    ("currencysymbols", 0x20a0, 0x20cf),
    ("letterlikesymbols", 0x2100, 0x214f),
    ("numberforms", 0x2150, 0x218f),
    ("arrows", 0x2190, 0x21ff),
    ("mathematicaloperators", 0x2200, 0x22ff),
    ("boxdrawing", 0x2500, 0x257f),
    ("geometricshapes", 0x25a0, 0x25ff),
    ("miscellaneoussymbols", 0x2600, 0x26ff),
    ("dingbats", 0x2700, 0x27bf),
    ("cjksymbolsandpunctuation", 0x3000, 0x303f),
    ("hiragana", 0x3040, 0x309f),
    ("katakana", 0x30a0, 0x30ff),
    ("cjkunifiedideographs", 0x4e00, 0x9fff),
    ("hangulsyllables", 0xac00, 0xd7af),
    ("privateusearea", 0xe000, 0xf8ff),
    ("halfwidthandfullwidthforms", 0xff00, 0xffef),
    ("emoticons", 0x1f600, 0x1f64f),
];

/// The first and the last character of a block.
pub(super) fn find(name: &str) -> Option<(u32, u32)> {
    let plain: String = name
        .chars()
        .filter(|character| !matches!(character, ' ' | '-' | '_'))
        .map(|character| character.to_ascii_lowercase())
        .collect();
    let (_, first, last) = BLOCKS.iter().find(|(known, ..)| *known == plain)?;
    Some((*first, *last))
}
