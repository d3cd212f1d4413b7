//! Is it the same model? The engine and the f64 oracle against the original PyTorch models, and
//! against each other.

mod oracle;
mod support;
#[path = "golden/token_ids.rs"]
mod token_ids;

use std::collections::HashMap;
use std::fs;

use lexpeak::{Device, Dtype, EncodeOptions, Encoder, Outputs, SpecialTokens};
use safetensors::{Dtype as StoredDtype, SafeTensors};

use support::agreement::{Agreement, entries};
use support::demo_model;
use support::golden_rows::{
    self, GoldenRow, compare_with_golden_embeddings, compare_with_golden_row,
    compare_with_golden_rows,
};
use support::random_model::{Architecture, Head, RandomModel};
use support::random_tensors::SplitMix64;

/// What f32 promises: every weight of PyTorch's to 1e-4.
const ENGINE_TOLERANCE: f64 = 1e-4;

/// Of a value of a vector, whose length is 1.
const VECTOR_TOLERANCE: f64 = 1e-5;

/// The golden rows are f32 themselves: this is their own rounding error over a few layers.
const GOLDEN_ROUNDING: f64 = 2e-5;

/// The order of sums may differ with the batch, in f32.
const NEIGHBOUR_TOLERANCE: f64 = 1e-5;

/// What sentence-transformers publishes for the demo model: one query, four documents, their scores.
const QUERY: &str = "Which planet is known as the Red Planet?";
const DOCUMENTS: [(&str, f64); 4] = [
    (
        "Venus is often called Earth's twin because of its similar size and proximity.",
        4.93,
    ),
    (
        "Mars, known for its reddish appearance, is often referred to as the Red Planet.",
        18.54,
    ),
    (
        "Jupiter, the largest planet in our solar system, has a prominent red spot.",
        12.61,
    ),
    (
        "Saturn, famous for its rings, is sometimes mistaken for the Red Planet.",
        13.89,
    ),
];

#[test]
fn engine_matches_pytorch_on_random_models() {
    let mut agreement = Agreement::within(ENGINE_TOLERANCE);
    for model in RandomModel::all() {
        let folder = model.write_temporary();
        compare_with_golden_rows(&mut agreement, &encoder(folder.path()), &model.name);
    }
    agreement.finish("engine against PyTorch, random models");
}

#[test]
fn engine_matches_pytorch_on_the_demo_model() {
    let mut agreement = Agreement::within(ENGINE_TOLERANCE);
    compare_with_golden_rows(
        &mut agreement,
        &encoder(&demo_model::folder()),
        "splade_tiny",
    );
    agreement.finish("engine against PyTorch, demo model");
}

#[test]
fn engine_matches_pytorch_on_models_that_weigh_tokens() {
    let mut rows = Agreement::within(ENGINE_TOLERANCE);
    let mut vectors = Agreement::within(VECTOR_TOLERANCE);
    for model in RandomModel::with_token_weights() {
        let folder = model.write_temporary();
        let encoder = encoder(folder.path());
        compare_with_golden_embeddings(&mut rows, &mut vectors, &encoder, &model.name);
    }
    rows.finish("engine against PyTorch, token weights");
    vectors.finish("engine against PyTorch, vectors");
}

/// In one call, and in batches that mix their lengths.
#[test]
fn engine_matches_pytorch_on_batches_of_vectors() {
    let mut rows = Agreement::within(ENGINE_TOLERANCE);
    let mut vectors = Agreement::within(VECTOR_TOLERANCE);
    for model in RandomModel::with_token_weights() {
        let folder = model.write_temporary();
        let builder = Encoder::builder(folder.path())
            .device(Device::Cpu)
            .dtype(Dtype::F32)
            .batch_tokens(3 * model.max_positions);
        let encoder = builder.build().expect("the model loads");
        let options = EncodeOptions {
            outputs: outputs_of(&model),
            ..EncodeOptions::default()
        };
        let mut golden = GoldenRow::of(&model.name);
        golden.retain(|row| row.options() == options);
        let texts: Vec<&str> = golden.iter().map(|row| row.text.as_str()).collect();
        let found = encoder
            .embed(&texts, &options)
            .expect("the texts are encoded");
        for (place, golden) in golden.iter().enumerate() {
            let what = format!("{} {} in a batch", model.name, golden.label());
            let found = found.document(place);
            compare_with_golden_row(&mut rows, &mut vectors, &what, found, golden);
        }
    }
    rows.finish("engine against PyTorch, batches of token weights");
    vectors.finish("engine against PyTorch, batches of vectors");
}

#[test]
fn demo_model_reproduces_the_published_scores() {
    let encoder = encoder(&demo_model::folder());
    let texts = [
        QUERY,
        DOCUMENTS[0].0,
        DOCUMENTS[1].0,
        DOCUMENTS[2].0,
        DOCUMENTS[3].0,
    ];
    let rows = encoder
        .encode(&texts, &EncodeOptions::default())
        .expect("the texts are encoded");
    for (number, (document, published)) in DOCUMENTS.into_iter().enumerate() {
        let score = rows.row(0).dot(rows.row(number + 1));
        let error = (score / published - 1.0).abs();
        assert!(
            error <= 0.015,
            "{document:?} scores {score:.4}; published is {published}"
        );
    }
}

#[test]
fn oracle_matches_pytorch() {
    let mut agreement = Agreement::within(GOLDEN_ROUNDING);
    for model in RandomModel::all() {
        let oracle = oracle_of(&model);
        for row in GoldenRow::of(&model.name) {
            let Some(pooled) = pooled_positions(&row) else {
                continue;
            };
            let found = oracle.forward(&row.ids, &pooled).entries();
            agreement.row(
                &format!("{} {}", model.name, row.label()),
                &found,
                &row.entries(),
            );
        }
    }
    agreement.finish("oracle against PyTorch, random models");

    let mut agreement = Agreement::within(GOLDEN_ROUNDING);
    let mut vectors = Agreement::within(GOLDEN_ROUNDING).and_cosine(1.0 - 1e-9);
    for model in RandomModel::with_token_weights() {
        let oracle = oracle_of(&model);
        for row in rows_with_ids(&model) {
            let what = format!("{} {}", model.name, row.label());
            let hidden = oracle.hidden(&row.ids);
            if let Some(pooled) = pooled_positions(&row) {
                let found = oracle.sparse(&row.ids, &hidden, &pooled).entries();
                agreement.row(&what, &found, &row.entries());
            }
            if let Some(dense) = &row.dense {
                let size = row.dense_size.unwrap_or(oracle.width());
                vectors.vector(&what, &oracle.dense(&hidden, size), dense);
            }
            if let Some(colbert) = &row.colbert {
                let found = oracle.multi_vectors(&hidden);
                let width = found.len() / colbert.vectors;
                for (number, expected) in &colbert.sample {
                    let found = &found[number * width..(number + 1) * width];
                    vectors.vector(&format!("{what}, vector {number}"), found, expected);
                }
            }
        }
    }
    agreement.finish("oracle against PyTorch, token weights");
    vectors.finish("oracle against PyTorch, vectors");

    // One short text: 30,522 words are many for plain loops.
    let mut agreement = Agreement::within(GOLDEN_ROUNDING);
    let row = GoldenRow::of("splade_tiny")
        .into_iter()
        .find(|row| row.text == QUERY)
        .expect("the query's row");
    let found = oracle_of_demo_model()
        .forward(&row.ids, &pooled_positions(&row).unwrap())
        .entries();
    agreement.row("splade_tiny", &found, &row.entries());
    agreement.finish("oracle against PyTorch, demo model");
}

/// That the golden rows show what is left out.
#[test]
fn oracle_has_weights_for_tokens_that_have_none() {
    for model in RandomModel::with_token_weights() {
        let mut oracle = oracle_of(&model);
        let oracle::Head::TokenWeights { unweighted, .. } = &mut oracle.head else {
            panic!("{} has another head", model.name);
        };
        let left_out = std::mem::take(unweighted);
        let rows = rows_with_ids(&model);
        let mut seen = 0;
        for id in left_out {
            let weights = rows.iter().filter(|row| row.ids.contains(&id)).map(|row| {
                let every_position: Vec<usize> = (0..row.ids.len()).collect();
                oracle.forward(&row.ids, &every_position).weights[id as usize]
            });
            if let Some(heaviest) = weights.reduce(f64::max) {
                assert!(heaviest > 0.1, "{}: id {id} gets {heaviest}", model.name);
                seen += 1;
            }
        }
        assert!(seen > 0, "{}: no text has such a token", model.name);
    }
}

#[test]
fn engine_matches_the_oracle_on_random_texts() {
    let mut agreement = Agreement::within(ENGINE_TOLERANCE);
    for model in RandomModel::all() {
        let folder = model.write_temporary();
        let encoder = encoder(folder.path());
        let oracle = oracle_of(&model);
        let texts = random_texts(&model, 20);
        let rows = encoder
            .encode(&texts, &EncodeOptions::default())
            .expect("the texts are encoded");
        for (text, row) in texts.iter().zip(rows.iter()) {
            let ids = encoder
                .token_ids(text, &EncodeOptions::default())
                .expect("the text has tokens");
            let every_position: Vec<usize> = (0..ids.len()).collect();
            let expected = oracle.forward(&ids, &every_position).entries();
            agreement.row(
                &format!("{} {text:?}", model.name),
                &entries(row),
                &expected,
            );
        }
    }
    agreement.finish("engine against oracle");
}

#[test]
fn engine_matches_the_oracle_on_vectors_of_random_texts() {
    let mut rows = Agreement::within(ENGINE_TOLERANCE);
    let mut vectors = Agreement::within(VECTOR_TOLERANCE);
    for model in RandomModel::with_token_weights() {
        let folder = model.write_temporary();
        let encoder = encoder(folder.path());
        let oracle = oracle_of(&model);
        let texts = random_texts(&model, 20);
        let options = EncodeOptions {
            outputs: outputs_of(&model),
            ..EncodeOptions::default()
        };
        let found = encoder
            .embed(&texts, &options)
            .expect("the texts are encoded");
        for (place, text) in texts.iter().enumerate() {
            let what = format!("{} {text:?}", model.name);
            let found = found.document(place);
            let ids = encoder
                .token_ids(text, &options)
                .expect("the text has tokens");
            let hidden = oracle.hidden(&ids);
            let every_position: Vec<usize> = (0..ids.len()).collect();
            let row = oracle.sparse(&ids, &hidden, &every_position).entries();
            rows.row(&what, &entries(found.sparse.expect("a sparse row")), &row);
            if let Some(dense) = found.dense {
                vectors.vector(&what, dense, &oracle.dense(&hidden, oracle.width()));
            }
            if let Some(colbert) = found.colbert {
                let expected = oracle.multi_vectors(&hidden);
                let what = format!("{what}, vectors of tokens");
                vectors.vector(&what, colbert.values(), &expected);
            }
        }
    }
    rows.finish("engine against oracle, token weights");
    vectors.finish("engine against oracle, vectors");
}

#[test]
fn explain_names_a_token_that_gives_the_weight() {
    let models = [
        "bert",
        "bert_log1p_sum",
        "distilbert",
        "xlm_roberta",
        "bge_m3",
        "unicoil",
    ];
    for name in models {
        let model = RandomModel::named(name);
        let folder = model.write_temporary();
        let encoder = encoder(folder.path());
        let oracle = oracle_of(&model);
        for text in random_texts(&model, 5) {
            for special_tokens in [SpecialTokens::Keep, SpecialTokens::DropPositions] {
                let options = EncodeOptions {
                    special_tokens,
                    ..EncodeOptions::default()
                };
                let what = format!("{name} {special_tokens:?} {text:?}");
                check_explanation(&what, &encoder, &oracle, &text, &options);
            }
        }
    }
}

/// Not the number of the winning token is compared but what that token gives, because tokens can tie.
fn check_explanation(
    what: &str,
    encoder: &Encoder,
    oracle: &oracle::Model,
    text: &str,
    options: &EncodeOptions,
) {
    let ids = encoder
        .token_ids(text, options)
        .expect("the text has tokens");
    let pooled = if options.special_tokens == SpecialTokens::DropPositions {
        1..ids.len() - 1
    } else {
        0..ids.len()
    };
    let alone: Vec<oracle::Row> = (0..ids.len())
        .map(|position| oracle.forward(&ids, &[position]))
        .collect();
    for term in encoder
        .explain(text, options)
        .expect("the text is explained")
    {
        let gives = |position: usize| alone[position].weights[term.id as usize];
        let most = pooled.clone().map(gives).fold(0.0, f64::max);
        assert!(
            pooled.contains(&term.position),
            "{what}: token {} is not pooled",
            term.position
        );
        assert!(
            gives(term.position) >= most - ENGINE_TOLERANCE,
            "{what}: token {} gives {} to id {}, another gives {most}",
            term.position,
            gives(term.position),
            term.id
        );
        assert_eq!(term.source, encoder.token(ids[term.position]), "{what}");
    }
}

#[test]
fn neighbours_do_not_change_a_row() {
    for name in [
        "bert",
        "bert_head20",
        "bert_log1p_sum",
        "distilbert",
        "roberta",
    ] {
        let model = RandomModel::named(name);
        let folder = model.write_temporary();
        compare_alone_and_in_batches(name, &encoder(folder.path()), random_texts(&model, 40));
        // Batches of very few tokens, so that texts meet in changing company.
        let crowded = Encoder::builder(folder.path())
            .device(Device::Cpu)
            .dtype(Dtype::F32)
            .batch_tokens(64);
        let crowded = crowded.build().expect("the model loads");
        let what = format!("{name} in small batches");
        compare_alone_and_in_batches(&what, &crowded, random_texts(&model, 40));
    }
    // Lengths 2 to 512.
    let texts = GoldenRow::of("splade_tiny")
        .into_iter()
        .map(|row| row.text)
        .collect();
    compare_alone_and_in_batches("splade-tiny", &encoder(&demo_model::folder()), texts);
}

fn encoder(folder: &std::path::Path) -> Encoder {
    let builder = Encoder::builder(folder)
        .device(Device::Cpu)
        .dtype(Dtype::F32);
    builder
        .build()
        .unwrap_or_else(|e| panic!("the model in {} does not load: {e}", folder.display()))
}

/// Each text by itself against the same text in one batch with all others, in order and shuffled.
fn compare_alone_and_in_batches(model: &str, encoder: &Encoder, texts: Vec<String>) {
    let options = EncodeOptions::default();
    let mut agreement = Agreement::within(NEIGHBOUR_TOLERANCE);
    // Sorting by a hash of the place is a shuffle that is the same every time.
    let mut shuffled: Vec<usize> = (0..texts.len()).collect();
    shuffled.sort_by_key(|place| SplitMix64::named("shuffle", *place as u64).next());
    let shuffled_texts: Vec<&String> = shuffled.iter().map(|&place| &texts[place]).collect();

    let together = encoder
        .encode(&texts, &options)
        .expect("the texts are encoded");
    let mixed = encoder
        .encode(&shuffled_texts, &options)
        .expect("the texts are encoded");
    for (number, text) in texts.iter().enumerate() {
        let alone = encoder
            .encode(&[text], &options)
            .expect("the text is encoded");
        let alone = entries(alone.row(0));
        let place = shuffled
            .iter()
            .position(|&place| place == number)
            .expect("every text is in the shuffle");
        let start: String = text.chars().take(24).collect();
        agreement.row(
            &format!("{model} {start:?} in a batch"),
            &entries(together.row(number)),
            &alone,
        );
        agreement.row(
            &format!("{model} {start:?} in another order"),
            &entries(mixed.row(place)),
            &alone,
        );
    }
    agreement.finish(&format!("{model}, alone and in batches"));
}

/// Texts of 0 to 45 words of the model's vocabulary, so that some exceed its 40 positions.
fn random_texts(model: &RandomModel, count: usize) -> Vec<String> {
    let words = model.vocabulary();
    let mut numbers = SplitMix64::named("texts", model.seed);
    let mut below = |limit: usize| (numbers.next().expect("it never ends") % limit as u64) as usize;
    (0..count)
        .map(|_| {
            let length = below(46);
            let text: Vec<&str> = (0..length)
                .map(|_| words[below(words.len())].trim_start_matches(['\u{120}', '\u{2581}']))
                .collect();
            text.join(" ")
        })
        .collect()
}

/// The positions that make up a golden row; None where its columns were changed afterwards.
fn pooled_positions(row: &GoldenRow) -> Option<Vec<usize>> {
    match row.special_tokens {
        golden_rows::SpecialTokens::Keep => Some((0..row.ids.len()).collect()),
        // All but [CLS] and [SEP] around the text.
        golden_rows::SpecialTokens::DropPositions => Some((1..row.ids.len() - 1).collect()),
        golden_rows::SpecialTokens::ZeroColumns => None,
    }
}

/// All that the model gives.
fn outputs_of(model: &RandomModel) -> Outputs {
    Outputs {
        sparse: true,
        dense: model.architecture != Architecture::UniCoil,
        colbert: model.colbert.is_some(),
    }
}

/// The golden rows but for those of the longest texts, which are too much for plain loops.
fn rows_with_ids(model: &RandomModel) -> Vec<GoldenRow> {
    let mut rows = GoldenRow::of(&model.name);
    rows.retain(|row| !row.ids.is_empty());
    rows
}

fn oracle_of(model: &RandomModel) -> oracle::Model {
    oracle::Model {
        family: match model.architecture {
            Architecture::Bert | Architecture::UniCoil => oracle::Family::Bert,
            Architecture::DistilBert => oracle::Family::DistilBert,
            Architecture::Roberta
            | Architecture::XlmRoberta
            | Architecture::Camembert
            | Architecture::XlmRobertaTokens => oracle::Family::Roberta,
            Architecture::BgeM3 => oracle::Family::RobertaEncoder,
        },
        layers: model.layers,
        heads: model.heads,
        norm_eps: model.norm_eps,
        head: oracle_head(model),
        weights: model
            .tensors()
            .into_iter()
            .map(|tensor| {
                let data = tensor.values.into_iter().map(f64::from).collect();
                (
                    tensor.name,
                    oracle::Tensor {
                        shape: tensor.shape,
                        data,
                    },
                )
            })
            .collect(),
    }
}

fn oracle_head(model: &RandomModel) -> oracle::Head {
    let token_weights = |layer, unweighted: &[&str]| {
        let vocabulary = model.vocabulary();
        let id = |token: &&str| vocabulary.iter().position(|known| known == token);
        let ids = unweighted
            .iter()
            .map(|token| id(token).expect(token) as u32);
        oracle::Head::TokenWeights {
            layer,
            unweighted: ids.collect(),
        }
    };
    let xlm_roberta = ["<s>", "<pad>", "</s>", "<unk>"];
    match model.architecture {
        Architecture::BgeM3 => token_weights("sparse_linear", &xlm_roberta),
        Architecture::XlmRobertaTokens => token_weights("classifier", &xlm_roberta),
        Architecture::UniCoil => token_weights("coil_encoder.tok_proj", &["[CLS]", "[PAD]"]),
        _ => splade_head(model.head.as_ref()),
    }
}

fn splade_head(head: Option<&Head>) -> oracle::Head {
    oracle::Head::Splade {
        pooling: match head.map_or("max", |head| &head.pooling) {
            "max" => oracle::Pooling::Max,
            "sum" => oracle::Pooling::Sum,
            other => panic!("models.json: pooling {other}"),
        },
        activation: match head.map_or("relu", |head| &head.activation) {
            "relu" => oracle::Activation::Relu,
            "log1p_relu" => oracle::Activation::Log1pRelu,
            other => panic!("models.json: activation {other}"),
        },
    }
}

fn oracle_of_demo_model() -> oracle::Model {
    let file =
        fs::read(demo_model::folder().join("model.safetensors")).expect("the weights are read");
    let file = SafeTensors::deserialize(&file).expect("a safetensors file");
    let weights: HashMap<String, oracle::Tensor> = file
        .iter()
        .map(|(name, view)| {
            assert_eq!(view.dtype(), StoredDtype::F32, "{name}");
            let number = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().expect("4 bytes"));
            let data = view
                .data()
                .chunks_exact(4)
                .map(|bytes| f64::from(number(bytes)))
                .collect();
            // The oracle knows the names in use today; this file has those of the first BERT.
            let name = name
                .replace("LayerNorm.gamma", "LayerNorm.weight")
                .replace("LayerNorm.beta", "LayerNorm.bias");
            (
                name,
                oracle::Tensor {
                    shape: view.shape().to_vec(),
                    data,
                },
            )
        })
        .collect();
    oracle::Model {
        family: oracle::Family::Bert,
        layers: 2,
        heads: 2,
        norm_eps: 1e-12,
        head: oracle::Head::Splade {
            pooling: oracle::Pooling::Max,
            activation: oracle::Activation::Relu,
        },
        weights,
    }
}
