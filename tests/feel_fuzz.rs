//! Random texts, most of them nearly expressions, over random documents: nothing panics, hangs or grows, and the ways to
//! evaluate agree with each other.
//!
//! `FEEL_FUZZ_SECONDS` says how long (2 by default), `FEEL_SEED` repeats a run; a failure prints seed and expression.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

#[path = "feel/generator.rs"]
#[allow(dead_code)]
mod generator;
#[path = "feel/hostile.rs"]
mod hostile;

use deskhand::feel::{Clock, Limits, Program, Scope, Settings};
use fastrand::Rng;
use generator::Generator;
use serde_json::{Value, json};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

const VARIABLES: &str = include_str!("feel/variables.json");
const MOST_BYTES: u64 = 64 * 1024 * 1024;
const MOST_TIME: Duration = Duration::from_secs(2);

/// Pieces that are put between others: keywords, brackets, odd characters, numbers at edges.
const PIECES: &str = "(¦)¦[¦]¦{¦}¦,¦:¦.¦..¦\"¦`¦=¦-¦+¦*¦/¦**¦?¦@¦ ¦//¦/*¦*/¦and¦or¦in¦if ¦then¦else¦for i in ¦return ¦some ¦\
    satisfies ¦between ¦instance of ¦null¦true¦function(x) ¦x¦item¦partial¦é¦😀¦\u{0}¦\u{feff}¦\u{202e}¦\\¦\\uD800¦1e999¦\
    9223372036854775808¦0.0000001¦1..9999999999¦[1..3]¦@\"P1D\"¦not(¦1.¦''¦%¦external¦cellInput";

struct Fuzzer {
    random: Rng,
    generator: Generator,
    seeds: Vec<String>,
    /// Slow ones, that are used now and then.
    hostile: Vec<String>,
}

impl Fuzzer {
    fn new(seed: u64) -> Fuzzer {
        let mut seeds: Vec<String> = Vec::new();
        for cases in [include_str!("feel/cases.jsonl"), include_str!("feel/answers.jsonl")] {
            let read = |line: &str| {
                serde_json::from_str::<Value>(line).unwrap()["expression"]
                    .as_str()
                    .map(str::to_owned)
            };
            seeds.extend(cases.lines().filter(|line| !line.trim().is_empty()).filter_map(read));
        }
        let hostile = hostile::hostile().into_iter().map(|(_, text)| text);
        Fuzzer {
            random: Rng::with_seed(seed),
            generator: Generator::new(seed),
            seeds,
            hostile: hostile.filter(|text| text.len() < 2_000).collect(),
        }
    }

    fn any_seed(&mut self) -> String {
        let from = if self.random.usize(..50) == 0 {
            &self.hostile
        } else {
            &self.seeds
        };
        from[self.random.usize(..from.len())].clone()
    }

    fn expression(&mut self) -> String {
        let mut text = if self.random.bool() {
            self.generator.next().expression
        } else {
            self.any_seed()
        };
        for _ in 0..self.random.usize(..4) {
            text = self.changed(text);
        }
        text
    }

    fn changed(&mut self, text: String) -> String {
        let place = |random: &mut Rng, text: &str| {
            let mut at = random.usize(..=text.len());
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let (one, other) = (place(&mut self.random, &text), place(&mut self.random, &text));
        let (from, to) = (one.min(other), one.max(other));
        match self.random.usize(..7) {
            0 => format!("{}{}", &text[..from], &text[to..]),
            1 => {
                let pieces: Vec<&str> = PIECES.split('¦').collect();
                let piece = pieces[self.random.usize(..pieces.len())];
                format!("{}{piece}{}", &text[..from], &text[from..])
            }
            2 => format!("{}{}{}", &text[..from], self.any_seed(), &text[to..]),
            3 => {
                let times = self.random.usize(2..6);
                format!("{}{}{}", &text[..from], text[from..to].repeat(times), &text[to..])
            }
            4 => format!("[{text}][{}]", self.any_seed()),
            5 => format!("for v in {text} return {}", self.any_seed()),
            _ => {
                let character = char::from_u32(self.random.u32(..0x1_1000)).unwrap_or('\u{fffd}');
                format!("{}{character}{}", &text[..from], &text[from..])
            }
        }
    }

    fn document(&mut self, depth: usize) -> Value {
        match self.random.usize(..if depth == 0 { 6 } else { 8 }) {
            0 => Value::Null,
            1 => self.random.bool().into(),
            2 => self.random.i64(..).into(),
            3 => json!(f64::from_bits(self.random.u64(..))),
            4 => self.random.u64(..).into(),
            5 => (0..self.random.usize(..6))
                .map(|_| self.random.char(..))
                .collect::<String>()
                .into(),
            6 => (0..self.random.usize(..4)).map(|_| self.document(depth - 1)).collect(),
            _ => ["a", "id", "v", "x y", "response", ""]
                .iter()
                .take(self.random.usize(..6))
                .map(|key| ((*key).to_owned(), self.document(depth - 1)))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        }
    }
}

/// Whatever an expression makes of a document, it makes of the part it can see and as text, too.
fn check(expression: &str, document: &Value, settings: &Settings) -> Result<(), String> {
    let Ok(program) = Program::parse(expression) else {
        return Ok(());
    };
    let evaluate = |document: &Value| {
        let variables = document.as_object().unwrap();
        program.result(&Scope::new().layer(variables), settings)
    };
    let whole = evaluate(document);
    if ["uuid", "random number", "backoff"]
        .iter()
        .any(|changing| expression.contains(changing))
    {
        return Ok(());
    }
    let seen = program
        .projection()
        .read(&document.to_string())
        .map_err(|error| error.to_string())?;
    // What is read from text has lost what JSON cannot say, so that is compared, too.
    let again: Value = serde_json::from_str(&document.to_string()).map_err(|error| error.to_string())?;
    let (from_seen, from_whole) = (evaluate(&seen), evaluate(&again));
    if from_seen.is_ok() && from_whole.is_ok() && from_seen != from_whole {
        return Err(format!("of the projection {from_seen:?}, of the whole {from_whole:?}"));
    }
    let text = program.result_text(&Scope::new().layer(document.as_object().unwrap()), settings);
    if let (Ok(value), Ok(text)) = (&whole, &text)
        && serde_json::from_str::<Value>(text).ok() != serde_json::from_str(&value.to_string()).ok()
    {
        return Err(format!("as a value {value}, as text {text}"));
    }
    Ok(())
}

fn fuzz(seed: u64, time: Duration) -> u64 {
    let mut fuzzer = Fuzzer::new(seed);
    let fixed = "2026-01-02T03:04:05+01:00[Europe/Berlin]".parse().unwrap();
    let settings = Settings {
        limits: Limits {
            deadline: Duration::from_millis(250),
            ..Limits::default()
        },
        now: Clock::fixed(fixed),
        ..Settings::default()
    };
    let shared: Value = serde_json::from_str(VARIABLES).unwrap();
    let end = Instant::now() + time;
    let mut count = 0;
    while Instant::now() < end {
        count += 1;
        let expression = fuzzer.expression();
        let mut document = shared.clone();
        document["response"] = fuzzer.document(3);
        document["a"] = fuzzer.document(2);
        let shown: String = expression.chars().take(2_000).collect();
        let start = Instant::now();
        // What a single evaluation holds and how long it lasts; the comparisons hold several results at once.
        let mut outcome = Ok(Ok(()));
        let counted = allocation_counter::measure(|| {
            outcome = catch_unwind(AssertUnwindSafe(|| {
                if let Ok(program) = Program::parse(&expression) {
                    drop(program.evaluate(&Scope::new().layer(document.as_object().unwrap()), &settings));
                }
                Ok(())
            }));
        });
        let (bytes, took) = (counted.bytes_max, start.elapsed());
        if outcome.is_ok() {
            outcome = catch_unwind(AssertUnwindSafe(|| check(&expression, &document, &settings)));
        }
        match outcome {
            Err(_) => panic!("seed {seed}, number {count}: panics: {shown}"),
            Ok(Err(problem)) => panic!("seed {seed}, number {count}: {shown}\n{problem}\n{document}"),
            Ok(Ok(())) => {}
        }
        assert!(
            bytes <= MOST_BYTES,
            "seed {seed}, number {count}: {bytes} bytes: {shown}"
        );
        // A build for debugging is slow between two looks at the clock.
        let allowed = MOST_TIME * if cfg!(debug_assertions) { 5 } else { 1 };
        assert!(took <= allowed, "seed {seed}, number {count}: {took:?}: {shown}");
    }
    count
}

#[test]
fn random_texts_are_refused_or_evaluated() {
    let setting = |name: &str| std::env::var(name).ok().and_then(|value| value.parse().ok());
    let seed = setting("FEEL_SEED").unwrap_or_else(|| fastrand::u64(..));
    let time = Duration::from_secs(setting("FEEL_FUZZ_SECONDS").unwrap_or(2));
    println!("seed {seed}, {time:?}");
    let thread = std::thread::Builder::new()
        .stack_size(Limits::STACK)
        .spawn(move || fuzz(seed, time));
    let count = thread.unwrap().join().unwrap();
    println!("seed {seed}: {count} expressions");
}
