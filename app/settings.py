"""Every setting of the service, read once from the environment: `WEAKPOINTS_...`."""

from pathlib import Path
from typing import Annotated, Any

from annotated_types import Le
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from app.environment import (
    LARGEST_AMOUNT,
    MOST_SECONDS,
    Amount,
    Environment,
    File,
    Networks,
    Origins,
    Seconds,
    lowered,
    prefix,
    server,
    without_brackets,
)
from weakpoints.errors import WeakpointsError
from weakpoints.networks.manifest import MODEL_WEIGHTS, downloads_of
from weakpoints.options import MAX_PASSES, Limits, Precision

DEFAULTS = Limits()


def _downloads(settings: dict[str, Any]) -> Path:
    return downloads_of(settings["manifest"])


class Settings(BaseSettings):
    """The settings; `description` is their documentation."""

    model_config = SettingsConfigDict(env_prefix="WEAKPOINTS_", frozen=True, extra="forbid")

    network: str = Field(
        "auto",
        description="name of a network in the manifest; `auto`: `vgg16` where its weights are "
        "here, else `efficientnet_lite0`",
    )
    served_name: str = Field(
        "",
        pattern=r"^[A-Za-z0-9._-]*$",
        description="name of the model in KServe's protocol; the network's if not given",
    )
    manifest: File = Field(MODEL_WEIGHTS / "manifest.json", description="the manifest of networks")
    downloads: File = Field(
        default_factory=_downloads,
        description="folder for weights that are pulled; the user's data folder if not a checkout",
    )
    device: Annotated[str, BeforeValidator(lowered)] = Field(
        "auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="where the network runs: `cpu`, `cuda`, `cuda:1`; "
        "`auto` takes a GPU if there is one",
    )
    precision: Annotated[Precision, BeforeValidator(lowered)] = Field(
        "auto",
        description="`float32`, `tf32` or `float16`; `auto` is float16 on a GPU, float32 on a CPU",
    )
    host: Annotated[str, AfterValidator(without_brackets)] = Field(
        "127.0.0.1", description="address to listen on; a container sets `0.0.0.0`"
    )
    port: int = Field(8000, ge=0, le=65535, description="port to listen on")
    root_path: Annotated[str, BeforeValidator(prefix)] = Field(
        "",
        pattern=r"^(/[^/?#%\s]+)*$",
        description="prefix of the paths that a proxy passes on, such as `/keypoints`, where it "
        "does not take it away; without the prefix requests are answered as well",
    )
    proxies: Networks = Field(
        (),
        description="addresses or networks of proxies whose `X-Forwarded-For` names the caller, "
        'with commas or as JSON: `["10.0.0.0/8"]`; else the caller is whose connection it is',
    )
    queue_size: int = Field(
        32,
        ge=1,
        le=10_000,
        description="requests that may wait for the device; one more is answered 429",
    )
    batch: int = Field(
        0,
        ge=0,
        le=64,
        description="waiting pictures that the network looks at together; "
        "0: 8 on a GPU, 1 on a CPU",
    )
    queue_pixels: Amount = Field(
        200_000_000,
        ge=256,
        description="pixels of all pictures in memory, from decoding to the answer; more are "
        "answered 429",
    )
    uploads: int = Field(
        88,
        ge=1,
        le=10_000,
        description="pictures that may be received at the same time, three quarters of them by "
        "one caller; one more is answered 429",
    )
    connections: int = Field(
        512,
        ge=1,
        le=100_000,
        description="connections open at the same time, fewer where `ulimit -n` says so; "
        "one more closes the longest idle",
    )
    keep_alive: Seconds = Field(
        75, gt=0, description="seconds that an idle connection is kept; a proxy's should be less"
    )
    header_timeout: Seconds = Field(
        10, gt=0, description="seconds that a request's head may take to come; then it is closed"
    )
    upload_timeout: Seconds = Field(
        30, gt=0, description="seconds that a body may take to come, for each picture; then 408"
    )
    upload_grace: Seconds = Field(
        5, gt=0, description="seconds after which a body must come at `upload_rate` at least"
    )
    upload_rate: Annotated[float, Le(LARGEST_AMOUNT)] = Field(
        1024, gt=0, description="bytes a second that a body must come at on average; less is 408"
    )
    write_timeout: Seconds = Field(
        30, gt=0, description="seconds without a byte read after which an answer is given up"
    )
    request_timeout: Seconds = Field(
        120,
        gt=0,
        description="seconds from request to answer, unless `X-Request-Timeout` says less; "
        "then 504",
    )
    cache_bytes: Amount = Field(
        67_108_864,
        ge=0,
        description="bytes of maps that are kept for the same photograph and options asked again; "
        "0: none",
    )
    drain_delay: Seconds = Field(
        0,
        ge=0,
        description="seconds between not being ready and not listening, for balancers to notice",
    )
    stop_timeout: int = Field(
        30,
        ge=1,
        le=int(MOST_SECONDS),
        description="seconds after SIGTERM in which what was accepted is answered",
    )
    origins: Origins = Field(
        (),
        description="origins of other sites' pages that may ask from a browser, with commas "
        'or as JSON: `["https://example.com"]`; `*`: all',
    )
    api_keys: File | None = Field(
        None,
        description="file with one accepted key a line, `#` begins a comment; changes hold at "
        "once; none: no key is needed",
    )
    decoders: int = Field(2, ge=1, le=64, description="pictures that are decoded at the same time")
    max_bytes: Amount = Field(
        DEFAULTS.max_bytes, ge=1024, description="bytes of a picture; more are answered 413"
    )
    max_images: int = Field(
        16, ge=1, le=64, description="pictures in one request to `/detect`; more are answered 413"
    )
    max_pixels: Amount = Field(
        DEFAULTS.max_pixels, ge=256, description="pixels of a picture; more are answered 413"
    )
    max_side: Amount = Field(
        DEFAULTS.max_side,
        ge=16,
        description="pixels of a picture's longer side; more are answered 413",
    )
    landmarks: File | None = Field(
        None, description="folder of landmark sets, `NAME.landmarks`; none: there are none"
    )
    landmarks_writable: bool = Field(
        False, description="whether callers may put landmark sets into that folder, and delete them"
    )
    max_references: int = Field(
        16,
        ge=1,
        le=64,
        description="reference photographs in one request to `/landmarks`; more are answered 413",
    )
    max_objects: int = Field(
        16, ge=1, le=64, description="times that `roi` may be given to `/landmarks`; more are 422"
    )
    label_studio_url: Annotated[str, AfterValidator(server)] = Field(
        "",
        description="address of the Label Studio whose photographs are fetched, such as "
        "`http://labelstudio:8080`; also read from `LABEL_STUDIO_URL`; none: none are",
    )
    label_studio_api_key: SecretStr = Field(
        SecretStr(""),
        description="access token that is sent there, and nowhere else; also read from "
        "`LABEL_STUDIO_API_KEY`",
    )
    max_passes: Amount = Field(
        MAX_PASSES, ge=1, description="box positions times colours that a request may ask for"
    )
    memory: Amount = Field(
        0,
        ge=0,
        description="bytes that the occlusion may take beside the network, however many boxes; "
        "0: 4 GiB on a GPU; 256 MiB on a CPU, or what one box of a large network needs",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is given in Python, then the environment; no files."""
        # A `.env` of the folder where one happens to be would be a surprise.
        return init_settings, Environment(settings_cls)

    @property
    def limits(self) -> Limits:
        """The limits of an upload."""
        return Limits(max_bytes=self.max_bytes, max_pixels=self.max_pixels, max_side=self.max_side)


def read_settings(**given: Any) -> Settings:
    """Settings of the environment, with what was `given` (not None) put over them.

    Raises WeakpointsError for a setting that is wrong.
    """
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        # Where one is wrong, pydantic tells besides of each whose default it did not work out.
        wrong = [fault for fault in error.errors() if fault["type"] != "default_factory_not_called"]
        raise WeakpointsError("; ".join(map(_sentence, wrong))) from error
    except SettingsError as error:
        raise WeakpointsError(str(error)) from error


def _sentence(error: Any) -> str:
    """What is wrong with one setting, by its name in the environment."""
    name = str(error["loc"][0])
    message = error["msg"].removeprefix("Value error, ")
    return f"{name} (WEAKPOINTS_{name.upper()}) is {str(error['input'])[:100]!r}: {message}"
