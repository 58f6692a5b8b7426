"""Bad annotations and bad sets through all four doors: HTTP, Python, client and command line.

Each says in one sentence what is wrong, and with which photograph, landmark or file.
"""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.cli import main as cli
from app.service.landmark_sets import LandmarkSets
from tests.landmarks.conftest import NAMES, PLACES, coco, scene
from tests.service import encoded, serving
from weakpoints import Weakpoints
from weakpoints.errors import Unavailable, UnknownLandmarks, WeakpointsError
from weakpoints.landmarks.annotations import read_annotations
from weakpoints.landmarks.describer import Describer
from weakpoints.landmarks.landmark_set import MOST_REFERENCES, LandmarkSet
from weakpoints.landmarks.learning import learn
from weakpoints.landmarks.named import Pattern
from weakpoints.method.detector import Detector
from weakpoints.options import choose
from weakpoints_client import Client, Refused

PHOTO = encoded(scene())
PHOTOS = {"a.png": PHOTO}
CATEGORY = {"id": 1, "name": "beast", "keypoints": NAMES}
VISIBLE = [v for x, y in PLACES for v in (x, y, 2)]


@dataclass(frozen=True)
class Sent:
    """What a caller has: annotations, photographs by name, and what the answer must say."""

    words: str
    annotations: Any
    photos: dict[str, bytes]


def changed(words: str, **changes: Any) -> Sent:
    return Sent(words, coco({"a.png": PLACES}) | changes, PHOTOS)


def named(*names: Any, words: str) -> Sent:
    return changed(words, categories=[CATEGORY | {"keypoints": list(names)}])


def points(keypoints: Any, words: str) -> Sent:
    row = {"image_id": 0, "category_id": 1, "keypoints": keypoints}
    return changed(words, annotations=[row])


def two_categories() -> Any:
    both = coco({"a.png": PLACES, "b.png": PLACES})
    both["categories"].append({"id": 2, "name": "plant", "keypoints": list("wxyz")})
    both["annotations"][1]["category_id"] = 2
    return both


MANY = {f"{i}.png": PHOTO for i in range(MOST_REFERENCES + 1)}
BAD = {
    "another file name": Sent("'other.png'", coco({"other.png": PLACES}), PHOTOS),
    "a point outside": Sent(
        "'nose' of 'a.png' is at 540.5, 530.5", coco({"a.png": PLACES + 500}), PHOTOS
    ),
    "a point outside of a photograph whose size is not told": Sent(
        "outside of 160 x 120",
        coco({"a.png": PLACES + 500}, images=[{"id": 0, "file_name": "a.png"}]),
        PHOTOS,
    ),
    "two categories": Sent(
        "2 categories, 'beast', 'plant'", two_categories(), PHOTOS | {"b.png": PHOTO}
    ),
    "a reference that is no picture": Sent(
        "reference 'a.png'", coco({"a.png": PLACES}), {"a.png": b"GIF89a"}
    ),
    "a reference that was cut short": Sent(
        "reference 'a.png'", coco({"a.png": PLACES}), {"a.png": PHOTO[: len(PHOTO) // 2]}
    ),
    "more references than the limit": Sent("most", coco({name: PLACES for name in MANY}), MANY),
    "no JSON": Sent("not JSON", b"{", PHOTOS),
    "no category": changed("no list 'categories'", categories=None),
    "an empty name": named("a", "", "c", "d", words="is called '', which is no name"),
    "a name of blanks": named("a", "  ", "c", "d", words="which is no name"),
    "a name with a line's end": named("a", "b\nb", "c", "d", words="which is no name"),
    "half a character": named("a", "b\ud800", "c", "d", words="which is no name"),
    "a name that is none": named("a", None, "c", "d", words="is called 'None', which is no name"),
    "a name twice": named("a", "b", "a", "d", words="both called 'a'"),
    "a name twice but for blanks": named("a", "b", "a ", "d", words="both called 'a'"),
    "a very long name": named("a", "b" * 201, "c", "d", words="201 characters"),
    "no list of names": changed("no list of names", categories=[CATEGORY | {"keypoints": "abcd"}]),
    "a visibility that is none": points([1, 1, 3] * 4, "visibility 3"),
    "a point that is no number": points([float("nan"), 1, 2] * 4, "no finite number"),
    "a point without end": points([10**400, 1, 2] * 4, "no triples"),
    "keypoints that are a number": points(7, "no triples"),
    "no visible point": points([0, 0, 0] * 4, "no object with a marked landmark"),
    "a skeleton too far": changed(
        "joins landmarks 1 and 9", categories=[CATEGORY | {"skeleton": [[1, 9]]}]
    ),
    "a skeleton from 0": changed(
        "joins landmarks 0 and 1", categories=[CATEGORY | {"skeleton": [[0, 1]]}]
    ),
    "an image twice": changed("'images'", images=[{"id": 0, "file_name": "a.png"}] * 2),
    "an image that is not there": changed(
        "image 9", annotations=[{"image_id": 9, "category_id": 1, "keypoints": VISIBLE}]
    ),
}
DOORS = ("http", "python", "client", "cli")


@pytest.fixture(scope="module")
def learnt(detector: Detector) -> LandmarkSet:
    marked = read_annotations(json.dumps(coco({"a.png": PLACES})), "beast.json")
    return learn(Describer(detector), marked, lambda name: scene(), choose())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sets")


@pytest.fixture(scope="module")
def service(detector: Detector, folder: Path) -> Iterator[httpx2.Client]:
    with serving(lambda: detector, landmarks=folder, landmarks_writable=True) as client:
        client.params = {}
        yield client


@pytest.fixture
def refusal(
    service: httpx2.Client,
    folder: Path,
    detector: Detector,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[[str, Sent | bytes], str]:
    """What a door says to annotations that are sent, or to a landmark set."""
    monkeypatch.setattr("app.loading.loaded", lambda *args: detector)
    monkeypatch.setattr("weakpoints.api.load_detector", lambda *args: detector)

    def annotated(door: str, sent: Sent) -> str:
        text = sent.annotations
        text = text if isinstance(text, bytes) else json.dumps(text).encode()
        if door == "http":
            files = [("reference", item) for item in sent.photos.items()]
            files += [("annotations", ("coco.json", text)), ("image", ("p.png", PHOTO))]
            answer = service.post("/landmarks", files=files)
            assert answer.status_code in (413, 422), answer.text
            return str(answer.json()["detail"])
        if door == "client":
            with Client(str(service.base_url)) as client, pytest.raises(Refused) as refused:
                client.landmarks_by_references(PHOTO, sent.photos, text)
            return str(refused.value)
        (tmp_path / "coco.json").write_bytes(text)
        for name, data in sent.photos.items():
            (tmp_path / name).write_bytes(data)
        if door == "python":
            with pytest.raises(WeakpointsError) as error:
                Weakpoints(device="cpu").landmarks(tmp_path / "coco.json")
            return error.value.detail
        given = ["--annotations", str(tmp_path / "coco.json"), "--images", str(tmp_path)]
        return command("landmarks", "learn", *given, "--out", str(tmp_path / "x.landmarks"))

    def kept(door: str, data: bytes) -> str:
        path = folder / "bad.landmarks"
        path.write_bytes(data)
        (tmp_path / "p.png").write_bytes(PHOTO)
        if door == "http":
            answer = service.put("/landmarks/bad", content=data)
            assert answer.status_code == 422, answer.text
            return str(answer.json()["detail"])
        if door == "client":
            with Client(str(service.base_url)) as client, pytest.raises(Refused) as refused:
                client.landmarks(PHOTO, "bad")
            return str(refused.value)
        if door == "python":
            with pytest.raises(WeakpointsError) as error:
                Weakpoints(device="cpu").landmarks(path)
            return error.value.detail
        return command("landmarks", "find", str(tmp_path / "p.png"), "--landmarks", str(path))

    def command(*arguments: str) -> str:
        assert cli.main(list(arguments)) != 0
        said = capsys.readouterr().err
        assert "Traceback" not in said
        return said

    def told(door: str, sent: Sent | bytes) -> str:
        return kept(door, sent) if isinstance(sent, bytes) else annotated(door, sent)

    return told


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", BAD)
def test_bad_annotations_are_named(
    refusal: Callable[[str, Sent], str], kind: str, door: str
) -> None:
    assert BAD[kind].words in refusal(door, BAD[kind])


def by_hand(learnt: LandmarkSet, **changes: Any) -> bytes:
    """A set with a digest that fits, as no command makes it."""
    return replace(learnt, pattern=replace(learnt.pattern, **changes)).to_bytes()


def with_other_maps(pattern: Pattern) -> Any:
    (reference,) = pattern.references
    return (replace(reference, descriptors=reference.descriptors[:1]),)


BAD_SETS: dict[str, tuple[str, Callable[[LandmarkSet], bytes]]] = {
    "empty": ("cut short: 0 bytes", lambda learnt: b""),
    "cut short": ("cut short", lambda learnt: learnt.to_bytes()[:-9]),
    "no set": ("no landmark set", lambda learnt: PHOTO),
    "another network's": ("ffffffffffff", lambda learnt: by_hand(learnt, network="f" * 64)),
    "a map that was changed": (
        "changed after it was written",
        lambda learnt: learnt.to_bytes()[:-1] + bytes([learnt.to_bytes()[-1] ^ 1]),
    ),
    "a name that was changed": (
        "changed after it was written",
        lambda learnt: learnt.to_bytes().replace(b"nose", b"node"),
    ),
    "an older format": (
        "has format 'weakpoints landmarks 2'",
        lambda learnt: learnt.to_bytes().replace(b"landmarks 3", b"landmarks 2"),
    ),
    "a line to nowhere": (
        "joins landmarks that it does not have",
        lambda learnt: by_hand(learnt, skeleton=((0, 9),)),
    ),
    "other maps than the network's": (
        "has maps of",
        lambda learnt: by_hand(learnt, references=with_other_maps(learnt.pattern)),
    ),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", BAD_SETS)
def test_bad_sets_are_named(
    refusal: Callable[[str, bytes], str], learnt: LandmarkSet, kind: str, door: str
) -> None:
    words, made = BAD_SETS[kind]
    assert words in refusal(door, made(learnt))


def sent_by(service: httpx2.Client, annotations: Any, *names: str) -> httpx2.Response:
    files = [("reference", (name, PHOTO)) for name in names]
    files += [("annotations", ("c", json.dumps(annotations).encode())), ("image", ("p", PHOTO))]
    return service.post("/landmarks", files=files)


def test_a_reference_that_is_sent_twice_is_named(service: httpx2.Client) -> None:
    answer = sent_by(service, coco({"a.png": PLACES}), "a.png", "a.png")
    assert "two references are called 'a.png'" in answer.json()["detail"]


def test_one_name_in_two_folders_is_ambiguous(service: httpx2.Client) -> None:
    answer = sent_by(service, coco({"x/a.png": PLACES, "y/a.png": PLACES}), "a.png")
    assert "'x/a.png', 'y/a.png'" in answer.json()["detail"]


def test_two_objects_on_one_photograph_are_two_references(
    service: httpx2.Client, learnt: LandmarkSet
) -> None:
    both = coco({"a.png": PLACES})
    both["annotations"] *= 2
    files = [("reference", ("a.png", PHOTO)), ("annotations", ("c", json.dumps(both).encode()))]
    answer = service.post("/landmarks", files=files, headers={"accept": "application/x-landmarks"})
    assert LandmarkSet.of_bytes(answer.content, "x").sources == ("a.png", "a.png")


def test_names_in_any_script_come_back(service: httpx2.Client) -> None:
    names = ["nez", "oreille gauche", "хвост", "पैर"]
    marked = coco({"a.png": PLACES}, names)
    found = sent_by(service, marked, "a.png").json()
    assert [point["name"] for point in found["landmarks"]] == names


def test_two_that_keep_the_same_set_at_once_both_do(
    service: httpx2.Client, folder: Path, learnt: LandmarkSet
) -> None:
    data = learnt.to_bytes()
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda _: service.put("/landmarks/same", content=data), range(16))
        assert {answer.status_code for answer in answers} == {200}
    assert LandmarkSet.load(folder / "same.landmarks").names == learnt.names
    assert not list(folder.glob("*.partial"))
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize("name", ["..%2Fx", ".x", "a%20b", "x" * 101, "a%2Fb"])
def test_what_can_be_no_name_of_a_set_is_refused(
    service: httpx2.Client, learnt: LandmarkSet, name: str
) -> None:
    answer = service.put(f"/landmarks/{name}", content=learnt.to_bytes())
    assert answer.status_code == 404, answer.text


def test_a_set_that_is_deleted_while_it_is_used_answers_to_the_end(
    folder: Path, learnt: LandmarkSet
) -> None:
    sets = LandmarkSets(folder / "mine", writable=True)
    sets.put("beast", learnt)
    kept = sets.get("beast")
    sets.delete("beast")
    assert kept.to_bytes() == learnt.to_bytes()
    with pytest.raises(UnknownLandmarks):
        sets.get("beast")


def test_a_set_that_goes_while_the_sets_are_listed_is_left_out(
    folder: Path, learnt: LandmarkSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = LandmarkSets(folder / "others", writable=True)
    sets.put("beast", learnt)
    monkeypatch.setattr(sets, "names", lambda: ["beast", "gone"])
    cards, broken = sets.cards(learnt.pattern.network)
    assert ([card["name"] for card in cards], broken) == (["beast"], {})


def test_a_folder_that_can_not_be_written_is_said(folder: Path, learnt: LandmarkSet) -> None:
    (folder / "file").write_bytes(b"")
    with pytest.raises(Unavailable, match="'beast' can't be kept"):
        LandmarkSets(folder / "file", writable=True).put("beast", learnt)
