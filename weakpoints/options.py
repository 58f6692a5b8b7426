"""Every option of a caller: its range, its meaning, and its value in each preset.

HTTP query parameters, command-line flags and OpenAPI are all made from `Options`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any, Literal, get_type_hints

from annotated_types import Ge, Gt, Le, doc

from weakpoints.class_names import chosen_classes, class_index
from weakpoints.errors import BadOption

Preset = Literal["default", "paper"]
Fit = Literal["squash", "letterbox"]
Fill = Literal["shared", "per_box"]
Score = Literal["log_odds", "probability", "logit"]
Fine = Literal["contrast", "mirrored", "guided", "gradient"]
Combine = Literal["corners", "log_sigmoid"]
Box = tuple[int, int, int, int]
Which = Literal["fused", "coarse", "fine"]
Style = Literal["overlay", "colormap", "gray16"]
Size = Literal["image", "network"]
Format = Literal["png", "npz"]
WHITE = "ffffff"
MAX_PASSES = 20_000  # box positions times colours of one request
Precision = Literal["auto", "float32", "tf32", "float16"]


@dataclass(frozen=True)
class Limits:
    """What is accepted of an upload; all of it is checked before anything is decoded.

    max_bytes: of the file. max_pixels, max_side, min_side: of the picture, sides in pixels.
    max_scanned: scans times pixels of a JPEG.
    """

    max_bytes: int = 20 * 2**20
    max_pixels: int = 50_000_000
    max_side: int = 16_384
    min_side: int = 16
    max_scanned: int = 1_000_000_000  # 20 scans of the largest picture; encoders make up to 12


@dataclass(frozen=True)
class NetworkDefaults:
    """What a network's own default detection is: the box and its step in pixels of the input.

    colours: of the boxes. weight: of the coarse map. fine_share: of the fine map in what the coarse
    map leaves, where `combine=corners`.
    """

    patch: int
    stride: int
    colours: int = 2
    weight: float = 0.15
    fine_share: float = 0.75


@dataclass(frozen=True)
class Options:
    """The options of one detection, as given. `resolve` replaces what depends on the network."""

    preset: Annotated[
        Preset,
        doc("where the options that are not given come from; `paper` is the paper to the letter"),
    ] = "default"
    target_class: Annotated[
        int | str | tuple[int | str, ...] | None,
        doc(
            "class index or label to explain, instead of the predicted one; several with commas "
            "between them, 10 at most, share one occlusion"
        ),
    ] = None
    fit: Annotated[
        Fit, doc("how the picture becomes a square: squeezed, or with its aspect kept")
    ] = "squash"
    roi: Annotated[Box | None, doc("x,y,w,h in pixels: look at this part only")] = None
    background: Annotated[
        str, doc("colour under what can be seen through, as RRGGBB; 000000 is black")
    ] = WHITE
    patch: Annotated[
        int | None,
        Ge(1),
        Le(1024),
        doc("side of the occluding box, network pixels; the network's own if not given"),
    ] = None
    stride: Annotated[
        int | None,
        Ge(1),
        Le(1024),
        doc("step of the occluding box, network pixels; the network's own if not given"),
    ] = None
    colours: Annotated[
        int | None,
        Ge(1),
        Le(64),
        doc("random box colours to average over; the network's own number if not given"),
    ] = None
    fill: Annotated[Fill, doc("the same colours at every position, or new ones for each box")] = (
        "shared"
    )
    seed: Annotated[
        int, Ge(0), Le(2**31 - 1), doc("seed of the colours, mixed with the picture's digest")
    ] = 0
    score: Annotated[Score, doc("the class score whose drop is read")] = "log_odds"
    fine: Annotated[
        Fine,
        doc(
            "backward rule of the fine map; `mirrored` is `guided`, averaged with that of the "
            "mirrored picture; `contrast` is `mirrored` where no other likely class claims "
            "the place"
        ),
    ] = "contrast"
    combine: Annotated[
        Combine,
        doc(
            "what a keypoint is: a corner of the photograph where both maps are high, or a peak "
            "of their sum"
        ),
    ] = "corners"
    weight: Annotated[
        float | None,
        Ge(0),
        Le(1),
        doc("share of the coarse map in the log-likelihood; the network's own if not given"),
    ] = None
    keep: Annotated[
        float, Gt(0), Le(1), doc("share of the local maxima that is kept, strongest first")
    ] = 0.15
    max_keypoints: Annotated[int, Ge(1), Le(1000), doc("never more keypoints than this")] = 100
    nms_radius: Annotated[
        int | None,
        Ge(1),
        Le(256),
        doc("a keypoint is the maximum this far around, network pixels; side/28 if not given"),
    ] = None
    top_classes: Annotated[int, Ge(1), Le(100), doc("how many classes to list")] = 5


@dataclass(frozen=True, kw_only=True)
class ResolvedOptions(Options):
    """`Options` for one network, made by `resolve`: lengths are numbers, classes are indices.

    target_class: one index, or several; None is the predicted class.
    """

    target_class: int | tuple[int, ...] | None = field()
    patch: int = field()
    stride: int = field()
    colours: int = field()
    weight: float = field()
    nms_radius: int = field()

    @property
    def targets(self) -> tuple[int, ...]:
        """The classes to explain; none: the predicted one."""
        match self.target_class:
            case None:
                return ()
            case int():
                return (self.target_class,)
        return self.target_class


PRESETS: dict[Preset, Options] = {
    "default": Options(),
    "paper": Options(
        preset="paper",
        colours=1,
        fill="per_box",
        score="probability",
        fine="guided",
        combine="log_sigmoid",
        weight=0.5,
        keep=0.4,
    ),
}
HINTS: dict[str, Any] = get_type_hints(Options, include_extras=True)
NAMES = tuple(field.name for field in fields(Options))


def choose(preset: Preset = "default", **given: Any) -> Options:
    """The preset, with the given options instead of its own; None stands for not given."""
    return replace(
        PRESETS[preset], **{name: value for name, value in given.items() if value is not None}
    )


def resolve(
    options: Options, side: int, labels: Sequence[str], own: NetworkDefaults | None = None
) -> ResolvedOptions:
    """The options for a network with `side` x `side` pixels of input and these labels.

    own: this network's defaults. Without them, and in preset `paper`, patch and stride are side/14
    and side/28. `nms_radius` is side/28. A label becomes its index. `target_class`
    None stays: it means the predicted class. Raises BadOption where patch, stride and side do not
    fit, or there is no such class.
    """
    given = {name: getattr(options, name) for name in NAMES}
    if own is None or options.preset == "paper":
        own = NetworkDefaults(max(1, side // 14), max(1, side // 28))
    resolved = ResolvedOptions(
        **given
        | {
            "target_class": chosen_classes(options.target_class, labels),
            "patch": options.patch or own.patch,
            "stride": options.stride or own.stride,
            "colours": options.colours or own.colours,
            "weight": own.weight if options.weight is None else options.weight,
            "nms_radius": options.nms_radius or max(1, side // 28),
        }
    )
    if resolved.patch > side:
        raise BadOption(
            f"patch is {resolved.patch} but the network's input side is {side}",
            option="patch",
            limit=side,
            actual=resolved.patch,
        )
    if resolved.stride > resolved.patch:
        raise BadOption(
            f"stride is {resolved.stride}, more than the patch of {resolved.patch}: "
            "pixels between the boxes would never be covered",
            option="stride",
            limit=resolved.patch,
            actual=resolved.stride,
        )
    return resolved


def drawn_class(
    wanted: int | str | None, options: ResolvedOptions, labels: Sequence[str]
) -> int | None:
    """The index of the class to draw, None if not given.

    Raises BadOption where it is none of those that are asked for.
    """
    if wanted is None:
        return None
    chosen = class_index(wanted, labels, "drawn_class")
    if chosen not in options.targets:
        raise BadOption(
            f"drawn_class is {wanted!r}, which is none of the classes of target_class",
            option="drawn_class",
            limit=list(options.targets),
            actual=wanted,
        )
    return chosen
