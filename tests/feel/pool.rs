//! The pieces that generated expressions are made of: good ones, and some that are none. Items stand between `¦`.

pub const SKIPPED: &str = "now¦today¦uuid¦random number¦createDocument¦backoff¦bpmnError¦assert";
pub const DATES: &str = concat!(
    "2024-02-29¦2023-12-31¦2019-09-17¦0001-01-01¦9999-12-31¦-0044-03-15¦12345-06-07¦2024-2-9¦2023-02-29¦",
    "2024-13-01¦99999-01-01¦"
);
pub const TIMES: &str = concat!(
    "10:30:00¦00:00:00¦23:59:59.999¦10:30¦T10:30:00¦10:30:00Z¦10:30:00+01:00¦10:30:00@Europe/Berlin¦",
    "24:00:00¦25:00:00¦10:30:00.123456789¦10:30:15-05:30¦10:60:00¦10:30:00@No/Where¦10:30:00+19:00¦",
    "10:30:00.5+02:00"
);
pub const DATE_TIMES: &str = concat!(
    "2024-02-29T10:30:00¦2024-02-29T10:30:00Z¦2024-03-31T02:30:00@Europe/Berlin¦",
    "2024-10-27T02:30:00@Europe/Berlin¦2024-07-01T10:30:00+02:00¦",
    "2024-07-01T10:30:00+02:00[Europe/Berlin]¦2024-02-29¦2024-02-30T10:00:00¦2024-02-29T24:00:00¦",
    "2024-02-29T10:30¦2024-02-29T10:30:00.123Z¦2024-02-29T10:30:00@America/New_York¦",
    "2024-02-29T10:30:00@Z¦2024-02-29T10:30:00[Europe/Berlin]¦-0001-02-28T10:30:00Z¦",
    "2024-02-29T10:30:00+18:00¦2024-02-29T10:30:00@UTC¦nonsense"
);
pub const DAY_TIMES: &str = concat!(
    "P1D¦PT2H¦P1DT2H3M4S¦-PT1H¦PT0S¦PT0.5S¦P0D¦PT90M¦-P2DT3H¦P¦PT¦PT1.123456789S¦PT-1H¦P-1D¦P1DT¦PT36H¦",
    "-PT0.25S¦PT1H1H"
);
pub const MONTHS: &str = "P1Y¦P14M¦P1Y2M¦-P3M¦P0Y¦P-1Y¦P1Y-2M¦P2Y0M¦-P1Y6M¦P1M1Y¦P99999999999Y¦P12M";
pub const NUMBERS: &str = concat!(
    "0¦1¦2¦3¦5¦10¦-1¦-3¦0.5¦1.5¦2.50¦-2.5¦0.1¦1.10¦100¦12345.6789¦0.000001¦1000000¦9007199254740993¦",
    "12345678901234567890¦0.1234567890123456789¦3.14159¦7¦0.00"
);
pub const TEXTS: &str = concat!(
    "¦a¦foobar¦Foo Bar¦  pad ¦a,b;c¦1.5¦1,000.5¦héllo¦😀x😀¦line\\nbreak¦quote\\\"d¦back\\\\slash¦",
    "2024-02-29¦ÄÖÜß¦aaa¦true¦{\\\"a\\\": [1, 2.50, null]}¦RkVFTA==¦tab\\there"
);
pub const PATTERNS: &str = concat!(
    "o+¦[a-f]¦^fo*b¦(foo)(bar)?¦b.r¦\\\\d+¦[^a-z]¦(?i)FOO¦a|b¦o{2}¦(¦[¦foo(?=bar)¦(?<=foo)bar¦(.)\\\\1¦",
    "\\\\s¦x*¦¦.¦$¦\\\\p{L}+¦a++¦[\\\\w&&[^o]]¦(?<n>o)¦\\\\bfoo¦*"
);
pub const REPLACEMENTS: &str = "¦X¦$1¦$0$0¦$9¦\\\\$¦${n}¦-";
pub const KINDS: &str = concat!(
    "number¦string¦boolean¦list¦context¦date¦time¦",
    "date and time¦Any¦function¦null¦years and months duration¦days and time duration¦range"
);
