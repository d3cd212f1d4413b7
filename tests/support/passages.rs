//! The bundled sample passages.

/// Their texts.
pub fn passages() -> Vec<String> {
    let text = |line: &str| {
        let row: serde_json::Value = serde_json::from_str(line).expect("a JSON line");
        row["text"].as_str().expect("a text").to_owned()
    };
    include_str!("../../samples/wordnet.jsonl")
        .lines()
        .map(text)
        .collect()
}
