//! `matches` against a table, and `covers` against inclusion over a bounded universe.

use kavachos_core::resource::{Resource, ResourcePattern};

use crate::naive;
use crate::random::Random;

fn pattern(text: &str) -> ResourcePattern {
    text.parse().unwrap()
}

fn resource(text: &str) -> Resource {
    text.parse().unwrap()
}

/// Patterns beside what they match and what they do not: lessons C 80.
const TABLE: [(&str, &[&str], &[&str]); 17] = [
    (
        "*",
        &["a", "mcp", "mcp:github", "a:b:c:d", "%3A", "..", "-"],
        &[],
    ),
    (
        "mcp:*",
        &[
            "mcp:github",
            "mcp:github:repos",
            "mcp:%3A",
            "mcp:mcp",
            "mcp:.",
        ],
        &[
            "mcp",
            "mcpx",
            "mcpx:github",
            "MCP:github",
            "mc:p",
            "mcp.:a",
            "mcp%3Agithub",
            "x:mcp:a",
        ],
    ),
    (
        "mcp:github:*",
        &[
            "mcp:github:repos",
            "mcp:github:repos:42",
            "mcp:github:github",
        ],
        &[
            "mcp:github",
            "mcp:slack:send",
            "mcp:githubx:repos",
            "mcp:github.:a",
            "mcp",
            "github:mcp:a",
        ],
    ),
    (
        "mcp:*:read",
        &["mcp:github:read", "mcp:read:read", "mcp:%2A:read"],
        &[
            "mcp:github:repos:read",
            "mcp:read",
            "mcp:github:drop",
            "mcp:github:reads",
            "mcp:github:read:x",
            "mcp:github:READ",
        ],
    ),
    (
        "tool:*:read",
        &["tool:db:read"],
        &[
            "tool:db:drop",
            "tool:db",
            "tool:read",
            "tool",
            "tools:db:read",
            "tool:db:read:all",
        ],
    ),
    (
        "mcp:github",
        &["mcp:github"],
        &[
            "mcp",
            "mcp:github:secrets",
            "mcp:githu",
            "mcp:githubb",
            "mcp:Github",
            "mcp:github-",
            "Mcp:github",
        ],
    ),
    ("*:*", &["a:b", "a:b:c"], &["a", "mcp"]),
    (
        "*:b",
        &["a:b", "b:b", "%5B:b"],
        &["b", "a:c", "a:b:c", "x:a:b"],
    ),
    ("*:b:*", &["a:b:c", "b:b:b:b"], &["a:b", "b:c", "a:c:b"]),
    ("a:*:*", &["a:b:c", "a:b:c:d"], &["a:b", "a", "b:b:c"]),
    ("*:*:c", &["a:b:c", "c:c:c"], &["a:c", "c", "a:b:c:c"]),
    ("a:*:*:d", &["a:b:c:d"], &["a:b:d", "a:d", "a:b:c:d:d"]),
    ("a", &["a"], &["A", "aa", "a:a", "%41%42"]),
    ("a%2Fb", &["a%2Fb"], &["a%5Cb", "a-b", "a%2Fb:c"]),
    ("a%25", &["a%25"], &["a%2525", "a"]),
    (
        "caf%C3%A9",
        &["caf%C3%A9"],
        &["cafe%CC%81", "cafe", "caf%C3"],
    ),
    ("a.b", &["a.b"], &["a:b", "axb", "a_b"]),
];

#[test]
fn a_hundred_pairs_match_or_do_not() {
    let mut pairs = 0;
    for (text, inside, outside) in TABLE {
        for (names, expected) in [(inside, true), (outside, false)] {
            for name in names.iter().filter(|name| **name != "%41%42") {
                assert_eq!(
                    pattern(text).matches(&resource(name)),
                    expected,
                    "{text} {name}"
                );
                assert_eq!(naive::matches(text, name), expected, "{text} {name}");
                pairs += 1;
            }
        }
    }
    assert!(pairs >= 100, "{pairs}");
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let long = "a".repeat(513);
    let deep = ["a"; 17].join(":");
    for text in [
        "",
        ":",
        "a:",
        ":a",
        "a::b",
        "a b",
        "a\u{ff1a}b",
        "a\u{2236}b",
        "caf\u{e9}",
        "a/b",
        "a%",
        "a%2",
        "a%2f",
        "a%zz",
        "a%41",
        "a%2E",
        "a%5F",
        "a%2D",
        "a\0",
        "a\n",
        "a?b",
        "a#b",
        &long,
        &deep,
    ] {
        assert!(text.parse::<Resource>().is_err(), "{text}");
        assert!(text.parse::<ResourcePattern>().is_err(), "{text}");
    }
    for text in ["*", "a:*", "*:a"] {
        assert!(text.parse::<Resource>().is_err(), "{text}");
        assert!(text.parse::<ResourcePattern>().is_ok(), "{text}");
    }
    for text in ["**", "git*", "*git", "a:**", "a:b*:c", "a:*:", "a:?", "[a]"] {
        assert!(text.parse::<ResourcePattern>().is_err(), "{text}");
    }
    for text in [&long[1..], &deep[2..], "%00", "%FF", "%25", "a%3A"] {
        assert!(text.parse::<Resource>().is_ok(), "{text}");
        assert!(text.parse::<ResourcePattern>().is_ok(), "{text}");
    }
}

#[test]
fn the_largest_names_are_matched_to_their_last_segment() {
    let deep = resource(&["a"; 16].join(":"));
    for (text, expected) in [
        (["a"; 16].join(":"), true),
        (["a"; 15].join(":"), false),
        (format!("{}:*", ["a"; 15].join(":")), true),
        (format!("{}:*", ["*"; 15].join(":")), true),
        (format!("{}:a", ["*"; 15].join(":")), true),
        (format!("{}:b", ["*"; 15].join(":")), false),
    ] {
        assert_eq!(pattern(&text).matches(&deep), expected, "{text}");
    }
}

/// Every pattern over two names and `*` of at most four segments, and the words that tell them apart: a third name
/// for what no pattern names, and two segments more than any pattern has.
struct Universe {
    patterns: Vec<ResourcePattern>,
    /// For each pattern, which words it matches.
    languages: Vec<Vec<bool>>,
}

fn texts(alphabet: &[&str], most: usize) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut longest = vec![String::new()];
    for _ in 0..most {
        longest = (longest.iter())
            .flat_map(|text| {
                let join = move |segment| {
                    if text.is_empty() {
                        String::from(segment)
                    } else {
                        format!("{text}:{segment}")
                    }
                };
                alphabet
                    .iter()
                    .map(|segment| join(*segment))
                    .collect::<Vec<_>>()
            })
            .collect();
        all.extend(longest.iter().cloned());
    }
    all
}

fn universe() -> Universe {
    let patterns: Vec<_> = texts(&["a", "b", "*"], 4)
        .iter()
        .map(|text| pattern(text))
        .collect();
    let words: Vec<_> = texts(&["a", "b", "c"], 6)
        .iter()
        .map(|text| resource(text))
        .collect();
    let languages = (patterns.iter())
        .map(|pattern| words.iter().map(|word| pattern.matches(word)).collect())
        .collect();
    Universe {
        patterns,
        languages,
    }
}

fn is_included(inner: &[bool], outer: &[bool]) -> bool {
    inner
        .iter()
        .zip(outer)
        .all(|(inner, outer)| !inner || *outer)
}

#[test]
fn covers_is_exactly_inclusion_reflexive_and_transitive() {
    let Universe {
        patterns,
        languages,
    } = universe();
    assert_eq!(patterns.len(), 120);
    let mut covered = 0;
    for (parent, outer) in patterns.iter().zip(&languages) {
        assert!(parent.covers(parent));
        for (child, inner) in patterns.iter().zip(&languages) {
            let covers = parent.covers(child);
            assert_eq!(covers, is_included(inner, outer), "{parent} {child}");
            covered += usize::from(covers);
            for grandchild in patterns.iter().filter(|_| covers) {
                assert!(!child.covers(grandchild) || parent.covers(grandchild));
            }
        }
    }
    assert!((500..5000).contains(&covered), "{covered}");
}

#[test]
fn patterns_meet_where_a_resource_is_in_both() {
    let Universe {
        patterns,
        languages,
    } = universe();
    for (one, ours) in patterns.iter().zip(&languages) {
        for (other, theirs) in patterns.iter().zip(&languages) {
            let both = ours
                .iter()
                .zip(theirs)
                .any(|(ours, theirs)| *ours && *theirs);
            assert_eq!(one.meets(other), both, "{one} {other}");
        }
    }
}

#[test]
fn no_child_is_covered_only_by_several_parents_together() {
    // It is enough to try, for each child, all parents that do not cover it: if they leave a word, so does any subset.
    let Universe {
        patterns,
        languages,
    } = universe();
    for (child, inner) in patterns.iter().zip(&languages) {
        let mut together = vec![false; inner.len()];
        for (parent, outer) in patterns.iter().zip(&languages) {
            if !parent.covers(child) {
                (together.iter_mut().zip(outer)).for_each(|(all, one)| *all |= one);
            }
        }
        assert!(!is_included(inner, &together), "{child}");
    }
}

#[test]
fn covers_holds_for_random_patterns_of_any_shape() {
    // The universe above has two names and four segments; here names and lengths are anything.
    let names = ["a", "b", "ab", "%3A", "a.b", "*", "*", "*"];
    let mut random = Random::new(7);
    let mut covered = 0;
    for _ in 0..20_000 {
        let mut text = |star: usize| {
            let segments = random.below(16);
            let list: Vec<&str> = (0..=segments)
                .map(|_| names[random.below(names.len() - star)])
                .collect();
            list.join(":")
        };
        let (child, word) = (text(0), text(3));
        // A parent made from the child by opening it somewhere covers it; an unrelated one hardly ever does.
        let segments: Vec<&str> = child.split(':').collect();
        let cut = random.below(segments.len() + 1);
        let mut parent = segments[..cut].to_vec();
        if cut < segments.len() || segments.is_empty() {
            parent.push("*");
        }
        let at = random.below(parent.len());
        parent[at] = random.pick(&[parent[at], "*", "a"]);
        let parent = parent.join(":");
        let covers = pattern(&parent).covers(&pattern(&child));
        covered += usize::from(covers);
        // The word that follows the child most closely: each `*` a name that nothing else has.
        let closest = child.replace('*', "zz");
        for word in [word.as_str(), &closest, &format!("{closest}:zz")] {
            if let Ok(word) = word.parse::<Resource>() {
                let (inside, outside) = (
                    pattern(&child).matches(&word),
                    pattern(&parent).matches(&word),
                );
                assert_eq!(
                    inside,
                    naive::matches(&child, word.as_str()),
                    "{child} {word}"
                );
                assert!(!covers || !inside || outside, "{parent} {child} {word}");
            }
        }
        assert_eq!(
            covers,
            pattern(&parent).matches(&resource(&closest)),
            "{parent} {child}"
        );
    }
    assert!((5_000..19_000).contains(&covered), "{covered}");
}
