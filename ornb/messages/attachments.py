"""Images, PDFs and sound that go with a prompt: checked before anything is sent.

What a file is, its first bytes say, not its name. An address is passed on as it is: the service
fetches it, never this machine.

References
----------
OpenRouter docs, "Multimodal": "Image Inputs" (types, text before images), "PDF Inputs" (the
``file-parser`` plugin and its engines) and "Audio" (no addresses); 2026-08-22.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from ..api.parameters import record_of
from ..api.refusals import mapping
from ..errors import ConfigError
from .context import in_words, suggest

if TYPE_CHECKING:
    import pandas as pd

MAX_BYTES = 20_000_000
"""Size of a file, in bytes, above which it is refused. Ours: on the wire it grows by a third, it is
sent again with every further question, and it is saved with the conversation."""

WORDS = {"text": "text", "image": "images", "file": "PDFs", "audio": "sound", "video": "video"}
"""Input modality to the word for people."""

_SUFFIXES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "pdf": "application/pdf",
}
"""Only for addresses, of which nothing else is known."""
_TAKEN = "PNG, JPEG, GIF and WebP images, PDF, WAV and MP3"
_FOREIGN = (
    (b"PK\x03\x04", "a ZIP archive or an Office document; export it as PDF"),
    (b"\xd0\xcf\x11\xe0", "an old Office document; export it as PDF"),
    (b"II*\x00", "a TIFF image; convert it to PNG"),
    (b"MM\x00*", "a TIFF image; convert it to PNG"),
    (b"BM", "a BMP image; convert it to PNG"),
    (b"fLaC", "FLAC sound; convert it to WAV or MP3"),
    (b"OggS", "Ogg sound; convert it to WAV or MP3"),
)
"""First bytes of what people try, and what to do about it."""
_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[\w.+=-]+)*;base64,", re.IGNORECASE)


@dataclass(frozen=True, repr=False)
class Attachment:
    """One image, PDF or recording for a prompt. Make it with `of`, or a ``from_`` method."""

    kind: str
    """"image", "file" (a PDF) or "audio": the input modality that it needs."""
    media_type: str
    name: str
    """For people, without folders."""
    size: int | None
    """Bytes; None for an address."""
    url: str = field(repr=False)
    """A data URL with the content, or the https address."""

    def __repr__(self) -> str:
        return f"Attachment({self.name!r}, {self.media_type}, {self.extent})"

    @property
    def is_remote(self) -> bool:
        """Whether it is an address; nothing has been loaded from there."""
        return not self.url.startswith("data:")

    @property
    def extent(self) -> str:
        """Its size in words, or the host that it lies on."""
        if self.size is None:
            return f"on {urlsplit(self.url).hostname}"
        return readable(self.size)

    @property
    def part(self) -> dict[str, Any]:
        """The part of a message's ``content`` that it is for the API."""
        if self.kind == "image":
            return {"type": "image_url", "image_url": {"url": self.url}}
        if self.kind == "audio":
            form = {"data": self.url.partition(",")[2], "format": _suffix(self.media_type)}
            return {"type": "input_audio", "input_audio": form}
        return {"type": "file", "file": {"filename": self.name, "file_data": self.url}}

    @classmethod
    def of(cls, source: Attachment | str | Path | bytes, name: str | None = None) -> Attachment:
        """Read and check whatever a person attaches; an address is only kept.

        It may be a path, an http(s) address, a data URL, or the content itself.
        """
        if isinstance(source, cls):
            return source
        if isinstance(source, bytes | bytearray | memoryview):
            return cls.from_bytes(bytes(source), name)
        if isinstance(source, str) and re.match(r"(?i)https?://|data:", source.strip()):
            return cls.from_url(source, name)
        if isinstance(source, str | Path):
            return cls.from_path(source, name)
        raise ConfigError(
            f"A {type(source).__name__} cannot be attached; give a path, an address, or bytes."
        )

    @classmethod
    def from_path(cls, path: str | Path, name: str | None = None) -> Attachment:
        """Read a file; ``~`` is your home, and `name` is for people, instead of the file's own."""
        try:
            file = Path(path).expanduser()
            if not file.exists():
                folder = file.parent.resolve()
                raise ConfigError(f"There is no file {file.name} in {folder}. Check the path.")
            if not file.is_file():
                raise ConfigError(f"{file} is not a file. Attach files one by one.")
            _check_size(file.stat().st_size, file.name, MAX_BYTES)
            data = file.read_bytes()
        except (OSError, RuntimeError, ValueError) as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(f"{path} cannot be read: {error}.") from error
        return cls.from_bytes(data, name or file.name)

    @classmethod
    def from_bytes(
        cls, data: bytes, name: str | None = None, *, max_bytes: int = MAX_BYTES
    ) -> Attachment:
        """Read content, such as what was dropped or pasted; its type is what the first bytes say.

        Folders and control characters are taken out of `name`.
        """
        shown = _clean(name or "")
        _check_size(len(data), shown or "The attachment", max_bytes)
        media_type = sniff(data)
        if media_type is None:
            raise ConfigError(
                f"{shown or 'The attachment'} is {_foreign(data)}. Attach one of: {_TAKEN}."
            )
        kind = _kind(media_type)
        url = f"data:{media_type};base64,{base64.b64encode(data).decode()}"
        shown = shown or f"{kind}.{_suffix(media_type)}"
        return cls(kind, media_type, shown, len(data), url)

    @classmethod
    def from_url(
        cls, url: str, name: str | None = None, *, media_type: str | None = None
    ) -> Attachment:
        """Keep an address, which the service will fetch, unchecked; a data URL is read here.

        `media_type` is for one that does not end in .png, .jpg, .gif, .webp or .pdf.
        """
        url = url.strip()
        if url[:5].lower() == "data:":
            return cls.from_bytes(_decoded(url), name)
        parts = _checked_address(url)
        last = _clean(unquote(parts.path))
        suffix = last.rpartition(".")[2].lower() if "." in last else ""
        media_type = media_type or _SUFFIXES.get(suffix)
        if media_type is None or media_type not in _SUFFIXES.values():
            raise ConfigError(
                f"{url[:200]} does not tell what it is. Say it, as in Attachment.from_url(url, "
                "media_type='image/png'), or download it and give the path."
            )
        shown = _clean(name or "") or last or str(parts.hostname)
        return cls(_kind(media_type), media_type, shown, None, url)

    @classmethod
    def from_part(cls, part: Mapping[str, Any]) -> Attachment | None:
        """Read a part of a saved message back; it may come from anybody.

        None for text, for other kinds of parts, and for what cannot be shown safely.
        """
        kind, inside = part.get("type"), part.get(str(part.get("type")))
        if not isinstance(inside, Mapping):
            return None
        url, name = inside.get("url"), inside.get("filename")
        if kind == "file":
            url = inside.get("file_data")
        if kind == "input_audio":
            url = f"data:audio/any;base64,{inside.get('data')}"
        if kind not in ("image_url", "file", "input_audio") or not isinstance(url, str):
            return None
        named = name if isinstance(name, str) else None
        assumed = "application/pdf" if kind == "file" else "image/png"
        try:
            return cls.from_url(url, named, media_type=assumed)
        except ConfigError:
            return None


def content(
    prompt: str, attachments: Iterable[Attachment | str | Path | bytes]
) -> list[dict[str, Any]]:
    """Put a prompt and what goes with it into the parts of one message.

    Parameters
    ----------
    prompt : str
        May be empty.
    attachments : iterable
        `Attachment`, or anything that `Attachment.of` takes.

    Returns
    -------
    list of dict
        For ``{"role": "user", "content": ...}``; the text comes first, as OpenRouter advises.

    Raises
    ------
    ConfigError
        See `Attachment.of`.

    Examples
    --------
    >>> parts = content("What is this?", ["https://example.org/cat.png"])
    >>> [part["type"] for part in parts]
    ['text', 'image_url']
    """
    text = [{"type": "text", "text": prompt}] if prompt and prompt.strip() else []
    return [*text, *(Attachment.of(each).part for each in attachments)]


def check(
    attachments: Iterable[Attachment],
    model: Any,
    models: pd.DataFrame | None = None,
    *,
    plugins: Any = (),
) -> None:
    """Refuse attachments that a model cannot take, before anything is sent.

    A PDF also passes where the request's ``plugins`` name OpenRouter's ``file-parser``, which
    turns it into text for any model. Without being named it would do so too, by its costliest
    engine; so ornb asks for it to be named.

    Parameters
    ----------
    attachments : iterable of Attachment
        What goes with the prompt.
    model : str, Series or mapping
        An id that is looked up in `models`, a row of `ornb.models`, or a record. One that lists no
        input modalities, or is not in the catalogue, may take anything.
    models : pandas.DataFrame, optional
        Models to propose others from.
    plugins : sequence of dict
        As in the request.

    Raises
    ------
    ConfigError
        It names the model, what it takes, and up to three that could take all of it.

    Examples
    --------
    >>> paper = Attachment.from_bytes(b"%PDF-1.7 ...", "paper.pdf")
    >>> check([paper], {"id": "lab/a", "architecture": {"input_modalities": ["text", "image"]}})
    Traceback (most recent call last):
        ...
    ornb.errors.ConfigError: lab/a takes text and images, so not paper.pdf. ...
    """
    attachments = list(attachments)
    if isinstance(model, str):
        if models is None or model not in models.index:
            return
        model = models.loc[model]
    record = record_of(model)
    listed = inputs_of(record)
    if not listed:
        return
    named = plugins if isinstance(plugins, list | tuple) else ()
    parsed = any(mapping(plugin).get("id") == "file-parser" for plugin in named)
    taken = {*listed, *(["file"] if parsed else [])}
    refused = [each for each in attachments if each.kind not in taken]
    if not refused:
        return
    names = in_words(list(dict.fromkeys(each.name for each in refused)), "nor")
    kinds = sorted(listed, key=lambda kind: [*WORDS, kind].index(kind))
    takes = in_words([WORDS.get(kind, kind) for kind in kinds], "and")
    raise ConfigError(
        f"{record.get('id', 'The model')} takes {takes}, so not {names}. "
        + _way_out({each.kind for each in attachments}, {each.kind for each in refused}, models)
    )


def inputs_of(record: Mapping[str, Any]) -> list[str]:
    """Return the input modalities that a model lists; none where it lists none."""
    listed = mapping(record.get("architecture")).get("input_modalities")
    return [kind for kind in listed if isinstance(kind, str)] if isinstance(listed, list) else []


def _way_out(needed: set[str], refused: set[str], models: pd.DataFrame | None) -> str:
    able = suggest(models, accepts=sorted(needed)) if models is not None else []
    step = (
        f"Ask {in_words(able)}."
        if able
        else f"Pick a model from ornb.models(accepts={sorted(needed)!r})."
    )
    if refused == {"file"}:
        step += (
            " Or have OpenRouter turn it into text, at no cost, with plugins="
            "[{'id': 'file-parser', 'pdf': {'engine': 'cloudflare-ai'}}]."
        )
    return step


def sniff(data: bytes) -> str | None:
    """Return the media type by the first bytes; None for types that no model takes."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if data.startswith(b"RIFF"):
        return {b"WEBP": "image/webp", b"WAVE": "audio/wav"}.get(bytes(data[8:12]))
    if data.startswith(b"ID3") or (len(data) > 1 and data[0] == 0xFF and data[1] & 0xE6 == 0xE2):
        return "audio/mpeg"  # the second: a frame of MPEG layer III
    # Writers put a byte order mark or blank lines before the head, and readers let them.
    return (
        "application/pdf" if data[:64].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"%PDF-") else None
    )


def readable(size: int) -> str:
    """Write a size for people, in bytes, kB or MB (thousands)."""
    if size < 1000:
        return f"{size} bytes"
    figure, unit = (size / 1e6, "MB") if size >= 999_950 else (size / 1e3, "kB")
    return f"{figure:.1f}".removesuffix(".0") + f" {unit}"


def _kind(media_type: str) -> str:
    return "file" if media_type == "application/pdf" else media_type.partition("/")[0]


def _suffix(media_type: str) -> str:
    return media_type.partition("/")[2].replace("mpeg", "mp3")


def _check_size(size: int, name: str, most: int) -> None:
    if not size:
        raise ConfigError(f"{name} is empty (0 bytes). Attach a file with content.")
    if size > most:
        raise ConfigError(
            f"{name} has {readable(size)}; at most {readable(most)} can be attached. "
            "Make it smaller, or give its address on the web."
        )


def _foreign(data: bytes) -> str:
    for start, what in _FOREIGN:
        if data.startswith(start):
            return what
    if data[4:8] == b"ftyp":
        return "a HEIC image, or a video; convert the image to JPEG"
    beginning = data[:1024].lstrip().lower()
    if beginning.startswith((b"<svg", b"<?xml")) and b"<svg" in data[:4096].lower():
        return "an SVG drawing; export it as PNG"
    if not data[:4096].translate(None, b"\t\n\r\f" + bytes(range(32, 256))):
        return "text, which goes into the prompt itself"
    return "of a type that models do not take"


def _clean(name: str) -> str:
    """The last piece of a path, of any system, as plain printable text."""
    last = PurePosixPath(name.replace("\\", "/")).name
    return "".join(sign for sign in last if sign.isprintable())[:120].strip()


def _decoded(url: str) -> bytes:
    head = _DATA_URL.match(url)
    if head is None:
        raise ConfigError(f"The data URL {url[:40]}... is damaged: it is not base64.")
    try:
        return base64.b64decode(url[head.end() :], validate=True)
    except (binascii.Error, ValueError) as error:
        raise ConfigError(f"The data URL {url[:40]}... is damaged: {error}.") from error


def _checked_address(url: str) -> Any:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError as error:
        raise ConfigError(f"{url[:200]!r} is not an address: {error}.") from error
    if parts.scheme not in ("http", "https") or not host or not url.isprintable():
        raise ConfigError(f"{url[:200]!r} is not an address such as https://example.org/cat.png.")
    if parts.username or parts.password:
        raise ConfigError(
            "The address holds a user name or a password, which the service would see."
        )
    if _is_here(host):
        raise ConfigError(
            f"{host} is this machine or its network, where the service cannot fetch from. "
            "Give the file's path instead."
        )
    return parts


def _is_here(host: str) -> bool:
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return host == "localhost" or host.endswith((".localhost", ".local", ".internal"))
