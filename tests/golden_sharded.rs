//! Weights in several files, as transformers writes them (`tests/golden/sharded.py`).

use std::fs;
use std::path::Path;

use burn::tensor::Device;
use kudos_core::model::hugging_face::{StoredAs, config_from_json, read_weights, write_weights};
use pollster::block_on;
use trainer::policy;

const INDEX: &str = "model.safetensors.index.json";
const SECOND: &str = "model-00002-of-00003.safetensors";

/// The bytes of all parameters that a folder's weights are read as.
fn parameters(folder: &Path) -> Vec<u8> {
    // Tests start in the folder of their package.
    let config = fs::read_to_string("golden/transformer/llama/config.json").unwrap();
    let config = config_from_json(&config).unwrap();
    let weights = policy::weights(folder).unwrap();
    let model = read_weights(&config, &weights, &Device::flex()).unwrap();
    block_on(write_weights(&model, StoredAs::F32)).unwrap()
}

#[test]
fn weights_in_several_files_are_those_in_one() {
    let (several, one) = (Path::new("golden/sharded"), Path::new("golden/transformer/llama"));
    assert_eq!(parameters(several), parameters(one));
    let all = policy::weights(several).unwrap();
    assert_eq!(
        all.bytes().unwrap()[..8],
        (all.bytes().unwrap().len() as u64 - 8 - 76_032).to_le_bytes()
    );
}

#[test]
fn what_is_wrong_with_one_of_several_files_is_said_with_its_name() {
    let check = |change: &dyn Fn(&Path), expected: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        for file in fs::read_dir("golden/sharded").unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
        }
        change(folder.path());
        let error = policy::weights(folder.path()).unwrap_err().to_string();
        expected.iter().for_each(|part| assert!(error.contains(part), "{error}"));
    };
    let write = |name: &'static str, bytes: Vec<u8>| {
        move |folder: &Path| fs::write(folder.join(name), &bytes).unwrap()
    };
    check(&|folder| fs::remove_file(folder.join(SECOND)).unwrap(), &[SECOND]);
    check(&write(SECOND, vec![0; 4]), &[SECOND, "ends early"]);
    let second = fs::read(format!("golden/sharded/{SECOND}")).unwrap();
    check(&write(SECOND, second[..second.len() - 100].to_vec()), &[SECOND, "ends early"]);
    check(&write(SECOND, vec![0xff; 40]), &[SECOND, "too long"]);
    check(&write(SECOND, [&[2, 0, 0, 0, 0, 0, 0, 0][..], b"[]"].concat()), &[SECOND]);
    check(&write(INDEX, b"{}".to_vec()), &[INDEX, "weight_map"]);
    let outside = br#"{"weight_map": {"a": "../a.safetensors"}}"#;
    check(&write(INDEX, outside.to_vec()), &[INDEX, "`a`", "no file name"]);
    let first = "golden/sharded/model-00001-of-00003.safetensors";
    check(&write(SECOND, fs::read(first).unwrap()), &["in another file, too"]);
}
