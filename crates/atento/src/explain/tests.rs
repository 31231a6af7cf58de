use super::*;

/// Two layers of two heads on two tokens, one of which could end a script; with a translator's three attentions.
fn maps(is_translator: bool) -> AttentionMaps {
    let named = |words: &[&str]| {
        let all: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Tokens { text: all.concat(), shown: all.iter().map(|word| word.replace('Ġ', "·")).collect(), spelled: all }
    };
    let head = |number: usize| Head { number, weights: vec![1.0, 0.0, 0.25, 0.75] };
    let layer = |number: usize| Layer { number, heads: vec![head(0), head(1)] };
    let stack = |between| Stack { between, layers: vec![layer(0), layer(1)] };
    let kinds: &[Between] =
        if is_translator { &[Between::Text, Between::Target, Between::Cross] } else { &[Between::Text] };
    AttentionMaps {
        text: named(&["a", "Ġ</script>"]),
        target: is_translator.then(|| named(&["<s>", "ein"])),
        virtual_tokens: 0,
        stacks: kinds.iter().map(|&kind| stack(kind)).collect(),
    }
}

fn chosen(layers: &[i64], heads: &[i64]) -> Result<Vec<(usize, Vec<usize>)>, String> {
    let mut maps = maps(false);
    let choice = Choice { layers: layers.to_vec(), heads: heads.to_vec() };
    maps.choose(&choice).map_err(|error| error.to_string())?;
    let numbers = |layer: &Layer| (layer.number, layer.heads.iter().map(|head| head.number).collect());
    Ok(maps.stacks[0].layers.iter().map(numbers).collect())
}

#[test]
fn layers_and_heads_are_chosen_by_their_numbers_from_either_end() {
    assert_eq!(chosen(&[], &[]).unwrap(), [(0, vec![0, 1]), (1, vec![0, 1])]);
    assert_eq!(chosen(&[-1, 0], &[1]).unwrap(), [(1, vec![1]), (0, vec![1])]);
    assert_eq!(
        chosen(&[2], &[]).unwrap_err(),
        "layer 2: the model has layers from 0 to 1, or from -1 (the last) to -2"
    );
    assert!(chosen(&[], &[-3]).unwrap_err().starts_with("head -3: the model has heads from 0 to 1"));
    assert!(chosen(&[i64::MIN], &[]).is_err());
}

#[test]
fn a_number_counts_for_the_parts_that_have_it() {
    let mut maps = maps(true);
    maps.stacks[1].layers.truncate(1);
    maps.choose(&Choice { layers: vec![1], heads: Vec::new() }).unwrap();
    assert_eq!(maps.stacks.iter().map(|stack| stack.layers.len()).collect::<Vec<_>>(), [1, 0, 1]);
    assert!(maps.head(Between::Cross, 1, 0).is_some() && maps.head(Between::Target, 1, 0).is_none());
}

#[test]
fn json_nests_layers_heads_queries_and_keys() {
    let json = serde_json::to_value(maps(false)).unwrap();
    assert_eq!(json["attentions"][1][0], serde_json::json!([[1.0, 0.0], [0.25, 0.75]]));
    assert_eq!(json.as_object().unwrap().keys().collect::<Vec<_>>(), ["tokens", "attentions"]);
    let json = serde_json::to_value(maps(true)).unwrap();
    let names = ["tokens", "target_tokens", "attentions", "decoder", "cross"];
    assert_eq!(json.as_object().unwrap().keys().collect::<Vec<_>>(), names);
    assert_eq!(json["target_tokens"], serde_json::json!(["<s>", "ein"]));
}

#[test]
fn virtual_tokens_are_keys_before_those_of_the_text() {
    let weights = vec![0.5, 0.25, 0.25, 0.5, 0.25, 0.25];
    let head = Head { number: 0, weights };
    let stack = Stack { between: Between::Text, layers: vec![Layer { number: 0, heads: vec![head] }] };
    let maps = AttentionMaps { virtual_tokens: 1, stacks: vec![stack], ..maps(false) };
    assert_eq!(maps.keys(Between::Text), ["virtual 1", "a", "·</script>"]);
    let json = serde_json::to_value(&maps).unwrap();
    assert_eq!((&json["virtual_tokens"], json["attentions"][0][0][1].as_array().unwrap().len()), (&1.into(), 3));
    assert!(maps.to_svg("a").unwrap().contains(">virtual 1</text>"));
}

#[test]
fn a_page_needs_nothing_else_and_no_token_ends_its_script() {
    let page = maps(true).to_html("<model>", &["<a & b>"]).unwrap();
    for absent in ["http:", "https:", "url(", "@import", "<link", "src=", "<model>", "<a &"] {
        assert!(!page.contains(absent), "{absent}");
    }
    assert_eq!((page.matches("<script").count(), page.matches("</script>").count()), (2, 2));
    assert!(page.contains(r"·\u003c/script>") && page.contains("&lt;model&gt;") && page.contains("&lt;a &amp; b&gt;"));
    // 1, 0, 1/4, 3/4 in 16 bits.
    assert_eq!(page.matches("//8AAABA/78=").count(), 12);
    assert_eq!(page.matches("role=\"tab\"").count(), 3);
    assert!(page.contains("prefers-color-scheme: dark") && page.contains("overflow: auto"));
}

#[test]
fn a_drawing_has_every_head_and_shades_by_weight() {
    let drawing = maps(true).to_svg("a & b").unwrap();
    assert_eq!(drawing.matches("class=\"frame\"").count(), 12);
    assert_eq!(drawing.matches("class=\"caption\"").count(), 12);
    // 1 is the darkest of twenty shades, the root of 1/4 the tenth; what has no weight is not drawn.
    assert_eq!(drawing.matches("<path class=\"s20\" d=\"M0 0h12v12h-12z\"/>").count(), 12);
    assert_eq!(drawing.matches("<path class=\"s10\" d=\"M0 12h12v12h-12z\"/>").count(), 12);
    assert_eq!(drawing.matches("<path").count(), 36);
    assert!(drawing.contains("·&lt;&#x2f;script&gt;") && drawing.contains("<title>a &amp; b</title>"));
    assert!(!drawing.contains("NaN"));
}
