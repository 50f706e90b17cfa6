//! Expressions that were chosen to hang, to overflow the stack or to fill the memory, each with a name.

pub fn hostile() -> Vec<(String, String)> {
    let mut cases: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, expression: String| cases.push((name.to_owned(), expression));
    for (open, close) in [
        ("(", ")"),
        ("[", "]"),
        ("{a:", "}"),
        ("not(", ")"),
        ("-(", ")"),
        ("f(", ")"),
        ("function() ", ""),
        ("[1][", "]"),
    ] {
        for depth in [20, 60, 120, 130, 1_000, 100_000] {
            let closed = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            add(&format!("{depth} nested {open}"), closed.clone());
            add(
                &format!("{depth} nested {open} left open"),
                closed[..open.len() * depth].to_owned(),
            );
        }
    }
    // What a loop makes and keeps, of every kind.
    for kept in [
        "i",
        "\"x\"",
        "uuid()",
        "string(i)",
        "i + 0.12345678901234567890123",
        "[i, i + 0.12345678901234567890123]",
        "[i..i]",
        "{a: {b: [i..i]}}",
        "{}",
        "[]",
        "function(x) x + i",
        "date and time(\"2020-01-01T00:00:00@Europe/Berlin\")",
        "time(\"10:00:00@Europe/Berlin\")",
        "duration(\"P1D\")",
        "split(\"a,b\", \",\")",
        "extract(\"abc\", \".\")",
        "get entries({a: 1})",
        "context put({a: i}, \"b\", i)",
        "from json(\"[1,2]\")",
        "bpmnError(\"a\", \"b\")",
    ] {
        add(
            &format!("keeps {kept}"),
            format!("for i in 1..1000000000 return {kept}"),
        );
        add(
            &format!("keeps {kept} of large numbers"),
            format!("for i in 1000000000000000000000..-5 return {kept}"),
        );
    }
    add(
        "keeps long numbers",
        format!("for i in 1..1000000000 return {}", "7".repeat(900)),
    );
    add(
        "a function that keeps a function",
        "{f: function(x) x, r: for i in 1..1000000000 return function(y) f(y) + i}".into(),
    );
    let doubled = |index: usize| format!(", s{index}: [s{0}, s{0}]", index - 1);
    add(
        "lists of two, sixty times",
        format!("{{s0: 1{}}}", (1..=60).map(doubled).collect::<String>()),
    );
    for word in [
        "if ",
        "if true then ",
        "for i in ",
        "some i in ",
        "for i in [1] return ",
        "function(x) ",
        "1 in ",
        "1 in (",
        "x.",
        "@",
        "\"",
        "`",
        "/*",
        "1 between ",
    ] {
        add(&format!("repeated {word}"), word.repeat(20_000));
        add(
            &format!("nested {word}"),
            format!("{}1{}", word.repeat(100), " else 1".repeat(100)),
        );
    }
    for operator in [
        " + ", " - ", " * ", " / ", " ** ", " and ", " or ", " = ", ".", "..", ", ", "[1]",
    ] {
        for count in [1_000, 20_000, 200_000] {
            add(&format!("{count} times {operator}"), vec!["a"; count].join(operator));
        }
    }
    let doubling = |count: usize, piece: &dyn Fn(usize) -> String, result: &str| {
        let steps: Vec<String> = (1..=count).map(piece).collect();
        format!("{{s0: 1, t0: \"x\", {}}}{result}", steps.join(", "))
    };
    add(
        "lists that double",
        doubling(60, &|i| format!("s{i}: [s{0}, s{0}]", i - 1), ""),
    );
    add(
        "lists that double, shown",
        doubling(60, &|i| format!("s{i}: [s{0}, s{0}]", i - 1), ".s60"),
    );
    add(
        "lists that double, as text",
        format!(
            "string({})",
            doubling(60, &|i| format!("s{i}: [s{0}, s{0}]", i - 1), "")
        ),
    );
    add(
        "lists that double, as JSON text",
        format!(
            "to json({})",
            doubling(60, &|i| format!("s{i}: [s{0}, s{0}]", i - 1), "")
        ),
    );
    add(
        "lists that double, compared",
        format!(
            "{0} = {0}",
            doubling(60, &|i| format!("s{i}: [s{0}, s{0}]", i - 1), ".s60")
        ),
    );
    add(
        "lists that double, flattened",
        format!(
            "flatten({})",
            doubling(60, &|i| format!("s{i}: [s{0}, s{0}]", i - 1), ".s60")
        ),
    );
    add(
        "lists that double, mapped",
        format!(
            "{}.x.y.z",
            doubling(60, &|i| format!("s{i}: [s{0}, s{0}]", i - 1), ".s60")
        ),
    );
    add(
        "texts that double",
        doubling(60, &|i| format!("t{i}: t{0} + t{0}", i - 1), ""),
    );
    add(
        "numbers that square",
        doubling(60, &|i| format!("s{i}: s{0} * s{0} + 7", i - 1), ""),
    );
    add(
        "numbers that grow exactly",
        doubling(60, &|i| format!("s{i}: decimal(s{0} * 1.123456789, 900)", i - 1), ""),
    );
    add(
        "functions that double",
        doubling(
            40,
            &|i| {
                if i == 1 {
                    "f1: function(x) x".into()
                } else {
                    format!("f{i}: function(x) f{0}(x) + f{0}(x)", i - 1)
                }
            },
            "",
        ),
    );
    add(
        "functions that double, called",
        format!(
            "{{f0: function(x) x, {}, r: f40(1)}}.r",
            (1..=40)
                .map(|i| format!("f{i}: function(x) f{0}(x) + f{0}(x)", i - 1))
                .collect::<Vec<_>>()
                .join(", ")
        ),
    );
    for (name, body) in [
        ("plainly", "f#(x)"),
        ("in a list", "[[[f#(x)]]][1][1][1]"),
        ("in a choice", "if true then f#(x) + 0 else 0"),
        ("in a loop", "(for i in [1] return f#(x))[1]"),
        ("in a filter", "[1][f#(item) = 1][1]"),
        ("in a search", "if (some i in [1] satisfies f#(i) = 1) then 1 else 0"),
        ("in a sort", "sort([1, 2], function(a, b) f#(a) < b)[1]"),
        ("in a context", "{a: {b: {c: f#(x)}}}.a.b.c"),
        ("in a test", "if 1 in (f#(1), 2) then 1 else 0"),
    ] {
        for depth in [60, 120, 190, 400] {
            let step = |index: usize| format!("f{index}: function(x) {}", body.replace('#', &(index - 1).to_string()));
            let steps: Vec<String> = (1..=depth).map(step).collect();
            add(
                &format!("{depth} calls within calls {name}"),
                format!("{{f0: function(x) x, {}, r: f{depth}(1)}}.r", steps.join(", ")),
            );
        }
    }
    add(
        "a list within a list for ever",
        "count(for i in 1..1000000 return [partial[-1]])".into(),
    );
    add(
        "results that hold the results so far",
        "for i in 1..3000 return partial".into(),
    );
    add(
        "results so far, counted",
        "for i in 1..20000 return count(partial)".into(),
    );
    add("results so far, summed", "for i in 1..20000 return sum(partial)".into());
    for body in [
        "i",
        "null",
        "[i]",
        "{a: i}",
        "string(i)",
        "\"x\"",
        "i ** 100",
        "uuid()",
        "missing",
        "missing.a.b",
    ] {
        add(
            &format!("a long loop of {body}"),
            format!("for i in 1..1000000000 return {body}"),
        );
        add(
            &format!("a product of loops of {body}"),
            format!("for i in 1..100000, j in 1..100000, k in 1..100000 return {body}"),
        );
        add(
            &format!("a long search for {body}"),
            format!("some i in 1..1000000000 satisfies {body} = \"never\""),
        );
        add(
            &format!("a backward loop of {body}"),
            format!("for i in 1000000000000000000000..-5 return {body}"),
        );
    }
    add(
        "nested filters",
        "(for i in 1..3000 return i)[count((for j in 1..3000 return j)[item > 1]) > 1]".into(),
    );
    add(
        "nested loops",
        "for i in 1..1000 return for j in 1..1000 return for k in 1..1000 return 1".into(),
    );
    add(
        "a large sort",
        "sort(for i in 1..100000 return modulo(i * 7919, 100003), function(x, y) x < y)".into(),
    );
    add(
        "a sort by nonsense",
        "sort(for i in 1..5000 return i, function(x, y) true)".into(),
    );
    add(
        "many distinct values",
        "distinct values(for i in 1..100000 return i / 7)".into(),
    );
    add("many unions", "union(for i in 1..100000 return {a: i})".into());
    add(
        "many index searches",
        "for i in 1..10000 return index of(for j in 1..10000 return j, i)".into(),
    );
    add(
        "a large join",
        "string join(for i in 1..100000 return \"0123456789\", \", \")".into(),
    );
    add(
        "a large text, cut often",
        "for i in 1..10000 return substring(string join(for j in 1..1000 return \"0123456789\"), i)".into(),
    );
    add(
        "a large text, cut often, not ASCII",
        "{t: string join(for j in 1..10000 return \"é123456789\"), r: for i in 1..10000 return string length(t)}.r"
            .into(),
    );
    add(
        "a context of many entries",
        "context(for i in 1..100000 return {key: string(i), value: i})".into(),
    );
    add(
        "a context put many times",
        "{a: for i in 1..10000 return context put(if i = 1 then {} else partial[-1], string(i), i)}".into(),
    );
    add(
        "a merge of many",
        "context merge(for i in 1..100000 return {a: i})".into(),
    );
    for (text, pattern) in [
        ("a", "^(a+)+$"),
        ("a", "^(a|a)*$"),
        ("a", "(a*)*b"),
        ("a", "(?=(a+)+$)a"),
        ("a", "(a+)+\\\\1b"),
        ("a", "(.*)(.*)(.*)(.*)(.*)x"),
        ("ab", "^((ab)*)*$"),
        ("a", "(a{1,50}){1,50}b"),
        ("a", "(?>a+)+b"),
        ("a", "a++b"),
        ("a", "(?<=(a{1,20}){1,5})b"),
        ("a", "\\\\w{1000}"),
    ] {
        let text = text.repeat(2_000);
        add(
            &format!("matches {pattern}"),
            format!("matches(\"{text}!\", \"{pattern}\")"),
        );
        add(
            &format!("replace {pattern}"),
            format!("replace(\"{text}!\", \"{pattern}\", \"$0$0$0$0\")"),
        );
        add(
            &format!("split by {pattern}"),
            format!("count(split(\"{text}!\", \"{pattern}\"))"),
        );
    }
    add(
        "a replacement that grows",
        "for i in 1..60 return if i = 1 then \"x\" else replace(partial[-1], \"x\", \"xxxxxxxxxx\")".into(),
    );
    add(
        "a huge pattern",
        format!("matches(\"a\", \"{}\")", "(a|b)".repeat(3_000)),
    );
    add(
        "a deep pattern",
        format!("matches(\"a\", \"{}a{}\")", "(".repeat(5_000), ")".repeat(5_000)),
    );
    add(
        "a deep pattern with look-ahead",
        format!("matches(\"a\", \"{}a{}\")", "(?=".repeat(3_000), ")".repeat(3_000)),
    );
    add(
        "a deep class",
        format!("matches(\"a\", \"{}a{}\")", "[".repeat(5_000), "]".repeat(5_000)),
    );
    for number in [
        "9".repeat(1_000_000),
        format!("0.{}1", "0".repeat(500_000)),
        "1".repeat(999),
    ] {
        add("a long number", number.clone());
        add("a long number, squared", format!("{number} * {number}"));
        add("a long number as text", format!("number(\"{number}\")"));
        add("a long number as a position", format!("[1][{number}]"));
    }
    for exponent in [
        "999999999",
        "1000000000",
        "2147483647",
        "2147483648",
        "99999999999",
        "-999999999",
        "-2147483648",
    ] {
        for expression in include_str!("exponents.txt").lines() {
            add(
                &format!("{expression} with {exponent}"),
                expression.replace('#', exponent),
            );
        }
    }
    add(
        "a megabyte of text",
        format!("string length(\"{}\")", "x".repeat(1_000_000)),
    );
    add(
        "a megabyte of escapes",
        format!("string length(\"{}\")", "\\\\".repeat(500_000)),
    );
    add("a megabyte of blanks", format!("1{}", " ".repeat(1_000_000)));
    add("a megabyte of comments", format!("1{}", "/**/".repeat(250_000)));
    add("a megabyte of a name", "x".repeat(1_000_000));
    add("a megabyte of items", format!("[{}1]", "1,".repeat(500_000)));
    add(
        "a megabyte of entries",
        format!("{{{}z:1}}", (0..80_000).map(|i| format!("k{i}:1,")).collect::<String>()),
    );
    add(
        "half of a pair",
        "\"\\uD800\" + substring(\"😀\", 1, 1) + substring(\"😀\", 2)".into(),
    );
    add("a zero byte", "\"\0\" + \"\u{1}\u{7f}\u{ffff}\"".into());
    add(
        "every kind of blank",
        "\u{a0}\u{1680}\u{2003}\u{2028}\u{feff}1\u{85}+\u{b}2".into(),
    );
    add(
        "json within json",
        format!("from json(\"{}1{}\")", "[".repeat(100_000), "]".repeat(100_000)),
    );
    add(
        "json of a megabyte",
        format!("count(from json(\"[{}1]\"))", "1,".repeat(400_000)),
    );
    cases
}
