"""Every error that is raised on purpose, with its HTTP status.

WeakpointsError
├── MalformedRequest     400  empty body, wrong field, no image
├── Unauthorized         401  no key, or not one of ours
├── NotAllowed           403  the service is not set to do this
├── UnknownModel         404  no model of this name is served
├── UnknownLandmarks     404  no landmark set of this name is here
├── UploadTooSlow        408  the body did not come in time
├── TooLarge             413  too many bytes, pixels or a side too long
├── UnsupportedMedia     415  not an image format that is read
├── BadImage             422  of a supported type, but it can't be decoded or is too small
├── BadOption            422  unknown, out of range, or impossible for this image or network
├── BadAnnotations       422  landmarks that are not marked as COCO has them
├── BadLandmarkSet       422  a landmark set that is damaged, or of another network
├── QueueFull            429  with the seconds after which to try again
├── Unavailable          503  loading or stopping
│   ├── OutOfMemory      503  the device has too little memory for this request now
│   └── DeviceLost       503  the device failed: nothing works until a restart
├── DeadlinePassed       504  the caller's time was over before the answer
├── NotFinite            500  the precision can't hold the network's numbers
└── WeightsError         500  stops the start: missing, wrong digest, key or shape
"""


class WeakpointsError(Exception):
    """An error with its HTTP status and a stable `slug`, the end of its problem's `type`.

    figures: what a caller needs to know, such as limit, actual, or retry_after in seconds.
    """

    status = 500
    slug = "internal-error"
    title = "Internal error"

    def __init__(self, detail: str, **figures: object) -> None:
        super().__init__(detail)
        self.detail = detail
        self.figures = figures


class MalformedRequest(WeakpointsError):
    """The request is empty, has no image, or a wrong field or header."""

    status, slug, title = 400, "malformed-request", "Malformed request"


class Unauthorized(WeakpointsError):
    """No key came, or none that is accepted."""

    status, slug, title = 401, "unauthorized", "Unauthorized"


class UnknownModel(WeakpointsError):
    """No model of this name is served."""

    status, slug, title = 404, "unknown-model", "Unknown model"


class NotAllowed(WeakpointsError):
    """The service is not set to do this."""

    status, slug, title = 403, "not-allowed", "Not allowed"


class UnknownLandmarks(WeakpointsError):
    """No landmark set of this name is here."""

    status, slug, title = 404, "unknown-landmarks", "Unknown landmarks"


class UploadTooSlow(WeakpointsError):
    """The body was not received within the upload's timeout."""

    status, slug, title = 408, "upload-too-slow", "Upload too slow"


class TooLarge(WeakpointsError):
    """Too many bytes or pixels, or a side that is too long."""

    status, slug, title = 413, "too-large", "Too large"


class UnsupportedMedia(WeakpointsError):
    """Not an image format that is read here."""

    status, slug, title = 415, "unsupported-media-type", "Unsupported media type"


class BadImage(WeakpointsError):
    """A supported type, but it can't be decoded, or it is too small."""

    status, slug, title = 422, "bad-image", "Bad image"


class BadOption(WeakpointsError):
    """An option that is unknown, out of range, or impossible for this image or network."""

    status, slug, title = 422, "bad-option", "Bad option"


class BadAnnotations(WeakpointsError):
    """Landmarks that are not marked as COCO keypoints have them, or not on the photographs."""

    status, slug, title = 422, "bad-annotations", "Bad annotations"


class BadLandmarkSet(WeakpointsError):
    """A landmark set that is damaged, of another network, or unfit."""

    status, slug, title = 422, "bad-landmark-set", "Bad landmark set"


class QueueFull(WeakpointsError):
    """Too many requests wait already; `retry_after` says when to try again."""

    status, slug, title = 429, "queue-full", "Queue full"


class Unavailable(WeakpointsError):
    """The service is loading or stopping."""

    status, slug, title = 503, "unavailable", "Unavailable"


class OutOfMemory(Unavailable):
    """The device has too little memory for this request now."""

    slug, title = "out-of-memory", "Out of memory"


class DeviceLost(Unavailable):
    """The device failed: nothing works until a restart."""

    slug, title = "device-lost", "Device lost"


class DeadlinePassed(WeakpointsError):
    """The caller's time was over before the answer."""

    status, slug, title = 504, "deadline-passed", "Deadline passed"

    def __init__(
        self,
        detail: str = "the time that was allowed is over; nothing more is done for this request",
        **figures: object,
    ) -> None:
        super().__init__(detail, **figures)


class WeightsError(WeakpointsError):
    """Weights that are missing or not as the manifest says; the service does not start."""

    slug, title = "weights-error", "Weights error"


class NotFinite(WeakpointsError):
    """A logit is infinite or NaN: the photograph exceeds the range of the precision."""

    slug, title = "not-finite", "Not finite"
