from pathlib import Path

import av
import numpy as np
import pytest

from callm_edge.errors import UserError
from callm_edge.events.annotate import MIN_WIDTH, STRIP, AnnotatedVideo

THRESHOLD = 20.0


def record(path: Path, size: tuple[int, int], frames: int, gray: bool = False) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (size[1], size[0]) if gray else (size[1], size[0], 3), np.uint8)
    with AnnotatedVideo(path, 29.97, size) as video:
        for index in range(frames):
            score = None if index < 3 else 20 + 4 * np.sin(index / 3)
            flagged = score is not None and score < THRESHOLD
            video.write(image, score, THRESHOLD, np.full((128, 128), 0.01, np.float32), flagged, (3, 3, 9, 9), flagged)
        assert video.frames == frames
        assert not path.exists(), "the name appears when the video is whole"


@pytest.mark.parametrize("size", [(360, 240), (641, 361), (97, 55), (1281, 33)])
@pytest.mark.parametrize("gray", [False, True])
def test_every_frame_plays_back(tmp_path: Path, size: tuple[int, int], gray: bool) -> None:
    record(tmp_path / "out.mp4", size, 25, gray)
    with av.open(str(tmp_path / "out.mp4")) as file:
        stream = file.streams.video[0]
        assert stream.codec_context.name in ("h264", "mpeg4")
        assert stream.average_rate is not None
        assert abs(float(stream.average_rate) - 29.97) < 0.01
        shapes = [(frame.width, frame.height) for frame in file.decode(video=0)]
    assert len(shapes) == 25
    width, height = shapes[0]
    assert width % 2 == height % 2 == 0
    assert width >= MIN_WIDTH
    assert abs((height - STRIP) / width - size[1] / size[0]) < 0.01
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_the_index_stands_in_front(tmp_path: Path) -> None:
    record(tmp_path / "out.mp4", (64, 48), 5)
    data = (tmp_path / "out.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_mpeg4_where_libx264_is_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(av, "codecs_available", {"mpeg4"})
    record(tmp_path / "out.mp4", (64, 48), 5)
    with av.open(str(tmp_path / "out.mp4")) as file:
        assert file.streams.video[0].codec_context.name == "mpeg4"
        assert sum(1 for _ in file.decode(video=0)) == 5


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    path.write_bytes(b"older video")
    image = np.zeros((48, 64, 3), np.uint8)

    def broken() -> None:
        with AnnotatedVideo(path, 25, (64, 48)) as video:
            video.write(image, 20.0, THRESHOLD, None, False, None, False)
            raise RuntimeError("camera")

    with pytest.raises(RuntimeError, match="camera"):
        broken()
    assert path.read_bytes() == b"older video"
    assert list(tmp_path.iterdir()) == [path]


def test_no_frames_no_file(tmp_path: Path) -> None:
    with AnnotatedVideo(tmp_path / "out.mp4", 25, (64, 48)):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"), AnnotatedVideo(tmp_path / "file" / "v.mp4", 25, (64, 48)):
        pass


def test_heat_shows_the_error_and_leaves_normal_frames_clean(tmp_path: Path) -> None:
    image = np.full((360, 640, 3), 90, np.uint8)
    at_threshold = 4 * 10 ** (-THRESHOLD / 10)
    normal = np.full((128, 128), 0.5 * at_threshold, np.float32)
    normal[::17, ::13] = 2 * at_threshold  # single noisy cells are no error of a tile
    error = normal.copy()
    error[32:48, 64:80] = 3 * at_threshold
    video = AnnotatedVideo(tmp_path / "unused.mp4", 25, (640, 360))
    clean = video.render(image, 24.0, THRESHOLD, normal, False, None, False)
    assert np.array_equal(clean[:360], image)
    hot = np.abs(video.render(image, 18.0, THRESHOLD, error, True, None, True)[:360].astype(int) - image).sum(2)
    assert hot[112, 360] > 60, "the middle of the wrong tile"
    assert hot[:, :200].max() == 0
    assert hot[220:].max() == 0


def test_the_event_is_shaded_and_the_score_moves_left(tmp_path: Path) -> None:
    video = AnnotatedVideo(tmp_path / "unused.mp4", 10, (640, 360))
    image = np.zeros((360, 640, 3), np.uint8)
    for index in range(40):
        page = video.render(image, 25.0, THRESHOLD, None, False, None, 20 <= index < 30)
    row = page[-1].astype(int).sum(1)
    shaded = np.flatnonzero(row > row[0])
    step = 639 / 99
    assert abs(shaded.min() - (60 + 19.5) * step) <= 1
    assert abs(shaded.max() - (60 + 29.5) * step) <= 1
