"""Attachments: the type by the content, clear refusals before sending, nothing fetched."""

from __future__ import annotations

import base64
import json
import os
import re
import zlib

import pytest
from cassettes import exchanges
from hypothesis import given
from hypothesis import strategies as st
from wire import FINISH, STREAM, WireServer, delta

import ornb
from ornb.api.client import Client
from ornb.catalog import to_frame
from ornb.errors import ConfigError
from ornb.messages.attachments import MAX_BYTES, Attachment, check, content, readable, sniff


def png(width=2, height=2):
    """A real picture."""

    def chunk(name, data):
        body = name + data
        return len(data).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    rows = b"".join(b"\0" + b"\x7f" * width for _ in range(height))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


PDF = b"%PDF-1.7\n1 0 obj << >> endobj\ntrailer << >>\n%%EOF\n"
WAV = b"RIFF\x24\0\0\0WAVEfmt "
TYPES = [
    pytest.param(png(), "image/png", "image", id="png"),
    pytest.param(b"\xff\xd8\xff\xe0\0\x10JFIF", "image/jpeg", "image", id="jpeg"),
    pytest.param(b"GIF87a\1\0", "image/gif", "image", id="gif87"),
    pytest.param(b"GIF89a\1\0", "image/gif", "image", id="gif89"),
    pytest.param(b"RIFF\x1a\0\0\0WEBPVP8 ", "image/webp", "image", id="webp"),
    pytest.param(PDF, "application/pdf", "file", id="pdf"),
    pytest.param(b"\xef\xbb\xbf\r\n" + PDF, "application/pdf", "file", id="pdf after a mark"),
    pytest.param(WAV, "audio/wav", "audio", id="wav"),
    pytest.param(b"ID3\4\0", "audio/mpeg", "audio", id="mp3 with a tag"),
    pytest.param(b"\xff\xfb\x90\0", "audio/mpeg", "audio", id="mp3 without"),
]


def row(*modalities, model_id="lab/a", **more):
    return {"id": model_id, "architecture": {"input_modalities": list(modalities)}, **more}


# ---- reading


@pytest.mark.parametrize(("data", "media_type", "kind"), TYPES)
def test_the_type_is_what_the_first_bytes_say(tmp_path, data, media_type, kind):
    path = tmp_path / "misnamed.txt"
    path.write_bytes(data)
    one = Attachment.from_path(path)
    assert (one.media_type, one.kind) == (media_type, kind)
    assert (one.name, one.size, one.is_remote) == ("misnamed.txt", len(data), False)
    assert one.url == f"data:{media_type};base64,{base64.b64encode(data).decode()}"


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        (b"PK\x03\x04\x14\0", "export it as PDF"),
        (b"II*\0\x08", "convert it to PNG"),
        (b"BM\x36\0", "convert it to PNG"),
        (b"\0\0\0\x18ftypheic", "convert the image to JPEG"),
        (b"<svg xmlns='x'/>", "export it as PNG"),
        (b'<?xml version="1.0"?>\n<svg/>', "export it as PNG"),
        (b"Dear Sir,\nplease", "into the prompt itself"),
        (b"RIFF\0\0\0\0AVI LIST", "models do not take"),
        (b"\0\1\2\3", "models do not take"),
        (b"%PD", "into the prompt itself"),
    ],
)
def test_what_no_model_takes_is_named_with_a_way_out(data, hint):
    with pytest.raises(ConfigError, match=re.escape(hint)) as caught:
        Attachment.from_bytes(data, "it")
    assert "PNG, JPEG, GIF and WebP" in str(caught.value)


def test_refusals_of_files_say_which_and_why(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "big.png").write_bytes(png() + b"\0" * 1000)
    os.truncate(tmp_path / "big.png", MAX_BYTES + 1)
    for name, words in {
        "gone.png": "There is no file gone.png in ",
        "empty.png": "empty.png is empty (0 bytes)",
        "big.png": "big.png has 20 MB; at most 20 MB can be attached",
        ".": "is not a file",
    }.items():
        with pytest.raises(ConfigError) as caught:
            Attachment.from_path(tmp_path / name)
        assert words in str(caught.value)


def test_a_limit_can_be_set():
    with pytest.raises(ConfigError, match=r"cat.png has 1\.2 kB; at most 1 kB"):
        Attachment.from_bytes(png() + b"\0" * 1130, "cat.png", max_bytes=1000)


def test_a_file_that_may_not_be_read_is_said_so(tmp_path):
    path = tmp_path / "mine.png"
    path.write_bytes(png())
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(ConfigError, match="cannot be read"):
        Attachment.from_path(path)


@pytest.mark.parametrize("path", ["a\0b.png", "x" * 5000, "~nobody-here/a.png"])
def test_odd_paths_are_refused_like_others(path):
    with pytest.raises(ConfigError):
        Attachment.from_path(path)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/cat.png", "cat.png"),
        (r"C:\Users\me\cat.png", "cat.png"),
        ("cat\x00\n\u202e.png", "cat.png"),
        ("", "image.png"),
        (None, "image.png"),
        ("..", ".."),
        ("x" * 500, "x" * 120),
    ],
)
def test_names_are_plain_and_without_folders(name, shown):
    assert Attachment.from_bytes(png(), name).name == shown


def test_its_text_shows_name_and_size_and_no_content():
    one = Attachment.from_bytes(png() + b"\0" * 12_300, "cat.png")
    assert repr(one) == "Attachment('cat.png', image/png, 12.4 kB)"
    assert "base64" not in f"{one} {[one]}"


def test_sizes_are_readable():
    sizes = [0, 999, 1000, 12_345, 999_949, 999_999, 20_000_000]
    expected = ["0 bytes", "999 bytes", "1 kB", "12.3 kB", "999.9 kB", "1 MB", "20 MB"]
    assert [readable(size) for size in sizes] == expected


# ---- addresses


def test_an_address_is_kept_and_not_fetched():
    """The suite's guard would end the run at the first packet to another machine."""
    one = Attachment.from_url("https://example.org/pictures/My%20cat.JPG?size=3")
    assert (one.kind, one.media_type, one.name, one.size) == (
        "image",
        "image/jpeg",
        "My cat.JPG",
        None,
    )
    assert one.part == {
        "type": "image_url",
        "image_url": {"url": "https://example.org/pictures/My%20cat.JPG?size=3"},
    }
    assert repr(one) == "Attachment('My cat.JPG', image/jpeg, on example.org)"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/a.png",
        "https:///a.png",
        "example.org/a.png",
        "https://example.org/a.svg",
        "https://example.org/",
        "https://example.org/song.mp3",
        "https://me:secret@example.org/a.png",
        "https://[::1/a.png",
        "https://example.org/a.png\n",
        "http://localhost:8888/files/a.png",
        "http://127.0.0.1/a.png",
        "http://[::1]/a.png",
        "http://192.168.1.5/a.png",
        "http://printer.local/a.png",
        "data:image/png,xyz",
        "data:image/png;base64,@@@",
        "data:image/svg+xml;base64,PHN2Zy8+",
        "data:",
    ],
)
def test_addresses_that_cannot_work_are_refused(url):
    if url.endswith("\n"):
        url = url[:-1] + "\u202e"
    with pytest.raises(ConfigError) as caught:
        Attachment.from_url(url)
    assert "secret" not in str(caught.value)


def test_an_address_that_does_not_tell_can_be_told():
    one = Attachment.from_url("https://example.org/chart?id=3", media_type="image/png")
    assert (one.kind, one.name) == ("image", "chart")


def test_a_data_url_is_read_and_its_own_word_for_its_type_is_not_trusted():
    url = "data:image/png;base64," + base64.b64encode(PDF).decode()
    assert Attachment.from_url(url).kind == "file"


# ---- the parts of a message


def test_of_takes_whatever_a_person_has(tmp_path):
    path = tmp_path / "cat.png"
    path.write_bytes(png())
    one = Attachment.from_path(path)
    for source in (one, path, str(path), png(), one.url, bytearray(png())):
        assert Attachment.of(source).part == one.part
    with pytest.raises(ConfigError, match="A dict cannot be attached"):
        Attachment.of({})


def test_content_has_the_text_first_and_none_if_there_is_none():
    parts = content("What is this?", [png(), PDF, WAV])
    assert [part["type"] for part in parts] == ["text", "image_url", "file", "input_audio"]
    assert parts[2]["file"]["filename"] == "file.pdf"
    assert parts[3]["input_audio"] == {"data": base64.b64encode(WAV).decode(), "format": "wav"}
    assert [part["type"] for part in content(" \n", [png()])] == ["image_url"]


def test_the_parts_are_sent_as_they_are():
    parts = content("What is this?", [png(), "https://example.org/paper.pdf"])
    with WireServer([STREAM, delta("A cat."), FINISH]) as server:
        client = Client("k", server.url)
        for _ in (stream := client.stream([{"role": "user", "content": parts}])):
            pass
        client.close()
    assert stream.reply.text == "A cat."
    assert json.loads(server.requests[0][1])["messages"][0]["content"] == parts


@pytest.mark.parametrize("name", ["openrouter_images", "file_annotation", "local_images"])
def test_parts_are_what_recorded_calls_sent(shared_data, name):
    """Three libraries' calls that were answered: a picture by content and by address, and a PDF."""
    seen = 0
    for exchange in exchanges(shared_data):
        if name not in exchange.name:
            continue
        for part in exchange.request["messages"][-1]["content"]:
            if part["type"] != "text":
                one = Attachment.from_part(part)
                assert Attachment.of(one.url, one.name).part.keys() == part.keys()
                inside = part[part["type"]]
                assert inside.items() >= one.part[part["type"]].items()
                seen += 1
    assert seen


@given(
    st.recursive(
        st.none() | st.text() | st.integers(),
        lambda x: st.dictionaries(
            st.sampled_from(
                ["type", "image_url", "file", "input_audio", "url", "file_data", "data"]
            ),
            x,
        ),
    )
)
def test_reading_a_part_back_never_raises(part):
    if isinstance(part, dict):
        assert Attachment.from_part(part) is None or isinstance(
            Attachment.from_part(part), Attachment
        )


def test_parts_come_back_as_they_were():
    for data, name in ((png(), "image.png"), (PDF, "paper.pdf"), (WAV, "audio.wav")):
        one = Attachment.from_bytes(data, name)
        assert Attachment.from_part(json.loads(json.dumps(one.part))) == one


@given(st.binary(max_size=64))
def test_sniffing_never_raises(data):
    kind = sniff(data)
    assert kind is None or Attachment.from_bytes(data).media_type == kind


# ---- against the model


def test_a_model_that_takes_it_says_nothing():
    check([Attachment.of(png()), Attachment.of(PDF)], row("text", "image", "file"))
    check([], row("text"))


def test_the_refusal_names_the_model_what_it_takes_and_three_that_could():
    models = ornb.models()
    picture = Attachment.from_bytes(png(), "cat.png")
    with pytest.raises(ConfigError) as caught:
        check([picture], models.loc["deepseek/deepseek-v4-flash"], models)
    said = str(caught.value)
    assert said.startswith("deepseek/deepseek-v4-flash takes text, so not cat.png. Ask ")
    named = re.findall(r"[\w.-]+/[\w.:-]+\b", said.partition("Ask ")[2])
    assert len(named) == 3
    assert models.loc[named, "accepts_image"].all()
    assert not models.loc[named, "is_router"].any()


def test_models_are_proposed_that_take_all_of_it():
    models = ornb.models()
    with pytest.raises(ConfigError) as caught:
        check([Attachment.of(png()), Attachment.of(WAV)], "openai/gpt-4o-mini", models)
    assert "takes text, images and PDFs, so not audio.wav" in str(caught.value)
    named = re.findall(r"[\w.-]+/[\w.:-]+\b", str(caught.value).partition("Ask ")[2])
    assert models.loc[named, ["accepts_image", "accepts_audio"]].all(axis=None)


def test_without_a_frame_it_says_how_to_find_one():
    with pytest.raises(ConfigError, match=r"ornb\.models\(accepts=\['image'\]\)"):
        check([Attachment.of(png())], row("text"))


def test_a_pdf_passes_where_the_service_is_told_to_read_it():
    """Untold it would read it too, at 2 USD for 1,000 pages."""
    paper = Attachment.from_bytes(PDF, "paper.pdf")
    with pytest.raises(ConfigError, match="cloudflare-ai"):
        check([paper], row("text"))
    check([paper], row("text"), plugins=[{"id": "file-parser", "pdf": {"engine": "cloudflare-ai"}}])
    for odd in (5, {"id": "file-parser"}, ["file-parser"], None):
        with pytest.raises(ConfigError, match="so not"):
            check([paper], row("text"), plugins=odd)
    with pytest.raises(ConfigError, match=r"not image\.png"):
        check([paper, Attachment.of(png())], row("text"), plugins=[{"id": "file-parser"}])


@pytest.mark.parametrize(
    "record",
    [
        {"id": "llama3"},
        {"id": "a/b", "architecture": None},
        {"id": "a/b", "architecture": {"modality": "text->text"}},
        {"id": "a/b", "architecture": {"input_modalities": []}},
    ],
)
def test_a_model_that_lists_nothing_may_take_anything(record):
    check([Attachment.of(png())], record)


def test_an_id_is_looked_up_and_an_unknown_one_passes():
    models = to_frame([row("text", model_id="lab/text"), row("image", "text", model_id="lab/see")])
    check([Attachment.of(png())], "lab/see", models)
    check([Attachment.of(png())], "lab/unknown", models)
    with pytest.raises(ConfigError, match="lab/text takes text"):
        check([Attachment.of(png())], "lab/text", models)


def test_what_is_no_model_is_refused():
    with pytest.raises(ConfigError, match="int is no model"):
        check([], 3)
